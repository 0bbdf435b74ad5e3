//! The flags that name an etcd cluster: those of the pairing server, about launches.

use clap::{ArgMatches, Args, Command, FromArgMatches};
use pairing_server::etcd_args::EtcdArgs;

/// Which etcd cluster has the launches.
#[derive(Debug)]
pub struct LaunchesInEtcd(EtcdArgs);

impl LaunchesInEtcd {
    /// What stands over these flags in the help.
    pub(super) const HEADING: &str = "Launches";
    /// Where launches are if nothing else is said.
    const PREFIX: &str = "/cernvm-launches/";
    /// The flags with their variables.
    const VARIABLES: [(&str, &str); 8] = [
        ("etcd", "CERNVM_LAUNCHER_ETCD"),
        ("etcd_ca", "CERNVM_LAUNCHER_ETCD_CA"),
        ("etcd_cert", "CERNVM_LAUNCHER_ETCD_CERT"),
        ("etcd_key", "CERNVM_LAUNCHER_ETCD_KEY"),
        ("etcd_user", "CERNVM_LAUNCHER_ETCD_USER"),
        ("etcd_password_file", "CERNVM_LAUNCHER_ETCD_PASSWORD_FILE"),
        ("etcd_prefix", "CERNVM_LAUNCHER_ETCD_PREFIX"),
        ("etcd_timeout", "CERNVM_LAUNCHER_ETCD_TIMEOUT"),
    ];

    /// The cluster, if there is one.
    ///
    /// # Errors
    /// A file cannot be read, or is not what it should be; or the URLs and the files do not go together.
    pub fn config(&self) -> Result<Option<pairing_etcd::Config>, pairing_server::Error> {
        self.0.config()
    }
}

/// The flags of the pairing server with other words, variables and a prefix of their own.
fn about_launches(command: Command) -> Command {
    let variable = |flag: &str| {
        let found = LaunchesInEtcd::VARIABLES.into_iter().find(|(known, _)| *known == flag);
        found.map(|(_, variable)| variable)
    };
    command.mut_args(|arg| {
        let flag = arg.get_id().to_string();
        let Some(variable) = variable(&flag) else { return arg };
        let arg = arg.env(variable).help_heading(LaunchesInEtcd::HEADING);
        match flag.as_str() {
            "etcd" => arg.requires("launches_key_file").help(
                "Client URLs of the members of an etcd cluster that holds the launches. Any number of launchers may share it",
            ),
            "etcd_prefix" => arg
                .default_value(LaunchesInEtcd::PREFIX)
                .help("What the keys of launches begin with in etcd"),
            "etcd_timeout" => {
                arg.help("How long to try to reach etcd at the start: a number with s, m, h or d")
            }
            _ => arg,
        }
    })
}

impl Args for LaunchesInEtcd {
    fn augment_args(command: Command) -> Command {
        about_launches(EtcdArgs::augment_args(command))
    }

    fn augment_args_for_update(command: Command) -> Command {
        about_launches(EtcdArgs::augment_args_for_update(command))
    }
}

impl FromArgMatches for LaunchesInEtcd {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        EtcdArgs::from_arg_matches(matches).map(Self)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.0.update_from_arg_matches(matches)
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;
    use clap::Parser as _;

    use super::*;
    use crate::cli::{Cli, Command as Chosen};

    fn list(flags: &[&str]) -> Result<Option<pairing_etcd::Config>, String> {
        let line = ["launcher", "list"].iter().chain(flags);
        match Cli::try_parse_from(line).map_err(|error| error.to_string())?.command {
            Chosen::List(list) => list.access.data.etcd.config().map_err(|error| error.to_string()),
            _ => panic!("another command"),
        }
    }

    #[test]
    fn names_a_cluster_with_a_prefix_of_its_own_and_wants_a_key() {
        assert_eq!(list(&[]), Ok(None));
        let refused = list(&["--etcd", "http://a:2379"]).unwrap_err();
        assert!(refused.contains("--launches-key-file"), "{refused}");
        let config = list(&["--etcd", "http://a:2379", "--launches-key-file", "key"]).unwrap().unwrap();
        assert_eq!(
            (config.urls, config.prefix.as_str()),
            (vec!["http://a:2379".to_owned()], "/cernvm-launches/")
        );
    }

    #[test]
    fn no_flag_is_left_with_a_variable_of_the_pairing_server() {
        let cli = Cli::command();
        let list = cli.find_subcommand("list").unwrap();
        let flags = list.get_arguments().filter(|flag| flag.get_id().as_str().starts_with("etcd"));
        let variables: Vec<_> = flags.map(|flag| flag.get_env().unwrap().to_str().unwrap()).collect();
        assert_eq!(variables, LaunchesInEtcd::VARIABLES.map(|(_, variable)| variable));
    }
}
