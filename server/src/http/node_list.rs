//! A list of nodes, and what it is asked for.

use std::iter;

use pairing_core::clock::Timestamp;
use pairing_core::store::{Node, NodeClass, NodeListing, NodesWanted};
use protocol::Pin;
use protocol::node::{NODES_PER_PIN, NodeRole, NodeState};

use super::answer_body::AnswerBody;
use super::pieces;
use super::refusal::Refusal;
use crate::service::Service;

/// What a list is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct NodeQuery {
    pub(super) wanted: NodesWanted,
    /// Instance and version of the list that the client has.
    after: Option<(u64, u64)>,
}

/// A list.
pub(super) struct NodeList {
    listing: NodeListing,
    /// Tells the versions of this process from those of others.
    instance: u64,
    /// The service's time when the list was made.
    now: Timestamp,
    /// The query that these do not meet.
    pub(super) unmet: Option<NodeQuery>,
}

impl NodeQuery {
    /// Reads a query. Members that it does not know are ignored, as everywhere.
    ///
    /// # Errors
    /// One sentence that names the member.
    pub(super) fn parse(query: &str) -> Result<Self, Refusal> {
        let wrong = |sentence: String| Err(Refusal::Query(sentence));
        let mut read = Self::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "at-least" => match value.parse() {
                    Ok(at_least) if at_least <= NODES_PER_PIN => read.wanted.at_least = at_least,
                    _ => return wrong(format!("at-least: it is a number from 0 to {NODES_PER_PIN}.")),
                },
                "state" => match NodeState::parse(&value) {
                    Some(state) => read.wanted.state = Some(state),
                    None => return wrong("state: it is waiting, joined, ready or failed.".to_owned()),
                },
                "role" => match NodeRole::parse(&value) {
                    Some(role) => read.wanted.role = Some(role),
                    None => return wrong("role: it is master or slave.".to_owned()),
                },
                "after" => match parse_version(&value) {
                    Some(after) => read.after = Some(after),
                    None => return wrong("after: it is the version of an earlier list.".to_owned()),
                },
                _ => {}
            }
        }
        Ok(read)
    }

    pub(super) async fn list_matching(&self, service: &Service, pin: &Pin) -> Result<Box<NodeList>, Refusal> {
        let instance = service.store.instance();
        let after = self.after.filter(|(of, _)| *of == instance).map(|(_, version)| version);
        let listing = service.store.nodes(pin, after).await?;
        let is_new = after.is_none_or(|after| listing.whole || listing.version != after);
        let is_met = is_new && self.wanted.are_met(&listing.counts);
        Ok(Box::new(NodeList {
            listing,
            instance,
            now: service.store.now(),
            unmet: (!is_met).then_some(*self),
        }))
    }
}

impl NodeList {
    /// The list in JSON, made node by node as it is sent.
    pub(super) fn into_body(self) -> AnswerBody {
        let Self { listing: NodeListing { nodes, version, whole, counts }, instance, now, .. } = self;
        let total = counts.total();
        let head = format!(
            "{{\"version\":\"{instance:x}-{version:x}\",\"whole\":{whole},\"total\":{total},\"nodes\":["
        );
        let shown = nodes.into_iter().enumerate().map(move |(at, node)| {
            let before = if at == 0 { "" } else { "," };
            format!("{before}{}", show(&node, now))
        });
        let mut pieces = pieces::joined(iter::once(head).chain(shown).chain(iter::once("]}".to_owned())));
        // A short one has a length, as any answer that is put together before it is sent.
        let first = pieces.next().unwrap_or_default();
        match pieces.next() {
            None => first.into(),
            Some(second) => AnswerBody::pieces([first, second].into_iter().chain(pieces)),
        }
    }
}

/// A node in JSON. Its report is JSON already, or a text without anything to escape; so is its identifier.
fn show(node: &Node, now: Timestamp) -> String {
    let (id, reported, age) = (&node.id, node.reported, now.since(node.reported).as_secs());
    let report = match node.class {
        NodeClass::Sealed => format!("\"sealed\":\"{}\"", node.report),
        NodeClass::Clear(..) => format!("\"report\":{}", node.report),
    };
    format!("{{\"id\":\"{id}\",\"reported\":\"{reported}\",\"age\":{age},{report}}}")
}

fn parse_version(text: &str) -> Option<(u64, u64)> {
    let (instance, version) = text.split_once('-')?;
    Some((u64::from_str_radix(instance, 16).ok()?, u64::from_str_radix(version, 16).ok()?))
}
