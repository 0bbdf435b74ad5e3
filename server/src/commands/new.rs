//! `new`: a cluster in one step: its pin, its secret, its contexts, and what to run next.

use std::path::PathBuf;

use clap::Args;

use super::contexts::{MadeCluster, NewCluster, refuse_existing, write_new};
use crate::error::Error;

/// What to make.
#[derive(Debug, Args)]
pub struct New {
    /// What the cluster is called: the files are NAME-master.txt, NAME-slave.txt and NAME-secret.txt.
    #[arg(value_name = "NAME", value_parser = name)]
    name: String,
    /// How many nodes the cluster has, the master among them.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    nodes: u32,
    /// What the contexts are made from.
    #[command(flatten)]
    cluster: NewCluster,
}

/// Longest name, in characters: that of a host, with what is put behind it.
const MAX_NAME: usize = 48;

/// A name that is also a part of host names and files.
fn name(text: &str) -> Result<String, String> {
    let is_allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if text.is_empty() || text.len() > MAX_NAME || !text.chars().all(is_allowed) || text.starts_with('-') {
        return Err(format!(
            "a name has 1 to {MAX_NAME} small letters, digits and hyphens, and no hyphen first"
        ));
    }
    Ok(text.to_owned())
}

impl New {
    /// Makes the cluster and writes its files, readable for this user alone; an existing file is not written over. Gives
    /// what to run next.
    ///
    /// # Errors
    /// No VM could use the URL, no pin or secret can be made, or a file cannot be read or written.
    pub fn run(&self) -> Result<String, Error> {
        let [master, slave, secret] =
            ["master", "slave", "secret"].map(|what| PathBuf::from(format!("{}-{what}.txt", self.name)));
        refuse_existing([&master, &slave, &secret])?;
        let made = self.cluster.make()?;
        write_new(&master, &made.contexts[0])?;
        write_new(&slave, &made.contexts[1])?;
        if let Some(value) = &made.secret {
            write_new(&secret, &format!("{}\n", value.reveal()))?;
        }
        Ok(self.next_steps(&made))
    }

    fn next_steps(&self, made: &MadeCluster) -> String {
        let Self { name, nodes, .. } = self;
        let (pin, url) = (made.pin.reveal(), &made.url);
        let (known, sealed) = (self.cluster.access.flags(), made.secret.is_some());
        let files = if sealed {
            format!("{name}-slave.txt and {name}-secret.txt")
        } else {
            format!("{name}-slave.txt")
        };
        let secret = if sealed { format!(" --secret-file {name}-secret.txt") } else { String::new() };
        let slaves = nodes - 1;
        let slaves = match slaves {
            0 => String::new(),
            1 => format!("\n  openstack server create … --user-data {name}-slave.txt {name}-slave"),
            _ => format!(
                "\n  openstack server create … --user-data {name}-slave.txt --min {slaves} --max {slaves} {name}-slave"
            ),
        };
        let note =
            if sealed { "\nThe cluster is sealed: every node needs cernvm-cluster-agent." } else { "" };
        format!(
            "wrote {name}-master.txt, {files}{note}\n\
             Launch the machines, in any order:\n  \
             openstack server create … --user-data {name}-master.txt {name}-master{slaves}\n\
             Watch them come up:\n  \
             echo {pin} | cernvm-pairing-server watch --url {url}{known} --nodes {nodes}{secret} -\n  \
             {}/cluster_pairing#{pin}",
            made.public
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_names_that_hosts_and_files_can_have() {
        for (text, is_name) in [
            ("slurm-1", true),
            ("a", true),
            ("", false),
            ("-a", false),
            ("a/b", false),
            ("A", false),
            ("a b", false),
            (&"a".repeat(49), false),
        ] {
            assert_eq!(name(text).is_ok(), is_name, "{text}");
        }
    }
}
