//! The store: what it keeps, and what it promises.
//!
//! # The promises
//! Every implementation keeps these; `suite.rs` holds each of them to it.
//!
//! 1. **Durable**: a write is answered only after it would survive a power cut (`memory` promises it for the life
//!    of the process only). A write that was answered with [`StoreError::Failed`] may or may not have happened.
//! 2. **Atomic**: a write happens whole or not at all; a rename never leaves both names or neither.
//! 3. **Once**: of any number of concurrent creations of one key under one pin, exactly one succeeds and the others
//!    get [`StoreError::KeyExists`].
//! 4. **In order**: a read that starts after a write was answered sees that write. No read sees a write that is not
//!    yet durable.
//! 5. **Expiry is exact**: from the moment [`Cluster::expires`] on, the pin is unknown to every call, also after a
//!    restart. The call that first finds it due buries it, durably, before it says so: the pin does not come back
//!    when the clock steps back. A read of such a pin can thus wait for a commit, and fail as a write can.
//! 6. **Changes are told**: the [`Observer`] hears of every change after it is durable and visible to reads, in the
//!    order in which the changes of one pin happened. It is called on the writer's path, so it must be quick.
//! 7. **Bounded**: at most `Limits::keys_per_pin` keys and `Limits::bytes_per_pin` bytes a pin, and
//!    `Limits::pins` pins; past that, a refusal that changes nothing.

mod batch;
pub(crate) mod copy;
mod database;
mod device;
pub mod embedded;
#[cfg(test)]
mod faults;
mod file;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod local;
pub mod memory;
#[cfg(test)]
mod model;
mod pins;
#[cfg(test)]
mod powercut;
mod record;
pub(crate) mod snapshot;
mod state;
#[cfg(test)]
mod suite;
#[cfg(test)]
mod testdisk;
mod writer;

pub(crate) use database::FORMAT;

use std::future::Future;
use std::pin::Pin as Pinned;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use protocol::Pin;

use crate::clock::Timestamp;

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

/// Why a call did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// No such pin: never made, deleted or expired.
    #[error("the pin is unknown")]
    UnknownPin,
    /// The pin exists, the key does not.
    #[error("the key is unknown")]
    UnknownKey,
    /// The key, or the name that it should get, exists.
    #[error("the key exists")]
    KeyExists,
    /// The pin has [`Limits::keys_per_pin`] keys.
    #[error("the pin has as many keys as it may have")]
    TooManyKeys,
    /// The pin would have more than [`Limits::bytes_per_pin`] bytes.
    #[error("the pin holds as many bytes as it may hold")]
    TooManyBytes,
    /// There are [`Limits::pins`] live pins.
    #[error("the service has as many pins as it may have")]
    TooManyPins,
    /// No room on the disk; nothing was changed, and it works again once there is room.
    #[error("no space: {0}")]
    NoSpace(String),
    /// The store itself failed: the text is for the log, not for a client.
    #[error("the store failed: {0}")]
    Failed(String),
}

/// Most live pins by default. A few hundred bytes each: some gigabytes, which is where one small machine ends.
pub const PINS: usize = 10_000_000;

/// What bounds a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How long a pin lives.
    pub lifetime: Duration,
    /// Most keys of one pin.
    pub keys_per_pin: usize,
    /// Most bytes of one pin, names and values together.
    pub bytes_per_pin: usize,
    /// Most live pins.
    pub pins: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // The original service's, and what its documentation promises.
            lifetime: Duration::from_secs(24 * 60 * 60),
            keys_per_pin: protocol::limits::KEYS_PER_PIN,
            bytes_per_pin: protocol::limits::BYTES_PER_PIN,
            pins: PINS,
        }
    }
}

/// How much a store holds, and how often it has written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Census {
    /// Pins, among them those that have expired and are not swept yet.
    pub pins: usize,
    /// Their keys.
    pub keys: usize,
    /// Batches of writes that became durable since the store was opened.
    pub commits: u64,
}

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
    /// The cluster was deleted, with all its keys.
    Deleted,
    /// The cluster expired, with all its keys.
    Expired,
}

/// Who wants to hear of changes: the hub.
pub trait Observer: Send + Sync + 'static {
    /// Called after the change is durable and visible.
    fn changed(&self, pin: &Pin, change: &Change);
}

/// For a store that nobody watches.
impl Observer for () {
    fn changed(&self, _: &Pin, _: &Change) {}
}

/// The answer of a store: a future, since a store may be on another machine.
pub enum Answer<'a, T> {
    /// It is there; `None` once it was taken. Reads of a store in memory need no box around them.
    Ready(Option<Result<T, StoreError>>),
    /// It will come.
    Later(Pinned<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>),
}

impl<'a, T> Answer<'a, T> {
    /// An answer that is there.
    pub fn ready(answer: Result<T, StoreError>) -> Self {
        Self::Ready(Some(answer))
    }

    /// An answer that this future gives.
    pub fn later(answer: impl Future<Output = Result<T, StoreError>> + Send + 'a) -> Self {
        Self::Later(Box::pin(answer))
    }
}

impl<T: Unpin> Future for Answer<'_, T> {
    type Output = Result<T, StoreError>;

    fn poll(self: Pinned<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match self.get_mut() {
            Self::Ready(answer) => Poll::Ready(answer.take().expect("nobody polls after the answer")),
            Self::Later(answer) => answer.as_mut().poll(context),
        }
    }
}

/// A store of clusters and their keys. The promises are at the head of this module.
pub trait Store: Send + Sync + 'static {
    /// Makes a cluster under a pin that nobody can guess and that no live cluster has.
    fn create_cluster(&self) -> Answer<'_, Cluster>;

    /// The cluster of a pin.
    fn cluster<'a>(&'a self, pin: &'a Pin) -> Answer<'a, Cluster>;

    /// Deletes a cluster and its keys.
    fn delete_cluster<'a>(&'a self, pin: &'a Pin) -> Answer<'a, ()>;

    /// The keys of a pin in the order of their creation.
    fn keys<'a>(&'a self, pin: &'a Pin) -> Answer<'a, Vec<Arc<Key>>>;

    /// One key. [`StoreError::UnknownPin`] and [`StoreError::UnknownKey`] are told apart.
    fn key<'a>(&'a self, pin: &'a Pin, name: &'a str) -> Answer<'a, Arc<Key>>;

    /// Creates a key.
    fn create_key<'a>(&'a self, pin: &'a Pin, name: &'a str, value: &'a str) -> Answer<'a, Arc<Key>>;

    /// Changes a key that exists. A new name that another key has is [`StoreError::KeyExists`].
    fn update_key<'a>(&'a self, pin: &'a Pin, name: &'a str, update: Update) -> Answer<'a, Arc<Key>>;

    /// Deletes a key.
    fn delete_key<'a>(&'a self, pin: &'a Pin, name: &'a str) -> Answer<'a, ()>;

    /// Buries a bounded number of clusters that are due, in the order in which they expired, and tells of each. Says
    /// when to come again: the moment at which the next one is due, which has passed if there was more to bury than
    /// one call does; `None` when no cluster is left. Calls are exact without it; it frees room, and tells of the
    /// clusters that nobody calls for.
    fn sweep(&self) -> Answer<'_, Option<Timestamp>>;

    /// How much there is: for `/metrics`.
    fn census(&self) -> Census;

    /// Whether a write would go through now: for `/readyz`. The last commit answers if it was a moment ago, else one
    /// that is made to find out.
    fn ready(&self) -> Answer<'_, ()>;
}
