//! The nodes of a cluster in memory: what VMs have reported of themselves.
//!
//! They stand beside the clusters and not in them: a cluster is copied for each batch that changes it, and has at most
//! some hundred keys; ten thousand nodes are changed in place, one by one.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use protocol::node::{NodeRole, NodeState};

use super::pins::PinKey;
use super::types::{Charge, Id};
use crate::clock::Timestamp;

/// What a node takes in memory besides identifier and report: itself, its place in the map, its counters.
pub(super) const NODE_BYTES: usize = 300;

/// A node as the store keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its identifier, at most 64 characters; the caller has checked that.
    pub id: Box<str>,
    /// Its report: JSON or sealed, as the caller gave it.
    pub report: Box<str>,
    /// What the report says of role and state.
    pub class: NodeClass,
    /// When the report came.
    pub reported: Timestamp,
}

impl Node {
    /// Bytes of identifier and report.
    pub(super) fn bytes(&self) -> usize {
        self.id.len() + self.report.len()
    }
}

/// What the store goes by when it counts nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NodeClass {
    /// The report is sealed, so it may say anything.
    Sealed,
    /// What a clear report says.
    Clear(NodeRole, NodeState),
}

impl NodeClass {
    const COUNT: usize = 1 + NodeRole::ALL.len() * NodeState::ALL.len();

    /// As a number, for records and counters.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::Sealed => 0,
            Self::Clear(role, state) => 1 + role as u8 * 4 + state as u8,
        }
    }

    /// Reads such a number.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        let Some(clear) = number.checked_sub(1) else { return Some(Self::Sealed) };
        let role = NodeRole::ALL.get(usize::from(clear / 4))?;
        Some(Self::Clear(*role, NodeState::ALL[usize::from(clear % 4)]))
    }
}

/// How many nodes of each class a cluster has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NodeCounts([u32; NodeClass::COUNT]);

impl NodeCounts {
    /// Counts one more.
    pub(crate) fn count(&mut self, class: NodeClass) {
        self.0[usize::from(class.number())] += 1;
    }

    fn remove(&mut self, class: NodeClass) {
        self.0[usize::from(class.number())] -= 1;
    }

    /// All nodes.
    #[must_use]
    pub fn total(&self) -> usize {
        self.0.iter().map(|count| *count as usize).sum()
    }
}

/// Which nodes a barrier waits for, and for how many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NodesWanted {
    /// So many at least.
    pub at_least: usize,
    /// In this state, or one that includes it; `None`: in any.
    pub state: Option<NodeState>,
    /// Of this role; `None`: of any.
    pub role: Option<NodeRole>,
}

impl NodesWanted {
    /// Whether there are enough. A sealed report may be one that is wanted, so it counts; who can open it counts again.
    #[must_use]
    pub fn are_met(&self, counts: &NodeCounts) -> bool {
        let counted = counts.0.iter().enumerate().filter(|(number, _)| {
            let class = u8::try_from(*number).ok().and_then(NodeClass::from_number);
            match class {
                Some(NodeClass::Clear(role, state)) => {
                    self.role.is_none_or(|wanted| role == wanted)
                        && self.state.is_none_or(|wanted| state.includes(wanted))
                }
                _ => true,
            }
        });
        counted.map(|(_, count)| *count as usize).sum::<usize>() >= self.at_least
    }
}

/// Some or all nodes of a cluster, as they are at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NodeListing {
    /// In the order of their identifiers.
    pub nodes: Vec<Arc<Node>>,
    /// Stands for this moment, and grows with every change. It begins anew when the store is opened.
    pub version: u64,
    /// Whether these are all.
    pub whole: bool,
    /// How many there are of each class, whatever is listed.
    pub counts: NodeCounts,
}

/// A node, the number of its record, and what it costs.
#[derive(Debug, Clone)]
pub(super) struct NumberedNode {
    pub(super) record: Id,
    pub(super) node: Arc<Node>,
    pub(super) charge: Option<Charge>,
}

/// The nodes of one cluster.
#[derive(Debug, Default)]
pub(super) struct Nodes {
    /// Each with the version that its last report made.
    by_id: BTreeMap<Box<str>, (u64, NumberedNode)>,
    size: NodesSize,
    version: u64,
    /// The version that the last removal made.
    removed: u64,
}

/// How much the nodes of a cluster are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct NodesSize {
    pub(super) counts: NodeCounts,
    /// Of identifiers and reports.
    pub(super) bytes: usize,
}

impl NodesSize {
    pub(super) fn memory(&self) -> usize {
        self.counts.total() * NODE_BYTES + self.bytes
    }

    pub(super) fn add(&mut self, node: &Node) {
        self.counts.count(node.class);
        self.bytes += node.bytes();
    }

    pub(super) fn remove(&mut self, node: &Node) {
        self.counts.remove(node.class);
        self.bytes -= node.bytes();
    }
}

impl Nodes {
    pub(super) fn get(&self, id: &str) -> Option<&NumberedNode> {
        self.by_id.get(id).map(|(_, node)| node)
    }

    /// All of them, in the order of their identifiers.
    pub(super) fn all(&self) -> Vec<Arc<Node>> {
        self.by_id.values().map(|(_, numbered)| numbered.node.clone()).collect()
    }

    pub(super) fn size(&self) -> NodesSize {
        self.size
    }

    /// The numbers of all records.
    pub(super) fn records(&self) -> impl Iterator<Item = Id> {
        self.by_id.values().map(|(_, node)| node.record)
    }

    /// Puts a node in, or takes it out.
    pub(super) fn set(&mut self, id: &str, node: Option<NumberedNode>, version: u64) {
        self.version = version;
        let before = match node {
            Some(numbered) => {
                self.size.add(&numbered.node);
                self.by_id.insert(id.into(), (version, numbered))
            }
            None => {
                self.removed = version;
                self.by_id.remove(id)
            }
        };
        if let Some((_, before)) = before {
            self.size.remove(&before.node);
        }
    }

    /// The nodes that have reported after a version, or all if that cannot be told.
    pub(super) fn list(&self, after: Option<u64>) -> NodeListing {
        let after = after.filter(|after| (self.removed..=self.version).contains(after));
        let newer = self.by_id.values().filter(|(version, _)| after.is_none_or(|after| *version > after));
        NodeListing {
            nodes: newer.map(|(_, numbered)| numbered.node.clone()).collect(),
            version: self.version,
            whole: after.is_none(),
            counts: self.size.counts,
        }
    }
}

/// What a batch has changed of the nodes of one cluster.
#[derive(Debug, Default)]
pub(super) struct NodeChanges {
    /// What each has become; `None`: it is gone.
    pub(super) set: HashMap<Box<str>, Option<NumberedNode>>,
    /// How much all of them will be.
    pub(super) size: NodesSize,
}

/// All that a batch has changed of nodes.
pub(super) type ChangedNodes = HashMap<PinKey, NodeChanges>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_has_a_number_of_its_own() {
        for number in 0..u8::try_from(NodeClass::COUNT).unwrap() {
            assert_eq!(NodeClass::from_number(number).map(NodeClass::number), Some(number));
        }
        assert_eq!(NodeClass::from_number(9), None);
    }

    #[test]
    fn counts_those_that_are_wanted_and_those_that_may_be() {
        let mut counts = NodeCounts::default();
        for class in [
            NodeClass::Clear(NodeRole::Master, NodeState::Ready),
            NodeClass::Clear(NodeRole::Slave, NodeState::Joined),
            NodeClass::Clear(NodeRole::Slave, NodeState::Failed),
        ] {
            counts.count(class);
        }
        let most = |state, role, counts: &NodeCounts| {
            (0..9).rfind(|&at_least| NodesWanted { at_least, state, role }.are_met(counts)).unwrap()
        };
        assert_eq!(most(None, None, &counts), 3);
        assert_eq!(most(Some(NodeState::Joined), None, &counts), 2);
        assert_eq!(most(Some(NodeState::Ready), None, &counts), 1);
        assert_eq!(most(Some(NodeState::Ready), Some(NodeRole::Slave), &counts), 0);
        assert_eq!(most(Some(NodeState::Failed), None, &counts), 1);
        counts.count(NodeClass::Sealed);
        assert_eq!(most(Some(NodeState::Ready), Some(NodeRole::Slave), &counts), 1);
    }

    #[test]
    fn lists_what_is_new_and_all_where_something_is_gone() {
        let mut nodes = Nodes::default();
        let set = |nodes: &mut Nodes, id: &str, version| {
            let class = NodeClass::Sealed;
            let node = Node { id: id.into(), report: "v1.x".into(), class, reported: Timestamp(version) };
            nodes.set(
                id,
                Some(NumberedNode { record: version, node: Arc::new(node), charge: None }),
                version,
            );
        };
        set(&mut nodes, "b", 11);
        set(&mut nodes, "a", 12);
        let ids =
            |listing: &NodeListing| listing.nodes.iter().map(|node| node.id.to_string()).collect::<Vec<_>>();
        let all = nodes.list(None);
        assert_eq!((ids(&all), all.version, all.whole), (vec!["a".to_owned(), "b".to_owned()], 12, true));
        let newer = nodes.list(Some(11));
        assert_eq!((ids(&newer), newer.whole, newer.counts.total()), (vec!["a".to_owned()], false, 2));
        assert_eq!(ids(&nodes.list(Some(12))), [""; 0]);
        assert!(nodes.list(Some(13)).whole);
        nodes.set("b", None, 13);
        assert!(nodes.list(Some(12)).whole && !nodes.list(Some(13)).whole);
        assert_eq!(nodes.size().bytes, 5);
    }
}
