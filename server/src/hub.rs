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

    /// How many wait now.
    pub(crate) fn waiters(&self) -> usize {
        self.state().waiters
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;

    const KEY: &str = "master_ip";

    fn pin() -> Pin {
        Pin::parse("enico1qq0oey").unwrap()
    }

    /// What the writer does, each in two steps: it happens in the store, then the hub hears of it.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    enum Act {
        Set,
        SetOther,
        RemoveKey,
        Delete,
        Expire,
        Close,
    }

    /// What a store would answer, as far as a waiter cares.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    enum Stored {
        Nothing,
        Key,
        NoPin,
    }

    /// A waiter's way through its steps: register, read, wait.
    enum Progress<'a> {
        Outside,
        Registered(Waiter<'a>),
        Waiting(Waiter<'a>),
        Answered,
    }

    fn key() -> Arc<Key> {
        let (name, value) = (KEY.to_owned(), "10.0.0.1".to_owned());
        Arc::new(Key { name, value, created: Timestamp(0), modified: Timestamp(0) })
    }

    /// Every order in which the steps of several actors can happen: `left` are the steps that each has to do.
    fn interleavings(left: &mut [usize], order: &mut Vec<usize>, check: &mut impl FnMut(&[usize])) {
        if left.iter().all(|&steps| steps == 0) {
            return check(order);
        }
        for actor in 0..left.len() {
            if left[actor] > 0 {
                left[actor] -= 1;
                order.push(actor);
                interleavings(left, order, check);
                order.pop();
                left[actor] += 1;
            }
        }
    }

    /// Plays one order: actor 0 is the writer, actor 1 a waiter, actor 2 one that gives up in the end.
    fn play(acts: &[Act], order: &[usize]) {
        let (hub, mut deliveries) = Hub::new(10);
        let pin = pin();
        let mut stored = Stored::Nothing;
        let mut writer = acts.iter().flat_map(|&act| [(act, true), (act, false)]);
        let mut waiters = [Progress::Outside, Progress::Outside];
        for &actor in order {
            if actor == 0 {
                let (act, first) = writer.next().unwrap();
                match (act, first) {
                    (Act::Set, true) => stored = if stored == Stored::NoPin { stored } else { Stored::Key },
                    (Act::RemoveKey, true) => {
                        stored = if stored == Stored::NoPin { stored } else { Stored::Nothing };
                    }
                    (Act::Delete | Act::Expire, true) => stored = Stored::NoPin,
                    (Act::SetOther | Act::Close, true) => {}
                    (Act::Set, false) => hub.changed(&pin, &Change::KeySet(key())),
                    (Act::SetOther, false) => {
                        let other = Key { name: "other".to_owned(), ..Key::clone(&key()) };
                        hub.changed(&pin, &Change::KeySet(Arc::new(other)));
                    }
                    (Act::RemoveKey, false) => hub.changed(&pin, &Change::KeyDeleted(KEY.to_owned())),
                    (Act::Delete, false) => hub.changed(&pin, &Change::Deleted),
                    (Act::Expire, false) => hub.changed(&pin, &Change::Expired),
                    (Act::Close, false) => hub.close(),
                }
                continue;
            }
            let progress = &mut waiters[actor - 1];
            *progress = match std::mem::replace(progress, Progress::Answered) {
                Progress::Outside => match hub.wait(&pin, KEY) {
                    Ok(waiter) => Progress::Registered(waiter),
                    Err(_) => Progress::Answered,
                },
                Progress::Registered(waiter) if stored == Stored::Nothing => Progress::Waiting(waiter),
                // The read has answered it, or it gives up.
                _ => Progress::Answered,
            };
        }
        while let Ok(due) = deliveries.try_recv() {
            for (_, waiter) in due.waiters {
                let _ = waiter.send(due.wake.clone());
            }
        }
        let waker = acts.iter().any(|act| !matches!(act, Act::SetOther | Act::RemoveKey));
        if let Progress::Waiting(waiter) = &mut waiters[0] {
            let woken = waiter.wake.try_recv().is_ok();
            assert_eq!(woken, waker, "{acts:?} {order:?}");
        }
        drop(waiters);
        let state = hub.state();
        assert_eq!((state.waiters, state.pins.len()), (0, 0), "{acts:?} {order:?}");
    }

    #[test]
    fn loses_no_wake_up_and_no_waiter_in_any_order() {
        use Act::{Close, Delete, Expire, RemoveKey, Set, SetOther};
        for acts in [
            &[Set][..],
            &[SetOther],
            &[Delete],
            &[Expire],
            &[Close],
            &[RemoveKey],
            &[Set, Delete],
            &[Set, Close],
            &[SetOther, Set],
            &[RemoveKey, Set],
            &[Delete, Close],
            &[Expire, Close],
            &[SetOther, RemoveKey],
        ] {
            let mut played = 0;
            interleavings(&mut [2 * acts.len(), 2, 3], &mut Vec::new(), &mut |order| {
                play(acts, order);
                played += 1;
            });
            assert!(played >= 200, "{played}");
        }
    }

    #[test]
    fn has_room_for_so_many_and_no_more() {
        let (hub, _deliveries) = Hub::new(2);
        let pin = pin();
        let one = hub.wait(&pin, "a").unwrap();
        let _two = hub.wait(&pin, "b").unwrap();
        assert!(matches!(hub.wait(&pin, "c"), Err(Refusal::TooManyWaiters)));
        drop(one);
        assert!(hub.wait(&pin, "c").is_ok());
    }

    #[tokio::test]
    async fn wakes_a_herd_whole() {
        let (hub, deliveries) = Hub::new(1000);
        let delivery = tokio::spawn(deliver(deliveries));
        let pin = pin();
        let mut waiters: Vec<_> = (0..1000).map(|_| hub.wait(&pin, KEY).unwrap()).collect();
        hub.changed(&pin, &Change::KeySet(key()));
        for waiter in &mut waiters {
            assert!(matches!(waiter.woken().await, Wake::Set(_)));
        }
        delivery.abort();
    }
}
