//! The store against a model of it: a plain list of clusters, and random calls, clock steps and restarts.

#![allow(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    missing_docs,
    reason = "these are tests, also where another crate runs them"
)]

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, TestRunner};
use protocol::Pin;
use protocol::node::{NodeRole, NodeState};

use super::nodes::NODE_BYTES;
use super::state::{CLUSTER_BYTES, KEY_BYTES};
use super::suite::{Backend, Fixture, wait};
use super::{Change, Cluster, Key, Limits, Node, NodeClass, NodeCounts, Update};
use crate::Refused;
use crate::clock::{Clock as _, Timestamp};

const LIMITS: Limits = Limits {
    lifetime: Duration::from_micros(40),
    // The model does not know of it; the suite plays it.
    unused_lifetime: Duration::MAX,
    keys_per_pin: 3,
    bytes_per_pin: 12,
    nodes_per_pin: 2,
    node_bytes_per_pin: 12,
    pins: 3,
    bytes: usize::MAX,
    queued_bytes: usize::MAX,
};

/// What can happen to a store. A cluster is given by the number of its creation, counted back from the last one.
#[derive(Debug, Clone)]
enum Step {
    CreateCluster,
    Cluster(usize),
    DeleteCluster(usize),
    Keys(usize),
    Key(usize, &'static str),
    CreateKey(usize, &'static str, &'static str),
    UpdateKey(usize, &'static str, Option<&'static str>, Option<&'static str>),
    DeleteKey(usize, &'static str),
    PutNode(usize, &'static str, &'static str, NodeClass),
    DeleteNode(usize, &'static str),
    Nodes(usize),
    Sweep,
    Clock(i64),
    Reopen,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let which = 0usize..5;
    let name = || select(vec!["a", "b", "c", "dd"]);
    let value = || select(vec!["", "1", "123", "12345678"]);
    let class = select(vec![NodeClass::Sealed, NodeClass::Clear(NodeRole::Slave, NodeState::Ready)]);
    let step = prop_oneof![
        3 => Just(Step::CreateCluster),
        1 => which.clone().prop_map(Step::Cluster),
        1 => which.clone().prop_map(Step::DeleteCluster),
        2 => which.clone().prop_map(Step::Keys),
        2 => (which.clone(), name()).prop_map(|(which, name)| Step::Key(which, name)),
        8 => (which.clone(), name(), value()).prop_map(|(which, name, value)| Step::CreateKey(which, name, value)),
        5 => (which.clone(), name(), prop::option::of(name()), prop::option::of(value()))
            .prop_map(|(which, name, to, value)| Step::UpdateKey(which, name, to, value)),
        2 => (which.clone(), name()).prop_map(|(which, name)| Step::DeleteKey(which, name)),
        5 => (which.clone(), name(), value(), class)
            .prop_map(|(which, id, report, class)| Step::PutNode(which, id, report, class)),
        2 => (which.clone(), name()).prop_map(|(which, id)| Step::DeleteNode(which, id)),
        2 => which.clone().prop_map(Step::Nodes),
        1 => Just(Step::Sweep),
        3 => (-15i64..30).prop_map(Step::Clock),
        1 => Just(Step::Reopen),
    ];
    prop::collection::vec(step, 1..60)
}

/// The answer to any call, so that the store's and the model's can be compared.
#[derive(Debug, PartialEq)]
enum CallResult {
    Nothing,
    Cluster(Cluster),
    Keys(Vec<Key>),
    Key(Key),
    Nodes(Vec<Node>),
    Swept,
}

type Answer = Result<CallResult, Refused>;

/// A cluster that has expired, and whether a call was told so.
struct ExpiredCluster {
    cluster: Cluster,
    keys: Vec<Key>,
    reported: bool,
}

/// What the store should be.
#[derive(Default)]
struct Model {
    /// Those that have not expired.
    clusters: Vec<(Cluster, Vec<Key>)>,
    /// Those that have, and may still be in the store: it tells of each when it removes it.
    expired: Vec<ExpiredCluster>,
    /// Those that had expired when the store was opened.
    unloaded: Vec<(Cluster, Vec<Key>)>,
    /// What the nodes of each cluster have reported, also of those that are gone.
    nodes: HashMap<Pin, BTreeMap<&'static str, Node>>,
    told: Vec<(Pin, Change)>,
}

impl Model {
    fn expire(&mut self, now: Timestamp) {
        let (live, expired) =
            std::mem::take(&mut self.clusters).into_iter().partition(|(cluster, _)| now < cluster.expires);
        self.clusters = live;
        let expired: Vec<(Cluster, Vec<Key>)> = expired;
        let expired = expired.into_iter();
        self.expired.extend(expired.map(|(cluster, keys)| ExpiredCluster { cluster, keys, reported: false }));
    }

    /// The store was opened again, and its clock shows `now`, which may be earlier than before. Clusters that have
    /// expired are not loaded. One of which no call was told that it is gone may be there again.
    fn reopen<P: Backend>(&mut self, now: Timestamp) {
        self.expire(now);
        if P::SHARED {
            // All are loaded, since the store cannot know whether they are gone for the others.
            let (expired, live): (Vec<_>, Vec<_>) = std::mem::take(&mut self.expired)
                .into_iter()
                .partition(|expired| expired.cluster.expires <= now);
            self.expired = expired;
            self.clusters.extend(live.into_iter().map(|live| (live.cluster, live.keys)));
            return;
        }
        let expired = std::mem::take(&mut self.expired).into_iter().map(|expired| {
            assert!(now >= expired.cluster.expires || !expired.reported, "it was gone, and is there again");
            (expired.cluster, expired.keys)
        });
        self.unloaded.extend(expired);
        let (unloaded, live) =
            std::mem::take(&mut self.unloaded).into_iter().partition(|(cluster, _)| cluster.expires <= now);
        self.unloaded = unloaded;
        let live: Vec<(Cluster, Vec<Key>)> = live;
        self.clusters.extend(live);
    }

    fn live(&mut self, pin: &Pin, _: Timestamp) -> Result<&mut (Cluster, Vec<Key>), Refused> {
        for expired in self.expired.iter_mut().filter(|expired| expired.cluster.pin == *pin) {
            expired.reported = true;
        }
        self.clusters.iter_mut().find(|(cluster, _)| cluster.pin == *pin).ok_or(Refused::UnknownPin)
    }

    fn keys(&mut self, pin: &Pin, now: Timestamp) -> Answer {
        self.live(pin, now).map(|(_, keys)| CallResult::Keys(keys.clone()))
    }

    fn key(&mut self, pin: &Pin, name: &str, now: Timestamp) -> Answer {
        let (_, keys) = self.live(pin, now)?;
        keys.iter().find(|key| key.name == name).cloned().map(CallResult::Key).ok_or(Refused::UnknownKey)
    }

    fn create_key(&mut self, pin: &Pin, name: &str, value: &str, now: Timestamp) -> Answer {
        let (_, keys) = self.live(pin, now)?;
        if keys.iter().any(|key| key.name == name) {
            return Err(Refused::KeyExists);
        }
        if keys.len() == LIMITS.keys_per_pin {
            return Err(Refused::TooManyKeys);
        }
        let key = Key { name: name.to_owned(), value: value.to_owned(), created: now, modified: now };
        keys.push(key.clone());
        if bytes(keys) > LIMITS.bytes_per_pin {
            keys.pop();
            return Err(Refused::TooManyBytes);
        }
        self.told.push((pin.clone(), Change::KeySet(Arc::new(key.clone()))));
        Ok(CallResult::Key(key))
    }

    fn update_key(
        &mut self,
        pin: &Pin,
        name: &str,
        to: Option<&str>,
        value: Option<&str>,
        now: Timestamp,
    ) -> Answer {
        let (_, keys) = self.live(pin, now)?;
        let at = keys.iter().position(|key| key.name == name).ok_or(Refused::UnknownKey)?;
        let before = keys[at].clone();
        if to.is_none() && value.is_none() {
            return Ok(CallResult::Key(before));
        }
        if keys.iter().enumerate().any(|(other, key)| other != at && Some(key.name.as_str()) == to) {
            return Err(Refused::KeyExists);
        }
        let name = to.unwrap_or(name).to_owned();
        let value = value.unwrap_or(&before.value).to_owned();
        let key = Key { name, value, created: before.created, modified: now };
        keys[at] = key.clone();
        if bytes(keys) > LIMITS.bytes_per_pin {
            keys[at] = before;
            return Err(Refused::TooManyBytes);
        }
        let change = if key.name == before.name {
            Change::KeySet(Arc::new(key.clone()))
        } else {
            Change::KeyRenamed { from: before.name, key: Arc::new(key.clone()) }
        };
        self.told.push((pin.clone(), change));
        Ok(CallResult::Key(key))
    }

    fn nodes_of(&self, pin: &Pin) -> Vec<Node> {
        self.nodes.get(pin).into_iter().flat_map(BTreeMap::values).cloned().collect()
    }

    fn node_counts(&self, pin: &Pin) -> NodeCounts {
        let mut counts = NodeCounts::default();
        self.nodes_of(pin).iter().for_each(|node| counts.count(node.class));
        counts
    }

    fn put_node(
        &mut self,
        pin: &Pin,
        id: &'static str,
        report: &str,
        class: NodeClass,
        now: Timestamp,
    ) -> Answer {
        self.live(pin, now)?;
        let node = Node { id: id.into(), report: report.into(), class, reported: now };
        let others = self.nodes_of(pin).into_iter().filter(|node| &*node.id != id);
        let others: Vec<usize> = others.map(|node| node.bytes()).collect();
        let is_new = !self.nodes.entry(pin.clone()).or_default().contains_key(id);
        if is_new && others.len() == LIMITS.nodes_per_pin {
            return Err(Refused::TooManyNodes);
        }
        if others.iter().sum::<usize>() + node.bytes() > LIMITS.node_bytes_per_pin {
            return Err(Refused::TooManyNodeBytes);
        }
        self.nodes.entry(pin.clone()).or_default().insert(id, node.clone());
        let change = Change::NodeSet { node: Arc::new(node), counts: self.node_counts(pin) };
        self.told.push((pin.clone(), change));
        Ok(CallResult::Nothing)
    }

    fn delete_node(&mut self, pin: &Pin, id: &str, now: Timestamp) -> Answer {
        self.live(pin, now)?;
        let node = self.nodes.get_mut(pin).and_then(|nodes| nodes.remove(id)).ok_or(Refused::UnknownNode)?;
        let change = Change::NodeDeleted { node: Arc::new(node), counts: self.node_counts(pin) };
        self.told.push((pin.clone(), change));
        Ok(CallResult::Nothing)
    }

    fn delete_key(&mut self, pin: &Pin, name: &str, now: Timestamp) -> Answer {
        let (_, keys) = self.live(pin, now)?;
        let at = keys.iter().position(|key| key.name == name).ok_or(Refused::UnknownKey)?;
        let key = keys.remove(at);
        self.told.push((pin.clone(), Change::KeyDeleted(Arc::new(key))));
        Ok(CallResult::Nothing)
    }
}

fn bytes(keys: &[Key]) -> usize {
    keys.iter().map(|key| key.name.len() + key.value.len()).sum()
}

/// Does one step to both, and compares.
fn take<P: Backend>(step: &Step, fixture: &mut Fixture<P>, model: &mut Model, pins: &mut Vec<Pin>) {
    let now = fixture.store().now();
    assert!(now >= fixture.clock.now());
    model.expire(now);
    let unknown = Pin::parse("enico1qq0oey").unwrap();
    let pin = |back: usize| pins.iter().rev().nth(back).unwrap_or(&unknown);
    let store = fixture.store();
    let key = |answer: Result<Arc<Key>, Refused>| answer.map(|key| CallResult::Key(Key::clone(&key)));
    let (said, expected) = match *step {
        Step::CreateCluster => {
            let said = wait(store.create_cluster());
            if model.clusters.len() < LIMITS.pins {
                let cluster = said.clone().unwrap();
                assert_eq!((cluster.created, cluster.expires), (now, now.after(LIMITS.lifetime)));
                pins.push(cluster.pin.clone());
                model.clusters.push((cluster.clone(), Vec::new()));
                (said.map(CallResult::Cluster), Ok(CallResult::Cluster(cluster)))
            } else {
                (said.map(CallResult::Cluster), Err(Refused::TooManyPins))
            }
        }
        Step::Cluster(which) => {
            let expected =
                model.live(pin(which), now).map(|(cluster, _)| CallResult::Cluster(cluster.clone()));
            (wait(store.cluster(pin(which))).map(CallResult::Cluster), expected)
        }
        Step::DeleteCluster(which) => {
            let expected = model.live(pin(which), now).map(|_| CallResult::Nothing);
            if expected.is_ok() {
                model.clusters.retain(|(cluster, _)| cluster.pin != *pin(which));
                model.told.push((pin(which).clone(), Change::Deleted));
            }
            (wait(store.delete_cluster(pin(which))).map(|()| CallResult::Nothing), expected)
        }
        Step::Keys(which) => {
            let said = wait(store.keys(pin(which)));
            let said = said.map(|keys| CallResult::Keys(keys.iter().map(|key| Key::clone(key)).collect()));
            (said, model.keys(pin(which), now))
        }
        Step::Key(which, name) => (key(wait(store.key(pin(which), name))), model.key(pin(which), name, now)),
        Step::CreateKey(which, name, value) => {
            let said = key(wait(store.create_key(pin(which), name, value)));
            (said, model.create_key(pin(which), name, value, now))
        }
        Step::UpdateKey(which, name, to, value) => {
            let update = Update { name: to.map(str::to_owned), value: value.map(str::to_owned) };
            let said = key(wait(store.update_key(pin(which), name, update)));
            (said, model.update_key(pin(which), name, to, value, now))
        }
        Step::DeleteKey(which, name) => {
            let said = wait(store.delete_key(pin(which), name)).map(|()| CallResult::Nothing);
            (said, model.delete_key(pin(which), name, now))
        }
        Step::PutNode(which, id, report, class) => {
            let pin = pin(which);
            let said = wait(store.put_node(pin, id, report.to_owned(), class, None));
            (said.map(|()| CallResult::Nothing), model.put_node(pin, id, report, class, now))
        }
        Step::DeleteNode(which, id) => {
            let said = wait(store.delete_node(pin(which), id)).map(|()| CallResult::Nothing);
            (said, model.delete_node(pin(which), id, now))
        }
        Step::Nodes(which) => {
            let said = wait(store.nodes(pin(which), None)).map(|listing| {
                CallResult::Nodes(listing.nodes.iter().map(|node| Node::clone(node)).collect())
            });
            let expected = model.live(pin(which), now).map(drop);
            (said, expected.map(|()| CallResult::Nodes(model.nodes_of(pin(which)))))
        }
        Step::Sweep => {
            let next = wait(store.sweep()).unwrap();
            let first = model.clusters.iter().map(|(cluster, _)| cluster.expires).min();
            assert!(next <= first && next.is_some() == first.is_some(), "{next:?} {first:?}");
            (Ok(CallResult::Swept), Ok(CallResult::Swept))
        }
        Step::Clock(by) => {
            let span = Duration::from_micros(by.unsigned_abs());
            fixture.clock.set(if by < 0 { now.before(span) } else { now.after(span) });
            return;
        }
        Step::Reopen => {
            fixture.reopen();
            assert!(!P::LASTS || fixture.log.take().is_empty());
            if P::LASTS {
                model.reopen::<P>(fixture.store().now());
            }
            check_stats(fixture, model);
            return;
        }
    };
    assert_eq!(said, expected, "{step:?}");
    let by_pin = |mut told: Vec<(Pin, Change)>| {
        // Stable, so the order of what happened to one pin is compared.
        told.sort_by(|(one, _), (other, _)| one.cmp(other));
        told
    };
    let (expired, told): (Vec<_>, Vec<_>) =
        fixture.log.take().into_iter().partition(|(_, change)| *change == Change::Expired);
    for (pin, _) in expired {
        let at = model.expired.iter().position(|expired| expired.cluster.pin == pin);
        model.expired.swap_remove(at.expect("it has expired, and was not told of before"));
    }
    if matches!(step, Step::Sweep) {
        assert!(model.expired.is_empty(), "a sweep tells of all that have expired");
    }
    assert_eq!(by_pin(told), by_pin(std::mem::take(&mut model.told)), "{step:?}");
    check_stats(fixture, model);
}

fn check_stats<P: Backend>(fixture: &Fixture<P>, model: &Model) {
    let found = fixture.store().stats();
    let keys: usize = model.clusters.iter().map(|(_, keys)| keys.len()).sum();
    let expired: usize = model.expired.iter().map(|expired| expired.keys.len()).sum();
    assert_eq!((found.pins, found.keys), (model.clusters.len() + model.expired.len(), keys + expired));
    let pins = model.clusters.iter().map(|(cluster, _)| &cluster.pin);
    let pins = pins.chain(model.expired.iter().map(|expired| &expired.cluster.pin));
    let nodes: Vec<Node> = pins.flat_map(|pin| model.nodes_of(pin)).collect();
    assert_eq!(found.nodes, nodes.len());
    let live = model.clusters.iter().map(|(_, keys)| keys);
    let keys = live.chain(model.expired.iter().map(|expired| &expired.keys));
    let bytes = keys.map(|keys| CLUSTER_BYTES + keys.len() * KEY_BYTES + bytes(keys)).sum::<usize>();
    assert_eq!(found.bytes, bytes + nodes.iter().map(|node| NODE_BYTES + node.bytes()).sum::<usize>());
}

pub fn behaves_as_its_model<P: Backend>() {
    // Each case makes a file and syncs it a few dozen times.
    let mut runner = TestRunner::new(Config { cases: 150, failure_persistence: None, ..Config::default() });
    runner
        .run(&steps(), |steps| {
            let (mut fixture, mut model, mut pins) =
                (Fixture::<P>::new(LIMITS), Model::default(), Vec::new());
            for step in &steps {
                take(step, &mut fixture, &mut model, &mut pins);
            }
            take(&Step::Reopen, &mut fixture, &mut model, &mut pins);
            for which in 0..pins.len() {
                take(&Step::Cluster(which), &mut fixture, &mut model, &mut pins);
                take(&Step::Keys(which), &mut fixture, &mut model, &mut pins);
                take(&Step::Nodes(which), &mut fixture, &mut model, &mut pins);
            }
            Ok(())
        })
        .unwrap();
}
