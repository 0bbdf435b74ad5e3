//! The agent's command line as clap knows it, for its shell completions. The agent itself reads its line without clap,
//! which would be a tenth of its size; its help is the one source of both.

use clap::{Arg, ArgAction, Command};
use cluster_agent::help::{COMMANDS, OPTIONS};

/// Name of the agent's program.
pub(crate) const NAME: &str = "cernvm-cluster-agent";

/// The program with its commands and flags.
pub(crate) fn command_line() -> Command {
    let commands = COMMANDS.iter().map(|command| {
        let takes_files = command.usage.iter().any(|form| form.contains("FILE"));
        let files = takes_files.then(|| Arg::new("FILE").num_args(0..).value_hint(clap::ValueHint::FilePath));
        Command::new(command.name).about(command.summary).args(flags(command.details)).args(files)
    });
    // --help and --version stand in the agent's own list.
    Command::new(NAME)
        .disable_help_flag(true)
        .disable_version_flag(true)
        .args(flags(OPTIONS))
        .subcommands(commands)
}

/// The flags of a help text: lines that begin with two blanks and two dashes.
fn flags(help: &'static str) -> impl Iterator<Item = Arg> {
    help.lines().filter_map(|line| {
        let mut words = line.strip_prefix("  --")?.splitn(2, ' ');
        let flag = words.next()?;
        let rest = words.next().unwrap_or_default();
        let value =
            rest.split(' ').next().filter(|word| word.chars().all(char::is_uppercase) && !word.is_empty());
        let summary = rest.strip_prefix(value.unwrap_or_default())?.trim();
        let argument = Arg::new(flag).long(flag).help(summary);
        Some(match value {
            Some(name) => argument.value_name(name).value_hint(clap::ValueHint::AnyPath),
            None => argument.action(ArgAction::SetTrue),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn has_the_commands_and_flags_of_the_help() {
        let program = command_line();
        program.clone().debug_assert();
        let flags_of = |command: &Command| {
            let flags = command.get_arguments().filter_map(Arg::get_long);
            flags.map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(flags_of(&program), ["root", "user-data", "verbose", "help", "version"]);
        assert!(
            program
                .get_arguments()
                .find(|flag| flag.get_id() == "root")
                .is_some_and(|flag| { flag.get_action().takes_values() })
        );
        for command in COMMANDS {
            let known = flags_of(program.find_subcommand(command.name).expect("every command is there"));
            let named = command.usage.iter().flat_map(|form| form.split([' ', '[', ']']));
            for flag in named.filter_map(|word| word.strip_prefix("--")) {
                assert!(
                    known.iter().any(|known| known == flag),
                    "{} has no --{flag}: {known:?}",
                    command.name
                );
            }
        }
    }
}
