//! A journal that several stores share, as servers share an etcd cluster: lost comparisons, and changes of others.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use protocol::Pin;
use tokio::sync::Notify;

use super::suite::{self, Log, START, at_once, wait};
use super::{Change, Changes, CommitError, Entry, Foreign, Journal, Limits, Observer, PinKey, Store, Update};
use crate::Refused;
use crate::clock::{Clock, ManualClock};
use crate::store::snapshot::Snapshot;

/// What all of them share: each cluster as it is, with the revision at which it was last changed.
#[derive(Default)]
struct Cluster {
    state: Mutex<Kept>,
    changed: Notify,
}

#[derive(Default)]
struct Kept {
    revision: u64,
    pins: HashMap<PinKey, (u64, Option<Entry>)>,
}

/// One server's access: what it has seen of each cluster.
struct Member {
    cluster: Arc<Cluster>,
    seen: HashMap<PinKey, u64>,
    revision: u64,
}

impl Member {
    fn new(cluster: &Arc<Cluster>) -> Self {
        Self { cluster: cluster.clone(), seen: HashMap::new(), revision: 0 }
    }

    /// What others have changed since this member looked last.
    fn catch_up(&mut self) -> Vec<Foreign> {
        let state = self.cluster.state.lock().unwrap();
        let newer = state
            .pins
            .iter()
            .filter(|(pin, (revision, _))| *revision > self.revision && self.seen.get(pin) != Some(revision));
        let newer: Vec<_> = newer.map(|(pin, (revision, entry))| (*pin, *revision, entry.clone())).collect();
        self.revision = state.revision;
        drop(state);
        let foreign = |(pin, revision, entry): (PinKey, u64, Option<Entry>)| {
            self.seen.insert(pin, revision);
            Foreign { pin: pin.pin(), entry, expired: false }
        };
        newer.into_iter().map(foreign).collect()
    }
}

impl Journal for Member {
    async fn commit(&mut self, changes: &Changes) -> Result<(), CommitError> {
        {
            let mut state = self.cluster.state.lock().unwrap();
            let is_current = |pin: &PinKey| {
                let revision = state.pins.get(pin).map_or(0, |(revision, _)| *revision);
                self.seen.get(pin).copied().unwrap_or(0) == revision
            };
            if changes.clusters().all(|(pin, _)| is_current(&pin)) {
                state.revision += 1;
                let revision = state.revision;
                for (pin, entry) in changes.clusters() {
                    state.pins.insert(pin, (revision, entry.cloned()));
                    self.seen.insert(pin, revision);
                }
                self.cluster.changed.notify_waiters();
                return Ok(());
            }
        }
        Err(CommitError::Outdated(self.catch_up()))
    }

    async fn resolve(&mut self, _: &Changes) -> Result<bool, Refused> {
        Err(Refused::Unreachable("this journal leaves nothing in doubt".to_owned()))
    }

    async fn foreign(&mut self) -> Vec<Foreign> {
        loop {
            let cluster = self.cluster.clone();
            let mut changed = std::pin::pin!(cluster.changed.notified());
            changed.as_mut().enable();
            let foreign = self.catch_up();
            if !foreign.is_empty() {
                return foreign;
            }
            changed.await;
        }
    }

    fn snapshot(&self) -> Result<Snapshot, Refused> {
        Err(Refused::Failed("there is no backup of this journal".to_owned()))
    }
}

/// One member alone keeps every promise.
#[derive(Default)]
struct Alone;

impl suite::Place for Alone {
    const LASTS: bool = false;

    fn open(&self, limits: Limits, clock: Arc<dyn Clock>, observer: Arc<dyn Observer>) -> Store {
        Store::with_journal(Member::new(&Arc::default()), limits, clock, observer).unwrap()
    }
}

suite::run!(Alone);

fn member(cluster: &Arc<Cluster>, observer: Arc<dyn Observer>) -> Store {
    let clock = Arc::new(ManualClock::at(START));
    Store::with_journal(Member::new(cluster), Limits::default(), clock, observer).unwrap()
}

/// Waits until a store shows what another one has written.
fn until<T>(mut look: impl FnMut() -> Option<T>) -> T {
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        std::thread::yield_now();
    }
}

#[test]
fn a_key_is_created_once_among_servers_that_all_try_at_once() {
    let cluster = Arc::default();
    let stores: Vec<Store> = (0..8).map(|_| member(&cluster, Arc::new(()))).collect();
    let pin = wait(stores[0].create_cluster()).unwrap().pin;
    for store in &stores {
        until(|| wait(store.cluster(&pin)).ok());
    }
    for round in 0..50 {
        let name = &format!("key{round}");
        let answers = at_once(8, |number| wait(stores[number].create_key(&pin, name, &number.to_string())));
        let won: Vec<_> = answers.iter().filter_map(|answer| answer.as_ref().ok()).collect();
        assert_eq!(won.len(), 1, "{answers:?}");
        assert_eq!(answers.iter().filter(|answer| **answer == Err(Refused::KeyExists)).count(), 7);
        for store in &stores {
            until(|| wait(store.key(&pin, name)).ok().filter(|key| key == won[0]));
        }
    }
}

#[test]
fn tells_what_other_servers_have_changed() {
    let cluster = Arc::default();
    let log = Arc::new(Log::default());
    let (one, other) = (member(&cluster, Arc::new(())), member(&cluster, log.clone()));
    let told = || until(|| log.take().pop());
    let pin: Pin = wait(one.create_cluster()).unwrap().pin;
    let key = wait(one.create_key(&pin, "a", "1")).unwrap();
    assert_eq!(told(), (pin.clone(), Change::KeySet(key)));
    let update = Update { name: Some("b".to_owned()), value: None };
    let key = wait(one.update_key(&pin, "a", update)).unwrap();
    assert_eq!(told(), (pin.clone(), Change::KeyRenamed { from: "a".to_owned(), key: key.clone() }));
    wait(one.delete_key(&pin, "b")).unwrap();
    assert_eq!(told(), (pin.clone(), Change::KeyDeleted(key)));
    wait(one.delete_cluster(&pin)).unwrap();
    assert_eq!(told(), (pin.clone(), Change::Deleted));
    assert_eq!(wait(other.cluster(&pin)), Err(Refused::UnknownPin));
}
