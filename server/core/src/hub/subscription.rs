//! Subscriptions to a pin: each hears of every change, and of how many wait.
//!
//! A change is sent to all of them at once, through a ring that holds the last [`BEHIND`]. A subscriber that has not
//! read so far has missed something, and is told so instead. Of the number that wait only the latest is told; of reports
//! of nodes only that there were some, since thousands may come at once.

use std::collections::BTreeSet;
use std::sync::Arc;

use protocol::Pin;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, watch};

use super::{Hub, HubState};
use crate::Refused;
use crate::store::Change;

/// Changes that a subscriber may be behind. A cluster makes a handful while it comes up.
const BEHIND: usize = 16;
/// Most subscriptions to one pin: the people at a cluster. Each is woken by the writer itself, at every change.
const SUBSCRIPTIONS_PER_PIN: usize = 100;

/// All subscribers of one pin. There is at least one.
pub(super) struct Subscribers {
    ids: BTreeSet<u64>,
    changes: broadcast::Sender<Change>,
    waiting: watch::Sender<usize>,
    reports: watch::Sender<()>,
}

/// A subscription to a pin; dropping it ends it.
pub struct Subscription {
    hub: Arc<Hub>,
    pin: Pin,
    id: u64,
    changes: broadcast::Receiver<Change>,
    waiting: watch::Receiver<usize>,
    reports: watch::Receiver<()>,
}

/// What a subscriber hears next.
#[derive(Debug)]
pub enum HubEvent {
    /// Something happened to the pin.
    Change(Change),
    /// So many requests wait under the pin now.
    Waiting(usize),
    /// Nodes have reported.
    Reports,
    /// The subscriber has missed changes: it is too far behind.
    Lagged,
    /// The service is shutting down or cannot reach its journal, or the pin is gone and that was told before.
    Closed,
}

impl Subscribers {
    fn new(waiting: usize) -> Self {
        let (changes, waiting) = (broadcast::Sender::new(BEHIND), watch::Sender::new(waiting));
        Self { ids: BTreeSet::new(), changes, waiting, reports: watch::Sender::new(()) }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.ids.len()
    }

    /// Tells how many wait.
    pub(super) fn count(&self, waiting: usize) {
        self.waiting.send_replace(waiting);
    }
}

impl Hub {
    /// Subscribes to a pin.
    ///
    /// # Errors
    /// [`Refused::TooManyWaiters`] or [`Refused::ShuttingDown`].
    pub fn subscribe(self: &Arc<Self>, pin: &Pin) -> Result<Subscription, Refused> {
        let mut state = self.state();
        self.admit(&state, pin)?;
        if state.pins.get(pin).is_some_and(|watched| watched.subscriptions() >= SUBSCRIPTIONS_PER_PIN) {
            return Err(Refused::TooManyWaiters);
        }
        let id = state.next_id();
        state.waiters += 1;
        let watched = state.pins.entry(pin.clone()).or_default();
        let waiting = watched.waiters;
        let subscribers = watched.subscribers.get_or_insert_with(|| Box::new(Subscribers::new(waiting)));
        subscribers.ids.insert(id);
        let (changes, waiting) = (subscribers.changes.subscribe(), subscribers.waiting.subscribe());
        let reports = subscribers.reports.subscribe();
        Ok(Subscription { hub: self.clone(), pin: pin.clone(), id, changes, waiting, reports })
    }

    /// Tells the subscribers of a pin.
    pub(super) fn publish(&self, pin: &Pin, change: &Change) {
        let state = self.state();
        let Some(subscribers) = state.pins.get(pin).and_then(|watched| watched.subscribers.as_ref()) else {
            return;
        };
        if let Change::NodeSet { .. } = change {
            subscribers.reports.send_replace(());
        } else {
            let changes = subscribers.changes.clone();
            drop(state);
            // The last one may just have left.
            let _ = changes.send(change.clone());
        }
    }
}

impl HubState {
    /// Ends a subscription, if it is still there.
    fn unsubscribe(&mut self, pin: &Pin, id: u64) {
        let Some(watched) = self.pins.get_mut(pin) else { return };
        let Some(subscribers) = &mut watched.subscribers else { return };
        if !subscribers.ids.remove(&id) {
            return;
        }
        if subscribers.ids.is_empty() {
            watched.subscribers = None;
        }
        self.waiters -= 1;
        self.drop_if_idle(pin);
    }
}

impl Subscription {
    /// How many wait now; [`Subscription::next`] tells of later numbers.
    pub fn waiting(&mut self) -> usize {
        *self.waiting.borrow_and_update()
    }

    /// Waits for the next event. The number of those that wait, and that nodes have reported, is told once
    /// `counts_from` has come, and only the latest. May be dropped at any time without a loss.
    pub async fn next(&mut self, counts_from: tokio::time::Instant) -> HubEvent {
        let Self { changes, waiting, reports, .. } = self;
        let counted = async {
            tokio::time::sleep_until(counts_from).await;
            tokio::select! {
                changed = waiting.changed() => {
                    changed.map(|()| HubEvent::Waiting(*waiting.borrow_and_update()))
                }
                changed = reports.changed() => changed.map(|()| HubEvent::Reports),
            }
        };
        tokio::select! {
            biased;
            change = changes.recv() => match change {
                Ok(change) => HubEvent::Change(change),
                Err(RecvError::Lagged(_)) => HubEvent::Lagged,
                Err(RecvError::Closed) => HubEvent::Closed,
            },
            Ok(event) = counted => event,
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.hub.state().unsubscribe(&self.pin, self.id);
    }
}
