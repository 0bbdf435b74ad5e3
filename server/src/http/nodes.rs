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

    async fn look(&self, service: &Service, pin: &Pin) -> Result<Box<Nodes>, Refusal> {
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
    Ok(Reply::Nodes(Query::parse(query)?.look(service, pin).await?))
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
        let found = query.look(service, &pin).await?;
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
mod tests {
    use std::future::Future;
    use std::pin::pin;

    use serde_json::{Value, json};
    use tokio::task::yield_now;

    use super::*;
    use crate::store::Limits;
    use crate::testing::{Harness, TestAnswer};

    const JSON: &[(&str, &str)] = &[("content-type", "application/json")];
    const TEXT: &[(&str, &str)] = &[("content-type", "text/plain")];
    const WAIT: &[(&str, &str)] = &[("prefer", "wait=20")];

    impl Harness {
        fn nodes(&self) -> String {
            format!("{}/nodes", self.cluster())
        }

        async fn report(&self, id: &str, role: &str, state: &str) {
            let body = json!({"name": id, "role": role, "state": state}).to_string();
            let asked = self.ask("PUT", &format!("{}/{id}", self.nodes()), JSON, &body).await;
            assert_eq!((asked.status, asked.body.as_str()), (204, ""));
        }

        async fn listed(&self, query: &str, headers: &[(&str, &str)]) -> Value {
            let asked = self.ask("GET", &format!("{}{query}", self.nodes()), headers, "").await;
            assert_eq!((asked.status, asked.header("content-type")), (200, "application/json"));
            serde_json::from_str(&asked.body).unwrap()
        }
    }

    fn ids(list: &Value) -> Vec<&str> {
        list["nodes"].as_array().unwrap().iter().map(|node| node["id"].as_str().unwrap()).collect()
    }

    #[tokio::test]
    async fn lists_what_nodes_have_reported_with_its_age() {
        let world = Harness::new().await;
        let empty = world.listed("", &[]).await;
        assert_eq!(
            (&empty["whole"], &empty["total"], &empty["nodes"]),
            (&json!(true), &json!(0), &json!([]))
        );
        world.report("b", "slave", "waiting").await;
        let sealed = world.ask("PUT", &format!("{}/a", world.nodes()), TEXT, "v1.c2VhbGVk\n").await;
        assert_eq!(sealed.status, 204);
        world.clock.advance(Duration::from_secs(90));
        world.report("b", "slave", "ready").await;
        let list = world.listed("", &[]).await;
        let report = json!({
            "name": "b", "role": "slave", "state": "ready", "addresses": [], "detail": "", "ssh_host_keys": []
        });
        assert_eq!(
            list["nodes"],
            json!([
                {"id": "a", "reported": "2016-11-01T11:54:56.123456Z", "age": 90, "sealed": "v1.c2VhbGVk"},
                {"id": "b", "reported": "2016-11-01T11:56:26.123456Z", "age": 0, "report": report},
            ])
        );
        assert_eq!(list["total"], 2);
        for (id, status) in [("a", 204), ("a", 404), ("zzz", 404)] {
            assert_eq!(world.ask("DELETE", &format!("{}/{id}", world.nodes()), &[], "").await.status, status);
        }
        assert_eq!(ids(&world.listed("", &[]).await), ["b"]);
        assert_eq!(world.ask("GET", "/api/v1/clusters/zzzzzzzzzzzz/nodes", &[], "").await.status, 404);
    }

    #[tokio::test]
    async fn a_long_list_is_sent_in_pieces() {
        let world = Harness::new().await;
        for number in 0..300 {
            world.report(&format!("n{number:03}"), "slave", "ready").await;
        }
        let list = world.listed("", &[]).await;
        assert_eq!((ids(&list).len(), &list["total"]), (300, &json!(300)));
    }

    #[tokio::test]
    async fn refuses_a_bad_report_in_one_sentence() {
        let world = Harness::new().await;
        let report = |change: &str, value: Value| {
            let mut report = json!({"name": "n", "role": "slave", "state": "ready"});
            report[change] = value;
            report.to_string()
        };
        let long = report("detail", json!("x".repeat(3000)));
        for (id, headers, body, status, said) in [
            ("n", JSON, report("state", json!("asleep")), 400, "unknown variant `asleep`"),
            ("n", JSON, report("role", json!("nurse")), 400, "unknown variant `nurse`"),
            ("n", JSON, report("name", json!("a b")), 400, "name: a host name has"),
            ("n", JSON, report("detail", json!("a\u{7}b")), 400, "detail: it is one line without control"),
            ("n", JSON, report("addresses", json!(["10.0.0.1\n::1"])), 400, "addresses: each is"),
            ("n", JSON, report("ssh_host_keys", json!(["x"])), 400, "ssh_host_keys: each is"),
            ("n", JSON, report("since", json!(1.5)), 400, "since: it is a whole number"),
            ("n", JSON, report("since", json!(-1)), 400, "since: it is a whole number"),
            ("n", JSON, report("since", json!(1_u64 << 53)), 400, "since: it is a whole number"),
            ("n", JSON, "{".to_owned(), 400, "A report cannot be read: EOF"),
            ("n", JSON, "[]".to_owned(), 400, "A report cannot be read"),
            ("n", JSON, String::new(), 400, "A report cannot be read"),
            ("n", TEXT, "v2.abc".to_owned(), 400, "A report as text is sealed"),
            ("n", TEXT, "v1.a b".to_owned(), 400, "A report as text is sealed"),
            ("n", TEXT, format!("v1.{}", "x".repeat(2100)), 413, "The body is longer than 2048 bytes."),
            ("n", JSON, long, 413, "The body is longer than 2048 bytes."),
            ("n", &[], "{}".to_owned(), 415, "Unsupported media type"),
            ("a%20b", JSON, report("name", json!("n")), 400, "A node's identifier has 1 to 64"),
            (&*"x".repeat(65), JSON, report("name", json!("n")), 400, "A node's identifier has 1 to 64"),
            ("..", JSON, report("name", json!("n")), 400, "A node's identifier has 1 to 64"),
        ] {
            let asked = world.ask("PUT", &format!("{}/{id}", world.nodes()), headers, &body).await;
            let detail: Value = serde_json::from_str(&asked.body).unwrap();
            let detail = detail["detail"].as_str().unwrap();
            assert!(asked.status == status && detail.contains(said), "{body}: {} {detail}", asked.status);
            assert!(detail.ends_with('.') || status == 415, "{detail}");
        }
        assert_eq!(ids(&world.listed("", &[]).await), [""; 0]);
        let unknown = "/api/v1/clusters/zzzzzzzzzzzz/nodes/n";
        assert_eq!(world.ask("PUT", unknown, JSON, &report("name", json!("n"))).await.status, 404);
    }

    #[tokio::test]
    async fn refuses_more_nodes_than_a_pin_may_have_and_forgets_none() {
        let limits = Limits { nodes_per_pin: 2, ..Limits::default() };
        let world = Harness::with(limits).await;
        for id in ["a", "b"] {
            world.report(id, "slave", "ready").await;
        }
        let body = r#"{"role":"slave","state":"ready"}"#;
        let third = world.ask("PUT", &format!("{}/c", world.nodes()), JSON, body).await;
        let said = r#"{"detail":"This cluster has too many nodes."}"#;
        assert_eq!((third.status, third.body.as_str()), (400, said));
        world.report("b", "slave", "failed").await;
        assert_eq!(ids(&world.listed("", &[]).await), ["a", "b"]);
    }

    #[tokio::test]
    async fn refuses_a_bad_query_in_one_sentence() {
        let world = Harness::new().await;
        for (query, said) in [
            ("at-least=10001", "at-least: it is a number from 0 to 10000."),
            ("at-least=-1", "at-least: it is a number from 0 to 10000."),
            ("at-least=many", "at-least: it is a number from 0 to 10000."),
            ("state=asleep", "state: it is waiting, joined, ready or failed."),
            ("role=nurse", "role: it is master or slave."),
            ("after=yesterday", "after: it is the version of an earlier list."),
        ] {
            let asked = world.ask("GET", &format!("{}?{query}", world.nodes()), WAIT, "").await;
            assert_eq!((asked.status, asked.body), (400, format!(r#"{{"detail":"{said}"}}"#)), "{query}");
        }
        assert_eq!(ids(&world.listed("?else=1", &[]).await), [""; 0]);
    }

    #[tokio::test]
    async fn counts_reports_for_their_sender_while_they_are_there() {
        let world = Harness::new().await;
        let stored = || world.service.budget.used(Purpose::Stored);
        world.report("a", "slave", "ready").await;
        let one = stored();
        assert!(one > 50);
        world.report("a", "slave", "ready").await;
        assert_eq!(stored(), one);
        world.report("b", "slave", "ready").await;
        assert_eq!(stored(), 2 * one);
        world.ask("DELETE", &format!("{}/b", world.nodes()), &[], "").await;
        assert_eq!(stored(), one);
        world.ask("DELETE", &world.cluster(), &[], "").await;
        assert_eq!(stored(), 0);
    }

    /// Asks with a query, and waits; once that hangs, does `meanwhile`.
    async fn waiting(world: &Harness, query: &str, meanwhile: impl Future<Output = ()>) -> TestAnswer {
        let path = format!("{}?{query}", world.nodes());
        let mut asked = pin!(world.ask("GET", &path, WAIT, ""));
        tokio::select! {
            biased;
            asked = asked.as_mut() => panic!("{} {} before anything happened", asked.status, asked.body),
            () = yield_now() => {}
        }
        meanwhile.await;
        asked.await
    }

    #[tokio::test(start_paused = true)]
    async fn a_barrier_opens_the_moment_enough_nodes_are_there() {
        let world = Harness::new().await;
        let begun = Instant::now();
        world.report("m", "master", "ready").await;
        let query = "at-least=2&state=joined&role=slave";
        let asked = waiting(&world, query, async {
            world.report("a", "slave", "ready").await;
            world.report("b", "slave", "waiting").await;
            world.report("c", "slave", "failed").await;
            world.report("b", "slave", "joined").await;
        });
        let asked = asked.await;
        assert_eq!((asked.status, asked.header("preference-applied")), (200, "wait=20"));
        let list: Value = serde_json::from_str(&asked.body).unwrap();
        assert_eq!(ids(&list), ["a", "b", "c", "m"]);
        // Who comes later does not wait.
        assert_eq!(ids(&world.listed(&format!("?{query}"), WAIT).await).len(), 4);
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_barrier_lists_who_is_there_when_the_time_is_up() {
        let world = Harness::new().await;
        let begun = Instant::now();
        let asked = waiting(&world, "at-least=2", world.report("a", "slave", "ready")).await;
        assert_eq!((asked.status, begun.elapsed()), (200, Duration::from_secs(20)));
        assert_eq!(ids(&serde_json::from_str(&asked.body).unwrap()), ["a"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_barrier_ends_with_its_pin_and_with_the_service() {
        let world = Harness::new().await;
        let deletion = async { world.service.store.delete_cluster(&world.pin).await.unwrap() };
        assert_eq!(waiting(&world, "at-least=1", deletion).await.status, 404);
        let world = Harness::new().await;
        let asked = waiting(&world, "at-least=1", async { world.service.hub.close() }).await;
        assert_eq!((asked.status, asked.header("retry-after")), (503, "1"));
    }

    #[tokio::test(start_paused = true)]
    async fn tells_only_what_is_new_after_a_version_and_waits_for_it() {
        let world = Harness::new().await;
        world.report("a", "slave", "ready").await;
        world.report("b", "slave", "ready").await;
        let version = |list: &Value| list["version"].as_str().unwrap().to_owned();
        let first = world.listed("", &[]).await;
        let query = format!("after={}", version(&first));
        let nothing = world.listed(&format!("?{query}"), &[]).await;
        assert_eq!((ids(&nothing), &nothing["whole"], &nothing["total"]), (vec![], &json!(false), &json!(2)));
        let asked = waiting(&world, &query, world.report("b", "slave", "failed")).await;
        let newer: Value = serde_json::from_str(&asked.body).unwrap();
        assert_eq!((ids(&newer), &newer["whole"]), (vec!["b"], &json!(false)));
        // After a removal the client gets all, since the list cannot say what is gone.
        world.ask("DELETE", &format!("{}/a", world.nodes()), &[], "").await;
        let all = world.listed(&format!("?after={}", version(&newer)), WAIT).await;
        assert_eq!((ids(&all), &all["whole"]), (vec!["b"], &json!(true)));
        // A version of another process says nothing.
        let other = world.listed("?after=1-1", WAIT).await;
        assert_eq!((ids(&other), &other["whole"]), (vec!["b"], &json!(true)));
        // A sealed report may be what is wanted, so it counts.
        let put = async {
            world.ask("PUT", &format!("{}/s", world.nodes()), TEXT, "v1.c2VhbGVk").await;
        };
        let query = format!("at-least=1&state=ready&role=slave&after={}", version(&all));
        assert_eq!(waiting(&world, &query, put).await.status, 200);
    }

    #[tokio::test]
    async fn every_answer_about_a_cluster_says_that_nodes_can_report() {
        let world = Harness::new().await;
        for path in [world.cluster(), world.keys(), world.key("master_ip"), world.nodes()] {
            let asked = world.ask("GET", &path, &[], "").await;
            assert_eq!(asked.header(protocol::node::FEATURES), protocol::node::FEATURE, "{path}");
        }
        assert_eq!(world.ask("GET", "/healthz", &[], "").await.header(protocol::node::FEATURES), "");
    }
}
