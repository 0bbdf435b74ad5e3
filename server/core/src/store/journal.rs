//! What stands behind the state: something that makes changes durable.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use tokio::runtime::Handle;

use super::changes::Changes;
use super::nodes::Node;
use super::pins::PinKey;
use super::snapshot::Snapshot;
use super::state::{Entry, NumberedKey};
use super::types::Id;
use crate::Refused;
use crate::clock::Timestamp;

/// Makes batches of changes durable. The store evaluates operations in memory, gives the journal what they change, and
/// shows readers the changes once the journal has them.
///
/// A journal may be shared with other processes ([`Journal::SHARED`]). Then the state changes in one way only, whichever
/// process has written: the store takes in what the journal delivers, by [`Journal::commit`] and by
/// [`Journal::foreign`], in the order in which it happened. A commit whose comparison is lost is
/// [`CommitError::Outdated`]: the store takes in what the others changed and evaluates the same operations again.
pub trait Journal: Send + 'static {
    /// Whether other processes write to it too.
    const SHARED: bool = false;
    /// What bounds a batch.
    const BATCH: BatchLimits = BatchLimits::LARGE;

    /// Where the writer runs as a task, of a journal that never blocks; `None`: it has a thread of its own.
    fn runtime(&self) -> Option<Handle> {
        None
    }

    /// Makes changes durable, all or none. Without changes it is a commit all the same, which shows that a write would
    /// go through.
    ///
    /// A shared journal compares every cluster of [`Changes::of_clusters`] with what it has delivered of it, also those
    /// that were only looked at. It gives all that happened up to the commit and was not delivered before, these changes
    /// among it. A journal that is not shared gives nothing.
    ///
    /// # Errors
    /// See [`CommitError`].
    fn commit(&mut self, changes: &Changes)
    -> impl Future<Output = Result<Vec<Foreign>, CommitError>> + Send;

    /// Finds out whether changes happened whose commit ended [`CommitError::InDoubt`]. A shared journal is not asked: it
    /// delivers what happened.
    ///
    /// # Errors
    /// It still cannot be told.
    fn resolve(&mut self, changes: &Changes) -> impl Future<Output = Result<bool, Refused>> + Send;

    /// The next changes that no commit has given. A journal without others never ends this. May be dropped at any time
    /// without a loss.
    fn foreign(&mut self) -> impl Future<Output = Vec<Foreign>> + Send {
        std::future::pending()
    }

    /// Readers see everything that was delivered so far.
    fn taken_in(&mut self) {}

    /// Where reads learn how far the state must have come; `None`: it is always current.
    fn read_index(&self) -> Option<Arc<dyn ReadIndex>> {
        None
    }

    /// What is durable now, for a backup.
    ///
    /// # Errors
    /// The journal cannot say it, now or ever.
    fn snapshot(&self) -> Result<Snapshot, Refused>;
}

/// What bounds a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchLimits {
    /// Most operations.
    pub operations: usize,
    /// Most bytes of names and values; one operation alone may have more.
    pub bytes: usize,
    /// Most expired clusters that one operation removes.
    pub swept: usize,
    /// Most expired and unused clusters that all operations of a batch remove together.
    pub removed: usize,
}

impl BatchLimits {
    /// For a journal on a disk. Where there is no log, a commit by itself costs 60 µs of processor time and a sync; each
    /// write in it costs 5 µs more if it creates and 15 µs if it changes a random record among a million. So a full batch
    /// takes about 15 ms, and with 512 writers a bound of 512 or 1024 gave a third more than one of 128, and several
    /// times what 32 gave.
    ///
    /// Each cluster that a sweep removes costs 4 µs of the writer's time, so one sweep takes less than a millisecond,
    /// which the writes that share its commit hardly notice beside the sync.
    pub const LARGE: Self = Self { operations: 1024, bytes: usize::MAX, swept: 200, removed: usize::MAX };
}

/// Lets a read wait until the state holds everything that was durable when the read began, in whichever process it was
/// written.
pub trait ReadIndex: Send + Sync + 'static {
    /// Waits for that.
    ///
    /// # Errors
    /// It cannot be told in a few seconds what is durable.
    fn reached(&self) -> Pin<Box<dyn Future<Output = Result<(), Refused>> + Send + '_>>;
}

/// What came of a commit that failed.
#[derive(Debug)]
pub enum CommitError {
    /// Nothing was changed.
    Undone(Refused),
    /// Only [`Journal::resolve`], or what a shared journal delivers, can tell whether it happened.
    InDoubt(Refused),
    /// Another process changed a pin in between. Nothing of this commit happened.
    Outdated(Vec<Foreign>),
}

/// What a shared journal delivers, in the order in which it happened.
#[derive(Debug, Clone)]
pub enum Foreign {
    /// A cluster as it is now.
    Cluster {
        /// Its pin.
        pin: PinKey,
        /// Itself, with its keys in the order of their numbers; `None`: it is gone, with its nodes.
        entry: Option<Entry>,
        /// When it is gone: whether it expired, or was deleted.
        expired: bool,
    },
    /// All nodes of a cluster that has been told of before, in the order of their identifiers.
    Nodes {
        /// The cluster's pin.
        pin: PinKey,
        /// Themselves.
        nodes: Vec<Arc<Node>>,
    },
    /// A node as it is now. Its cluster has been told of before.
    Node {
        /// The cluster's pin.
        pin: PinKey,
        /// The node's identifier.
        id: Box<str>,
        /// Itself; `None`: it is gone.
        node: Option<Arc<Node>>,
    },
    /// What has changed of a cluster.
    Keys {
        /// Its pin.
        pin: PinKey,
        /// When it was created.
        created: Timestamp,
        /// From this moment on it is gone.
        expires: Timestamp,
        /// Keys that are new or have changed.
        set: Vec<NumberedKey>,
        /// The numbers of keys that are gone.
        deleted: Vec<Id>,
    },
    /// No key has had a number from here on.
    NextId(Id),
}
