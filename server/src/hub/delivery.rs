//! The waking itself, apart from the hub's lock: those who wait for a key are woken in the order in which they came,
//! and a herd does not keep others waiting.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use tokio::task::yield_now;

use crate::store::Key;

/// Waiters that are woken in one go before other tasks get their turn; without it, the answer to the POST that wakes
/// ten thousand would stand behind their ten thousand answers.
const BATCH: usize = 64;

/// What a waiter is woken with.
#[derive(Debug, Clone)]
pub(crate) enum Wake {
    /// The key is there.
    Set(Arc<Key>),
    /// The pin was deleted or has expired.
    Gone,
    /// The service ends.
    ShuttingDown,
}

/// Those who wait for one key, in the order in which they came.
pub(super) type Waiters = BTreeMap<u64, oneshot::Sender<Wake>>;

/// Waiters and what they are to be woken with.
pub(crate) struct Due {
    pub(super) waiters: Waiters,
    pub(super) wake: Wake,
}

/// Wakes those who are due, until the hub is dropped.
pub(crate) async fn deliver(mut deliveries: mpsc::UnboundedReceiver<Due>) {
    while let Some(due) = deliveries.recv().await {
        if due.waiters.len() <= BATCH {
            due.deliver().await;
        } else {
            // A herd must not keep the next key's waiters waiting.
            tokio::spawn(due.deliver());
        }
    }
}

impl Due {
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
