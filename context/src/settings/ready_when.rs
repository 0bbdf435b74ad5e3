//! What a master waits for before it is ready: `cvm_master_ready_when`.

use std::fmt;
use std::path::{Component, Path, PathBuf};

/// Longest name of a systemd unit (`UNIT_NAME_MAX`, its NUL included).
const UNIT_NAME_BYTES: usize = 256;
/// What the unit after the boot does not see as the rest of the machine does (`PrivateTmp=`, `ProtectHome=`).
const UNSEEN: [&str; 5] = ["/tmp", "/var/tmp", "/home", "/root", "/run/user"];

/// One thing to wait for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReadyWhen {
    /// A TCP port that takes connections at the master's address.
    Tcp(u16),
    /// A unit that systemd has as active.
    Unit(String),
    /// A file that is there.
    File(PathBuf),
}

impl ReadyWhen {
    /// Reads one of the setting's items.
    ///
    /// # Errors
    /// What is wrong with it, for the end of a sentence about it.
    pub(super) fn parse(item: &str) -> Result<Self, &'static str> {
        match item.split_once(':') {
            Some(("tcp", port)) => {
                let port = port.parse().ok().filter(|port| *port != 0);
                port.map(Self::Tcp).ok_or("is no port: write tcp: and a number from 1 to 65535")
            }
            Some(("unit", unit)) if is_unit(unit) => Ok(Self::Unit(unit.to_owned())),
            Some(("unit", _)) => {
                Err("is no unit of systemd: write unit: and its name with its type, as slurmctld.service")
            }
            Some(("file", file)) => {
                let path = Path::new(file);
                let is_plain =
                    path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
                if !path.is_absolute() || !is_plain || file.contains(char::is_control) {
                    return Err("is no absolute path: write file: and a path such as /run/ready");
                }
                if UNSEEN.iter().any(|unseen| path.starts_with(unseen)) {
                    return Err("is where the agent's unit sees no other program's files: use /run");
                }
                Ok(Self::File(path.to_owned()))
            }
            _ => Err("is none of tcp:PORT, unit:NAME and file:/PATH"),
        }
    }
}

/// As systemd has it (`unit_name_is_valid`), without an instance's `@` at the beginning.
fn is_unit(name: &str) -> bool {
    let is_of_unit = |b: u8| b.is_ascii_alphanumeric() || b":-_.\\@".contains(&b);
    name.len() < UNIT_NAME_BYTES
        && name.bytes().all(is_of_unit)
        && !name.starts_with(['-', '@', '.'])
        && name.rsplit_once('.').is_some_and(|(_, kind)| !kind.is_empty())
}

/// As the setting has it.
impl fmt::Display for ReadyWhen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(port) => write!(f, "tcp:{port}"),
            Self::Unit(unit) => write!(f, "unit:{unit}"),
            Self::File(file) => write!(f, "file:{}", file.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes() {
        for item in [
            "tcp:6443",
            "tcp:1",
            "unit:slurmctld.service",
            "unit:k3s@a.service",
            "file:/run/ready",
            "file:/a:b",
        ] {
            assert_eq!(ReadyWhen::parse(item).unwrap().to_string(), item);
        }
    }

    #[test]
    fn refuses_what_could_never_be_met_or_is_a_command() {
        for (item, why) in [
            ("", "none of"),
            ("6443", "none of"),
            ("udp:53", "none of"),
            ("cmd:reboot", "none of"),
            ("tcp:", "no port"),
            ("tcp:0", "no port"),
            ("tcp:65536", "no port"),
            ("tcp:10.0.0.1:80", "no port"),
            ("unit:", "no unit"),
            ("unit:slurmctld", "no unit"),
            ("unit:--help.service", "no unit"),
            ("unit:a b.service", "no unit"),
            ("unit:$(reboot).service", "no unit"),
            ("file:", "no absolute path"),
            ("file:run/ready", "no absolute path"),
            ("file:/run/../etc/passwd", "no absolute path"),
            ("file:/tmp/ready", "use /run"),
            ("file:/home/alice/ready", "use /run"),
        ] {
            let error = ReadyWhen::parse(item).unwrap_err();
            assert!(error.contains(why), "{item}: {error}");
        }
        assert!(ReadyWhen::parse(&format!("unit:{}.service", "a".repeat(248))).is_err());
    }
}
