//! The nodes of a cluster as a member sees them: opened, checked, and kept up to date list by list.

use std::collections::BTreeMap;

use super::seal::Seal;
use super::sealing::node_name;
use protocol::error::{Error, Status};
use protocol::node::{ListedNode, NodeList, NodeReport, NodeState};

/// A node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// When its last report came, in RFC 3339, by the service's clock.
    pub reported: String,
    /// How long ago that was when it was listed, in seconds.
    pub age: u64,
    /// What it said.
    pub report: NodeReport<'static>,
}

/// What a service lists under a pin.
#[derive(Debug, Clone, Default)]
pub struct Members {
    /// By identifier.
    pub nodes: BTreeMap<String, Member>,
    /// Entries that are no nodes of this cluster, by identifier, each with the reason.
    pub refused: BTreeMap<String, &'static str>,
    /// Stands for the last list.
    version: String,
}

impl Members {
    /// What asks for the changes since the last list.
    #[must_use]
    pub fn after(&self) -> String {
        if self.version.is_empty() { String::new() } else { format!("&after={}", self.version) }
    }

    /// Takes a list in. With a seal only what opens is a node: a clear report beside a secret is not believed, since
    /// anything between here and the node may have written it.
    ///
    /// # Errors
    /// 76 when it is no list.
    pub fn take_in(&mut self, json: &str, seal: Option<&Seal>) -> Result<(), Error> {
        let list: NodeList<'_> = serde_json::from_str(json).map_err(|_| no_list())?;
        let is_version = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        if !list.version.bytes().all(is_version) {
            return Err(no_list());
        }
        if list.whole {
            self.nodes.clear();
            self.refused.clear();
        }
        self.version = list.version.into_owned();
        for node in list.nodes {
            let id = node.id.to_string();
            self.nodes.remove(&id);
            self.refused.remove(&id);
            let (reported, age) = (node.reported.to_string(), node.age);
            match open(node, seal) {
                Ok(report) => drop(self.nodes.insert(id, Member { reported, age, report })),
                Err(why) => drop(self.refused.insert(id, why)),
            }
        }
        Ok(())
    }

    /// How many entries of the lists are no nodes, by the reason.
    pub(super) fn refused_by_reason(&self) -> BTreeMap<&'static str, usize> {
        let mut reasons = BTreeMap::new();
        for why in self.refused.values() {
            *reasons.entry(*why).or_default() += 1;
        }
        reasons
    }

    /// Says on the log what of the lists is no node.
    pub fn warn_of_refused(&self) {
        for (why, count) in self.refused_by_reason() {
            let entries = if count == 1 { "1 entry is".to_owned() } else { format!("{count} entries are") };
            log::warn!("{entries} left out: {why}");
        }
    }
}

fn open(node: ListedNode<'_>, seal: Option<&Seal>) -> Result<NodeReport<'static>, &'static str> {
    if !protocol::node::is_id(&node.id) {
        return Err("its identifier is none");
    }
    let report = match (node.report, node.sealed, seal) {
        (Some(report), None, None) => report.into_owned(),
        (None, Some(sealed), Some(seal)) => {
            let json = seal
                .open(&node_name(&node.id), &sealed)
                .map_err(|_| "it was not sealed with this secret for this node: another secret, or forged")?;
            let report: Result<NodeReport<'_>, _> = serde_json::from_str(&json);
            report.map(NodeReport::into_owned).map_err(|_| "its report makes no sense")?
        }
        (Some(_), None, Some(_)) => return Err("it is not sealed, but this cluster has a secret"),
        (None, Some(_), None) => return Err("it is sealed; give the secret with --secret-file"),
        _ => return Err("it has no report"),
    };
    report.check().map_err(|_| "its report breaks the rules")?;
    Ok(report)
}

fn no_list() -> Error {
    Error::new(
        Status::Nonsense,
        "the service answered something else than a list of nodes",
        "check the URL; something between may have answered in the service's place",
    )
}

impl Member {
    /// What to call it: its name, else its first address, else its identifier.
    #[must_use]
    pub fn label<'a>(&'a self, id: &'a str) -> &'a str {
        if self.report.name.is_empty() {
            self.report.addresses.first().map_or(id, |address| address)
        } else {
            &self.report.name
        }
    }

    /// Whether it is there: it has joined, or more.
    #[must_use]
    pub fn has_joined(&self) -> bool {
        self.report.state.includes(NodeState::Joined)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::{Pin, Secret};
    use serde_json::{Value, json};

    pub(crate) fn list(whole: bool, nodes: &[Value]) -> String {
        json!({"version": "a-1", "whole": whole, "total": nodes.len(), "nodes": nodes}).to_string()
    }

    pub(crate) fn node(id: &str, role: &str, state: &str, addresses: &[&str]) -> Value {
        let report = json!({"name": id, "role": role, "state": state, "addresses": addresses});
        json!({"id": id, "reported": "2026-11-26T16:00:00.000000Z", "age": 5, "report": report})
    }

    fn seal(byte: u8) -> Seal {
        Seal::new(&Secret::from_bytes([byte; 32]), &Pin::parse("enico1qq0oey").unwrap())
    }

    #[test]
    fn keeps_up_with_the_lists() {
        let mut members = Members::default();
        assert_eq!(members.after(), "");
        let states = |members: &Members| -> Vec<(String, &str)> {
            members.nodes.iter().map(|(id, node)| (id.clone(), node.report.state.as_str())).collect()
        };
        let both = [node("a", "slave", "waiting", &[]), node("b", "slave", "joined", &[])];
        members.take_in(&list(true, &both), None).unwrap();
        assert_eq!(members.after(), "&after=a-1");
        members.take_in(&list(false, &[node("a", "slave", "ready", &[])]), None).unwrap();
        assert_eq!(states(&members), [("a".to_owned(), "ready"), ("b".to_owned(), "joined")]);
        members.take_in(&list(true, &[node("b", "slave", "failed", &[])]), None).unwrap();
        assert_eq!(states(&members), [("b".to_owned(), "failed")]);
        for nonsense in ["", "[]", "<html>", r#"{"version":"&x=1","whole":true,"total":0,"nodes":[]}"#] {
            assert_eq!(members.take_in(nonsense, None).unwrap_err().status(), Status::Nonsense);
        }
    }

    #[test]
    fn believes_only_what_opens_where_there_is_a_secret() {
        let report = r#"{"name":"a","role":"slave","state":"ready"}"#;
        let sealed = |id: &str, sealed: String| json!({"id": id, "reported": "", "age": 0, "sealed": sealed});
        let nodes = [
            sealed("a", seal(1).seal(&node_name("a"), report)),
            sealed("replayed", seal(1).seal(&node_name("a"), report)),
            sealed("foreign", seal(2).seal(&node_name("foreign"), report)),
            sealed("nonsense", seal(1).seal(&node_name("nonsense"), "{}")),
            sealed("unruly", seal(1).seal(&node_name("unruly"), &report.replace("\"a\"", "\"a b\""))),
            node("clear", "slave", "ready", &[]),
        ];
        let mut members = Members::default();
        members.take_in(&list(true, &nodes), Some(&seal(1))).unwrap();
        assert_eq!(members.nodes.keys().collect::<Vec<_>>(), ["a"]);
        assert_eq!(members.refused.len(), 5);
        let mut clear = Members::default();
        clear.take_in(&list(true, &nodes), None).unwrap();
        assert_eq!(clear.nodes.keys().collect::<Vec<_>>(), ["clear"]);
        assert!(clear.refused["a"].contains("--secret-file"));
    }

    #[test]
    fn takes_nothing_from_a_service_that_it_did_not_check() {
        let mut members = Members::default();
        let unruly = [
            node("a/../b", "slave", "ready", &[]),
            node("x\ny", "slave", "ready", &[]),
            node("c", "slave", "ready", &["10.0.0.1 evil"]),
            json!({"id": "d", "reported": "", "age": 0}),
        ];
        members.take_in(&list(true, &unruly), None).unwrap();
        assert!(members.nodes.is_empty() && members.refused.len() == 4, "{:?}", members.nodes);
    }
}
