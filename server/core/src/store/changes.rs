//! What a batch changes: for the journal, record by record or cluster by cluster, and then for the readers.

use std::collections::{BTreeMap, HashMap};

use protocol::Pin;

use super::nodes::{ChangedNodes, Node, NumberedNode};
use super::observer::Change;
use super::pins::PinKey;
use super::record::Record;
use super::state::{ByPin, Entry, NumberedKey};
use super::types::Id;
use crate::clock::Timestamp;

/// What a batch has changed.
#[derive(Debug, Default)]
pub struct Changes {
    /// What each cluster that the batch looked at has become; `None`: there is none.
    pub(super) clusters: ByPin<Option<Entry>>,
    /// What it has changed of nodes.
    pub(super) nodes: ChangedNodes,
    /// What each record has become; `None`: it is deleted. Sorted, since neighbours are cheaper to write.
    pub(super) records: BTreeMap<Id, Option<Record>>,
    /// The numbers of the keys that are deleted while their cluster stays.
    pub(super) deleted_keys: Vec<(PinKey, Id)>,
    pub(super) events: Vec<(Pin, Change)>,
    pub(super) next_id: Id,
    /// The new high-water mark.
    pub(super) mark: Option<Timestamp>,
    /// A commit is wanted, whatever there is to write.
    pub(super) probe: bool,
    /// How many records of clusters that were not loaded are left.
    pub(super) unloaded: Option<usize>,
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
