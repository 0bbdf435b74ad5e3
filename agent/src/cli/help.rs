//! The help: of the program, and of each command.

use std::fmt::Write as _;

use protocol::error::Status;

/// The flags of the commands that look at another cluster, too.
macro_rules! cluster_flags {
    () => {
        "
CLUSTER, where this VM's own is not meant:
  --pin PIN        its pin
  --url URL        its service (default as in the section)
  --secret-file FILE
                   its secret, where it has one
"
    };
}

/// A command as its help presents it.
#[derive(Debug, PartialEq, Eq)]
pub struct CommandHelp {
    /// Its name.
    pub name: &'static str,
    /// Its arguments, in one line for each form.
    pub usage: &'static [&'static str],
    /// What it does, in one line.
    pub summary: &'static str,
    /// What else to know, for its own help.
    pub details: &'static str,
}

/// Every command, in the order of the help.
pub const COMMANDS: &[CommandHelp] = &[
    CommandHelp {
        name: "contextualize",
        usage: &["[--no-wait] [FILE]...", "--cloud-init [FILE]...", "--early PART...", "--bootloader"],
        summary: "push (master) or await (slave) the values, and substitute the placeholders",
        details: "\
A master stores its address under the pin. A slave waits until its master is
ready. Then both substitute the placeholders in each FILE; without FILE, in the
user-data files themselves.

  --cloud-init     substitute in what cloud-init's later stages read; FILEs are
                   parts of the user-data that cloud-init has not looked at yet
  --early          substitute in these parts of cloud-init's user-data, if the
                   section says cvm_cluster_early=yes
  --bootloader     substitute in the user-data of the µCernVM boot loader
  --no-wait        a slave looks once and does not wait
",
    },
    CommandHelp {
        name: "master-ready",
        usage: &["[--force | --withdraw]"],
        summary: "tell the slaves that this master has booted",
        details: "\
Stores master_ready under the pin, after it has made sure of master_ip, of
what publish was asked to store since the boot, and of what the section's
cvm_master_ready_when names. It does nothing on a slave and
on a VM without a cluster.

  --force          take the cluster back from a master that replaced this one
  --withdraw       at shutdown: this master is not ready any more
",
    },
    CommandHelp {
        name: "publish",
        usage: &["[--secret-file FILE] KEY VALUE|@FILE|-"],
        summary: "store a value under the pin",
        details: "\
The value comes from the command line, a file or standard input; one newline at
the end is cut off. A VALUE on the command line shows in ps, so secrets come
through - :

  cat /var/lib/node-token | cernvm-cluster-agent publish k3s_token -

Where the section has a cvm_cluster_secret, the service gets the value sealed.

  --secret-file FILE
                   the secret, where the section has none
",
    },
    CommandHelp {
        name: "get",
        usage: &["[--wait] [--secret-file FILE] KEY"],
        summary: "print a value",
        details: "  --wait           wait for the key, as long as cvm_cluster_timeout says
  --secret-file FILE
                   the cluster's secret, where the section has none
",
    },
    CommandHelp {
        name: "nodes",
        usage: &["[--format FORMAT] [--write FILE] [CLUSTER]"],
        summary: "show the nodes of the cluster: who is there, and how far",
        details: concat!(
            "\
The table has every node that has reported. hosts, known_hosts and hostfile have
those that have joined; --write puts their lines into FILE, between two marker
lines, and leaves the rest of FILE as it is.

  --format FORMAT  table (default), json, hosts, known_hosts or hostfile
  --write FILE     for example /etc/hosts or /etc/ssh/ssh_known_hosts
",
            cluster_flags!()
        ),
    },
    CommandHelp {
        name: "wait",
        usage: &[
            "--nodes N [--state STATE] [--role ROLE]",
            "--nodes N [--at-least M] --for SECONDS",
            "--expect FILE",
        ],
        summary: "wait until nodes are there",
        details: concat!(
            "\
Prints the nodes once N are there. It waits as long as cvm_cluster_timeout says;
then it prints who is missing, and the exit status is 75.

  --nodes N        so many, at most 10000
  --state STATE    ready (default), or joined, which counts those that are ready
  --role ROLE      only master or slave
  --for SECONDS    wait so long at most
  --at-least M     after that time M are enough
  --expect FILE    only nodes of these names count, one in a line; without
                   --nodes all of them
",
            cluster_flags!()
        ),
    },
    CommandHelp {
        name: "status",
        usage: &["[--nodes N] [--timeout S] [--json] [CLUSTER]"],
        summary: "look on while the cluster comes up: master, keys, nodes",
        details: concat!(
            "\
Shows the cluster until its master is ready: on a terminal as a table that stays
up to date, else as a line for each change. The exit status is 0 once it is
ready, and 75 when the time is over.

  --nodes N        until so many nodes are ready too, at most 10000
  --timeout S      look on for S seconds at most (default: until the pin ends)
  --json           one JSON object in a line at each change
",
            cluster_flags!()
        ),
    },
    CommandHelp {
        name: "follow",
        usage: &[""],
        summary: "on a running slave: render files anew when another master comes",
        details: "\
It waits until the pin ends. When a master at another address is ready, it
renders the files of cvm_cluster_follow from pristine copies and runs the
programs in /etc/cernvm-cluster/changed.d with CVM_MASTER_IP set. A file that
was edited since is left alone. cernvm-cluster-follow.service starts it.
",
    },
    CommandHelp {
        name: "check",
        usage: &["[--json] [--strict] FILE..."],
        summary: "look for mistakes in contexts before a VM boots with them",
        details: "\
It needs no network. Several files are compared with each other as contexts of
one cluster. The exit status is 65 when a context will not work.

  --json           print one JSON object instead of lines
  --strict         take warnings for errors
",
    },
    CommandHelp {
        name: "doctor",
        usage: &["[--json]"],
        summary: "inside a guest: what is wrong, and what repairs it",
        details: "\
First this VM: whether it is contextualized, with which address, since when, and
whether that is still true; then the service. It changes nothing and does not
wait. A line begins with 'ok', with 'note' (to know, but this VM works) or with
'!!' (wrong). The exit status is that of the severest '!!'.

  --json           print one JSON object instead of lines
",
    },
];

/// The options of every command, as the help has them.
pub const OPTIONS: &str = "\
options
  --root DIR       take every absolute path below DIR (default /)
  --user-data FILE the context that holds the ucernvm section; given more than
                   once, later ones override (default: where cloud-init, the
                   µCernVM boot loader or amiconfig keep it)
  --verbose        say more
  --help           print the help, also that of a command
  --version        print the version
";

/// The help of the program, or of one of [`COMMANDS`].
#[must_use]
pub fn help(command: Option<&CommandHelp>) -> String {
    let mut text = String::new();
    if let Some(command) = command {
        let _ = writeln!(text, "cernvm-cluster-agent {}\n{}\n", command.name, command.summary);
        for (index, form) in command.usage.iter().enumerate() {
            let begin = if index == 0 { "usage:" } else { "      " };
            let line = format!("{begin} cernvm-cluster-agent {} {form}", command.name);
            let _ = writeln!(text, "{}", line.trim_end());
        }
        let _ = writeln!(text, "\n{}", command.details);
    } else {
        text.push_str("cernvm-cluster-agent: pushes or awaits the values of a cluster's master\n\n");
        text.push_str("usage: cernvm-cluster-agent [--root DIR] [--verbose] COMMAND ...\n\n");
        for command in COMMANDS {
            for form in command.usage {
                let _ = writeln!(text, "  {}", format!("{} {form}", command.name).trim_end());
            }
            let _ = writeln!(text, "      {}", command.summary);
        }
        text.push_str("\nEach command has its own help: cernvm-cluster-agent COMMAND --help\n\n");
    }
    text.push_str(OPTIONS);
    text.push_str("\nexit status\n  0   done or nothing to do\n");
    for status in Status::ALL {
        let _ = writeln!(text, "  {}  {}", status.code(), status.meaning());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fits_a_console_and_names_every_command_and_option() {
        let all = help(None);
        for command in COMMANDS {
            assert!(all.contains(command.summary), "{}", command.name);
            let own = help(Some(command));
            assert!(own.starts_with(&format!("cernvm-cluster-agent {}\n", command.name)), "{own}");
            for line in own.lines().chain(all.lines()) {
                assert!(line.chars().count() <= 80, "{line}");
            }
        }
        let everything: String = COMMANDS.iter().map(|command| help(Some(command))).collect();
        for option in crate::cli::parse::OPTIONS {
            assert!(everything.contains(option), "{option}");
        }
    }
}
