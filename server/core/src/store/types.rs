//! What the store keeps, and what bounds it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use protocol::Pin;

use crate::clock::Timestamp;

/// The number of a cluster or key in the store: given once, in the order of creation, and never reused while the
/// store is open.
pub type Id = u64;

/// A cluster, without its keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster {
    /// Its pin.
    pub pin: Pin,
    /// When it was created: `creation_time` on the wire.
    pub created: Timestamp,
    /// From this moment on it is gone.
    pub expires: Timestamp,
}

/// A key and its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Name, at most [`protocol::limits::KEY_MAX_CHARS`] characters; the caller has checked that.
    pub name: String,
    /// Value; its length is the caller's to check.
    pub value: String,
    /// When the key was created; a rename or a new value does not change it.
    pub created: Timestamp,
    /// When its name or value was last set.
    pub modified: Timestamp,
}

/// What a PUT or PATCH changes; `None` leaves it as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Update {
    /// The new name.
    pub name: Option<String>,
    /// The new value.
    pub value: Option<String>,
}

/// Most live pins by default. A few hundred bytes each: some gigabytes, which is where one small machine ends.
pub const PINS: usize = 10_000_000;

/// What bounds a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How long a pin lives.
    pub lifetime: Duration,
    /// How long a pin without keys and nodes lives while the store is more than half full.
    pub unused_lifetime: Duration,
    /// Most keys of one pin.
    pub keys_per_pin: usize,
    /// Most bytes of one pin, names and values together.
    pub bytes_per_pin: usize,
    /// Most nodes of one pin.
    pub nodes_per_pin: usize,
    /// Most bytes of the nodes of one pin, identifiers and reports together.
    pub node_bytes_per_pin: usize,
    /// Most live pins.
    pub pins: usize,
    /// Most bytes in memory of all pins and keys together, as [`Stats::bytes`] reckons them.
    pub bytes: usize,
    /// Most bytes of the writes that wait for the journal.
    pub queued_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // The original service's, and what its documentation promises.
            lifetime: Duration::from_secs(24 * 60 * 60),
            // A context that is written now is launched within the hour, and its master publishes at its boot.
            unused_lifetime: Duration::from_secs(60 * 60),
            keys_per_pin: protocol::limits::KEYS_PER_PIN,
            bytes_per_pin: protocol::limits::BYTES_PER_PIN,
            nodes_per_pin: protocol::node::NODES_PER_PIN,
            node_bytes_per_pin: protocol::node::NODE_BYTES_PER_PIN,
            pins: PINS,
            bytes: usize::MAX,
            queued_bytes: 64 << 20,
        }
    }
}

/// How much a store holds, and how often it has written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Pins, among them those that have expired and are not swept yet.
    pub pins: usize,
    /// Their keys.
    pub keys: usize,
    /// Their nodes.
    pub nodes: usize,
    /// What pins, keys and nodes take in memory, in bytes: names and values exactly, what is around them by estimate.
    pub bytes: usize,
    /// Batches of writes that became durable since the store was opened.
    pub commits: u64,
    /// What the writes that wait for the journal take, in bytes.
    pub queued: usize,
}

/// What a key or a node costs its creator: it is dropped when the store holds that no longer, or with another value.
#[derive(Clone)]
pub struct Charge(Arc<Box<dyn Send + Sync>>);

impl Charge {
    /// Keeps `permit` for as long as the store holds the key or node.
    #[must_use]
    pub fn new(permit: impl Send + Sync + 'static) -> Self {
        Self(Arc::new(Box::new(permit)))
    }
}

impl fmt::Debug for Charge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Charge({} held)", Arc::strong_count(&self.0))
    }
}
