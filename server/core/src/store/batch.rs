//! Writes: what each does to a cluster, and the batch in which they become durable together.
//!
//! A batch evaluates one operation after the other against the state and what it has itself changed so far. No reader
//! sees any of that before [`Batch::publish`]; a batch that is dropped has not happened. An operation that is refused
//! changes nothing, except that it removes a cluster which it found to be expired. Evaluating takes nothing from the
//! operation, so one can be evaluated again when another process was faster.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use protocol::Pin;

use super::machine::{MARK_AHEAD, Shared, sweep_time};
use super::nodes::{ChangedNodes, NODE_BYTES, Node, NodeChanges, NodeClass, NumberedNode};
use super::pins::{self, PinKey};
use super::record::Record;
use super::state::{CLUSTER_BYTES, Entry, Id, KEY_BYTES, Lookup, NumberedKey, WriterState};
use super::{Change, Charge, Cluster, Key, Update};
use crate::Refused;
use crate::clock::Timestamp;

/// Most records of clusters that were not loaded which one sweep deletes.
const RECORDS_AT_ONCE: usize = 1000;

/// Most clusters that are looked at to find unused ones, for each that is made.
const LOOKED_AT_ONCE: usize = 64;

/// How long after the start the records of clusters that had expired by then are kept: should the machine's clock have
/// been wrong, the clusters are there again when it is right and the service is started again.
pub(super) const DOUBTED: Duration = Duration::from_secs(600);

/// A write.
#[derive(Debug, Clone)]
pub enum Operation {
    /// Makes a cluster under a pin that cannot be guessed and that no live cluster has.
    CreateCluster,
    /// Deletes a cluster with its keys and nodes.
    DeleteCluster(Pin),
    /// Creates a key.
    CreateKey {
        /// Under which pin.
        pin: Pin,
        /// Its name.
        name: String,
        /// Its value.
        value: String,
        /// What it costs its creator.
        charge: Option<Charge>,
    },
    /// Changes a key that exists.
    UpdateKey {
        /// Under which pin.
        pin: Pin,
        /// Its name so far.
        name: String,
        /// What changes.
        update: Update,
        /// What the new value costs.
        charge: Option<Charge>,
    },
    /// Deletes a key.
    DeleteKey {
        /// Under which pin.
        pin: Pin,
        /// Its name.
        name: String,
    },
    /// Keeps what a node reports, in the place of what it reported before.
    PutNode {
        /// Under which pin.
        pin: Pin,
        /// Its identifier.
        id: Box<str>,
        /// Its report.
        report: Box<str>,
        /// What the report says of role and state.
        class: NodeClass,
        /// What it costs the node.
        charge: Option<Charge>,
    },
    /// Removes a node.
    DeleteNode {
        /// Under which pin.
        pin: Pin,
        /// Its identifier.
        id: Box<str>,
    },
    /// Removes clusters that have expired, and moves the high-water mark ahead.
    Sweep,
    /// Removes a cluster if it has expired.
    RemoveExpired(Pin),
    /// Changes nothing, but makes a commit: shows whether a write would go through.
    Probe,
    /// Makes a cluster older than it is, for tests.
    Backdate(Pin, Duration),
}

/// What an operation changes or looks at.
pub(super) enum Subject<'a> {
    /// No cluster that another operation could name.
    Nothing,
    /// A cluster as a whole.
    Cluster(&'a Pin),
    /// One or two keys of a cluster.
    Keys(&'a Pin, [Option<&'a str>; 2]),
    /// A node of a cluster.
    Node(&'a Pin, &'a str),
}

impl Operation {
    pub(super) fn subject(&self) -> Subject<'_> {
        match self {
            Self::CreateCluster | Self::Sweep | Self::Probe => Subject::Nothing,
            Self::DeleteCluster(pin) | Self::RemoveExpired(pin) | Self::Backdate(pin, _) => {
                Subject::Cluster(pin)
            }
            Self::CreateKey { pin, name, .. } | Self::DeleteKey { pin, name } => {
                Subject::Keys(pin, [Some(name), None])
            }
            Self::PutNode { pin, id, .. } | Self::DeleteNode { pin, id } => Subject::Node(pin, id),
            Self::UpdateKey { pin, name, update, .. } => {
                Subject::Keys(pin, [Some(name), update.name.as_deref().filter(|new| new != name)])
            }
        }
    }

    /// Whether it only takes away: what a full disk should not prevent.
    pub(super) fn frees(&self) -> bool {
        matches!(
            self,
            Self::DeleteCluster(_)
                | Self::DeleteKey { .. }
                | Self::DeleteNode { .. }
                | Self::Sweep
                | Self::RemoveExpired(_)
        )
    }

    /// What it takes in memory while it waits, in bytes.
    pub(super) fn memory(&self) -> usize {
        let text = match self {
            Self::CreateKey { name, value, .. } => name.len() + value.len(),
            Self::UpdateKey { name, update, .. } => {
                let new = [&update.name, &update.value].into_iter().flatten();
                name.len() + new.map(String::len).sum::<usize>()
            }
            Self::DeleteKey { name, .. } => name.len(),
            Self::PutNode { id, report, .. } => id.len() + report.len(),
            Self::DeleteNode { id, .. } => id.len(),
            _ => 0,
        };
        // Itself, the pin, and the place for the answer.
        text + size_of::<Self>() + 200
    }
}

/// What a write that was not refused came to.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// It is done, and there is nothing to tell.
    Done,
    /// The cluster that was made.
    Cluster(Cluster),
    /// The key as it is now.
    Key(Arc<Key>),
    /// When the next sweep has something to do; `None` when no cluster is left.
    Next(Option<Timestamp>),
}

/// What a batch has changed.
#[derive(Debug, Default)]
pub struct Changes {
    /// What each cluster that the batch looked at has become; `None`: there is none.
    clusters: HashMap<PinKey, Option<Entry>>,
    /// What it has changed of nodes.
    nodes: ChangedNodes,
    /// What each record has become; `None`: it is deleted. Sorted, since neighbours are cheaper to write.
    records: BTreeMap<Id, Option<Record>>,
    /// The numbers of the keys that are deleted while their cluster stays.
    deleted_keys: Vec<(PinKey, Id)>,
    events: Vec<(Pin, Change)>,
    next_id: Id,
    /// The new high-water mark.
    mark: Option<Timestamp>,
    /// A commit is wanted, whatever there is to write.
    probe: bool,
    /// How many records of clusters that were not loaded are left.
    unloaded: Option<usize>,
}

impl Changes {
    /// Nothing but a new mark.
    pub(super) fn with_mark(mark: Timestamp) -> Self {
        Self { mark: Some(mark), ..Self::default() }
    }

    /// Whether they may be published without a commit: every operation was refused.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty() && self.mark.is_none() && !self.probe
    }

    /// Whether they only take away.
    #[must_use]
    pub fn frees(&self) -> bool {
        !self.probe && !self.records.is_empty() && self.records.values().all(Option::is_none)
    }

    /// What has to become durable, record by record.
    pub(super) fn records(&self) -> &BTreeMap<Id, Option<Record>> {
        &self.records
    }

    /// What has to become durable, cluster by cluster, among them some that were only looked at.
    pub fn of_clusters(&self) -> impl Iterator<Item = (PinKey, ClusterChange<'_>)> {
        let removed: HashMap<PinKey, bool> = self
            .events
            .iter()
            .filter_map(|(pin, event)| match event {
                Change::Deleted => Some((PinKey::of(pin)?, false)),
                Change::Expired => Some((PinKey::of(pin)?, true)),
                _ => None,
            })
            .collect();
        self.clusters.iter().map(move |(pin, entry)| {
            let Some(entry) = entry else {
                let removed = removed.get(pin).map(|expired| ClusterChange::Removed { expired: *expired });
                return (*pin, removed.unwrap_or(ClusterChange::LookedAt));
            };
            let set: Vec<_> = entry.keys.iter().filter(|key| self.records.contains_key(&key.id)).collect();
            let deleted: Vec<_> =
                self.deleted_keys.iter().filter(|(owner, _)| owner == pin).map(|(_, id)| *id).collect();
            let changed = self.records.contains_key(&entry.id) || !set.is_empty() || !deleted.is_empty();
            (*pin, if changed { ClusterChange::Put { entry, set, deleted } } else { ClusterChange::LookedAt })
        })
    }

    /// What a cluster becomes.
    pub(super) fn entry(&self, pin: PinKey) -> Option<&Entry> {
        self.clusters.get(&pin)?.as_ref()
    }

    /// What a node becomes.
    pub(super) fn node(&self, pin: PinKey, id: &str) -> Option<&NumberedNode> {
        self.nodes.get(&pin)?.set.get(id)?.as_ref()
    }

    /// The next number that the store gives after this batch.
    #[must_use]
    pub fn next_id(&self) -> Id {
        self.next_id
    }

    /// Whether a commit is wanted whatever there is to write, to see that a write would go through.
    #[must_use]
    pub fn is_probe(&self) -> bool {
        self.probe
    }

    /// Which nodes have to become durable, or be deleted: of live clusters only; the nodes of a cluster that is gone go
    /// with it.
    pub fn nodes(&self) -> impl Iterator<Item = (PinKey, &str, Option<&Node>)> {
        self.nodes.iter().flat_map(|(pin, changes)| {
            changes.set.iter().map(|(id, node)| (*pin, &**id, node.as_ref().map(|numbered| &*numbered.node)))
        })
    }

    /// The new high-water mark of expiry, if it moves: no cluster that expires up to it is known after a restart.
    #[must_use]
    pub fn mark(&self) -> Option<Timestamp> {
        self.mark
    }

    /// Shows readers what the batch has changed, and then tells the observer.
    pub(super) fn publish(self, shared: &Shared, writer: &mut WriterState) {
        writer.next_id = self.next_id;
        for (pin, entry) in self.clusters {
            shared.state.publish(writer, pin, entry);
        }
        for (pin, changes) in self.nodes {
            for (id, node) in changes.set {
                shared.state.publish_node(writer, pin, &id, node);
            }
        }
        if let Some(mark) = self.mark {
            shared.move_mark(mark);
        }
        if let Some(left) = self.unloaded {
            writer.unloaded.truncate(left);
        }
        shared.wake_sweeper(writer);
        for (pin, event) in &self.events {
            shared.observer.changed(pin, event);
        }
    }
}

/// What a batch has made of a cluster.
#[derive(Debug)]
pub enum ClusterChange<'a> {
    /// Nothing, but what was answered depends on it.
    LookedAt,
    /// It is gone with all its keys.
    Removed {
        /// Whether it expired, or was deleted.
        expired: bool,
    },
    /// It is new, or some of its keys have changed.
    Put {
        /// All of it as it is now.
        entry: &'a Entry,
        /// The keys that are new or have changed.
        set: Vec<&'a NumberedKey>,
        /// The numbers of those that are deleted.
        deleted: Vec<Id>,
    },
}

/// A batch in the making. While there is one, there is no other.
pub(super) struct Batch<'a> {
    shared: &'a Shared,
    writer: MutexGuard<'a, WriterState>,
    now: Timestamp,
    /// How many clusters there will be.
    population: usize,
    /// What they will take in memory.
    memory: usize,
    /// How many clusters it has removed that no operation deletes.
    removed: usize,
    changes: Changes,
}

impl<'a> Batch<'a> {
    /// Begins a batch of operations that have all been asked for by now, so one look at the clock does for all.
    pub(super) fn begin(shared: &'a Shared) -> Self {
        let writer = shared.state.writer();
        if writer.expiring.is_empty() {
            shared.clock.catch_up();
        }
        let changes = Changes { next_id: writer.next_id, ..Changes::default() };
        let (now, memory) = (shared.clock.now(), shared.state.memory());
        Self { now, population: writer.expiring.len(), memory, removed: 0, shared, writer, changes }
    }

    /// Shows readers what the batch has changed, and tells the observer.
    pub(super) fn publish(mut self) {
        self.changes.publish(self.shared, &mut self.writer);
    }

    /// Gives up the right to write, and keeps what the batch would change.
    pub(super) fn into_changes(self) -> Changes {
        self.changes
    }

    /// Does one operation.
    ///
    /// # Errors
    /// It is refused.
    pub(super) fn evaluate(&mut self, operation: &Operation) -> Result<Outcome, Refused> {
        match operation {
            Operation::CreateCluster => self.create_cluster().map(Outcome::Cluster),
            Operation::DeleteCluster(pin) => self.delete_cluster(pin).map(|()| Outcome::Done),
            Operation::CreateKey { pin, name, value, charge } => {
                self.create_key(pin, name, value, charge.as_ref()).map(Outcome::Key)
            }
            Operation::UpdateKey { pin, name, update, charge } => {
                self.update_key(pin, name, update, charge.as_ref()).map(Outcome::Key)
            }
            Operation::DeleteKey { pin, name } => self.delete_key(pin, name).map(|()| Outcome::Done),
            Operation::PutNode { pin, id, report, class, charge } => {
                self.put_node(pin, id, report, *class, charge.as_ref()).map(|()| Outcome::Done)
            }
            Operation::DeleteNode { pin, id } => self.delete_node(pin, id).map(|()| Outcome::Done),
            Operation::Sweep => Ok(Outcome::Next(self.sweep())),
            Operation::RemoveExpired(pin) => {
                self.remove_if_expired(pin);
                Ok(Outcome::Done)
            }
            Operation::Probe => {
                self.changes.probe = true;
                Ok(Outcome::Done)
            }
            Operation::Backdate(pin, by) => self.backdate(pin, *by).map(|()| Outcome::Done),
        }
    }

    fn create_cluster(&mut self) -> Result<Cluster, Refused> {
        let limits = self.shared.limits;
        if self.population >= limits.pins || self.check_memory(CLUSTER_BYTES).is_err() {
            self.remove_expired();
        }
        if self.population > limits.pins / 2 || self.memory > limits.bytes / 2 {
            self.remove_unused();
        }
        if self.population >= limits.pins {
            return Err(Refused::TooManyPins);
        }
        self.check_memory(CLUSTER_BYTES)?;
        let pin = self.unused_pin()?;
        let id = self.changes.next_id;
        self.changes.next_id += 1;
        let created = self.now;
        let expires = created.after(limits.lifetime);
        let entry = Entry { id, created, expires, keys: Vec::new() };
        let cluster = entry.cluster(pin);
        self.changes.records.insert(id, Some(Record::Cluster { pin, created, expires }));
        self.changes.clusters.insert(pin, Some(entry));
        self.population += 1;
        self.memory += CLUSTER_BYTES;
        Ok(cluster)
    }

    fn delete_cluster(&mut self, pin: &Pin) -> Result<(), Refused> {
        self.live(pin)?;
        self.remove(pin, Change::Deleted);
        Ok(())
    }

    fn create_key(
        &mut self,
        pin: &Pin,
        name: &str,
        value: &str,
        charge: Option<&Charge>,
    ) -> Result<Arc<Key>, Refused> {
        let owner = PinKey::of(pin).ok_or(Refused::UnknownPin)?;
        let (now, limits) = (self.now, self.shared.limits);
        let id = self.changes.next_id;
        let entry = self.live(pin)?;
        if entry.position(name).is_some() {
            return Err(Refused::KeyExists);
        }
        if entry.keys.len() >= limits.keys_per_pin {
            return Err(Refused::TooManyKeys);
        }
        if entry.bytes() + name.len() + value.len() > limits.bytes_per_pin {
            return Err(Refused::TooManyBytes);
        }
        let memory = KEY_BYTES + name.len() + value.len();
        self.check_memory(memory)?;
        self.memory += memory;
        let entry = self.live(pin)?;
        let key =
            Arc::new(Key { name: name.to_owned(), value: value.to_owned(), created: now, modified: now });
        entry.push(NumberedKey { id, key: key.clone(), charge: charge.cloned() });
        self.changes.next_id += 1;
        self.changes.records.insert(id, Some(Record::Key { pin: owner, key: key.clone() }));
        self.changes.events.push((pin.clone(), Change::KeySet(key.clone())));
        Ok(key)
    }

    fn update_key(
        &mut self,
        pin: &Pin,
        name: &str,
        update: &Update,
        charge: Option<&Charge>,
    ) -> Result<Arc<Key>, Refused> {
        let owner = PinKey::of(pin).ok_or(Refused::UnknownPin)?;
        let (now, limits) = (self.now, self.shared.limits);
        let entry = self.live(pin)?;
        let at = entry.position(name).ok_or(Refused::UnknownKey)?;
        let before = entry.keys[at].key.clone();
        if *update == Update::default() {
            return Ok(before);
        }
        let renamed = update.name.as_ref().is_some_and(|new| new != name);
        let key = Key {
            name: update.name.as_ref().unwrap_or(&before.name).clone(),
            value: update.value.as_ref().unwrap_or(&before.value).clone(),
            created: before.created,
            modified: now,
        };
        if renamed && entry.position(&key.name).is_some() {
            return Err(Refused::KeyExists);
        }
        let others = entry.bytes() - before.name.len() - before.value.len();
        if others + key.name.len() + key.value.len() > limits.bytes_per_pin {
            return Err(Refused::TooManyBytes);
        }
        let (old, new) = (before.name.len() + before.value.len(), key.name.len() + key.value.len());
        if new > old {
            self.check_memory(new - old)?;
        }
        self.memory = self.memory + new - old;
        let numbered = &mut self.live(pin)?.keys[at];
        let id = numbered.id;
        let key = Arc::new(key);
        numbered.key = key.clone();
        if update.value.is_some() {
            numbered.charge = charge.cloned();
        }
        self.changes.records.insert(id, Some(Record::Key { pin: owner, key: key.clone() }));
        let event = if renamed {
            Change::KeyRenamed { from: name.to_owned(), key: key.clone() }
        } else {
            Change::KeySet(key.clone())
        };
        self.changes.events.push((pin.clone(), event));
        Ok(key)
    }

    fn delete_key(&mut self, pin: &Pin, name: &str) -> Result<(), Refused> {
        let owner = PinKey::of(pin).ok_or(Refused::UnknownPin)?;
        let entry = self.live(pin)?;
        let at = entry.position(name).ok_or(Refused::UnknownKey)?;
        let NumberedKey { id, key, .. } = entry.keys.remove(at);
        self.memory -= KEY_BYTES + key.name.len() + key.value.len();
        self.changes.records.insert(id, None);
        self.changes.deleted_keys.push((owner, id));
        self.changes.events.push((pin.clone(), Change::KeyDeleted(key)));
        Ok(())
    }

    fn put_node(
        &mut self,
        pin: &Pin,
        id: &str,
        report: &str,
        class: NodeClass,
        charge: Option<&Charge>,
    ) -> Result<(), Refused> {
        let owner = self.live_pin(pin)?;
        let limits = self.shared.limits;
        let node = Arc::new(Node { id: id.into(), report: report.into(), class, reported: self.now });
        let before = self.node(owner, id);
        let mut size = self.node_changes(owner).size;
        let memory = size.memory();
        if let Some(before) = &before {
            size.remove(&before.node);
        }
        size.add(&node);
        // What a limit would refuse today may be there already, and then it may still say how it is.
        if before.is_none() && size.counts.total() > limits.nodes_per_pin {
            return Err(Refused::TooManyNodes);
        }
        if size.bytes > limits.node_bytes_per_pin {
            return Err(Refused::TooManyNodeBytes);
        }
        if size.memory() > memory {
            self.check_memory(size.memory() - memory)?;
        }
        self.memory = self.memory + size.memory() - memory;
        let record = before.map_or(self.changes.next_id, |before| before.record);
        self.changes.next_id += u64::from(record == self.changes.next_id);
        self.changes.records.insert(record, Some(Record::Node { pin: owner, node: node.clone() }));
        self.changes.events.push((pin.clone(), Change::NodeSet { node: node.clone(), counts: size.counts }));
        let changes = self.node_changes(owner);
        changes.size = size;
        changes.set.insert(id.into(), Some(NumberedNode { record, node, charge: charge.cloned() }));
        Ok(())
    }

    fn delete_node(&mut self, pin: &Pin, id: &str) -> Result<(), Refused> {
        let owner = self.live_pin(pin)?;
        let NumberedNode { record, node, .. } = self.node(owner, id).ok_or(Refused::UnknownNode)?;
        self.memory -= NODE_BYTES + node.bytes();
        let changes = self.node_changes(owner);
        changes.size.remove(&node);
        changes.set.insert(id.into(), None);
        let counts = changes.size.counts;
        self.changes.records.insert(record, None);
        self.changes.events.push((pin.clone(), Change::NodeDeleted { node, counts }));
        Ok(())
    }

    /// A node as the batch has left it.
    fn node(&self, pin: PinKey, id: &str) -> Option<NumberedNode> {
        match self.changes.nodes.get(&pin).and_then(|changes| changes.set.get(id)) {
            Some(changed) => changed.clone(),
            None => self.shared.state.read_nodes(pin, |nodes| nodes.get(id).cloned()).flatten(),
        }
    }

    /// What the batch has changed of a cluster's nodes.
    fn node_changes(&mut self, pin: PinKey) -> &mut NodeChanges {
        let state = &self.shared.state;
        self.changes.nodes.entry(pin).or_insert_with(|| {
            let size = state.read_nodes(pin, |nodes| nodes.size()).unwrap_or_default();
            NodeChanges { size, ..NodeChanges::default() }
        })
    }

    /// Removes a bounded number of clusters that have expired, moves the mark past those that are about to, and says
    /// when there is something to do again.
    fn sweep(&mut self) -> Option<Timestamp> {
        let next = self.sweep_once();
        self.shared.plan_sweep(next);
        next
    }

    fn sweep_once(&mut self) -> Option<Timestamp> {
        self.remove_expired();
        if self.remove_unloaded() {
            return Some(self.now);
        }
        let soon = self.now.after(MARK_AHEAD);
        let mark = self.shared.mark();
        let marks = !self.shared.journal_is_shared;
        let last_soon = self.writer.expiring.range(..=(soon, Id::MAX)).next_back();
        if let Some(((expires, _), _)) = last_soon.filter(|((expires, _), _)| marks && *expires > mark) {
            self.changes.mark = Some(*expires);
        }
        let mark = self.changes.mark.unwrap_or(mark);
        let stays = |pin: &PinKey| !matches!(self.changes.clusters.get(pin), Some(None));
        let old = self.writer.expiring.iter().find(|(_, pin)| stays(pin)).map(|((expires, _), _)| *expires);
        let new = self.changes.clusters.values().flatten().map(|entry| entry.expires).min();
        let next = old.into_iter().chain(new).min()?;
        Some(if marks { sweep_time(next, mark) } else { next })
    }

    fn backdate(&mut self, pin: &Pin, by: Duration) -> Result<(), Refused> {
        let key = PinKey::of(pin).ok_or(Refused::UnknownPin)?;
        let entry = self.live(pin)?;
        entry.created = entry.created.before(by);
        entry.expires = entry.expires.before(by);
        let record = Record::Cluster { pin: key, created: entry.created, expires: entry.expires };
        let id = entry.id;
        self.changes.records.insert(id, Some(record));
        Ok(())
    }

    /// The cluster as the batch has left it, live or expired.
    fn cluster(&mut self, pin: &Pin) -> Option<&mut Entry> {
        let key = PinKey::of(pin)?;
        self.changes.clusters.entry(key).or_insert_with(|| self.shared.state.copy(key)).as_mut()
    }

    /// The cluster as the batch has left it, if it is live. One that has expired is removed: the answer will say that
    /// it is gone, so gone it must be.
    fn live(&mut self, pin: &Pin) -> Result<&mut Entry, Refused> {
        self.remove_if_expired(pin);
        self.cluster(pin).ok_or(Refused::UnknownPin)
    }

    /// As [`Batch::live`], without a copy of a cluster that is only to be there.
    fn live_pin(&mut self, pin: &Pin) -> Result<PinKey, Refused> {
        let key = PinKey::of(pin).ok_or(Refused::UnknownPin)?;
        let known = self.changes.clusters.contains_key(&key);
        if known || !matches!(self.shared.state.read(key, self.now, |_| ()), Lookup::Live(())) {
            self.live(pin)?;
        }
        Ok(key)
    }

    fn remove_if_expired(&mut self, pin: &Pin) {
        let now = self.now;
        if self.cluster(pin).is_some_and(|entry| entry.expires <= now) {
            self.remove(pin, Change::Expired);
        }
    }

    /// Deletes some records of clusters that had expired when the store was opened. Says whether there are more.
    fn remove_unloaded(&mut self) -> bool {
        // A clock that was wrong at the start has been set by then, and the service been started again.
        if self.writer.unloaded.is_empty() || !self.shared.clock.has_run(DOUBTED) {
            return false;
        }
        let left = self.writer.unloaded.len().saturating_sub(RECORDS_AT_ONCE);
        let deleted = self.writer.unloaded[left..].iter().map(|id| (*id, None));
        self.changes.records.extend(deleted);
        self.changes.unloaded = Some(left);
        left > 0
    }

    fn remove_expired(&mut self) {
        let expired: Vec<PinKey> = self
            .writer
            .expiring
            .iter()
            .take_while(|((expires, _), _)| *expires <= self.now)
            .map(|(_, pin)| *pin)
            .filter(|pin| !matches!(self.changes.clusters.get(pin), Some(None)))
            .take(self.shared.batch.swept.min(self.may_remove()))
            .collect();
        for pin in expired {
            self.removed += 1;
            self.remove_if_expired(&pin.pin());
        }
    }

    /// How many clusters this batch may still remove besides those that its operations delete.
    fn may_remove(&self) -> usize {
        self.shared.batch.removed.saturating_sub(self.removed)
    }

    /// Removes clusters that have had neither key nor node for [`super::Limits::unused_lifetime`], so that pins which were
    /// made to fill the store do not keep others out for a day. Looks at some clusters only, the oldest first, and goes
    /// on there the next time.
    fn remove_unused(&mut self) {
        let (limits, now) = (self.shared.limits, self.now);
        let is_old = |created: Timestamp| now.since(created) >= limits.unused_lifetime;
        let looked_at_most = LOOKED_AT_ONCE.min(self.may_remove());
        let looked_at: Vec<_> = (self.writer.expiring)
            .range(self.writer.unused_from.unwrap_or((Timestamp(0), 0))..)
            .take(looked_at_most)
            .take_while(|((expires, _), _)| is_old(expires.before(limits.lifetime)))
            .map(|(at, pin)| (*at, *pin))
            .collect();
        self.writer.unused_from = match looked_at.last() {
            Some(&((expires, id), _)) if looked_at.len() == looked_at_most => Some((expires, id + 1)),
            _ => None,
        };
        for (_, pin) in looked_at {
            let is_unused = |entry: &Entry| entry.keys.is_empty() && is_old(entry.created);
            let unused = match self.changes.clusters.get(&pin) {
                Some(changed) => changed.as_ref().is_some_and(is_unused),
                None => matches!(self.shared.state.read(pin, self.now, is_unused), Lookup::Live(true)),
            };
            if unused && self.node_changes(pin).size.counts.total() == 0 {
                let pin = pin.pin();
                self.removed += 1;
                self.cluster(&pin);
                self.remove(&pin, Change::Expired);
            }
        }
    }

    /// Removes a cluster with its keys and nodes.
    fn remove(&mut self, pin: &Pin, why: Change) {
        let Some(key) = PinKey::of(pin) else { return };
        let Some(entry) = self.changes.clusters.insert(key, None).flatten() else { return };
        self.changes.records.insert(entry.id, None);
        self.changes.records.extend(entry.keys.iter().map(|numbered| (numbered.id, None)));
        let nodes = self.node_changes(key).size.memory();
        let changed = self.changes.nodes.remove(&key).unwrap_or_default().set;
        let changed = changed.values().flatten().map(|numbered| (numbered.record, None));
        self.changes.records.extend(changed);
        self.shared.state.read_nodes(key, |nodes| {
            self.changes.records.extend(nodes.records().map(|record| (record, None)));
        });
        self.changes.events.push((pin.clone(), why));
        self.population -= 1;
        self.memory -= entry.memory() + nodes;
    }

    /// Whether there is room for so many bytes more.
    fn check_memory(&self, more: usize) -> Result<(), Refused> {
        if self.memory + more > self.shared.limits.bytes { Err(Refused::OutOfMemory) } else { Ok(()) }
    }

    fn unused_pin(&self) -> Result<PinKey, Refused> {
        loop {
            let pin = pins::draw().map_err(|err| Refused::Failed(format!("no random numbers: {err}")))?;
            if !self.shared.state.contains(pin) && !self.changes.clusters.contains_key(&pin) {
                return Ok(pin);
            }
        }
    }
}
