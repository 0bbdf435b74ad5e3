//! Who is connected: how many may be, in all and from one address; and the watch that sends away whoever keeps a
//! connection without using it.
//!
//! One task looks at all connections once a second. That a connection need not have a timer of its own saves a fifth
//! of what a request costs.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, interval};

use crate::origin::Source;

/// How long a client may take from one answer to the end of the next request's head, which includes reading the
/// answer. Longer than the longest pause between two requests of an agent that polls (30 s and its jitter), so that
/// it need not connect anew.
const PATIENCE_SECONDS: u32 = 60;
/// How often the watch looks.
const ROUND: Duration = Duration::from_secs(1);

/// All connections.
pub(crate) struct Connections {
    most: usize,
    most_per_address: usize,
    begun: Instant,
    /// Seconds since `begun`, as the watch last saw it: what time it is for a connection.
    now: AtomicU32,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    open: HashMap<u64, Watched>,
    by_address: HashMap<Source, usize>,
    next_id: u64,
    closed: bool,
}

/// What the watch knows of a connection.
struct Watched {
    activity: Arc<Activity>,
    /// `None`: it has been told already.
    order: Option<oneshot::Sender<Order>>,
}

/// What the watch tells a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// Leave after the request at hand: the service ends.
    Leave,
    /// Leave at once: the client does not read, or does not ask.
    Cut,
}

/// Since when a connection waits for its client, in seconds and one; 0: it is the client who waits.
#[derive(Debug, Default)]
pub(crate) struct Activity(AtomicU32);

/// A place among the connections; dropping it makes room.
pub(crate) struct Place {
    connections: Arc<Connections>,
    id: u64,
    /// The address that it counts for.
    source: Option<Source>,
    activity: Arc<Activity>,
}

/// There is no room, in all or for that address.
#[derive(Debug)]
pub(crate) struct Full;

impl Connections {
    /// Room for so many.
    pub(crate) fn new(most: usize, most_per_address: usize) -> Arc<Self> {
        let (begun, now) = (Instant::now(), AtomicU32::new(0));
        Arc::new(Self { most, most_per_address, begun, now, state: Mutex::default() })
    }

    /// Lets a connection in. `address` is whom it counts for, `None` when it is nobody's, such as a proxy's.
    ///
    /// # Errors
    /// There is no room.
    pub(crate) fn admit(
        self: &Arc<Self>,
        address: Option<IpAddr>,
    ) -> Result<(Place, oneshot::Receiver<Order>), Full> {
        let source = address.map(Source::from);
        let mut state = self.state();
        let of_address = source.and_then(|source| state.by_address.get(&source).copied()).unwrap_or_default();
        if state.open.len() >= self.most || of_address >= self.most_per_address {
            return Err(Full);
        }
        if let Some(source) = source {
            state.by_address.insert(source, of_address + 1);
        }
        let id = state.next_id;
        state.next_id += 1;
        let (order, told) = oneshot::channel();
        let activity = Arc::new(Activity::default());
        let mut watched = Watched { activity: activity.clone(), order: Some(order) };
        if state.closed {
            watched.tell(Order::Leave);
        }
        state.open.insert(id, watched);
        drop(state);
        let place = Place { connections: self.clone(), id, source, activity };
        place.rests();
        Ok((place, told))
    }

    /// Tells everybody to leave.
    pub(crate) fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        for watched in state.open.values_mut() {
            watched.tell(Order::Leave);
        }
    }

    /// Looks after the connections, for ever.
    pub(crate) async fn watch(self: Arc<Self>) {
        let mut rounds = interval(ROUND);
        loop {
            rounds.tick().await;
            self.look();
        }
    }

    fn look(&self) {
        let now = u32::try_from(self.begun.elapsed().as_secs()).expect("136 years are not over");
        self.now.store(now, Ordering::Relaxed);
        for watched in self.state().open.values_mut() {
            let since = watched.activity.0.load(Ordering::Relaxed);
            if since != 0 && now + 1 >= since + PATIENCE_SECONDS {
                watched.tell(Order::Cut);
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that is done under the lock can panic half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watched {
    fn tell(&mut self, order: Order) {
        if let Some(channel) = self.order.take() {
            // A connection that is just ending needs no order.
            let _ = channel.send(order);
        }
    }
}

impl Place {
    /// A request has come: from now on the client waits for us.
    pub(crate) fn works(&self) {
        self.activity.0.store(0, Ordering::Relaxed);
    }

    /// There is an answer, or a part of one: from now on we wait for the client, to read it and to ask for more.
    pub(crate) fn rests(&self) {
        self.activity.0.store(self.connections.now.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.connections.state();
        state.open.remove(&self.id);
        if let Some(source) = self.source
            && let Some(count) = state.by_address.get_mut(&source)
        {
            *count -= 1;
            if *count == 0 {
                state.by_address.remove(&source);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::advance;

    fn address(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    #[tokio::test]
    async fn has_room_for_so_many_in_all_and_from_one_address() {
        let connections = Connections::new(3, 2);
        let one = connections.admit(address("192.0.2.1")).unwrap();
        let two = connections.admit(address("192.0.2.1")).unwrap();
        assert!(connections.admit(address("192.0.2.1")).is_err());
        let three = connections.admit(address("192.0.2.2")).unwrap();
        assert!(connections.admit(address("192.0.2.3")).is_err());
        drop(one);
        let four = connections.admit(address("192.0.2.1")).unwrap();
        drop((two, three, four));
        // A proxy's connections are nobody's.
        let proxied: Vec<_> = (0..3).map(|_| connections.admit(None).unwrap()).collect();
        assert!(connections.admit(None).is_err());
        drop(proxied);
        let state = connections.state();
        assert_eq!((state.open.len(), state.by_address.len()), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn cuts_off_whoever_neither_asks_nor_waits() {
        let connections = Connections::new(10, 10);
        let (_idle, mut idle_told) = connections.admit(None).unwrap();
        let (waiting, mut waiting_told) = connections.admit(None).unwrap();
        waiting.works();
        let (asking, mut asking_told) = connections.admit(None).unwrap();
        for _ in 0..PATIENCE_SECONDS {
            asking.works();
            asking.rests();
            assert!(idle_told.try_recv().is_err());
            advance(ROUND).await;
            connections.look();
        }
        assert_eq!(idle_told.try_recv(), Ok(Order::Cut));
        waiting_told.try_recv().unwrap_err();
        asking_told.try_recv().unwrap_err();
        connections.close();
        assert_eq!(waiting_told.try_recv(), Ok(Order::Leave));
        assert_eq!(asking_told.try_recv(), Ok(Order::Leave));
        // Who comes in the moment of closing is told as well.
        assert_eq!(connections.admit(None).unwrap().1.try_recv(), Ok(Order::Leave));
    }
}
