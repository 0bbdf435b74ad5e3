//! Who waits for which key of which pin, who watches a pin, and who wakes and tells them.
//!
//! The hub hears of every change after it is durable and visible ([`Observer`]), so a wake-up cannot be lost by those
//! who register first and read then. It keeps no values: a waiter gets the key with the wake-up, and one that comes
//! later finds it in the store.

mod delivery;
mod subscription;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use protocol::Pin;
use tokio::sync::{mpsc, oneshot};

use delivery::Waiters;
pub use delivery::{Delivery, Wake, deliver};
use subscription::Subscribers;
pub use subscription::{HubEvent, Subscription};

use crate::Refused;
use crate::store::{Change, Key, NodeCounts, NodesWanted, Observer};

/// The hub. It works under one lock, for a few hundred nanoseconds at a time. Under the lock it wakes nothing but the
/// few subscribers of a pin.
pub struct Hub {
    state: Mutex<HubState>,
    /// Waiters to be woken: a writer only hands them over, since waking ten thousand takes milliseconds.
    deliveries: mpsc::UnboundedSender<Delivery>,
    /// Most waiters and subscriptions of one pin.
    per_pin: usize,
    /// Waiters that were woken by a change.
    woken: AtomicU64,
}

#[derive(Default)]
struct HubState {
    pins: HashMap<Pin, Watched>,
    /// All waiters and subscriptions.
    waiters: usize,
    /// How many there were when all of them were sent away last.
    sent_away: usize,
    next_id: u64,
    closed: bool,
}

/// What is waited for under one pin, and who subscribes to it.
#[derive(Default)]
struct Watched {
    /// By the name of the key. No entry is empty.
    keys: HashMap<Box<str>, Waiters>,
    waiters: usize,
    /// What each barrier waits for.
    barriers: BTreeMap<u64, (NodesWanted, oneshot::Sender<Wake>)>,
    subscribers: Option<Box<Subscribers>>,
}

/// A place among those that wait for a key, or for nodes; dropping it gives the place up.
pub struct Waiter<'a> {
    hub: &'a Hub,
    pin: &'a Pin,
    /// `None`: it waits for nodes.
    key: Option<&'a str>,
    id: u64,
    wake: oneshot::Receiver<Wake>,
    /// A waiter that is woken has no place any more.
    woken: bool,
}

impl Hub {
    /// A hub for so many waiters on one pin at most, and what [`deliver`] has to work on.
    #[must_use]
    pub fn new(per_pin: usize) -> (Arc<Self>, mpsc::UnboundedReceiver<Delivery>) {
        let (deliveries, receiver) = mpsc::unbounded_channel();
        let woken = AtomicU64::new(0);
        (Arc::new(Self { state: Mutex::default(), deliveries, per_pin, woken }), receiver)
    }

    /// Takes a place among those that wait for a key.
    ///
    /// # Errors
    /// [`Refused::TooManyWaiters`] or [`Refused::ShuttingDown`].
    pub fn wait<'a>(&'a self, pin: &'a Pin, key: &'a str) -> Result<Waiter<'a>, Refused> {
        let mut state = self.state();
        self.admit(&state, pin)?;
        let id = state.next_id();
        state.waiters += 1;
        let (sender, wake) = oneshot::channel();
        let watched = state.pins.entry(pin.clone()).or_default();
        watched.waiters += 1;
        watched.keys.entry(key.into()).or_default().insert(id, sender);
        watched.recount();
        Ok(Waiter { hub: self, pin, key: Some(key), id, wake, woken: false })
    }

    /// Takes a place among those that wait for nodes. It is woken by the next change after which there are enough.
    ///
    /// # Errors
    /// [`Refused::TooManyWaiters`] or [`Refused::ShuttingDown`].
    pub fn wait_for_nodes<'a>(&'a self, pin: &'a Pin, wanted: NodesWanted) -> Result<Waiter<'a>, Refused> {
        let mut state = self.state();
        self.admit(&state, pin)?;
        let id = state.next_id();
        state.waiters += 1;
        let (sender, wake) = oneshot::channel();
        state.pins.entry(pin.clone()).or_default().barriers.insert(id, (wanted, sender));
        Ok(Waiter { hub: self, pin, key: None, id, wake, woken: false })
    }

    /// Whether there is room for one more waiter or subscription.
    fn admit(&self, state: &HubState, pin: &Pin) -> Result<(), Refused> {
        if state.closed {
            return Err(Refused::ShuttingDown);
        }
        let crowded = |watched: &Watched| watched.held() >= self.per_pin;
        if state.pins.get(pin).is_some_and(crowded) {
            return Err(Refused::TooManyWaiters);
        }
        Ok(())
    }

    /// The service ends: wakes every waiter, ends every subscription, and admits no more.
    pub fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        state.send_away();
        for (_, watched) in state.pins.drain() {
            self.wake(watched.into_waiters(), &Wake::ShuttingDown);
        }
    }

    /// Nothing can be told any more of what is waited for: wakes every waiter and ends every subscription, so that they
    /// turn to another server. Others are admitted.
    pub fn interrupt(&self) {
        let mut state = self.state();
        state.send_away();
        for (_, watched) in state.pins.drain() {
            self.wake(watched.into_waiters(), &Wake::Unreachable);
        }
    }

    /// Whether [`Hub::close`] was called.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.state().closed
    }

    /// How many waiters and subscriptions there are.
    #[must_use]
    pub fn waiters(&self) -> usize {
        self.state().waiters
    }

    /// How many there were when [`Hub::close`] or [`Hub::interrupt`] sent them away last.
    #[must_use]
    pub fn sent_away(&self) -> usize {
        self.state().sent_away
    }

    /// How many waiters were woken by a change so far.
    #[must_use]
    pub fn woken(&self) -> u64 {
        self.woken.load(Ordering::Relaxed)
    }

    /// The key is there: wakes those that wait for it.
    fn set(&self, pin: &Pin, key: &Arc<Key>) {
        let mut state = self.state();
        if let Some(waiters) = state.take(pin, &key.name) {
            self.wake([waiters], &Wake::Set(Arc::clone(key)));
        }
    }

    /// There are so many nodes: wakes the barriers that have waited for so many.
    fn nodes(&self, pin: &Pin, counts: &NodeCounts) {
        let mut state = self.state();
        let Some(watched) = state.pins.get_mut(pin) else { return };
        let met: Waiters = watched
            .barriers
            .extract_if(.., |_, (wanted, _)| wanted.are_met(counts))
            .map(|(id, (_, waiter))| (id, waiter))
            .collect();
        if !met.is_empty() {
            state.waiters -= met.len();
            state.drop_if_idle(pin);
            self.wake([met], &Wake::Nodes);
        }
    }

    /// The pin is gone: wakes all its waiters, and ends its subscriptions.
    fn gone(&self, pin: &Pin) {
        let mut state = self.state();
        if let Some(watched) = state.pins.remove(pin) {
            state.waiters -= watched.held();
            self.wake(watched.into_waiters(), &Wake::Gone);
        }
    }

    fn wake(&self, groups: impl IntoIterator<Item = Waiters>, wake: &Wake) {
        for waiters in groups {
            self.woken.fetch_add(waiters.len() as u64, Ordering::Relaxed);
            // Fails only when the server is gone, and its requests with it.
            let _ = self.deliveries.send(Delivery { waiters, wake: wake.clone() });
        }
    }

    fn state(&self) -> MutexGuard<'_, HubState> {
        // Nothing that is done under the lock can panic half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HubState {
    fn next_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// All of them are about to go.
    fn send_away(&mut self) {
        // A second call finds none.
        if self.waiters > 0 {
            self.sent_away = std::mem::take(&mut self.waiters);
        }
    }

    /// Takes out all that wait for a key.
    fn take(&mut self, pin: &Pin, key: &str) -> Option<Waiters> {
        let watched = self.pins.get_mut(pin)?;
        let waiters = watched.keys.remove(key)?;
        watched.waiters -= waiters.len();
        watched.recount();
        self.waiters -= waiters.len();
        self.drop_if_idle(pin);
        Some(waiters)
    }

    /// Takes one waiter out, if it is still there.
    fn forget(&mut self, pin: &Pin, key: Option<&str>, id: u64) -> Option<oneshot::Sender<Wake>> {
        let watched = self.pins.get_mut(pin)?;
        let Some(key) = key else {
            let (_, waiter) = watched.barriers.remove(&id)?;
            self.waiters -= 1;
            self.drop_if_idle(pin);
            return Some(waiter);
        };
        let waiters = watched.keys.get_mut(key)?;
        let waiter = waiters.remove(&id)?;
        self.waiters -= 1;
        watched.waiters -= 1;
        if waiters.is_empty() {
            watched.keys.remove(key);
        }
        watched.recount();
        self.drop_if_idle(pin);
        Some(waiter)
    }

    /// Drops a pin that has no waiters and no subscribers.
    fn drop_if_idle(&mut self, pin: &Pin) {
        if self.pins.get(pin).is_some_and(Watched::is_idle) {
            self.pins.remove(pin);
        }
    }
}

impl Watched {
    fn is_idle(&self) -> bool {
        self.keys.is_empty() && self.barriers.is_empty() && self.subscribers.is_none()
    }

    /// How many requests are held for the pin.
    fn held(&self) -> usize {
        self.waiters.saturating_add(self.barriers.len()).saturating_add(self.subscriptions())
    }

    /// All that wait.
    fn into_waiters(self) -> impl Iterator<Item = Waiters> {
        let barriers = self.barriers.into_iter().map(|(id, (_, waiter))| (id, waiter)).collect();
        self.keys.into_values().chain([barriers])
    }

    fn subscriptions(&self) -> usize {
        self.subscribers.as_ref().map_or(0, |subscribers| subscribers.len())
    }

    /// Tells the subscribers how many wait.
    fn recount(&self) {
        if let Some(subscribers) = &self.subscribers {
            subscribers.count(self.waiters);
        }
    }
}

impl Observer for Hub {
    fn changed(&self, pin: &Pin, change: &Change) {
        self.publish(pin, change);
        match change {
            Change::KeySet(key) | Change::KeyRenamed { key, .. } => self.set(pin, key),
            Change::Deleted | Change::Expired => self.gone(pin),
            Change::NodeSet { counts, .. } | Change::NodeDeleted { counts, .. } => self.nodes(pin, counts),
            Change::KeyDeleted(_) => {}
        }
    }
}

impl Waiter<'_> {
    /// Waits to be woken.
    pub async fn woken(&mut self) -> Wake {
        let wake = (&mut self.wake).await.unwrap_or(Wake::ShuttingDown);
        self.woken = true;
        wake
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        if !self.woken {
            let forgotten = self.hub.state().forget(self.pin, self.key, self.id);
            drop(forgotten);
        }
    }
}
