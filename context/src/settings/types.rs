//! What settings come to that no other crate has a type for.

use std::net::IpAddr;

use protocol::Network;

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
