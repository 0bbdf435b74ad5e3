//! `GET …/events`: what happens to a cluster, as Server-Sent Events (HTML standard, section 9.2).
//!
//! The first event is the whole state. It is read after the subscription is taken, so nothing falls in between; what is
//! told next may be in it already, and says the same again. An event that does not find its reader is not kept: a
//! client that comes back begins with the state.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::iter;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream;
use pairing_core::Refused;
use pairing_core::clock::Timestamp;
use pairing_core::hub::{HubEvent, Subscription};
use pairing_core::store::{Change, Cluster, Key, Node, NodeClass, Store};
use protocol::Pin;
use protocol::key::{MASTER_IP, MASTER_READY};
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, sleep};

use super::answer_body::AnswerBody;
use super::answers::Reply;
use super::pieces;
use super::refusal::Refusal;
use crate::held_requests::HoldPermit;
use crate::metrics::{Counter, Metrics};
use crate::service::Service;

/// Between two comments, which keep middleboxes from closing a connection that looks idle; they do so after 60 s.
const COMMENT: Duration = Duration::from_secs(15);
/// Between two `counts`, and two looks at what nodes have reported: ten thousand slaves that come at once are not ten
/// thousand events.
const COUNTS: Duration = Duration::from_millis(250);
/// Nodes that are told of in one piece.
const NODES_AT_ONCE: usize = 64;

/// What a subscriber is still going to be told.
struct Feed {
    subscription: Subscription,
    _hold: HoldPermit,
    store: Arc<Store>,
    metrics: Arc<Metrics>,
    pin: Pin,
    /// Nodes that have reported and were not told of yet, and the version up to which they are known.
    reported: VecDeque<Arc<Node>>,
    node_version: Option<u64>,
    expires: Timestamp,
    comment: Interval,
    counts_from: Instant,
    over: bool,
}

/// How many wait.
#[derive(Serialize)]
struct WaitingCount {
    waiting: usize,
}

/// What subscribers are shown of a key.
#[derive(Serialize)]
struct Shown<'a> {
    key: &'a str,
    created: String,
    modified: String,
    /// Only the address of the master, and that which is ready, are shown: other values may be secrets, and a page is shown to others.
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<&'a str>,
}

/// What has become of a key.
#[derive(Serialize)]
struct Changed<'a> {
    change: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<&'a str>,
    #[serde(flatten)]
    key: Shown<'a>,
}

/// What has become of a node.
#[derive(Serialize)]
struct ChangedNode<'a> {
    change: &'static str,
    id: &'a str,
    reported: String,
    /// Not there where the report is sealed.
    #[serde(skip_serializing_if = "Option::is_none")]
    report: Option<&'a RawValue>,
}

/// Why there is nothing more to tell.
#[derive(Serialize)]
struct StreamEnd {
    reason: &'static str,
}

/// Subscribes to a cluster.
pub(super) async fn watch(service: &Service, client: IpAddr, pin: &Pin) -> Result<Reply, Refusal> {
    let hold = service.held_requests.hold(client).map_err(|_| Refusal::TooManyWaiters)?;
    let mut subscription = service.hub.subscribe(pin)?;
    let cluster = service.store.cluster(pin).await?;
    let keys = service.store.keys(pin).await?;
    let state = state(&cluster, keys, subscription.waiting());
    let mut comment = interval_at(Instant::now() + COMMENT, COMMENT);
    comment.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let feed = Feed {
        subscription,
        _hold: hold,
        store: service.store.clone(),
        metrics: service.metrics.clone(),
        pin: pin.clone(),
        reported: VecDeque::new(),
        node_version: None,
        expires: cluster.expires,
        comment,
        counts_from: Instant::now(),
        over: false,
    };
    let events = stream::unfold(feed, Feed::next);
    Ok(Reply::Events(AnswerBody::stream(stream::iter(state).chain(events))))
}

impl Feed {
    /// Waits for what is to be told next; `None` when that was all.
    async fn next(mut self) -> Option<(Bytes, Self)> {
        if self.over {
            return None;
        }
        let bytes = loop {
            if self.node_version.is_none() {
                self.read_nodes().await;
            }
            if !self.reported.is_empty() {
                break self.nodes();
            }
            let left = self.expires.since(self.store.now());
            tokio::select! {
                biased;
                event = self.subscription.next(self.counts_from) => match event {
                    HubEvent::Change(change) => break self.change(&change),
                    HubEvent::Waiting(waiting) => {
                        self.counts_from = Instant::now() + COUNTS;
                        break event_bytes("counts", &WaitingCount { waiting });
                    }
                    HubEvent::Reports => {
                        self.counts_from = Instant::now() + COUNTS;
                        self.read_nodes().await;
                    }
                    HubEvent::Lagged => {
                        log::debug!("events: a client is too far behind");
                        self.metrics.count(Counter::StreamsCut);
                        return None;
                    }
                    HubEvent::Closed => return None,
                },
                () = sleep(left) => {
                    // The store's clock need not run as fast as ours, and other servers' clocks may show another time:
                    // the store removes the pin before it says that it is gone.
                    match self.store.cluster(&self.pin).await {
                        Ok(_) => {}
                        Err(Refused::UnknownPin) => break self.gone("expired"),
                        Err(_) => return None,
                    }
                }
                _ = self.comment.tick() => break Bytes::from_static(b": still here\n\n"),
            }
        };
        Some((bytes, self))
    }

    fn change(&mut self, change: &Change) -> Bytes {
        let (change, from, key) = match change {
            Change::KeySet(key) => ("set", None, key),
            Change::KeyRenamed { from, key } => ("renamed", Some(from.as_str()), key),
            Change::KeyDeleted(key) => ("deleted", None, key),
            // Reports are not told one by one.
            Change::NodeSet { .. } => return Bytes::new(),
            Change::NodeDeleted { node, .. } => {
                self.reported.retain(|reported| reported.id != node.id);
                return event_bytes("node", &ChangedNode::of("deleted", node));
            }
            Change::Deleted => return self.gone("deleted"),
            Change::Expired => return self.gone("expired"),
        };
        event_bytes("key", &Changed { change, from, key: Shown::of(key) })
    }

    /// Looks what nodes have reported since the last look.
    async fn read_nodes(&mut self) {
        let Ok(listing) = self.store.nodes(&self.pin, self.node_version).await else {
            // The pin is gone, which is told in its turn.
            self.node_version.get_or_insert_default();
            return;
        };
        if listing.whole {
            self.reported.clear();
        }
        self.node_version = Some(listing.version);
        self.reported.extend(listing.nodes);
    }

    /// Some of the nodes that have reported.
    fn nodes(&mut self) -> Bytes {
        let some = self.reported.drain(..self.reported.len().min(NODES_AT_ONCE));
        let events: Vec<Bytes> =
            some.map(|node| event_bytes("node", &ChangedNode::of("set", &node))).collect();
        events.concat().into()
    }

    fn gone(&mut self, reason: &'static str) -> Bytes {
        self.over = true;
        event_bytes("gone", &StreamEnd { reason })
    }
}

impl<'a> Shown<'a> {
    fn of(key: &'a Key) -> Self {
        Self {
            key: &key.name,
            created: key.created.to_string(),
            modified: key.modified.to_string(),
            value: [MASTER_IP, MASTER_READY].contains(&key.name.as_str()).then_some(&key.value),
        }
    }
}

impl<'a> ChangedNode<'a> {
    fn of(change: &'static str, node: &'a Node) -> Self {
        let report = match node.class {
            NodeClass::Sealed => None,
            // It was checked when it came.
            NodeClass::Clear(..) => serde_json::from_str(&node.report).ok(),
        };
        Self { change, id: &node.id, reported: node.reported.to_string(), report }
    }
}

/// The first event, in pieces: `{"creation_time":…,"expiry_time":…,"waiting":…,"keys":[…]}`.
fn state(
    cluster: &Cluster,
    keys: Vec<Arc<Key>>,
    waiting: usize,
) -> impl Iterator<Item = Bytes> + Send + use<> {
    let head = format!(
        "event: state\ndata: {{\"creation_time\":\"{}\",\"expiry_time\":\"{}\",\"waiting\":{waiting},\"keys\":[",
        cluster.created, cluster.expires
    );
    let shown = keys.into_iter().enumerate().map(|(at, key)| {
        let before = if at == 0 { "" } else { "," };
        format!("{before}{}", json(&Shown::of(&key)))
    });
    pieces::joined(iter::once(head).chain(shown).chain(iter::once("]}\n\n".to_owned())))
}

/// One event. JSON has no line breaks, so its data is one line.
fn event_bytes(name: &str, data: &impl Serialize) -> Bytes {
    format!("event: {name}\ndata: {}\n\n", json(data)).into()
}

fn json(data: &impl Serialize) -> String {
    serde_json::to_string(data).expect("strings and numbers under fixed names always serialise")
}
