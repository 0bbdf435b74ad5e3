//! The settings of the ucernvm section: their table, what they come to, and which line sets what. The lint, the context
//! writer and README's table go by the table; a test holds README to it, and another finds a setting that is not read.
//!
//! To add a setting, add its row, its field and what reads it, all in this file.

use std::path::PathBuf;
use std::time::Duration;

use protocol::error::Error;
use protocol::url::ServiceUrl;
use protocol::{Pin, Secret, Trust};

use super::assignment::Assignment;
use super::read;
use super::ready_when::ReadyWhen;
use super::types::{AddressRule, AwaitedKeys, Role};
use crate::document::Section;

/// Makes the enum and its tables of one row for each setting, so that none can be forgotten in one of them.
macro_rules! settings {
    ($($(#[$doc:meta])* $setting:ident: $name:literal, $meaning:literal;)*) => {
        /// A setting of the ucernvm section.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Setting {
            $($(#[$doc])* $setting,)*
        }

        impl Setting {
            /// Every setting, in the order of README's table.
            pub const ALL: [Self; [$($name),*].len()] = [$(Self::$setting),*];

            /// The key of its line, in lower case.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$setting => $name,)*
                }
            }

            /// What it means, in one line of Markdown.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self {
                    $(Self::$setting => $meaning,)*
                }
            }
        }
    };
}

settings! {
    /// The pin of the cluster.
    Pin: "cvm_cluster_pin",
        "the pin; without it the agent does nothing";
    /// Whether the VM is the master.
    Master: "cvm_cluster_master",
        "`yes`, `on`, `true` or `1`: this VM is the master; `no`, `off`, `false`, `0` or no line: a slave";
    /// What the values are sealed with.
    Secret: "cvm_cluster_secret",
        "seals the cluster's values, so that the service cannot read or change them; the same 43 characters in \
         every context of the cluster ([docs/security.md](docs/security.md#a-sealed-cluster))";
    /// The pairing services.
    ServiceUrl: "cvm_service_url",
        "the service, or several with commas between; default `https://cernvm-online.cern.ch`; \
         a URL without a scheme means `http://`, or `https://` beside a CA or a fingerprint";
    /// How long to wait in all.
    Timeout: "cvm_cluster_timeout",
        "how many seconds to wait in all, 1 to 3600; default 1500";
    /// The keys to wait for.
    AwaitedKeys: "cvm_cluster_keys",
        "the keys to wait for besides `master_ip`; default: those that have a placeholder";
    /// The keys whose placeholders stay as they are.
    Literal: "cvm_cluster_literal",
        "the keys whose placeholders stay as they are: `master_ip` for a file that launches further VMs";
    /// The master's address as a literal.
    MasterIp: "cvm_cluster_master_ip",
        "the master's address, if the agent must not find it itself";
    /// The interface that has the master's address.
    Interface: "cvm_cluster_interface",
        "the network interface that has the master's address";
    /// The network that has the master's address.
    Network: "cvm_cluster_network",
        "the network that has the master's address: `10.0.0.0/8`";
    /// What the master waits for before it is ready.
    ReadyWhen: "cvm_master_ready_when",
        "what a master waits for after its boot before its slaves go on, with commas between: `tcp:6443`, \
         `unit:slurmctld.service`, `file:/run/ready`";
    /// Whether placeholders are substituted before cloud-init reads any part.
    Early: "cvm_cluster_early",
        "`yes`: substitute before cloud-init reads any part, so that `bootcmd` and the like are covered; \
         logins wait as long as a slave does ([cloud-init/README.md](cloud-init/README.md))";
    /// Whether the VM reports itself.
    Nodes: "cvm_cluster_nodes",
        "`no`: this VM does not report itself to the service; default `yes`, with a service that takes reports \
         ([docs/nodes.md](docs/nodes.md))";
    /// Which files are rendered anew when another master comes.
    Follow: "cvm_cluster_follow",
        "files of a slave, with commas between, that are rendered anew when another master comes, where \
         `cernvm-cluster-follow.service` is enabled ([docs/nodes.md](docs/nodes.md#following-the-master))";
    /// Whether what ran with literal placeholders runs again.
    Repair: "cvm_cluster_repair",
        "`yes`: what cloud-init ran once with literal placeholders or an earlier address runs again at the boot that \
         has the values; a module runs as a whole, so every script of the context runs again";
    /// The private CA of the service.
    ServiceCa: "cvm_service_ca",
        "the service's private CA: PEM in base64, in one line";
    /// The hash of the service's public key.
    ServiceFingerprint: "cvm_service_fingerprint",
        "`sha256:` and the hash of the service's public key, as `serve --tls-self-signed` prints it";
}

/// The settings of a VM that belongs to a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// `cvm_cluster_pin`.
    pub pin: Pin,
    /// `cvm_cluster_master`.
    pub role: Role,
    /// `cvm_cluster_secret`: what the values are sealed with; `None` where they are not.
    pub secret: Option<Secret>,
    /// `cvm_service_url`: never empty.
    pub services: Vec<ServiceUrl>,
    /// `cvm_service_ca` or `cvm_service_fingerprint`.
    pub trust: Trust,
    /// `cvm_cluster_timeout`: how long to wait in all.
    pub timeout: Duration,
    /// `cvm_cluster_keys`: which keys to wait for.
    pub keys: AwaitedKeys,
    /// `cvm_cluster_literal`: the keys whose placeholders stay as they are.
    pub literal: Vec<String>,
    /// `cvm_cluster_master_ip`, `cvm_cluster_interface`, `cvm_cluster_network`.
    pub address: AddressRule,
    /// `cvm_master_ready_when`: what a master waits for after its boot.
    pub ready_when: Vec<ReadyWhen>,
    /// `cvm_cluster_early`: substitute before cloud-init reads any part.
    pub early: bool,
    /// `cvm_cluster_follow`: the files that are rendered anew when another master comes.
    pub follow: Vec<PathBuf>,
    /// `cvm_cluster_nodes`: whether this VM reports itself to a service that takes reports.
    pub nodes: bool,
    /// `cvm_cluster_repair`: whether cloud-init runs again what ran with literal placeholders.
    pub repair: bool,
}

impl Settings {
    /// Reads each setting from its line.
    ///
    /// # Errors
    /// That of the first setting that makes no sense.
    pub(super) fn read(pin: &Assignment<'_>, lines: &Assignments<'_>) -> Result<Self, Error> {
        let trust = read::trust(lines.get(Setting::ServiceCa), lines.get(Setting::ServiceFingerprint))?;
        Ok(Self {
            pin: read::pin(pin)?,
            role: if read::switch(lines.get(Setting::Master), false)? { Role::Master } else { Role::Slave },
            secret: read::secret(lines.all(Setting::Secret))?,
            services: read::services(lines.get(Setting::ServiceUrl), trust != Trust::WebPki)?,
            trust,
            timeout: read::timeout(lines.get(Setting::Timeout))?,
            keys: lines
                .last(Setting::AwaitedKeys)
                .map_or(Ok(AwaitedKeys::WithPlaceholder), |line| read::names(&line).map(AwaitedKeys::Only))?,
            literal: lines.get(Setting::Literal).map_or(Ok(Vec::new()), |line| read::names(&line))?,
            address: read::address(
                lines.get(Setting::MasterIp),
                lines.get(Setting::Interface),
                lines.get(Setting::Network),
            )?,
            ready_when: read::ready_when(lines.get(Setting::ReadyWhen))?,
            early: read::switch(lines.get(Setting::Early), false)?,
            follow: read::follow(lines.get(Setting::Follow))?,
            nodes: read::switch(lines.get(Setting::Nodes), true)?,
            repair: read::switch(lines.get(Setting::Repair), false)?,
        })
    }
}

impl Setting {
    /// The setting of a key in lower case.
    #[must_use]
    pub fn named(key: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|setting| setting.name() == key)
    }

    /// The setting that a key was probably meant to be.
    #[must_use]
    pub fn nearest(key: &str) -> Option<Self> {
        Self::named(crate::nearest::nearest(key, &Self::ALL.map(Self::name))?)
    }
}

/// The lines of all sections.
pub(super) struct Assignments<'a>(pub(super) &'a [Section]);

impl<'a> Assignments<'a> {
    /// The lines of this setting, the last one first.
    fn all(&self, setting: Setting) -> impl Iterator<Item = Assignment<'a>> {
        self.0.iter().rev().flat_map(move |section| {
            let entries = section.entries().iter().rev().filter(move |entry| entry.key == setting.name());
            entries.map(move |entry| Assignment {
                key: &entry.key,
                value: &entry.value,
                section,
                number: entry.line,
            })
        })
    }

    /// The last line of this setting.
    pub(super) fn last(&self, setting: Setting) -> Option<Assignment<'a>> {
        self.all(setting).next()
    }

    /// The last line of this setting, if that has a value.
    pub(super) fn get(&self, setting: Setting) -> Option<Assignment<'a>> {
        self.last(setting).filter(|line| !line.value.is_empty())
    }

    /// Refuses a line that was probably meant as this setting and does not set it; `consequence` says why that matters.
    pub(super) fn refuse_meant(&self, setting: Setting, consequence: &str) -> Result<(), Error> {
        let name = setting.name();
        for section in self.0 {
            let unknown = section.entries().iter().filter(|entry| Setting::named(&entry.key).is_none());
            let misspelt = unknown
                .filter(|entry| Setting::nearest(&entry.key) == Some(setting))
                .map(|entry| (entry.line, entry.key.as_str()));
            let ignored = section.ignored_lines().iter().map(|line| (line.number, line.key.as_str()));
            let meant = ignored.filter(|(_, key)| *key == name || Setting::nearest(key) == Some(setting));
            if let Some((line, key)) = misspelt.chain(meant).next() {
                let problem = format!("{key:?} is probably meant as {name}, and {consequence}");
                return Err(Error::context(section.place_of(line), problem, format!("write {name}=VALUE")));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::Document;

    #[test]
    fn is_the_table_of_the_readme() {
        let readme = include_str!("../../../README.md");
        let rows = readme.lines().filter(|line| line.starts_with("| `cvm_"));
        let table = Setting::ALL.map(|setting| format!("| `{}` | {} |", setting.name(), setting.meaning()));
        assert_eq!(rows.collect::<Vec<_>>(), table, "README.md should have\n{}", table.join("\n"));
    }

    /// No setting takes this value, so a setting that takes it is read by nothing.
    #[test]
    fn every_setting_is_read() {
        for setting in Setting::ALL {
            let lines = format!("cvm_cluster_pin=enico1qq0oey\n{}=/no value/\n", setting.name());
            let text = format!("[ucernvm-begin]\n{lines}[ucernvm-end]\n");
            let section = Document::parse("f", text.into_bytes()).unwrap().section().unwrap();
            let found = Settings::from_sections(section.as_slice());
            let error = found.expect_err(&format!("nothing reads {}", setting.name()));
            assert!(error.to_string().contains(setting.name()), "{}: {error}", setting.name());
        }
    }

    #[test]
    fn finds_a_setting_by_its_name_and_by_one_like_it() {
        for setting in Setting::ALL {
            assert_eq!(Setting::named(setting.name()), Some(setting));
        }
        assert_eq!(Setting::named("cvm_sevice_url"), None);
        assert_eq!(Setting::nearest("cvm_sevice_url"), Some(Setting::ServiceUrl));
        assert_eq!(Setting::nearest("cvm_cluster_pim"), Some(Setting::Pin));
        assert_eq!(Setting::nearest("resize_rootfs"), None);
    }
}
