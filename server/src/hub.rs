//! Who waits for which key of which pin, who watches it, and who wakes and tells them.
//!
//! The hub hears of every change after it is durable and visible ([`Observer`]), so a wake-up cannot be lost by those
//! who register first and read then. It keeps no values: a waiter gets the key with the wake-up, and one that comes
//! later finds it in the store.

mod audience;
mod delivery;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use protocol::Pin;
use tokio::sync::{mpsc, oneshot};

use audience::Audience;
pub(crate) use audience::{Counts, Heard, Seat};
use delivery::Waiters;
pub(crate) use delivery::{Due, Wake, deliver};

use crate::http::Refusal;
use crate::store::{Change, Key, Observer};

/// The hub. It takes note under one lock, for a few hundred nanoseconds at a time, and wakes nobody under it but the few
/// who watch.
pub(crate) struct Hub {
    state: Mutex<State>,
    /// Waiters to be woken: a writer only hands them over, since waking ten thousand takes milliseconds.
    due: mpsc::UnboundedSender<Due>,
    /// Most who wait or watch on one pin.
    per_pin: usize,
    /// Those who were woken by a change.
    woken: AtomicU64,
}

#[derive(Default)]
struct State {
    pins: HashMap<Pin, Watched>,
    /// All who wait or watch.
    waiters: usize,
    next_id: u64,
    closed: bool,
}

/// What is waited for under one pin, and who watches it.
#[derive(Default)]
struct Watched {
    /// By the name of the key. No entry is empty.
    keys: HashMap<Box<str>, Waiters>,
    waiters: usize,
    /// Those who were told that the master is ready.
    told: u64,
    /// Those of them who were then given its address.
    served: u64,
    audience: Option<Box<Audience>>,
}

/// A place among those who wait for a key; dropping it gives the place up.
pub(crate) struct Waiter<'a> {
    hub: &'a Hub,
    pin: &'a Pin,
    key: &'a str,
    id: u64,
    wake: oneshot::Receiver<Wake>,
    /// Whoever is woken has no place any more.
    woken: bool,
}

impl Hub {
    /// A hub for so many waiters on one pin at most, and what [`deliver`] has to work on.
    pub(crate) fn new(per_pin: usize) -> (Arc<Self>, mpsc::UnboundedReceiver<Due>) {
        let (due, deliveries) = mpsc::unbounded_channel();
        let woken = AtomicU64::new(0);
        (Arc::new(Self { state: Mutex::default(), due, per_pin, woken }), deliveries)
    }

    /// Takes a place among those who wait for a key.
    ///
    /// # Errors
    /// There are too many already, or the service ends.
    pub(crate) fn wait<'a>(&'a self, pin: &'a Pin, key: &'a str) -> Result<Waiter<'a>, Refusal> {
        let mut state = self.state();
        self.admit(&state, pin)?;
        let id = state.next_id();
        state.waiters += 1;
        let (sender, wake) = oneshot::channel();
        let watched = state.pins.entry(pin.clone()).or_default();
        watched.waiters += 1;
        watched.keys.entry(key.into()).or_default().insert(id, sender);
        watched.recount();
        Ok(Waiter { hub: self, pin, key, id, wake, woken: false })
    }

    /// Whether there is room for one more who waits or watches.
    fn admit(&self, state: &State, pin: &Pin) -> Result<(), Refusal> {
        if state.closed {
            return Err(Refusal::ShuttingDown);
        }
        let crowded = |watched: &Watched| watched.waiters.saturating_add(watched.watchers()) >= self.per_pin;
        if state.pins.get(pin).is_some_and(crowded) {
            return Err(Refusal::TooManyWaiters);
        }
        Ok(())
    }

    /// Wakes everybody, ends what those who watch hear, and lets nobody wait any more: the service ends.
    pub(crate) fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        state.waiters = 0;
        for (_, watched) in state.pins.drain() {
            self.wake(watched.keys.into_values(), &Wake::ShuttingDown);
        }
    }

    /// Whether [`Hub::close`] was called.
    pub(crate) fn is_closed(&self) -> bool {
        self.state().closed
    }

    /// How many wait or watch now.
    pub(crate) fn waiters(&self) -> usize {
        self.state().waiters
    }

    /// How many were woken by a change so far.
    pub(crate) fn woken(&self) -> u64 {
        self.woken.load(Ordering::Relaxed)
    }

    /// A slave was told that the master is ready. Says whether it is the first of its pin.
    pub(crate) fn told_ready(&self, pin: &Pin) -> bool {
        let mut state = self.state();
        if let Some(watched) = state.pins.get_mut(pin) {
            watched.told += 1;
            return watched.told == 1;
        }
        state.pins.insert(pin.clone(), Watched { told: 1, ..Watched::default() });
        true
    }

    /// Somebody was given the master's address. It counts only if somebody was told before that the master is ready:
    /// a master looks at its own address, and is no slave.
    pub(crate) fn given_address(&self, pin: &Pin) {
        let mut state = self.state();
        if let Some(watched) = state.pins.get_mut(pin).filter(|watched| watched.served < watched.told) {
            watched.served += 1;
            watched.recount();
        }
    }

    /// Forgets those who were served under a pin that is gone.
    pub(crate) fn forget_served(&self, pin: &Pin) {
        let mut state = self.state();
        if let Some(watched) = state.pins.get_mut(pin) {
            (watched.told, watched.served) = (0, 0);
            state.tidy(pin);
        }
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
        if let Some(watched) = state.pins.remove(pin) {
            state.waiters -= watched.waiters + watched.watchers();
            self.wake(watched.keys.into_values(), &Wake::Gone);
        }
    }

    fn wake(&self, groups: impl IntoIterator<Item = Waiters>, wake: &Wake) {
        for waiters in groups {
            self.woken.fetch_add(waiters.len() as u64, Ordering::Relaxed);
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
    fn next_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// Takes all who wait for a key out.
    fn take(&mut self, pin: &Pin, key: &str) -> Option<Waiters> {
        let watched = self.pins.get_mut(pin)?;
        let waiters = watched.keys.remove(key)?;
        watched.waiters -= waiters.len();
        watched.recount();
        self.waiters -= waiters.len();
        self.tidy(pin);
        Some(waiters)
    }

    /// Takes one waiter out, if nobody else has.
    fn forget(&mut self, pin: &Pin, key: &str, id: u64) -> Option<oneshot::Sender<Wake>> {
        let watched = self.pins.get_mut(pin)?;
        let waiters = watched.keys.get_mut(key)?;
        let waiter = waiters.remove(&id)?;
        self.waiters -= 1;
        watched.waiters -= 1;
        if waiters.is_empty() {
            watched.keys.remove(key);
        }
        watched.recount();
        self.tidy(pin);
        Some(waiter)
    }

    /// Forgets a pin that there is nothing to know of.
    fn tidy(&mut self, pin: &Pin) {
        if self.pins.get(pin).is_some_and(Watched::is_idle) {
            self.pins.remove(pin);
        }
    }
}

impl Watched {
    fn is_idle(&self) -> bool {
        self.keys.is_empty() && self.audience.is_none() && self.told == 0
    }

    fn watchers(&self) -> usize {
        self.audience.as_ref().map_or(0, |audience| audience.seats.len())
    }

    fn counts(&self) -> Counts {
        Counts { waiting: self.waiters, served: self.served }
    }

    /// Tells those who watch how many there are.
    fn recount(&self) {
        if let Some(audience) = &self.audience {
            audience.counts.send_replace(self.counts());
        }
    }
}

impl Observer for Hub {
    fn changed(&self, pin: &Pin, change: &Change) {
        self.tell(pin, change);
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
