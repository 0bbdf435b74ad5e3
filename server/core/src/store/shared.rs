//! What readers and the writer share: the state, its limits, its clock, its observer, and what the sweeper goes by.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

use super::changes::Changes;
use super::journal::{BatchLimits, Foreign, Journal};
use super::nodes::{Node, Nodes, NumberedNode};
use super::observer::{Change, Observer};
use super::pins::PinKey;
use super::state::{Entry, NumberedKey, State, WriterState};
use super::types::{Id, Limits};
use crate::clock::{SteadyClock, Timestamp};

/// How long before a cluster expires the journal's high-water mark is moved past that moment: time enough for a commit
/// on a slow disk. If the service crashes and starts again within this time, the cluster expires that much earlier.
pub(super) const MARK_AHEAD: Duration = Duration::from_secs(2);

/// When the sweeper has something to do about a cluster: early enough to move the mark, or when it has expired.
pub(super) fn sweep_time(expires: Timestamp, mark: Timestamp) -> Timestamp {
    if expires > mark { expires.before(MARK_AHEAD) } else { expires }
}

/// The state, and what belongs to it.
pub(super) struct Shared {
    pub(super) state: State,
    pub(super) limits: Limits,
    pub(super) batch: BatchLimits,
    /// Whether other processes write to the journal. Then a cluster is gone everywhere once it was removed from the
    /// journal, and not before; otherwise the mark makes sure of it ahead of time.
    pub(super) journal_is_shared: bool,
    pub(super) clock: SteadyClock,
    pub(super) observer: Arc<dyn Observer>,
    /// Batches that became durable.
    pub(super) commits: AtomicU64,
    /// The high-water mark of expiry: a cluster that expires up to it is gone also after a restart.
    mark: AtomicU64,
    /// When the sweeper comes next.
    next_sweep: AtomicU64,
    /// Tells the sweeper that it should come earlier.
    pub(super) sweep_earlier: Notify,
}

impl Shared {
    pub(super) fn new(
        limits: Limits,
        clock: SteadyClock,
        observer: Arc<dyn Observer>,
        mark: Timestamp,
    ) -> Self {
        Self {
            state: State::new(),
            limits,
            batch: BatchLimits::LARGE,
            journal_is_shared: false,
            clock,
            observer,
            commits: AtomicU64::new(0),
            mark: AtomicU64::new(mark.0),
            next_sweep: AtomicU64::new(u64::MAX),
            sweep_earlier: Notify::new(),
        }
    }

    /// For a journal of this kind.
    pub(super) fn behind<J: Journal>(self) -> Self {
        Self { batch: J::BATCH, journal_is_shared: J::SHARED, ..self }
    }

    /// Whether a cluster that expired at `at` stays gone, whatever happens.
    pub(super) fn is_final(&self, at: Timestamp) -> bool {
        !self.journal_is_shared && at <= self.mark()
    }

    /// A sweep has said when the next one is due. Only the writer plans, so a plan is never older than the state.
    pub(super) fn plan_sweep(&self, next: Option<Timestamp>) {
        self.next_sweep.store(next.map_or(u64::MAX, |next| next.0), Ordering::Relaxed);
    }

    /// Wakes the sweeper if the first cluster to expire does so before it would come.
    pub(super) fn wake_sweeper(&self, writer: &WriterState) {
        let Some(((expires, _), _)) = writer.expiring.first_key_value() else { return };
        let mark = if self.journal_is_shared { *expires } else { self.mark() };
        let wanted = sweep_time(*expires, mark).0;
        if wanted < self.next_sweep.load(Ordering::Relaxed) {
            self.next_sweep.store(wanted, Ordering::Relaxed);
            self.sweep_earlier.notify_one();
        }
    }

    pub(super) fn mark(&self) -> Timestamp {
        Timestamp(self.mark.load(Ordering::Acquire))
    }

    /// Moves the mark; it is durable.
    pub(super) fn move_mark(&self, mark: Timestamp) {
        self.mark.fetch_max(mark.0, Ordering::Release);
    }

    /// Shows readers what a batch has changed, and then tells the observer.
    pub(super) fn publish(&self, changes: Changes, writer: &mut WriterState) {
        writer.next_id = changes.next_id;
        for (pin, entry) in changes.clusters {
            self.state.publish(writer, pin, entry);
        }
        for (pin, changes) in changes.nodes {
            for (id, node) in changes.set {
                self.state.publish_node(writer, pin, &id, node);
            }
        }
        if let Some(mark) = changes.mark {
            self.move_mark(mark);
        }
        if let Some(left) = changes.unloaded {
            writer.unloaded.truncate(left);
        }
        self.wake_sweeper(writer);
        for (pin, event) in &changes.events {
            self.observer.changed(pin, event);
        }
    }

    /// Takes in what a shared journal has delivered, `own` changes among it, and tells the observer of the differences.
    pub(super) fn take_in(&self, foreign: Vec<Foreign>, own: Option<&Changes>) {
        let mut writer = self.state.writer();
        if let Some(own) = own {
            writer.next_id = writer.next_id.max(own.next_id());
        }
        for foreign in foreign {
            let (pin, before, entry, events) = match foreign {
                Foreign::NextId(next) => {
                    writer.next_id = writer.next_id.max(next);
                    continue;
                }
                Foreign::Node { pin, id, node } => {
                    self.take_in_node(&mut writer, pin, &id, node, own);
                    continue;
                }
                Foreign::Nodes { pin, nodes } => {
                    self.take_in_nodes(&mut writer, pin, nodes);
                    continue;
                }
                Foreign::Cluster { pin, entry, expired } => {
                    let before = self.state.copy(pin);
                    let events = differences(before.as_ref(), entry.as_ref(), expired);
                    (pin, before, entry, events)
                }
                Foreign::Keys { pin, created, expires, set, deleted } => {
                    let before = self.state.copy(pin);
                    let mut keys = before.as_ref().map(|entry| entry.keys.clone()).unwrap_or_default();
                    let events = merge(&mut keys, set, &deleted);
                    (pin, before, Some(Entry { id: 0, created, expires, keys }), events)
                }
            };
            let entry = entry.map(|mut entry| {
                entry.id = before.as_ref().map_or_else(|| writer.give_id(), |before| before.id);
                let own = own.and_then(|own| own.entry(pin));
                keep_charges(&mut entry, [own, before.as_ref()]);
                entry
            });
            self.state.publish(&mut writer, pin, entry);
            self.wake_sweeper(&writer);
            for event in &events {
                self.observer.changed(&pin.pin(), event);
            }
        }
    }

    /// Takes in what has become of a node. One whose cluster is not there is passed over.
    fn take_in_node(
        &self,
        writer: &mut WriterState,
        pin: PinKey,
        id: &str,
        node: Option<Arc<Node>>,
        own: Option<&Changes>,
    ) {
        let before = self.state.read_nodes(pin, |nodes| nodes.get(id).cloned()).flatten();
        let own = own.and_then(|own| own.node(pin, id));
        let numbered = node.clone().map(|node| {
            let same =
                [own, before.as_ref()].into_iter().flatten().find(|same| same.node.report == node.report);
            let charge = same.and_then(|same| same.charge.clone());
            // Only the embedded journal has numbers, and it has no others that write.
            NumberedNode { record: 0, node, charge }
        });
        if !self.state.publish_node(writer, pin, id, numbered) {
            return;
        }
        let counts = self.state.read_nodes(pin, |nodes| nodes.size().counts).unwrap_or_default();
        let event = match (node, before) {
            (Some(node), _) => Change::NodeSet { node, counts },
            (None, Some(before)) => Change::NodeDeleted { node: before.node, counts },
            (None, None) => return,
        };
        self.observer.changed(&pin.pin(), &event);
    }

    /// Takes in all nodes of a cluster, and tells of the differences.
    fn take_in_nodes(&self, writer: &mut WriterState, pin: PinKey, nodes: Vec<Arc<Node>>) {
        let before = self.state.read_nodes(pin, Nodes::all).unwrap_or_default();
        let gone = before.iter().filter(|old| nodes.binary_search_by(|new| new.id.cmp(&old.id)).is_err());
        for old in gone {
            self.take_in_node(writer, pin, &old.id, None, None);
        }
        for new in nodes {
            let old = before.binary_search_by(|old| old.id.cmp(&new.id)).ok().map(|at| &before[at]);
            if old.is_none_or(|old| *old != new) {
                let id = new.id.clone();
                self.take_in_node(writer, pin, &id, Some(new), None);
            }
        }
    }
}

/// Changes the keys of a cluster, which are in the order of their numbers, and says what happened.
fn merge(keys: &mut Vec<NumberedKey>, set: Vec<NumberedKey>, deleted: &[Id]) -> Vec<Change> {
    let gone = keys.extract_if(.., |key| deleted.contains(&key.id));
    let mut events: Vec<Change> = gone.map(|gone| Change::KeyDeleted(gone.key)).collect();
    for new in set {
        let key = new.key.clone();
        let renamed = match keys.binary_search_by_key(&new.id, |key| key.id) {
            Ok(at) => Some(std::mem::replace(&mut keys[at], new).key).filter(|old| old.name != key.name),
            Err(at) => {
                keys.reserve_exact(1);
                keys.insert(at, new);
                None
            }
        };
        events.push(match renamed {
            Some(old) => Change::KeyRenamed { from: old.name.clone(), key },
            None => Change::KeySet(key),
        });
    }
    events
}

/// Gives each key the charge that it has elsewhere with the same value.
fn keep_charges(entry: &mut Entry, from: [Option<&Entry>; 2]) {
    for key in &mut entry.keys {
        let same = from.iter().flatten().find_map(|other| {
            let found = other.keys.binary_search_by_key(&key.id, |key| key.id).ok()?;
            Some(&other.keys[found]).filter(|other| other.key.value == key.key.value)
        });
        key.charge = same.and_then(|same| same.charge.clone());
    }
}

/// What happened to a cluster between two states of it.
fn differences(before: Option<&Entry>, after: Option<&Entry>, expired: bool) -> Vec<Change> {
    let keys = |entry: Option<&Entry>| entry.map(|entry| entry.keys.clone()).unwrap_or_default();
    match (before, after) {
        (None, None) => return Vec::new(),
        (Some(_), None) => return vec![if expired { Change::Expired } else { Change::Deleted }],
        _ => {}
    }
    let (before, after) = (keys(before), keys(after));
    let deleted = before.iter().filter(|old| after.iter().all(|new| new.id != old.id));
    let deleted = deleted.map(|old| Change::KeyDeleted(old.key.clone()));
    let set = after.iter().filter_map(|new| match before.iter().find(|old| old.id == new.id) {
        Some(old) if old.key == new.key => None,
        Some(old) if old.key.name != new.key.name => {
            Some(Change::KeyRenamed { from: old.key.name.clone(), key: new.key.clone() })
        }
        _ => Some(Change::KeySet(new.key.clone())),
    });
    deleted.chain(set).collect()
}
