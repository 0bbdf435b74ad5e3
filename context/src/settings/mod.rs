//! What the ucernvm section sets, read into types.

mod assignments;
mod read;
mod ready_when;
mod table;

use std::net::IpAddr;
use std::time::Duration;

use protocol::Network;
use protocol::key::MASTER_IP;

pub use ready_when::ReadyWhen;
pub use table::{Setting, Settings};

/// The pairing service of CernVM, used where `cvm_service_url` is not set (as the original agent did).
pub const DEFAULT_SERVICE_URL: &str = "https://cernvm-online.cern.ch";
/// `cvm_cluster_timeout` where it is not set: the original's 50 tries, 25 s plus 0 to 9 s apart.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(1500);
/// The longest `cvm_cluster_timeout`: a boot that waits longer has a problem that waiting does not solve.
pub const MAX_TIMEOUT: Duration = Duration::from_secs(3600);

impl Settings {
    /// Whether a run on this VM is to replace the placeholders of this key. A master brings its own address alone.
    #[must_use]
    pub fn brings(&self, key: &str) -> bool {
        let is_awaited = match &self.keys {
            AwaitedKeys::WithPlaceholder => true,
            AwaitedKeys::Only(names) => names.iter().any(|name| name == key),
        };
        !self.literal.iter().any(|literal| literal == key)
            && (key == MASTER_IP || self.role == Role::Slave && is_awaited)
    }
}

/// What a VM is in its cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It pushes its address.
    Master,
    /// It awaits the master's.
    Slave,
}

/// Which keys a slave waits for besides `master_ip`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AwaitedKeys {
    /// Those that have a placeholder.
    WithPlaceholder,
    /// These, and no other; without repetition.
    Only(Vec<String>),
}

/// How the master's address is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AddressRule {
    /// The address of the socket that reached the service, with the exceptions in `address.rs`.
    Route,
    /// `cvm_cluster_master_ip`.
    Literal(IpAddr),
    /// `cvm_cluster_interface`: the first global address of this interface, IPv4 before IPv6.
    Interface(String),
    /// `cvm_cluster_network`: the first address inside this network.
    Network(Network),
}

/// What the sections of a VM's context say about its cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "a run reads it once")]
pub enum FoundSection {
    /// It belongs to one.
    Cluster(Settings),
    /// There is a section but no pin in it, so there is nothing to do.
    NoPin {
        /// Where the section begins.
        place: String,
    },
    /// There is no section, so there is nothing to do.
    NoSection,
}
