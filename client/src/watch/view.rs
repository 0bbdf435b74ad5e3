//! What is known of a cluster, put together from what the service tells.

use protocol::error::Error;
use protocol::key::{MASTER_IP, MASTER_READY, is_ready_for};
use protocol::node::NodeState;
use serde_json::{Value, json};

use crate::ClusterEvent;
use crate::events::WatchedKey;
use crate::members::{Member, Members};
use crate::seal::{Seal, is_sealed};

/// A key, as far as the service shows it.
struct SeenKey {
    name: String,
    value: SeenValue,
    /// When its value was set, in RFC 3339.
    modified: String,
}

/// A value, as far as it can be seen.
enum SeenValue {
    /// The service does not show it: it is another key's, or the service is older.
    Hidden,
    Clear(String),
    /// It is sealed, and there is no secret here.
    Sealed,
    /// There is a secret here, and the value was not sealed with it for this key.
    Foreign,
}

/// Whether what is shown is how it is.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Link {
    Connecting,
    Live,
    /// The service is not there; what is shown is how it was.
    Lost(Loss),
}

/// Why a service is not there, and what to do about it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Loss {
    pub(super) cause: String,
    pub(super) next: String,
}

/// A cluster as it is known.
pub(super) struct ClusterView {
    /// The pin, masked.
    pub(super) pin: String,
    pub(super) link: Link,
    /// When the pin expires, in RFC 3339.
    pub(super) expires: Option<String>,
    pub(super) waiting: usize,
    /// In the order of their names.
    keys: Vec<SeenKey>,
    members: Members,
    /// Whether the nodes were told, or that they are not.
    has_asked_for_nodes: bool,
    seal: Option<Seal>,
}

impl ClusterView {
    pub(super) fn new(pin: String, seal: Option<Seal>) -> Self {
        Self {
            pin,
            link: Link::Connecting,
            expires: None,
            waiting: 0,
            keys: Vec::new(),
            members: Members::default(),
            has_asked_for_nodes: false,
            seal,
        }
    }

    /// Takes in an event.
    pub(super) fn take_in(&mut self, event: ClusterEvent) {
        self.link = Link::Live;
        match event {
            ClusterEvent::State(state) => {
                self.expires = Some(state.expires);
                self.waiting = state.waiting;
                self.keys.clear();
                state.keys.into_iter().for_each(|key| self.see(key));
            }
            ClusterEvent::Key(event) => {
                if let Some(from) = &event.from {
                    self.keys.retain(|key| key.name != *from);
                }
                if event.change == "deleted" {
                    self.keys.retain(|key| key.name != event.key.key);
                } else {
                    self.see(event.key);
                }
            }
            ClusterEvent::Waiting(waiting) => self.waiting = waiting,
            ClusterEvent::Gone | ClusterEvent::Alive => {}
        }
    }

    /// Takes in a list of nodes, or that the service gives none now. What to ask for next.
    ///
    /// # Errors
    /// As [`Members::take_in`].
    pub(super) fn take_in_nodes(&mut self, json: Option<&str>) -> Result<String, Error> {
        self.has_asked_for_nodes = true;
        if let Some(json) = json {
            self.members.take_in(json, self.seal.as_ref())?;
        }
        Ok(self.members.after())
    }

    fn see(&mut self, WatchedKey { key: name, value, modified }: WatchedKey) {
        let value = match (value, &self.seal) {
            (None, _) => SeenValue::Hidden,
            (Some(value), Some(seal)) => {
                seal.open(&name, &value).map_or(SeenValue::Foreign, SeenValue::Clear)
            }
            (Some(value), None) if is_sealed(&value) => SeenValue::Sealed,
            (Some(value), None) => SeenValue::Clear(value),
        };
        self.keys.retain(|key| key.name != name);
        let at = self.keys.partition_point(|key| key.name < name);
        self.keys.insert(at, SeenKey { name, value, modified });
    }

    fn key(&self, name: &str) -> Option<&SeenKey> {
        self.keys.iter().find(|key| key.name == name)
    }

    /// The names of its keys.
    pub(super) fn keys(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().map(|key| key.name.as_str())
    }

    /// The master's address: `None` before it has one, a word for one that cannot be read.
    pub(super) fn address(&self) -> Option<&str> {
        match &self.key(MASTER_IP)?.value {
            SeenValue::Hidden => None,
            SeenValue::Clear(address) => Some(address),
            SeenValue::Sealed => Some("sealed"),
            SeenValue::Foreign => Some("not sealed with this secret"),
        }
    }

    /// Since when the master is ready at its address.
    pub(super) fn ready_since(&self) -> Option<&str> {
        let [address, ready] = [MASTER_IP, MASTER_READY].map(|key| self.key(key));
        let (address, ready) = (&address?.value, ready?);
        let is_ready = match (address, &ready.value) {
            (SeenValue::Hidden | SeenValue::Foreign, _) | (_, SeenValue::Foreign) => false,
            (SeenValue::Clear(address), SeenValue::Clear(value)) => is_ready_for(value, address),
            // What cannot be seen cannot be compared.
            _ => true,
        };
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
            && self.has_asked_for_nodes
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

    /// How many entries are no nodes of this cluster, and why.
    pub(super) fn refused(&self) -> impl Iterator<Item = (&'static str, usize)> {
        self.members.refused_by_reason().into_iter()
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
            "keys": self.keys().collect::<Vec<_>>(),
            "nodes": nodes.collect::<Vec<_>>(),
        })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use protocol::{Pin, Secret};
    use serde_json::json;

    use super::*;
    use crate::{ClusterState, KeyEvent};

    pub(in super::super) fn key(name: &str, value: Option<&str>) -> WatchedKey {
        WatchedKey {
            key: name.to_owned(),
            modified: "2026-11-27T01:00:00.000000Z".to_owned(),
            value: value.map(str::to_owned),
        }
    }

    pub(in super::super) fn view(keys: Vec<WatchedKey>, nodes: &[(&str, &str)]) -> ClusterView {
        let mut view = ClusterView::new("enic…".to_owned(), None);
        let expires = "2026-11-28T01:00:00.000000Z".to_owned();
        view.take_in(ClusterEvent::State(ClusterState { expires, waiting: 2, keys }));
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
        view.take_in_nodes(Some(&list.to_string())).unwrap();
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
        view.link = Link::Lost(Loss { cause: "connection refused".to_owned(), next: "wait".to_owned() });
        assert!(!view.is_ready(None));
        view.take_in(ClusterEvent::Alive);
        assert!(view.is_ready(None));
    }

    /// An end without the table would leave out who is there.
    #[test]
    fn nothing_is_ready_before_the_nodes_were_asked_for() {
        let keys = vec![key(MASTER_IP, Some("10.0.0.1")), key(MASTER_READY, None)];
        let mut view = ClusterView::new("enic…".to_owned(), None);
        let state = ClusterState { expires: String::new(), waiting: 0, keys };
        view.take_in(ClusterEvent::State(state));
        assert!(!view.is_ready(None));
        view.take_in_nodes(None).unwrap();
        assert!(view.is_ready(None));
    }

    #[test]
    fn with_the_secret_only_what_opens_is_believed() {
        let pin = Pin::parse("enico1qq0oey").unwrap();
        let seal = |byte| Seal::new(&Secret::from_bytes([byte; 32]), &pin);
        let shown = |address: &str, ready: &str| {
            let mut view = ClusterView::new("enic…".to_owned(), Some(seal(1)));
            let keys = vec![key(MASTER_IP, Some(address)), key(MASTER_READY, Some(ready))];
            let state = ClusterState { expires: String::new(), waiting: 0, keys };
            view.take_in(ClusterEvent::State(state));
            (view.address().unwrap().to_owned(), view.ready_since().is_some())
        };
        let address = seal(1).seal(MASTER_IP, "10.0.0.1");
        let ready = |address| seal(1).seal(MASTER_READY, address);
        assert_eq!(shown(&address, &ready("10.0.0.1")), ("10.0.0.1".to_owned(), true));
        assert_eq!(shown(&address, &ready("10.0.0.2")), ("10.0.0.1".to_owned(), false));
        assert_eq!(shown(&address, "10.0.0.1"), ("10.0.0.1".to_owned(), false));
        let foreign = ("not sealed with this secret".to_owned(), false);
        for forged in ["10.0.0.1", &seal(2).seal(MASTER_IP, "10.0.0.1"), &ready("10.0.0.1")] {
            assert_eq!(shown(forged, &ready("10.0.0.1")), foreign);
        }
    }

    #[test]
    fn follows_what_becomes_of_keys() {
        let mut view = view(vec![key("a", None)], &[]);
        let mut event = |change: &str, from: Option<&str>, name: &str| {
            let from = from.map(str::to_owned);
            let event = KeyEvent { change: change.to_owned(), from, key: key(name, None) };
            view.take_in(ClusterEvent::Key(event));
            view.keys().map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(event("set", None, "b"), ["a", "b"]);
        assert_eq!(event("renamed", Some("a"), "c"), ["b", "c"]);
        assert_eq!(event("deleted", None, "b"), ["c"]);
    }
}
