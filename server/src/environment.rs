//! The environment variables of the service's flags: a misspelt one must not be passed over in silence.

use std::env;

use clap::Command;
use context::nearest::nearest;

/// What the name of each of them begins with.
const PREFIX: &str = "CERNVM_PAIRING_";

/// Warns of variables that begin like one of ours but belong to no flag, and of those that are not text.
pub fn warn_of_unknown(command: &Command) {
    let known = known(command);
    let known: Vec<&str> = known.iter().map(String::as_str).collect();
    for (name, value) in env::vars_os() {
        let name = name.to_string_lossy();
        if !name.starts_with(PREFIX) {
            continue;
        }
        if let Some(line) = problem(&name, value.to_str().is_some(), &known) {
            log::warn!("{line}");
        }
    }
}

fn problem(name: &str, is_text: bool, known: &[&str]) -> Option<String> {
    if !known.contains(&name) {
        let meant = nearest(name, known).map(|meant| format!("; did you mean {meant}?")).unwrap_or_default();
        return Some(format!("the environment variable {name} belongs to no flag and is ignored{meant}"));
    }
    (!is_text).then(|| format!("the environment variable {name} is not UTF-8"))
}

/// The variables of every flag of every command.
fn known(command: &Command) -> Vec<String> {
    let mut names: Vec<String> = command
        .get_arguments()
        .chain(command.get_subcommands().flat_map(Command::get_arguments))
        .filter_map(|flag| Some(flag.get_env()?.to_str()?.to_owned()))
        .collect();
    names.sort();
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn names_the_variable_that_was_meant() {
        let known = known(&crate::cli::Cli::command());
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        assert!(known.iter().all(|name| name.starts_with(PREFIX)), "{known:?}");
        assert_eq!(problem("CERNVM_PAIRING_LISTEN", true, &known), None);
        assert_eq!(problem("CERNVM_PAIRING_URL", true, &known), None);
        let said = problem("CERNVM_PAIRING_LISTENS", true, &known).unwrap();
        assert!(said.ends_with("is ignored; did you mean CERNVM_PAIRING_LISTEN?"), "{said}");
        assert!(problem("CERNVM_PAIRING_LISTEN", false, &known).unwrap().contains("UTF-8"));
    }
}
