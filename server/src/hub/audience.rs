//! Those who watch a pin: each hears of every change, and of how many wait and were served.
//!
//! A change is told to all of them at once, through a ring that holds the last [`BEHIND`]: one who has not read so far
//! has missed something, and is told so instead. The counts are only ever the latest ones.

use std::collections::BTreeSet;
use std::sync::Arc;

use protocol::Pin;
use tokio::sync::{broadcast, watch};

use super::{Hub, State};
use crate::http::Refusal;
use crate::store::Change;

/// Changes that one who watches may be behind. A cluster makes a handful while it comes up.
const BEHIND: usize = 16;
/// Most who watch one pin: the people at a cluster. Each is woken by the writer itself, at every change.
const WATCHERS_PER_PIN: usize = 100;

/// How many have come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Counts {
    /// Waits that are held now.
    pub(crate) waiting: usize,
    /// Slaves that were told that the master is ready, and then given its address, since this process started.
    pub(crate) served: u64,
}

/// All who watch one pin. There is at least one.
pub(super) struct Audience {
    pub(super) seats: BTreeSet<u64>,
    pub(super) changes: broadcast::Sender<Change>,
    pub(super) counts: watch::Sender<Counts>,
}

/// A place among those who watch a pin; dropping it gives the place up.
pub(crate) struct Seat {
    hub: Arc<Hub>,
    pin: Pin,
    id: u64,
    changes: broadcast::Receiver<Change>,
    counts: watch::Receiver<Counts>,
}

/// What one who watches hears next.
#[derive(Debug)]
pub(crate) enum Heard {
    /// A change.
    Change(Change),
    /// Other counts than before.
    Counts(Counts),
    /// Nothing more: too far behind, or the service ends.
    End,
}

impl Audience {
    fn new(counts: Counts) -> Self {
        let (changes, counts) = (broadcast::Sender::new(BEHIND), watch::Sender::new(counts));
        Self { seats: BTreeSet::new(), changes, counts }
    }
}

impl Hub {
    /// Takes a place among those who watch a pin.
    ///
    /// # Errors
    /// There are too many already, or the service ends.
    pub(crate) fn watch(self: &Arc<Self>, pin: &Pin) -> Result<Seat, Refusal> {
        let mut state = self.state();
        self.admit(&state, pin)?;
        if state.pins.get(pin).is_some_and(|watched| watched.watchers() >= WATCHERS_PER_PIN) {
            return Err(Refusal::TooManyWaiters);
        }
        let id = state.next_id();
        state.waiters += 1;
        let watched = state.pins.entry(pin.clone()).or_default();
        let counts = watched.counts();
        let audience = watched.audience.get_or_insert_with(|| Box::new(Audience::new(counts)));
        audience.seats.insert(id);
        let (changes, counts) = (audience.changes.subscribe(), audience.counts.subscribe());
        Ok(Seat { hub: self.clone(), pin: pin.clone(), id, changes, counts })
    }

    /// Tells those who watch a pin.
    pub(super) fn tell(&self, pin: &Pin, change: &Change) {
        let changes =
            self.state().pins.get(pin).and_then(|watched| Some(watched.audience.as_ref()?.changes.clone()));
        if let Some(changes) = changes {
            // The last one may just have left.
            let _ = changes.send(change.clone());
        }
    }
}

impl State {
    /// Gives a place up, if it is still there.
    fn leave(&mut self, pin: &Pin, id: u64) {
        let Some(watched) = self.pins.get_mut(pin) else { return };
        let Some(audience) = &mut watched.audience else { return };
        if !audience.seats.remove(&id) {
            return;
        }
        if audience.seats.is_empty() {
            watched.audience = None;
        }
        self.waiters -= 1;
        self.tidy(pin);
    }
}

impl Seat {
    /// How many there are now; [`Seat::heard`] tells of what comes after.
    pub(crate) fn counts(&mut self) -> Counts {
        *self.counts.borrow_and_update()
    }

    /// Waits for something to tell. Counts are told once `counts_from` has come, and only the latest. May be dropped
    /// at any time without a loss.
    pub(crate) async fn heard(&mut self, counts_from: tokio::time::Instant) -> Heard {
        let Self { changes, counts, .. } = self;
        let counted = async {
            tokio::time::sleep_until(counts_from).await;
            counts.changed().await.map(|()| *counts.borrow_and_update())
        };
        tokio::select! {
            biased;
            change = changes.recv() => change.map_or(Heard::End, Heard::Change),
            Ok(counts) = counted => Heard::Counts(counts),
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.hub.state().leave(&self.pin, self.id);
    }
}
