//! A journal that several stores share, as servers share an etcd cluster: lost comparisons, and changes of others.

use std::collections::{HashMap, HashSet};
use std::pin::Pin as Pinned;
use std::sync::{Arc, Mutex};

use protocol::Pin;
use tokio::sync::{Notify, watch};

use super::suite::{self, Log, START, at_once, wait};
use super::{
    BatchLimits, Change, Changes, ClusterChange, CommitError, Foreign, Journal, Limits, NodeClass,
    NumberedKey, Observer, PinKey, ReadIndex, Store, Update,
};
use crate::Refused;
use crate::clock::{Clock, ManualClock};
use crate::store::snapshot::Snapshot;

/// What all of them share.
#[derive(Default)]
struct Cluster {
    state: Mutex<Kept>,
    changed: Notify,
}

#[derive(Default)]
struct Kept {
    /// What has happened, in order. The revision is how much that is.
    log: Vec<Foreign>,
    /// The revision at which each cluster was last changed.
    changed: HashMap<PinKey, usize>,
    /// Those that are there.
    alive: HashSet<PinKey>,
}

/// One server's access: what it has seen of the log.
struct Member {
    cluster: Arc<Cluster>,
    revision: usize,
    taken_in: watch::Sender<usize>,
}

impl Member {
    fn new(cluster: &Arc<Cluster>) -> Self {
        Self { cluster: cluster.clone(), revision: 0, taken_in: watch::Sender::new(0) }
    }

    /// What has happened since this member looked last.
    fn catch_up(&mut self) -> Vec<Foreign> {
        let state = self.cluster.state.lock().unwrap();
        let newer = state.log[self.revision..].to_vec();
        self.revision = state.log.len();
        newer
    }
}

impl Journal for Member {
    const SHARED: bool = true;
    const BATCH: BatchLimits = BatchLimits { operations: 40, bytes: 1 << 20, swept: 16, removed: 16 };

    async fn commit(&mut self, changes: &Changes) -> Result<Vec<Foreign>, CommitError> {
        {
            let mut state = self.cluster.state.lock().unwrap();
            let is_current = |pin: &PinKey| state.changed.get(pin).is_none_or(|at| *at <= self.revision);
            // A report is no change of its cluster, which only has to be there.
            let nodes_are_live = changes.nodes().all(|(pin, ..)| state.alive.contains(&pin));
            if !nodes_are_live || !changes.of_clusters().all(|(pin, _)| is_current(&pin)) {
                drop(state);
                return Err(CommitError::Outdated(self.catch_up()));
            }
            state.log.push(Foreign::NextId(changes.next_id()));
            for (pin, change) in changes.of_clusters() {
                let foreign = match change {
                    ClusterChange::LookedAt => continue,
                    ClusterChange::Removed { expired } => {
                        state.alive.remove(&pin);
                        Foreign::Cluster { pin, entry: None, expired }
                    }
                    ClusterChange::Put { entry, set, deleted } => {
                        state.alive.insert(pin);
                        let (created, expires) = (entry.created, entry.expires);
                        let set = set.into_iter().map(|key| NumberedKey { charge: None, ..key.clone() });
                        Foreign::Keys { pin, created, expires, set: set.collect(), deleted }
                    }
                };
                state.log.push(foreign);
                let revision = state.log.len();
                state.changed.insert(pin, revision);
            }
            for (pin, id, node) in changes.nodes() {
                let node = node.cloned().map(Arc::new);
                state.log.push(Foreign::Node { pin, id: id.into(), node });
            }
        }
        self.cluster.changed.notify_waiters();
        Ok(self.catch_up())
    }

    async fn resolve(&mut self, _: &Changes) -> Result<bool, Refused> {
        Err(Refused::Unreachable("this journal leaves nothing in doubt".to_owned()))
    }

    async fn foreign(&mut self) -> Vec<Foreign> {
        loop {
            let cluster = self.cluster.clone();
            let mut changed = std::pin::pin!(cluster.changed.notified());
            changed.as_mut().enable();
            if self.cluster.state.lock().unwrap().log.len() > self.revision {
                return self.catch_up();
            }
            changed.await;
        }
    }

    fn taken_in(&mut self) {
        self.taken_in.send_replace(self.revision);
    }

    fn read_index(&self) -> Option<Arc<dyn ReadIndex>> {
        Some(Arc::new(Index { cluster: self.cluster.clone(), taken_in: self.taken_in.subscribe() }))
    }

    fn snapshot(&self) -> Result<Snapshot, Refused> {
        Err(Refused::Failed("there is no backup of this journal".to_owned()))
    }
}

struct Index {
    cluster: Arc<Cluster>,
    taken_in: watch::Receiver<usize>,
}

impl ReadIndex for Index {
    fn reached(&self) -> Pinned<Box<dyn Future<Output = Result<(), Refused>> + Send + '_>> {
        let revision = self.cluster.state.lock().unwrap().log.len();
        let mut taken_in = self.taken_in.clone();
        Box::pin(async move {
            let reached = taken_in.wait_for(|taken_in| *taken_in >= revision).await;
            reached.map(drop).map_err(|_| Refused::Unreachable("the journal is closed".to_owned()))
        })
    }
}

/// One member alone keeps every promise.
#[derive(Default)]
struct SingleMember(Arc<Cluster>);

impl suite::Backend for SingleMember {
    const LASTS: bool = true;
    const SHARED: bool = true;
    const SWEPT: usize = Member::BATCH.swept;

    fn open(&self, limits: Limits, clock: Arc<dyn Clock>, observer: Arc<dyn Observer>) -> Store {
        Store::with_journal(Member::new(&self.0), limits, clock, observer).unwrap()
    }
}

suite::run!(SingleMember);

fn member(cluster: &Arc<Cluster>, observer: Arc<dyn Observer>) -> Store {
    member_at(cluster, Arc::new(ManualClock::at(START)), observer)
}

fn member_at(cluster: &Arc<Cluster>, clock: Arc<ManualClock>, observer: Arc<dyn Observer>) -> Store {
    Store::with_journal(Member::new(cluster), Limits::default(), clock, observer).unwrap()
}

/// Waits until something that another store has done is there.
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
    for round in 0..50 {
        let name = &format!("key{round}");
        let answers = at_once(8, |number| wait(stores[number].create_key(&pin, name, &number.to_string())));
        let won: Vec<_> = answers.iter().filter_map(|answer| answer.as_ref().ok()).collect();
        assert_eq!(won.len(), 1, "{answers:?}");
        assert_eq!(answers.iter().filter(|answer| **answer == Err(Refused::KeyExists)).count(), 7);
        for store in &stores {
            assert_eq!(wait(store.key(&pin, name)).as_ref(), Ok(won[0]));
        }
    }
}

#[test]
fn every_server_knows_at_once_what_another_has_answered() {
    let cluster = Arc::default();
    let stores: Vec<Store> = (0..3).map(|_| member(&cluster, Arc::new(()))).collect();
    for round in 0..100 {
        let (one, other) = (&stores[round % 3], &stores[(round + 1) % 3]);
        let pin = wait(one.create_cluster()).unwrap().pin;
        // A refusal is an answer as well, so it must be as current as a read.
        let key = wait(other.create_key(&pin, "k", "1")).unwrap();
        assert_eq!(wait(one.create_key(&pin, "k", "2")), Err(Refused::KeyExists));
        assert_eq!(wait(one.keys(&pin)), Ok(vec![key]));
        wait(one.delete_cluster(&pin)).unwrap();
        assert_eq!(wait(other.delete_key(&pin, "k")), Err(Refused::UnknownPin));
        assert_eq!(wait(other.cluster(&pin)), Err(Refused::UnknownPin));
    }
}

#[test]
fn a_pin_that_one_server_calls_gone_is_gone_for_all_whatever_their_clocks_show() {
    let cluster = Arc::default();
    let (late, log) = (Arc::new(ManualClock::at(START)), Arc::new(Log::default()));
    let (slow, fast) = (member(&cluster, log.clone()), member_at(&cluster, late.clone(), Arc::new(())));
    let pin = wait(slow.create_cluster()).unwrap().pin;
    assert!(wait(fast.cluster(&pin)).is_ok());
    late.advance(suite::LIFETIME);
    assert!(wait(slow.cluster(&pin)).is_ok());
    assert_eq!(wait(fast.cluster(&pin)), Err(Refused::UnknownPin));
    assert_eq!(wait(slow.cluster(&pin)), Err(Refused::UnknownPin));
    assert_eq!(log.take(), [(pin, Change::Expired)]);
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
