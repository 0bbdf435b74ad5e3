//! What a cluster looks like: Heat's stack, Nova's servers and the nodes' own reports, joined.

mod keep;
mod look;
mod state;
mod table;

use serde::{Deserialize, Serialize};

pub use keep::keep;
pub use look::look;
pub use state::{ClusterState, assess};
pub use table::{row, rows, table};

use crate::launch::Record;
use crate::openstack::Server;

/// A cluster as it was seen last.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct View {
    /// Its state, in a word.
    pub state: ClusterState,
    /// Its state, in a sentence.
    pub detail: String,
    /// What Heat says of the stack; `None` before it has said something.
    pub stack: Option<StackView>,
    /// Its servers.
    #[serde(default)]
    pub servers: Vec<Server>,
    /// Its nodes.
    #[serde(default)]
    pub nodes: Vec<NodeView>,
    /// When the cloud was asked last, with success: RFC 3339 in UTC.
    #[serde(default)]
    pub cloud_seen: Option<String>,
    /// When the pairing service was asked last, with success.
    #[serde(default)]
    pub nodes_seen: Option<String>,
    /// Why what is shown may be old.
    #[serde(default)]
    pub trouble: Option<String>,
}

impl View {
    /// How a cluster looked when its record was kept.
    #[must_use]
    pub fn from_record(record: &Record) -> Self {
        serde_json::from_value(record.last_view.clone()).unwrap_or_default()
    }

    /// That of both for which the cloud was asked later.
    #[must_use]
    pub fn newer(self, other: Self) -> Self {
        if other.cloud_seen > self.cloud_seen { other } else { self }
    }
}

/// A stack.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StackView {
    /// `CREATE_IN_PROGRESS`, …
    pub status: String,
    /// Why, in Heat's words.
    pub reason: String,
    /// What of it failed, each with Heat's words.
    #[serde(default)]
    pub failed: Vec<String>,
}

/// A node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeView {
    /// Its identifier.
    pub id: String,
    /// Its host name; empty where it has told none.
    pub name: String,
    /// `master` or `slave`; empty where its report cannot be read.
    pub role: String,
    /// `waiting`, `joined`, `ready` or `failed`; `unreadable` where its report cannot be read.
    pub state: String,
    /// Its addresses.
    pub addresses: Vec<String>,
    /// One line about the state.
    pub detail: String,
    /// Seconds since its last report.
    pub age: u64,
}
