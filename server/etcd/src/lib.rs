//! The journal in an etcd cluster, which any number of servers share.
//!
//! A commit is one transaction, which compares what it was evaluated against ([`transaction`](self)); the state changes
//! only by what the watch delivers, whichever server has written; a read waits until the watch has delivered what etcd
//! had when the read began. So every server answers as if there were one.
//!
//! [`Documents`] are for a program that shares less: values under names, which are read from etcd each time.

mod config;
mod copy;
mod documents;
mod error;
mod journal;
mod layout;
mod load;
mod members;
mod read_index;
mod start;
mod stats;
#[cfg(test)]
mod tests;
mod transaction;
mod watch;

pub use config::{Config, Identity, Tls};
pub use copy::{Import, export};
pub use documents::{Document, Documents, Lock, Written};
pub use error::Error;
pub use journal::Etcd;
pub use start::connect;
pub use stats::{BOUNDS, Counters, JournalStats};
