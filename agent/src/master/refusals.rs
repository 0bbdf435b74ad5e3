//! Why a master stays away, in words.

use std::net::IpAddr;

use crate::backoff::Clock;
use crate::session::Session;
use client::Service;
use protocol::error::{Error, Status};

/// Most characters that are shown of a value that another program put under the pin.
pub(super) const SHOWN: usize = 64;

/// This master was the cluster's, and another one has taken its place since. Its address may be one that this machine
/// holds too, but has not put there.
pub(super) fn replaced<S: Service, C: Clock>(
    session: &Session<S, C>,
    address: IpAddr,
    other: &str,
    held: bool,
) -> Error {
    let what = format!(
        "another master, {}{}, has replaced this one, {address}, in the cluster at {}: this one stays away",
        shown(other),
        if held { " (an address that this machine has too, and did not put there)" } else { "" },
        session.service_name()
    );
    let next = "shut this VM down, or take the cluster back with `cernvm-cluster-agent master-ready --force`";
    Error::new(Status::Nonsense, what, next)
}

/// This machine has the disk of a master of this cluster, and was given no context of its own.
pub(super) fn clone_of_master<S: Service, C: Clock>(
    session: &Session<S, C>,
    address: IpAddr,
    other: &str,
) -> Error {
    let what = format!(
        "this machine, {address}, is a clone of a master, and {} is the master of the cluster at {}: this one stays away",
        shown(other),
        session.service_name()
    );
    let next = "give this VM user-data of its own, or have it take the cluster over with \
                `cernvm-cluster-agent master-ready --force`";
    Error::new(Status::Nonsense, what, next)
}

/// A value of another program, fit for a console.
pub(super) fn shown(other: &str) -> String {
    other.chars().filter(|c| !c.is_control()).take(SHOWN).collect()
}
