//! What the parts and their subjects are called, in the results and in the goals.

pub(crate) const GETS: &str = "GET of a key, 16 clients";
pub(crate) const CONNECTS: &str = "a connection for each GET";
pub(crate) const INSTRUCTIONS: &str = "instructions per GET";
/// How many clients write at a time.
pub(crate) const WRITERS: [usize; 3] = [1, 16, 64];
/// How many wait.
pub(crate) const CROWDS: [usize; 2] = [10_000, 19_000];
pub(crate) const PAIRS: &str = "master-ready to the slave's file";
pub(crate) const SIZE: &str = "size of the agent";
pub(crate) const PINS: &str = "live pins";
pub(crate) const FEW_PINS: &str = "few pins";
pub(crate) const MANY_PINS: &str = "many pins";
pub(crate) const EXPIRY: &str = "many pins expiring at once";
pub(crate) const ABUSE: &str = "an honest client beside abuse";
pub(crate) const ALONE: &str = "alone";
pub(crate) const BESIDE: &str = "beside abuse";
pub(crate) const BEFORE: &str = "before";
pub(crate) const DURING: &str = "while they expire";
pub(crate) const ON_ETCD: &str = "ours on etcd";
pub(crate) const BARE_ETCD: &str = "bare etcd";
pub(crate) const ETCD_GETS: &str = "linearizable reads of a key, 16 clients";
pub(crate) const ETCD_WAKE: &str = "POST at one server to the answer at another";

pub(crate) fn etcd_writes(clients: usize) -> String {
    format!("durable writes in etcd, {clients} at a time")
}

pub(crate) fn etcd_waiters(size: usize) -> String {
    format!("{size} waiters on a key, beside those with etcd")
}

pub(crate) fn writes(clients: usize) -> String {
    format!("durable writes, {clients} at a time")
}

pub(crate) fn waiters(size: usize) -> String {
    format!("{size} waiters on a key")
}

pub(crate) fn waiters_over_tls(size: usize) -> String {
    format!("{size} waiters on a key, TLS")
}

pub(crate) fn agent(scheme: &str) -> String {
    format!("a slave over {scheme}, data ready")
}
