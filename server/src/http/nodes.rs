//! Nodes: `/api/v1/clusters/<pin>/nodes` and `/api/v1/clusters/<pin>/nodes/<id>`.
//!
//! A list can be waited for: until there are enough nodes (a barrier), or until it is another one than `after`.

use std::iter;
use std::net::IpAddr;
use std::time::Duration;

use hyper::HeaderMap;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use pairing_core::clock::Timestamp;
use pairing_core::hub::Wake;
use pairing_core::store::{Charge, Node, NodeClass, NodeListing, NodesWanted};
use protocol::Pin;
use protocol::node::{self, NODES_PER_PIN, NodeReport, NodeRole, NodeState, REPORT_MAX_BYTES};
use tokio::time::{Instant, timeout_at};

use super::answer_body::AnswerBody;
use super::answers::Reply;
use super::body::{self, RequestBody};
use super::pieces;
use super::refusal::Refusal;
use super::wait::Wait;
use crate::budget::Purpose;
use crate::service::Service;

/// What a list is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Query {
    wanted: NodesWanted,
    /// Instance and version of the list that the client has.
    after: Option<(u64, u64)>,
}

/// A list.
pub(super) struct Nodes {
    listing: NodeListing,
    /// Tells the versions of this process from those of others.
    instance: u64,
    /// The service's time when the list was made.
    now: Timestamp,
    /// The query that these do not meet.
    pub(super) unmet: Option<Query>,
}

impl Query {
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

    async fn list_matching(&self, service: &Service, pin: &Pin) -> Result<Box<Nodes>, Refusal> {
        let instance = service.store.instance();
        let after = self.after.filter(|(of, _)| *of == instance).map(|(_, version)| version);
        let listing = service.store.nodes(pin, after).await?;
        let is_new = after.is_none_or(|after| listing.whole || listing.version != after);
        let is_met = is_new && self.wanted.are_met(&listing.counts);
        Ok(Box::new(Nodes { listing, instance, now: service.store.now(), unmet: (!is_met).then_some(*self) }))
    }
}

impl Nodes {
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

/// Lists nodes. To wait for them is the business of [`wait`].
pub(super) async fn list(service: &Service, pin: &Pin, query: &str) -> Result<Reply, Refusal> {
    Ok(Reply::Nodes(Query::parse(query)?.list_matching(service, pin).await?))
}

/// Waits until the nodes are as they are wanted, and lists them; lists them as they are when the time is up. No report
/// is missed: the hub knows of the waiter before the store is asked again.
///
/// # Errors
/// The pin is unknown or went meanwhile, or the service cannot hold the request.
pub(super) async fn wait(
    service: &Service,
    client: IpAddr,
    pin: Pin,
    query: Query,
    wait: Wait,
) -> Result<Box<Nodes>, Refusal> {
    let _hold = service.held_requests.hold(client).map_err(|_| Refusal::TooManyWaiters)?;
    let begun = Instant::now();
    loop {
        let mut waiter = service.hub.wait_for_nodes(&pin, query.wanted)?;
        let found = query.list_matching(service, &pin).await?;
        let expires = service.store.cluster(&pin).await?.expires;
        let left = expires.since(service.store.now());
        let end = (begun + wait.longest()).min(Instant::now() + left.max(Duration::from_millis(1)));
        if found.unmet.is_none() || end <= Instant::now() {
            return Ok(found);
        }
        match timeout_at(end, waiter.woken()).await {
            Ok(Wake::Unreachable) => return Err(Refusal::Unreachable),
            Ok(Wake::ShuttingDown) => return Err(Refusal::ShuttingDown),
            Ok(Wake::Gone) => return Err(Refusal::UnknownPin),
            Ok(Wake::Nodes | Wake::Set(_)) | Err(_) => {}
        }
    }
}

/// Keeps what a node reports.
pub(super) async fn put(
    service: &Service,
    client: IpAddr,
    pin: &Pin,
    id: &str,
    headers: &HeaderMap,
    body: impl RequestBody,
) -> Result<Reply, Refusal> {
    service.store.expect_cluster(pin).await?;
    if !node::is_id(id) {
        return Err(Refusal::Node(
            "A node's identifier has 1 to 64 letters, digits, dots, underscores and hyphens.".to_owned(),
        ));
    }
    let bytes = body::read(body, REPORT_MAX_BYTES).await?;
    let (report, class) = read_report(headers, &bytes)?;
    // Thousands of nodes may stand behind one address, and each report is small: all of them count.
    let permit = service.budget.acquire(Purpose::Stored, Some(client), report.len());
    let charge = Charge::new(permit.map_err(|_| Refusal::OutOfMemory)?);
    service.store.put_node(pin, id, report, class, Some(charge)).await?;
    Ok(Reply::Done)
}

pub(super) async fn delete(service: &Service, pin: &Pin, id: &str) -> Result<Reply, Refusal> {
    service.store.delete_node(pin, id).await?;
    Ok(Reply::Done)
}

/// A report as it is kept: sealed as it came, clear with the members that are known.
fn read_report(headers: &HeaderMap, bytes: &[u8]) -> Result<(String, NodeClass), Refusal> {
    let content_type = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    let content_type = String::from_utf8_lossy(content_type);
    let media_type = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let text = str::from_utf8(bytes).map_err(|_| Refusal::Node("A report is UTF-8.".to_owned()))?;
    match media_type.as_str() {
        "text/plain" if node::is_sealed(text.trim()) => Ok((text.trim().to_owned(), NodeClass::Sealed)),
        "text/plain" => Err(Refusal::Node(
            "A report as text is sealed: it begins with v1. and goes on in base64url.".to_owned(),
        )),
        "application/json" => {
            let report: NodeReport<'_> = serde_json::from_str(text)
                .map_err(|err| Refusal::Node(format!("A report cannot be read: {err}.")))?;
            report.check().map_err(Refusal::Node)?;
            let class = NodeClass::Clear(report.role, report.state);
            let kept = serde_json::to_string(&report).expect("texts and numbers always serialise");
            Ok((kept, class))
        }
        _ => Err(Refusal::UnsupportedMediaType(content_type.into_owned())),
    }
}

#[cfg(test)]
mod tests;
