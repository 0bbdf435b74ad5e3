//! The waking itself, apart from the hub's lock: waiters of a key are woken in the order in which they came, and many
//! waiters of one key do not delay those of another.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use tokio::task::yield_now;

use crate::store::Key;

/// Waiters that are woken before the task yields; without it, the answer to the POST that wakes
/// ten thousand would stand behind their ten thousand answers.
const BATCH: usize = 64;

/// What a waiter is woken with.
#[derive(Debug, Clone)]
pub enum Wake {
    /// The key is there.
    Set(Arc<Key>),
    /// There are enough nodes.
    Nodes,
    /// The pin was deleted or has expired.
    Gone,
    /// The journal cannot be reached.
    Unreachable,
    /// The service ends.
    ShuttingDown,
}

/// The waiters of one key, or for nodes, in the order in which they came.
pub(super) type Waiters = BTreeMap<u64, oneshot::Sender<Wake>>;

/// Waiters, and what they are to be woken with.
pub struct Delivery {
    pub(super) waiters: Waiters,
    pub(super) wake: Wake,
}

/// Wakes waiters until the hub is dropped.
pub async fn deliver(mut deliveries: mpsc::UnboundedReceiver<Delivery>) {
    while let Some(delivery) = deliveries.recv().await {
        if delivery.waiters.len() <= BATCH {
            delivery.deliver().await;
        } else {
            // The next key's waiters must not wait for all of these.
            tokio::spawn(delivery.deliver());
        }
    }
}

impl Delivery {
    async fn deliver(self) {
        for (count, (_, waiter)) in (1..).zip(self.waiters) {
            // A waiter that has given up meanwhile needs no waking.
            let _ = waiter.send(self.wake.clone());
            if count % BATCH == 0 {
                yield_now().await;
            }
        }
    }
}
