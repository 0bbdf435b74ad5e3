//! What readers and the writer share: the state, its limits, its clock, its observer, and what the sweeper goes by.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use protocol::Pin;
use tokio::sync::Notify;

use super::nodes::{Node, NumberedNode};
use super::pins::PinKey;
use super::state::{Entry, State, WriterState};
use super::{Change, Limits, Observer};
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
            clock,
            observer,
            commits: AtomicU64::new(0),
            mark: AtomicU64::new(mark.0),
            next_sweep: AtomicU64::new(u64::MAX),
            sweep_earlier: Notify::new(),
        }
    }

    /// A sweep has said when the next one is due. Only the writer plans, so a plan is never older than the state.
    pub(super) fn plan_sweep(&self, next: Option<Timestamp>) {
        self.next_sweep.store(next.map_or(u64::MAX, |next| next.0), Ordering::Relaxed);
    }

    /// Wakes the sweeper if the first cluster to expire does so before it would come.
    pub(super) fn wake_sweeper(&self, writer: &WriterState) {
        let Some(((expires, _), _)) = writer.expiring.first_key_value() else { return };
        let wanted = sweep_time(*expires, self.mark()).0;
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

    /// Takes in what other processes have changed, and tells the observer of the differences.
    pub(super) fn take_in(&self, foreign: Vec<Foreign>) {
        let mut writer = self.state.writer();
        for foreign in foreign {
            let (Foreign::Cluster { pin, .. } | Foreign::Node { pin, .. }) = &foreign;
            let (pin, Some(key)) = (pin.clone(), PinKey::of(pin)) else { continue };
            let events = match foreign {
                Foreign::Cluster { entry, expired, .. } => {
                    let events = differences(self.state.copy(key).as_ref(), entry.as_ref(), expired);
                    self.state.publish(&mut writer, key, entry);
                    self.wake_sweeper(&writer);
                    events
                }
                Foreign::Node { id, node, .. } => self.take_in_node(&mut writer, key, &id, node),
            };
            for event in &events {
                self.observer.changed(&pin, event);
            }
        }
    }

    /// Takes in what another process has made of a node. One whose cluster is not there is passed over.
    fn take_in_node(
        &self,
        writer: &mut WriterState,
        pin: PinKey,
        id: &str,
        node: Option<Arc<Node>>,
    ) -> Vec<Change> {
        let before = self.state.read_nodes(pin, |nodes| nodes.get(id).cloned()).flatten();
        if before.as_ref().map(|before| &before.node) == node.as_ref() {
            return Vec::new();
        }
        // Only the embedded journal has numbers, and it has no others that write.
        let numbered = node.clone().map(|node| NumberedNode { record: 0, node, charge: None });
        if !self.state.publish_node(writer, pin, id, numbered) {
            return Vec::new();
        }
        let counts = self.state.read_nodes(pin, |nodes| nodes.size().counts).unwrap_or_default();
        match (node, before) {
            (Some(node), _) => vec![Change::NodeSet { node, counts }],
            (None, Some(before)) => vec![Change::NodeDeleted { node: before.node, counts }],
            (None, None) => Vec::new(),
        }
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

/// What another process has changed.
#[derive(Debug, Clone)]
pub enum Foreign {
    /// A cluster as it is now.
    Cluster {
        /// Its pin.
        pin: Pin,
        /// Itself; `None`: it is gone, with its nodes.
        entry: Option<Entry>,
        /// When it is gone: whether it expired, or was deleted.
        expired: bool,
    },
    /// A node as it is now. Its cluster has been told of before.
    Node {
        /// The cluster's pin.
        pin: Pin,
        /// The node's identifier.
        id: Box<str>,
        /// Itself; `None`: it is gone.
        node: Option<Arc<Node>>,
    },
}
