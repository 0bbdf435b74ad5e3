//! The open connections: how many there may be, in all and from one source, and the watch that closes those whose client
//! does nothing.
//!
//! One task looks at all connections once a second. That a connection need not have a timer of its own saves a fifth
//! of what a request costs.
//!
//! Where there is no room for a new connection, the one closes that has waited longest for its client, those first that
//! never sent a request: silent connections lock no client out.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, interval};

use crate::sources::{Exhausted, SourceCounter, SourcePermit, prefixes};

/// How long a TLS handshake may take, in seconds: three round trips over the worst line, and a slow processor.
const HANDSHAKE_SECONDS: u32 = 15;
/// How long a client may take to send the first head, in seconds.
const FIRST_HEAD_SECONDS: u32 = 10;
/// How long a client may take from one answer to the end of the next request's head, in seconds. Longer than the longest
/// pause between two requests of an agent that polls (30 s and its jitter), so that it need not connect anew.
const IDLE_SECONDS: u32 = 60;
/// What a client may take to read a long answer, besides its bytes at [`SLOWEST`], in seconds.
const ANSWER_SECONDS: u32 = 20;
/// The slowest reader of a long answer, in bytes a second: what the body of a request may take as well.
const SLOWEST: u64 = 32 << 10;
/// How often the watch looks.
const ROUND: Duration = Duration::from_secs(1);
/// One in so many connections makes room at a time, so that a flood does not cost a look at all of them for each.
const EVICTED: usize = 256;

/// All connections.
pub(crate) struct Connections {
    counter: Arc<SourceCounter>,
    begun: Instant,
    /// Seconds since `begun`, as the watch last saw it: the time for a connection.
    now: AtomicU32,
    state: Mutex<ConnectionsState>,
}

#[derive(Default)]
struct ConnectionsState {
    open: HashMap<u64, WatchedConnection>,
    next_id: u64,
    closed: bool,
    evicted: u64,
}

/// What the watch knows of a connection.
struct WatchedConnection {
    activity: Arc<Activity>,
    /// `None`: it was told to close gracefully.
    disconnect: Option<oneshot::Sender<Disconnect>>,
    /// Closes it at once when it is dropped, after that.
    cut_on_drop: Option<oneshot::Sender<()>>,
    permit: SourcePermit,
}

/// What the watch tells a connection.
#[derive(Debug)]
pub(crate) enum Disconnect {
    /// After the request at hand, or once the other side of this is dropped: the service shuts down.
    Graceful(oneshot::Receiver<()>),
    /// At once: the client neither reads nor asks, or its place is needed.
    Now,
}

/// What a connection does, in seconds of [`Connections::now`] plus 1; 0 stands for none.
#[derive(Debug, Default)]
struct Activity {
    /// Since when the service waits for the client; 0: it does not.
    since: AtomicU32,
    /// Until when the client may take; 0: as long as it likes.
    until: AtomicU32,
    /// Whether a request has come.
    asked: AtomicBool,
}

/// A place among the connections; dropping it makes room.
pub(crate) struct ConnectionPermit {
    connections: Arc<Connections>,
    id: u64,
    activity: Arc<Activity>,
}

impl Connections {
    /// Room for so many, in all and from one source.
    pub(crate) fn new(limit: usize, per_source: usize) -> Arc<Self> {
        let counter = SourceCounter::new(limit as u64, per_source as u64);
        Arc::new(Self { counter, begun: Instant::now(), now: AtomicU32::new(0), state: Mutex::default() })
    }

    /// Admits a connection. `source` is the client that it counts for, `None` for a trusted proxy.
    ///
    /// # Errors
    /// There is no room, and no connection that could make some.
    pub(crate) fn admit(
        self: &Arc<Self>,
        source: Option<IpAddr>,
    ) -> Result<(ConnectionPermit, oneshot::Receiver<Disconnect>), Exhausted> {
        let mut state = self.state();
        let permit = loop {
            match self.counter.acquire(source, 1) {
                Ok(permit) => break permit,
                Err(limit) if state.evict(limit) => {}
                Err(limit) => return Err(limit),
            }
        };
        let id = state.next_id;
        state.next_id += 1;
        let (disconnect, told) = oneshot::channel();
        let activity = Arc::new(Activity::default());
        let mut watched = WatchedConnection {
            activity: activity.clone(),
            disconnect: Some(disconnect),
            cut_on_drop: None,
            permit,
        };
        if state.closed {
            watched.close();
        }
        state.open.insert(id, watched);
        drop(state);
        let permit = ConnectionPermit { connections: self.clone(), id, activity };
        permit.await_first_head();
        Ok((permit, told))
    }

    /// Has every connection close after the request at hand.
    pub(crate) fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        state.open.values_mut().for_each(WatchedConnection::close);
    }

    /// Closes at once what waits for its client.
    pub(crate) fn cut_idle(&self) {
        self.state().cut(|activity| activity.since.load(Ordering::Relaxed) != 0);
    }

    /// Closes overdue connections, once a round. Never returns.
    pub(crate) async fn watch(self: Arc<Self>) {
        let mut rounds = interval(ROUND);
        loop {
            rounds.tick().await;
            self.cut_overdue();
        }
    }

    /// How many are open.
    pub(crate) fn count(&self) -> u64 {
        self.counter.used()
    }

    /// How many sources there are connections from; each connection of a trusted proxy stands for one.
    pub(crate) fn sources(&self) -> usize {
        self.counter.sources()
    }

    /// How many may be open.
    pub(crate) fn limit(&self) -> u64 {
        self.counter.total()
    }

    /// How many were closed to make room.
    pub(crate) fn evicted(&self) -> u64 {
        self.state().evicted
    }

    fn cut_overdue(&self) {
        let now = u32::try_from(self.begun.elapsed().as_secs()).expect("136 years are not over");
        self.now.store(now, Ordering::Relaxed);
        self.state().cut(|activity| {
            let until = activity.until.load(Ordering::Relaxed);
            until != 0 && now + 1 >= until
        });
    }

    fn state(&self) -> MutexGuard<'_, ConnectionsState> {
        // Nothing that is done under the lock can panic half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ConnectionsState {
    fn cut(&mut self, chosen: impl Fn(&Activity) -> bool) {
        for (_, watched) in self.open.extract_if(|_, watched| chosen(&watched.activity)) {
            watched.cut();
        }
    }

    /// Closes some connections that wait for their client, among those that reached the limit.
    fn evict(&mut self, limit: Exhausted) -> bool {
        let of_source = |watched: &WatchedConnection| match limit {
            Exhausted::Total => true,
            Exhausted::Source(full) => {
                watched.permit.source().is_some_and(|source| prefixes(source).any(|prefix| prefix == full))
            }
        };
        let mut idle: Vec<_> = (self.open.iter())
            .filter(|(_, watched)| of_source(watched))
            .filter_map(|(&id, WatchedConnection { activity, .. })| {
                let since = activity.since.load(Ordering::Relaxed);
                (since != 0).then(|| (activity.asked.load(Ordering::Relaxed), since, id))
            })
            .collect();
        let count = idle.len().min(self.open.len().div_ceil(EVICTED));
        if count == 0 {
            return false;
        }
        idle.select_nth_unstable_by_key(count - 1, |&(asked, since, id)| (asked, since, id));
        for &(.., id) in &idle[..count] {
            if let Some(watched) = self.open.remove(&id) {
                watched.cut();
                self.evicted += 1;
            }
        }
        true
    }
}

impl WatchedConnection {
    fn close(&mut self) {
        if let Some(disconnect) = self.disconnect.take() {
            let (cut, told) = oneshot::channel();
            self.cut_on_drop = Some(cut);
            // A connection that is just ending needs no order.
            let _ = disconnect.send(Disconnect::Graceful(told));
        }
    }

    fn cut(self) {
        if let Some(disconnect) = self.disconnect {
            let _ = disconnect.send(Disconnect::Now);
        }
    }
}

impl ConnectionPermit {
    /// A request has come: from now on the client waits for the service.
    pub(crate) fn begin_request(&self) {
        self.activity.asked.store(true, Ordering::Relaxed);
        self.activity.until.store(0, Ordering::Relaxed);
        self.activity.since.store(0, Ordering::Relaxed);
    }

    /// The client is to finish the TLS handshake.
    pub(crate) fn await_handshake(&self) {
        self.await_client_for(HANDSHAKE_SECONDS);
    }

    /// The client is to send its first request.
    pub(crate) fn await_first_head(&self) {
        self.await_client_for(FIRST_HEAD_SECONDS);
    }

    /// There is an answer, or a part of one: from now on the service waits for the client, to read it and to send more.
    pub(crate) fn await_client(&self) {
        self.await_client_for(IDLE_SECONDS);
    }

    /// As [`Self::await_client`], for an answer or a body of so many bytes, which must go on at a minimum rate.
    pub(crate) fn await_transfer(&self, bytes: u64) {
        self.await_client_for(u32::try_from(bytes / SLOWEST).unwrap_or(u32::MAX / 2) + ANSWER_SECONDS);
    }

    fn await_client_for(&self, seconds: u32) {
        let now = self.connections.now.load(Ordering::Relaxed) + 1;
        self.activity.until.store(now.saturating_add(seconds), Ordering::Relaxed);
        self.activity.since.store(now, Ordering::Relaxed);
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        let removed = self.connections.state().open.remove(&self.id);
        // The counter has a lock of its own.
        drop(removed);
    }
}

#[cfg(test)]
mod tests;
