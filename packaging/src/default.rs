//! The settings files in `/etc/default`: every setting of a program's `serve`, commented out, with its help and its default.

use std::fmt::Write as _;

use clap::{Arg, Command};

/// The settings file of a program.
pub(crate) struct SettingsFile {
    head: &'static str,
    /// The unit in the package, which has defaults of its own for some settings.
    unit: &'static str,
}

/// That of the pairing service.
pub(crate) const SERVICE: SettingsFile = SettingsFile {
    head: "\
# Settings of the cluster pairing service. systemd reads this file (systemd.exec(5)).
# Take the '#' off a line to change a setting, then: systemctl restart cernvm-pairing-server
# `cernvm-pairing-server serve --help` explains each flag.
",
    unit: include_str!("../../systemd/cernvm-pairing-server.service"),
};
/// That of the launcher.
pub(crate) const LAUNCHER: SettingsFile = SettingsFile {
    head: "\
# Settings of the cluster launcher. systemd reads this file (systemd.exec(5)).
# Take the '#' off a line to change a setting, then: systemctl restart cernvm-cluster-launcher
# `cernvm-cluster-launcher serve --help` explains each flag.

# The secret with which the callers' tokens are signed (HS256). Every launch is refused without it.
#JWT_SECRET=
",
    unit: include_str!("../../systemd/cernvm-cluster-launcher.service"),
};

impl SettingsFile {
    /// The file's content, from the program's command line.
    pub(crate) fn settings(&self, program: &Command) -> String {
        let serve = program.find_subcommand("serve").expect("the program has the command serve");
        let mut file = self.head.to_owned();
        for argument in serve.get_arguments().chain(program.get_arguments()) {
            if let Some(variable) = argument.get_env() {
                let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
                let flag = argument.get_long().unwrap_or_default();
                let variable = variable.to_string_lossy();
                let value = self.set_by_unit(&variable).unwrap_or_else(|| default(argument));
                write!(file, "\n{}#{variable}={value}\n", comment(&help, flag))
                    .expect("a string takes any text");
            }
        }
        file
    }

    /// The value that the unit gives to a variable.
    fn set_by_unit(&self, variable: &str) -> Option<String> {
        let assignments = self.unit.lines().filter_map(|line| line.strip_prefix("Environment="));
        let (_, value) =
            assignments.filter_map(|line| line.split_once('=')).find(|(name, _)| *name == variable)?;
        // The state directory of a system service (systemd.unit(5), "%S").
        Some(value.replace("%S", "/var/lib"))
    }
}

/// The help in lines of at most 100 characters, with the flag at its end.
fn comment(help: &str, flag: &str) -> String {
    let mut lines = String::new();
    let mut line = "#".to_owned();
    for word in format!("{help} (--{flag})").split_whitespace() {
        if line.len() + word.len() >= 100 {
            lines.push_str(&line);
            lines.push('\n');
            "#".clone_into(&mut line);
        }
        line.push(' ');
        line.push_str(word);
    }
    lines.push_str(&line);
    lines.push('\n');
    lines
}

/// The value that the service has without the line. A flag without a value is off.
fn default(argument: &Arg) -> String {
    let values: Vec<_> = argument.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
    if argument.get_action().takes_values() { values.join(",") } else { "false".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[track_caller]
    fn has_every_setting(program: &Command, file: &str) {
        let serve = program.find_subcommand("serve").expect("it is there");
        for argument in serve.get_arguments().filter(|argument| argument.get_long() != Some("help")) {
            let flag = argument.get_long().expect("serve has only long flags");
            let variable = argument.get_env().unwrap_or_else(|| panic!("--{flag} has no variable"));
            let variable = variable.to_string_lossy();
            assert!(file.contains(&format!("\n#{variable}=")), "{variable} is not in the file");
            assert!(file.contains(&format!("(--{flag})")), "--{flag} is not in the file");
        }
        assert!(file.lines().all(|line| line.is_empty() || line.starts_with('#')), "{file}");
        assert!(file.lines().all(|line| line.len() <= 100), "{file}");
    }

    #[test]
    fn has_every_setting_of_serve_commented_out_with_its_help() {
        let program = pairing_server::cli::Cli::command();
        let file = SERVICE.settings(&program);
        has_every_setting(&program, &file);
        assert!(file.contains("\n#CERNVM_PAIRING_LISTEN=[::]:8000\n"), "{file}");
        assert!(file.contains("\n#CERNVM_PAIRING_DATA_DIR=/var/lib/cernvm-pairing-server\n"), "{file}");
    }

    #[test]
    fn the_launcher_has_a_file_too() {
        let program = cluster_launcher::cli::Cli::command();
        let file = LAUNCHER.settings(&program);
        has_every_setting(&program, &file);
        assert!(file.contains("\n#CERNVM_LAUNCHER_TYPES=/etc/cernvm-cluster-launcher\n"), "{file}");
    }
}
