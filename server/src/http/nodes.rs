//! Nodes: `/api/v1/clusters/<pin>/nodes` and `/api/v1/clusters/<pin>/nodes/<id>`.
//!
//! A list can be waited for: until there are enough nodes (a barrier), or until it is another one than `after`.

use std::net::IpAddr;
use std::time::Duration;

use hyper::HeaderMap;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use pairing_core::hub::Wake;
use pairing_core::store::{Charge, NodeClass};
use protocol::Pin;
use protocol::node::{self, NodeReport, REPORT_MAX_BYTES};
use tokio::time::{Instant, timeout_at};

use super::answers::Reply;
use super::body::{self, RequestBody};
use super::node_list::{NodeList, NodeQuery};
use super::prefer::Wait;
use super::refusal::Refusal;
use crate::budget::Purpose;
use crate::service::Service;

/// Lists nodes. To wait for them is the business of [`wait`].
pub(super) async fn list(service: &Service, pin: &Pin, query: &str) -> Result<Reply, Refusal> {
    Ok(Reply::Nodes(NodeQuery::parse(query)?.list_matching(service, pin).await?))
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
    query: NodeQuery,
    wait: Wait,
) -> Result<Box<NodeList>, Refusal> {
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
