//! Writes: which there are, what each concerns, and what it came to.

use std::sync::Arc;
use std::time::Duration;

use protocol::Pin;

use super::nodes::NodeClass;
use super::{Charge, Cluster, Key, Update};
use crate::clock::Timestamp;

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
