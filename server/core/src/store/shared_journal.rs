//! A journal that several stores share, as servers share an etcd cluster: lost comparisons, and changes of others.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use protocol::Pin;
use tokio::sync::Notify;

use super::suite::{self, Log, START, at_once, wait};
use super::{
    Change, Changes, CommitError, Entry, Foreign, Journal, Limits, Node, NodeClass, Observer, PinKey, Store,
    Update,
};
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
    /// Each node apart, so that a report is no change of its cluster.
    nodes: HashMap<(PinKey, Box<str>), (u64, Option<Node>)>,
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
        let nodes = state.nodes.iter().filter(|(_, (revision, _))| *revision > self.revision);
        let nodes: Vec<_> = nodes
            .map(|((pin, id), (_, node))| {
                let (pin, id) = (pin.pin(), id.clone());
                Foreign::Node { pin, id, node: node.clone().map(Arc::new) }
            })
            .collect();
        self.revision = state.revision;
        drop(state);
        let foreign = |(pin, revision, entry): (PinKey, u64, Option<Entry>)| {
            self.seen.insert(pin, revision);
            Foreign::Cluster { pin: pin.pin(), entry, expired: false }
        };
        newer.into_iter().map(foreign).chain(nodes).collect()
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
            let is_live = |pin: &PinKey| {
                let own = changes.clusters().find(|(changed, _)| changed == pin).map(|(_, entry)| entry);
                let known = state.pins.get(pin).and_then(|(_, entry)| entry.as_ref());
                own.unwrap_or(known).is_some()
            };
            let nodes_are_live = changes.nodes().all(|(pin, ..)| is_live(&pin));
            if nodes_are_live && changes.clusters().all(|(pin, _)| is_current(&pin)) {
                state.revision += 1;
                let revision = state.revision;
                for (pin, entry) in changes.clusters() {
                    state.pins.insert(pin, (revision, entry.cloned()));
                    self.seen.insert(pin, revision);
                }
                for (pin, id, node) in changes.nodes() {
                    state.nodes.insert((pin, id.into()), (revision, node.cloned()));
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

#[test]
fn every_server_has_the_nodes_that_report_to_another() {
    let cluster = Arc::default();
    let log = Arc::new(Log::default());
    let stores = [member(&cluster, Arc::new(())), member(&cluster, log.clone())];
    let pin: Pin = wait(stores[0].create_cluster()).unwrap().pin;
    until(|| wait(stores[1].cluster(&pin)).ok());
    let put = |number: usize, id: usize| {
        let report = format!("v1.{id}");
        wait(stores[number].put_node(&pin, &id.to_string(), report, NodeClass::Sealed, None))
    };
    at_once(8, |number| put(number % 2, number).unwrap());
    let nodes = |store: &Store| wait(store.nodes(&pin, None)).unwrap().nodes;
    for store in &stores {
        until(|| (nodes(store).len() == 8).then_some(()));
    }
    assert_eq!(nodes(&stores[0]), nodes(&stores[1]));
    assert_eq!(log.take().iter().filter(|(_, change)| matches!(change, Change::NodeSet { .. })).count(), 8);
    wait(stores[0].delete_node(&pin, "0")).unwrap();
    until(|| (nodes(&stores[1]).len() == 7).then_some(()));
    assert!(matches!(log.take()[..], [(_, Change::NodeDeleted { .. })]));
    wait(stores[1].delete_cluster(&pin)).unwrap();
    // The other server may not know yet.
    assert_eq!(put(0, 9), Err(Refused::UnknownPin));
}
