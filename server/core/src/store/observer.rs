//! What the store tells of each change, and what hears it.

use std::sync::Arc;

use protocol::Pin;

use super::nodes::{Node, NodeCounts};
use super::types::Key;

/// Something that happened to a pin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A key was created or got a new value.
    KeySet(Arc<Key>),
    /// A key got a new name, and perhaps a new value.
    KeyRenamed {
        /// What it was called.
        from: String,
        /// What it is now.
        key: Arc<Key>,
    },
    /// A key was deleted: as it last was.
    KeyDeleted(Arc<Key>),
    /// A node has reported.
    NodeSet {
        /// What it has reported.
        node: Arc<Node>,
        /// How many nodes there are now.
        counts: NodeCounts,
    },
    /// A node was removed: as it last was.
    NodeDeleted {
        /// What it had reported.
        node: Arc<Node>,
        /// How many nodes there are now.
        counts: NodeCounts,
    },
    /// The cluster was deleted, with all its keys and nodes.
    Deleted,
    /// The cluster expired, with all its keys and nodes.
    Expired,
}

/// Hears of every change: the hub.
pub trait Observer: Send + Sync + 'static {
    /// Called after the change is durable and visible. It must not read from the store: behind a shared journal, a read
    /// waits until the store has told of all that it has taken in.
    fn changed(&self, pin: &Pin, change: &Change);

    /// Called now and then while a store in a file is read at its start: so many records have been read so far. It must
    /// not read from the store.
    fn loading(&self, _records: u64) {}
}

/// For a store whose changes interest nothing.
impl Observer for () {
    fn changed(&self, _: &Pin, _: &Change) {}
}
