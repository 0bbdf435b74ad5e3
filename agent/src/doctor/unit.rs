//! What systemd knows of the agent's units: how their last run ended, and the environment that they run in.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

use crate::root::Root;

/// The unit of the boot.
pub(super) const CONTEXTUALIZATION: &str = "cernvm-cluster-contextualization.service";
/// The unit after the boot.
pub(super) const MASTER_READY: &str = "cernvm-cluster-master-ready.service";
/// Set for the doctor that runs in the unit's environment.
const IN_UNITS_ENVIRONMENT: &str = "CERNVM_CLUSTER_DOCTOR";
/// What the environment of a shell may have and the unit's has not: what the client looks at (curl's names).
const PROXY_VARIABLES: [&str; 8] = [
    "http_proxy",
    "https_proxy",
    "HTTPS_PROXY",
    "all_proxy",
    "ALL_PROXY",
    "no_proxy",
    "NO_PROXY",
    "HTTP_PROXY",
];

/// A unit as `systemctl show` has it.
#[derive(Debug, Default)]
pub(super) struct Unit {
    /// `loaded`, `not-found`, `masked`.
    pub(super) load: String,
    /// `enabled`, `disabled`, `masked`.
    pub(super) enabled: String,
    /// `active`, `activating`, `failed`, `inactive`.
    pub(super) active: String,
    /// `success`, `exit-code`, `signal`, `timeout`.
    pub(super) result: String,
    /// The exit status or the signal of its last run.
    pub(super) status: String,
}

/// A unit of this machine; `None` without systemd, or when the doctor looks at another root.
pub(super) fn show(root: &Root, unit: &str) -> Option<Unit> {
    let properties = "LoadState,UnitFileState,ActiveState,Result,ExecMainStatus";
    let text = systemctl(root, &["show", unit, &format!("--property={properties}")])?;
    let value = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        line.unwrap_or_default().to_owned()
    };
    Some(Unit {
        load: value("LoadState"),
        enabled: value("UnitFileState"),
        active: value("ActiveState"),
        result: value("Result"),
        status: value("ExecMainStatus"),
    })
}

fn systemctl(root: &Root, args: &[&str]) -> Option<String> {
    if *root != Root::default() {
        return None;
    }
    let output = Command::new("systemctl").args(args).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Goes on in the environment of the unit, so that the doctor sees the proxy that the unit sees, and not that of the
/// shell it was started from. Returns when it is in it already, or when there is no such unit.
pub(super) fn enter_its_environment(root: &Root) {
    if std::env::var_os(IN_UNITS_ENVIRONMENT).is_some() {
        return;
    }
    if show(root, CONTEXTUALIZATION).is_none_or(|unit| unit.load != "loaded") {
        return;
    }
    let mut command = Command::new("/proc/self/exe");
    command.args(std::env::args_os().skip(1)).env(IN_UNITS_ENVIRONMENT, "1");
    for variable in PROXY_VARIABLES {
        command.env_remove(variable);
    }
    command.envs(environment(root));
    // It only returns when that fails.
    let error = command.exec();
    log::debug!("the unit's environment cannot be entered: {error}");
}

/// What the manager gives to every unit, then the unit's files, which override its own lines.
fn environment(root: &Root) -> Vec<(String, String)> {
    let manager = systemctl(root, &["show-environment"]).unwrap_or_default();
    let mut variables: Vec<_> = manager.lines().filter_map(|line| pair(&unquoted(line))).collect();
    let shown = systemctl(root, &["show", CONTEXTUALIZATION, "--property=Environment,EnvironmentFiles"]);
    let shown = shown.unwrap_or_default();
    for line in shown.lines().filter_map(|line| line.strip_prefix("Environment=")) {
        variables.extend(words(line).iter().filter_map(|word| pair(word)));
    }
    for line in shown.lines().filter_map(|line| line.strip_prefix("EnvironmentFiles=")) {
        let file = line.rsplit_once(" (").map_or(line, |(file, _)| file);
        let text = std::fs::read_to_string(file).unwrap_or_default();
        let lines = text.lines().map(str::trim).filter(|line| !line.starts_with(['#', ';']));
        variables.extend(lines.filter_map(|line| pair(&unquoted(line))));
    }
    variables
}

fn pair(word: &str) -> Option<(String, String)> {
    word.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()))
}

/// `NAME="value"` and `NAME=$'value'`, as `systemctl show-environment` and environment files have them.
fn unquoted(line: &str) -> String {
    let Some((name, value)) = line.split_once('=') else { return line.to_owned() };
    let value = value.strip_prefix('$').filter(|rest| rest.starts_with('\'')).unwrap_or(value);
    let inner = ['"', '\''].iter().find_map(|quote| value.strip_prefix(*quote)?.strip_suffix(*quote));
    format!("{name}={}", inner.unwrap_or(value))
}

/// The words of `Environment=` as systemctl prints them: with blanks between, one that has a blank in quotes.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for c in line.chars() {
        match c {
            '"' => quoted = !quoted,
            ' ' if !quoted => words.push(String::new()),
            _ => words.last_mut().expect("there is one").push(c),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_environments_as_systemd_prints_them() {
        assert_eq!(words("A=1 \"B=two words\" C="), ["A=1", "B=two words", "C="]);
        for (line, expected) in
            [("A=b", "A=b"), ("A=\"b c\"", "A=b c"), ("A=$'b c'", "A=b c"), ("A=", "A="), ("A=\"", "A=\"")]
        {
            assert_eq!(unquoted(line), expected);
        }
    }
}
