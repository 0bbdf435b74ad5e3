//! The settings of the ucernvm section, in one table. The reader, the lint, the context writer and README's table go by
//! it; a test holds README to it.

/// A setting of the ucernvm section.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Setting {
    /// The pin of the cluster.
    Pin,
    /// Whether the VM is the master.
    Master,
    /// What the values are sealed with.
    Secret,
    /// The pairing services.
    ServiceUrl,
    /// How long to wait in all.
    Timeout,
    /// The keys to wait for.
    Keys,
    /// The master's address as a literal.
    MasterIp,
    /// The interface that has the master's address.
    Interface,
    /// The network that has the master's address.
    Network,
    /// What the master waits for before it is ready.
    ReadyWhen,
    /// Whether placeholders are substituted before cloud-init reads any part.
    Early,
    /// Whether the VM reports itself.
    Nodes,
    /// Whether what ran with literal placeholders runs again.
    Repair,
    /// The private CA of the service.
    ServiceCa,
    /// The hash of the service's public key.
    ServiceFingerprint,
}

impl Setting {
    /// Every setting, in the order of README's table.
    pub const ALL: [Self; 15] = [
        Self::Pin,
        Self::Master,
        Self::Secret,
        Self::ServiceUrl,
        Self::Timeout,
        Self::Keys,
        Self::MasterIp,
        Self::Interface,
        Self::Network,
        Self::ReadyWhen,
        Self::Early,
        Self::Nodes,
        Self::Repair,
        Self::ServiceCa,
        Self::ServiceFingerprint,
    ];

    /// The key of its line, in lower case.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pin => "cvm_cluster_pin",
            Self::Master => "cvm_cluster_master",
            Self::Secret => "cvm_cluster_secret",
            Self::ServiceUrl => "cvm_service_url",
            Self::Timeout => "cvm_cluster_timeout",
            Self::Keys => "cvm_cluster_keys",
            Self::MasterIp => "cvm_cluster_master_ip",
            Self::Interface => "cvm_cluster_interface",
            Self::Network => "cvm_cluster_network",
            Self::ReadyWhen => "cvm_master_ready_when",
            Self::Early => "cvm_cluster_early",
            Self::Nodes => "cvm_cluster_nodes",
            Self::Repair => "cvm_cluster_repair",
            Self::ServiceCa => "cvm_service_ca",
            Self::ServiceFingerprint => "cvm_service_fingerprint",
        }
    }

    /// What it means, in one line of Markdown.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Pin => "the pin; without it the agent does nothing",
            Self::Master => {
                "`yes`, `on`, `true` or `1`: this VM is the master; `no`, `off`, `false`, `0` or no line: a slave"
            }
            Self::Secret => {
                "seals the cluster's values, so that the service cannot read or change them; the same 43 characters in \
                 every context of the cluster ([docs/security.md](docs/security.md#a-sealed-cluster))"
            }
            Self::ServiceUrl => {
                "the service, or several with commas between; default `https://cernvm-online.cern.ch`; \
                 a URL without a scheme means `http://`, or `https://` beside a CA or a fingerprint"
            }
            Self::Timeout => "how many seconds to wait in all, 1 to 3600; default 1500",
            Self::Keys => "the keys to wait for besides `master_ip`; default: those that have a placeholder",
            Self::MasterIp => "the master's address, if the agent must not find it itself",
            Self::Interface => "the network interface that has the master's address",
            Self::Network => "the network that has the master's address: `10.0.0.0/8`",
            Self::ReadyWhen => {
                "what a master waits for after its boot before its slaves go on, with commas between: `tcp:6443`, \
                 `unit:slurmctld.service`, `file:/run/ready`"
            }
            Self::Early => {
                "`yes`: substitute before cloud-init reads any part, so that `bootcmd` and the like are covered; \
                 logins wait as long as a slave does ([cloud-init/README.md](cloud-init/README.md))"
            }
            Self::Repair => {
                "`yes`: what cloud-init ran once with literal placeholders or an earlier address runs again at the boot that \
                 has the values; a module runs as a whole, so every script of the context runs again"
            }
            Self::Nodes => {
                "`no`: this VM does not report itself to the service; default `yes`, with a service that takes reports \
                 ([docs/nodes.md](docs/nodes.md))"
            }
            Self::ServiceCa => "the service's private CA: PEM in base64, in one line",
            Self::ServiceFingerprint => {
                "`sha256:` and the hash of the service's public key, as `serve --tls-self-signed` prints it"
            }
        }
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_the_table_of_the_readme() {
        let readme = include_str!("../../../README.md");
        let rows = readme.lines().filter(|line| line.starts_with("| `cvm_"));
        let table = Setting::ALL.map(|setting| format!("| `{}` | {} |", setting.name(), setting.meaning()));
        assert_eq!(rows.collect::<Vec<_>>(), table, "README.md should have\n{}", table.join("\n"));
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
