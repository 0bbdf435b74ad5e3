//! What is known of a cluster, put together from what the service tells.

use std::collections::BTreeMap;

use client::ClusterEvent;
use client::members::{Member, Members};
use client::seal::is_sealed;
use protocol::key::{MASTER_IP, MASTER_READY, is_ready_for};
use protocol::node::NodeState;
use serde_json::{Value, json};

use super::updates::Update;

/// A key, as far as the service shows it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct SeenKey {
    pub(super) value: Option<String>,
    /// When its value was set, in RFC 3339.
    pub(super) modified: String,
}

/// Whether what is shown is how it is.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Link {
    Connecting,
    Live,
    /// The service is not there, for this reason; what is shown is how it was.
    Lost(String),
}

/// A cluster as it is known.
pub(super) struct ClusterView {
    /// The pin, masked.
    pub(super) pin: String,
    pub(super) link: Link,
    /// When the pin expires, in RFC 3339.
    pub(super) expires: Option<String>,
    pub(super) waiting: usize,
    pub(super) keys: BTreeMap<String, SeenKey>,
    pub(super) members: Members,
}

impl ClusterView {
    pub(super) fn new(pin: String) -> Self {
        Self {
            pin,
            link: Link::Connecting,
            expires: None,
            waiting: 0,
            keys: BTreeMap::new(),
            members: Members::default(),
        }
    }

    /// Takes in what is new.
    pub(super) fn take_in(&mut self, update: Update) {
        match update {
            Update::Event(event) => {
                self.link = Link::Live;
                self.take_in_event(event);
            }
            Update::Nodes(members) => self.members = *members,
            Update::Lost(why) => self.link = Link::Lost(why),
            Update::Failed(_) => {}
        }
    }

    fn take_in_event(&mut self, event: ClusterEvent) {
        match event {
            ClusterEvent::State(state) => {
                self.expires = Some(state.expires);
                self.waiting = state.waiting;
                self.keys = (state.keys.into_iter())
                    .map(|key| (key.key, SeenKey { value: key.value, modified: key.modified }))
                    .collect();
            }
            ClusterEvent::Key(event) => {
                if let Some(from) = &event.from {
                    self.keys.remove(from);
                }
                if event.change == "deleted" {
                    self.keys.remove(&event.key.key);
                } else {
                    let seen = SeenKey { value: event.key.value, modified: event.key.modified };
                    self.keys.insert(event.key.key, seen);
                }
            }
            ClusterEvent::Waiting(waiting) => self.waiting = waiting,
            ClusterEvent::Gone(_) | ClusterEvent::Alive => {}
        }
    }

    /// The master's address: `None` before it has one, and `sealed` for one that only the cluster can read.
    pub(super) fn address(&self) -> Option<&str> {
        let address = self.keys.get(MASTER_IP)?.value.as_deref()?;
        Some(if is_sealed(address) { "sealed" } else { address })
    }

    /// Since when the master is ready at its address.
    pub(super) fn ready_since(&self) -> Option<&str> {
        let [address, ready] = [MASTER_IP, MASTER_READY].map(|key| self.keys.get(key));
        let (address, ready) = (address?.value.as_deref()?, ready?);
        // An older service does not show the value, nor can a sealed one be compared.
        let shown = ready.value.as_deref().filter(|value| !is_sealed(value));
        let is_ready = shown.is_none_or(|value| is_ready_for(value, address));
        is_ready.then_some(&ready.modified)
    }

    /// How many nodes are ready.
    pub(super) fn ready_nodes(&self) -> usize {
        self.in_state(NodeState::Ready)
    }

    fn in_state(&self, state: NodeState) -> usize {
        self.members.nodes.values().filter(|member| member.report.state == state).count()
    }

    /// Whether what was to be waited for is there.
    pub(super) fn is_ready(&self, nodes: Option<usize>) -> bool {
        self.link == Link::Live
            && self.ready_since().is_some()
            && nodes.is_none_or(|nodes| self.ready_nodes() >= nodes)
    }

    /// How it stands, in a few words.
    pub(super) fn headline(&self) -> String {
        let nodes = self.members.nodes.len();
        let failed = self.in_state(NodeState::Failed);
        match (self.address(), self.ready_since()) {
            _ if failed > 0 => format!("{failed} of {nodes} nodes failed"),
            (None, _) if self.waiting > 0 => format!("waiting for the master; {} waiting", self.waiting),
            (None, _) => "waiting for the master".to_owned(),
            (Some(address), None) => format!("the master {address} is not ready yet"),
            (Some(_), Some(_)) if nodes > 0 => format!("ready: {} of {nodes}", self.ready_nodes()),
            (Some(address), Some(_)) => format!("the master {address} is ready"),
        }
    }

    /// The last line.
    pub(super) fn summary(&self) -> String {
        format!("{}: {}", self.pin, self.headline())
    }

    /// The nodes, those first that a person has to look at.
    pub(super) fn nodes(&self) -> Vec<(&String, &Member)> {
        let urgency = |member: &Member| match member.report.state {
            NodeState::Failed => 0,
            NodeState::Waiting => 1,
            NodeState::Joined => 2,
            NodeState::Ready => 3,
        };
        let mut nodes: Vec<_> = self.members.nodes.iter().collect();
        nodes.sort_by_key(|(id, member)| (urgency(member), member.label(id).to_owned()));
        nodes
    }

    /// All of it, without a pin and without values that may be secrets.
    pub(super) fn to_json(&self) -> Value {
        let nodes = self.nodes().into_iter().map(|(id, member)| {
            json!({
                "id": id,
                "name": member.report.name,
                "role": member.report.role,
                "state": member.report.state,
                "addresses": member.report.addresses,
                "reported": member.reported,
                "detail": member.report.detail,
            })
        });
        json!({
            "live": self.link == Link::Live,
            "expires": self.expires,
            "master": { "address": self.address(), "ready_since": self.ready_since() },
            "waiting": self.waiting,
            "keys": self.keys.keys().collect::<Vec<_>>(),
            "nodes": nodes.collect::<Vec<_>>(),
        })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use client::{ClusterState, KeyEvent, WatchedKey};
    use serde_json::json;

    use super::*;

    pub(in super::super) fn key(name: &str, value: Option<&str>) -> WatchedKey {
        WatchedKey {
            key: name.to_owned(),
            modified: "2026-11-27T01:00:00.000000Z".to_owned(),
            value: value.map(str::to_owned),
        }
    }

    pub(in super::super) fn view(keys: Vec<WatchedKey>, nodes: &[(&str, &str)]) -> ClusterView {
        let mut view = ClusterView::new("enic…".to_owned());
        let expires = "2026-11-28T01:00:00.000000Z".to_owned();
        view.take_in(Update::Event(ClusterEvent::State(ClusterState { expires, waiting: 2, keys })));
        let nodes: Vec<_> = nodes
            .iter()
            .map(|(name, state)| {
                json!({
                    "id": name, "reported": "2026-11-27T01:00:00.000000Z", "age": 0,
                    "report": {"name": name, "role": "slave", "state": state, "addresses": ["10.0.0.3"]}
                })
            })
            .collect();
        let list = json!({"version": "a-1", "whole": true, "total": nodes.len(), "nodes": nodes});
        let mut members = Members::default();
        members.take_in(&list.to_string(), None).unwrap();
        view.take_in(Update::Nodes(Box::new(members)));
        view
    }

    #[test]
    fn a_master_is_ready_at_its_own_address_only() {
        let ready = |values: [Option<&str>; 2]| {
            let keys = vec![key(MASTER_IP, values[0]), key(MASTER_READY, values[1])];
            view(keys, &[]).is_ready(None)
        };
        assert!(ready([Some("10.0.0.1"), Some("10.0.0.1")]));
        assert!(ready([Some("10.0.0.1"), Some("yes")]));
        assert!(ready([Some("10.0.0.1"), None]), "an older service shows no value");
        assert!(!ready([Some("10.0.0.2"), Some("10.0.0.1")]));
        assert!(!view(vec![key(MASTER_IP, Some("10.0.0.1"))], &[]).is_ready(None));
        let sealed = format!("v1.{}", "A".repeat(60));
        assert!(ready([Some(&sealed), Some(&sealed)]));
    }

    #[test]
    fn waits_for_as_many_nodes_as_it_was_told() {
        let keys = || vec![key(MASTER_IP, Some("10.0.0.1")), key(MASTER_READY, Some("10.0.0.1"))];
        let two = view(keys(), &[("a", "ready"), ("b", "ready"), ("c", "waiting")]);
        assert_eq!([2, 3].map(|nodes| two.is_ready(Some(nodes))), [true, false]);
        assert_eq!(two.headline(), "ready: 2 of 3");
        let failed = view(keys(), &[("b", "ready"), ("a", "failed")]);
        assert_eq!(failed.headline(), "1 of 2 nodes failed");
        assert_eq!(failed.nodes()[0].0, "a");
    }

    #[test]
    fn nothing_is_ready_while_the_service_is_not_there() {
        let mut view = view(vec![key(MASTER_IP, Some("10.0.0.1")), key(MASTER_READY, None)], &[]);
        view.take_in(Update::Lost("connection refused".to_owned()));
        assert!(!view.is_ready(None));
        view.take_in(Update::Event(ClusterEvent::Alive));
        assert!(view.is_ready(None));
    }

    #[test]
    fn follows_what_becomes_of_keys() {
        let mut view = view(vec![key("a", None)], &[]);
        let mut event = |change: &str, from: Option<&str>, name: &str| {
            let from = from.map(str::to_owned);
            let event = KeyEvent { change: change.to_owned(), from, key: key(name, None) };
            view.take_in(Update::Event(ClusterEvent::Key(event)));
            view.keys.keys().cloned().collect::<Vec<_>>()
        };
        assert_eq!(event("set", None, "b"), ["a", "b"]);
        assert_eq!(event("renamed", Some("a"), "c"), ["b", "c"]);
        assert_eq!(event("deleted", None, "b"), ["c"]);
    }
}
