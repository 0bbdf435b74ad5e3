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
    assert_eq!((&empty["whole"], &empty["total"], &empty["nodes"]), (&json!(true), &json!(0), &json!([])));
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
