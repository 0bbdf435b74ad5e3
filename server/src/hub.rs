//! Who waits for which key of which pin, and who wakes them.
//!
//! The hub hears of every change after it is durable and visible ([`Observer`]), so a wake-up cannot be lost by those
//! who register first and read then. It keeps no values: a waiter gets the key with the wake-up, and one that comes
//! later finds it in the store.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use protocol::Pin;
use tokio::sync::{mpsc, oneshot};
use tokio::task::yield_now;

use crate::http::Refusal;
use crate::store::{Change, Key, Observer};

/// Most waiters on the keys of one pin: twice the slaves of the largest cluster that one service was measured with,
/// so that a cluster that runs amok leaves room for others.
const WAITERS_PER_PIN: usize = 20_000;
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

/// The hub. It takes note under one lock, for a few hundred nanoseconds at a time, and never wakes under it.
pub(crate) struct Hub {
    state: Mutex<State>,
    /// Waiters to be woken: a writer only hands them over, since waking ten thousand takes milliseconds.
    due: mpsc::UnboundedSender<Due>,
    /// Most waiters in all.
    capacity: usize,
}

#[derive(Default)]
struct State {
    pins: HashMap<Pin, Waited>,
    waiters: usize,
    next_id: u64,
    closed: bool,
}

/// What is waited for under one pin.
#[derive(Default)]
struct Waited {
    /// By the name of the key. No entry is empty.
    keys: HashMap<Box<str>, Waiters>,
    waiters: usize,
}

/// Those who wait for one key, in the order in which they came.
type Waiters = BTreeMap<u64, oneshot::Sender<Wake>>;

/// Waiters and what they are to be woken with.
pub(crate) struct Due {
    waiters: Waiters,
    wake: Wake,
}

/// A place among those who wait for a key; dropping it gives the place up.
pub(crate) struct Waiter<'a> {
    hub: &'a Hub,
    pin: &'a Pin,
    key: &'a str,
    id: u64,
    wake: oneshot::Receiver<Wake>,
}

impl Hub {
    /// A hub for so many waiters at most, and what [`deliver`] has to work on.
    pub(crate) fn new(capacity: usize) -> (Arc<Self>, mpsc::UnboundedReceiver<Due>) {
        let (due, deliveries) = mpsc::unbounded_channel();
        (Arc::new(Self { state: Mutex::default(), due, capacity }), deliveries)
    }

    /// Takes a place among those who wait for a key.
    ///
    /// # Errors
    /// There are too many already, or the service ends.
    pub(crate) fn wait<'a>(&'a self, pin: &'a Pin, key: &'a str) -> Result<Waiter<'a>, Refusal> {
        let mut state = self.state();
        if state.closed {
            return Err(Refusal::ShuttingDown);
        }
        if state.waiters >= self.capacity
            || state.pins.get(pin).is_some_and(|waited| waited.waiters >= WAITERS_PER_PIN)
        {
            return Err(Refusal::TooManyWaiters);
        }
        let id = state.next_id;
        state.next_id += 1;
        state.waiters += 1;
        let (sender, wake) = oneshot::channel();
        let waited = state.pins.entry(pin.clone()).or_default();
        waited.waiters += 1;
        waited.keys.entry(key.into()).or_default().insert(id, sender);
        Ok(Waiter { hub: self, pin, key, id, wake })
    }

    /// Wakes everybody and lets nobody wait any more: the service ends.
    pub(crate) fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        state.waiters = 0;
        for (_, waited) in state.pins.drain() {
            self.wake(waited.keys.into_values(), &Wake::ShuttingDown);
        }
    }

    /// Whether [`Hub::close`] was called.
    pub(crate) fn is_closed(&self) -> bool {
        self.state().closed
    }

    /// The key is there: those who wait for it are due.
    fn set(&self, pin: &Pin, key: &Arc<Key>) {
        let mut state = self.state();
        if let Some(waiters) = state.take(pin, &key.name) {
            self.wake([waiters], &Wake::Set(Arc::clone(key)));
        }
    }

    /// The pin is gone: all its waiters are due.
    fn gone(&self, pin: &Pin) {
        let mut state = self.state();
        if let Some(waited) = state.pins.remove(pin) {
            state.waiters -= waited.waiters;
            self.wake(waited.keys.into_values(), &Wake::Gone);
        }
    }

    fn wake(&self, groups: impl IntoIterator<Item = Waiters>, wake: &Wake) {
        for waiters in groups {
            // Nobody delivers any more only when the server is gone, and its requests with it.
            let _ = self.due.send(Due { waiters, wake: wake.clone() });
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that is done under the lock can panic half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Takes all who wait for a key out.
    fn take(&mut self, pin: &Pin, key: &str) -> Option<Waiters> {
        let waited = self.pins.get_mut(pin)?;
        let waiters = waited.keys.remove(key)?;
        waited.waiters -= waiters.len();
        self.waiters -= waiters.len();
        if waited.keys.is_empty() {
            self.pins.remove(pin);
        }
        Some(waiters)
    }

    /// Takes one waiter out, if nobody else has.
    fn forget(&mut self, pin: &Pin, key: &str, id: u64) -> Option<oneshot::Sender<Wake>> {
        let waited = self.pins.get_mut(pin)?;
        let waiters = waited.keys.get_mut(key)?;
        let waiter = waiters.remove(&id)?;
        self.waiters -= 1;
        waited.waiters -= 1;
        if waiters.is_empty() {
            waited.keys.remove(key);
        }
        if waited.keys.is_empty() {
            self.pins.remove(pin);
        }
        Some(waiter)
    }
}

impl Observer for Hub {
    fn changed(&self, pin: &Pin, change: &Change) {
        match change {
            Change::KeySet(key) | Change::KeyRenamed { key, .. } => self.set(pin, key),
            Change::Deleted | Change::Expired => self.gone(pin),
            Change::KeyDeleted(_) => {}
        }
    }
}

impl Waiter<'_> {
    /// Waits to be woken.
    pub(crate) async fn woken(&mut self) -> Wake {
        (&mut self.wake).await.unwrap_or(Wake::ShuttingDown)
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        let forgotten = self.hub.state().forget(self.pin, self.key, self.id);
        drop(forgotten);
    }
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
