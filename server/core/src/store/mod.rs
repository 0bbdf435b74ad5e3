//! The store: what it keeps, and what it promises.
//!
//! One state machine in memory evaluates every operation and answers every read ([`Store`]). A [`Journal`] behind it
//! makes batches of changes durable: none, an embedded database, or another that a caller brings.
//!
//! # The promises
//! The store keeps these with every journal; `suite.rs` holds each of them to it.
//!
//! 1. **Durable**: a write is answered only after it would survive a power cut (without a journal: for the life of the
//!    process only). A write that was answered with [`Refused::Failed`](crate::Refused::Failed) or
//!    [`Refused::Unreachable`](crate::Refused::Unreachable) may or may not have happened. While the journal hangs, reads
//!    are answered, and a write is refused with the latter after ten seconds, later ones at once.
//! 2. **Atomic**: a write happens whole or not at all; a rename never leaves both names or neither.
//! 3. **Once**: of any number of concurrent creations of one key under one pin, exactly one succeeds and the others
//!    get [`Refused::KeyExists`](crate::Refused::KeyExists).
//! 4. **In order**: a read that starts after a write was answered sees that write. No read sees a write that is not
//!    yet durable.
//! 5. **Expiry is exact**: from the moment [`Cluster::expires`] on, the pin is unknown to every call, also after a
//!    restart, and also when the clock steps back. The store's clock never steps back while the process lives; for the
//!    time after a restart the journal holds a high-water mark, and no pin beyond the mark is called unknown before
//!    the mark has been moved past it. The sweeper moves the mark ahead of time, so reads need not write. What had expired when the
//!    store was opened is not loaded; should that clock have been wrong, it is there again after a restart with a right
//!    one, for ten minutes (then it is deleted).
//! 6. **Changes are told**: the [`Observer`] hears of every change after it is durable and visible to reads, in the
//!    order in which the changes of one pin happened; of an expiry, when the pin is removed. It is called on the
//!    writer's path, so it must be quick.
//! 7. **Bounded**: at most `Limits::keys_per_pin` keys and `Limits::bytes_per_pin` bytes of them a pin,
//!    `Limits::nodes_per_pin` nodes and `Limits::node_bytes_per_pin` bytes of them, and
//!    `Limits::pins` pins and `Limits::bytes` bytes in all; past that, a refusal that changes nothing.

mod append_log;
mod batch;
mod block_on;
mod changes;
pub mod copy;
mod database;
mod device;
mod embedded;
#[cfg(test)]
mod faults;
mod file;
mod folding;
mod frame;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod group;
mod handle;
mod health;
mod journal;
mod layout;
mod logged;

#[cfg(any(test, feature = "suite"))]
mod model;
mod nodes;
mod observer;
mod offline;
mod operation;
mod pending;
mod pins;
#[cfg(test)]
mod powercut;
mod record;
mod reserve;
mod shared;
#[cfg(test)]
mod shared_journal;
pub mod snapshot;
mod state;
#[cfg(any(test, feature = "suite"))]
#[doc(hidden)]
pub mod suite;
#[cfg(test)]
mod testdisk;
mod types;
mod write_queue;
mod writer;

pub use changes::{Changes, ClusterChange};
pub use embedded::{FILE_NAME, LOG_NAME};
pub use handle::Store;
pub use journal::{BatchLimits, CommitError, Foreign, Journal, ReadIndex};
pub use layout::FORMAT;
pub use nodes::{Node, NodeClass, NodeCounts, NodeListing, NodesWanted};
pub use observer::{Change, Observer};
pub use offline::{AtRest, OfflineStats, Purged};
pub use operation::{Operation, Outcome};
pub use pins::PinKey;
pub use reserve::RESERVE_NAME;
pub use state::{Entry, NumberedKey};
pub use types::{Charge, Cluster, Id, Key, Limits, PINS, Stats, Update};
