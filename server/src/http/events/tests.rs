//! The stream of events, read frame by frame, with clocks of its own.

use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::*;
use crate::store::{Limits, Update};
use crate::testing::Harness;

const MADE: &str = "2016-11-01T11:54:56.123456Z";
const GONE: &str = "2016-11-02T11:54:56.123456Z";

/// A client that watches.
struct Watcher(AnswerBody);

impl Watcher {
    async fn of(world: &Harness) -> Self {
        let path = format!("{}/events", world.cluster());
        let answer = world.send("GET", &path, &[("accept", "text/event-stream")], "").await;
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["content-type"], "text/event-stream");
        Self(answer.into_body())
    }

    /// What comes next, as it comes; `None` at the end.
    async fn raw(&mut self) -> Option<String> {
        let frame = self.0.frame().await?.unwrap();
        Some(String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap())
    }

    /// The next event: its name and its data.
    async fn next(&mut self) -> (String, Value) {
        let raw = self.raw().await.expect("there is more");
        let (name, data) = raw.strip_prefix("event: ").unwrap().split_once("\ndata: ").unwrap();
        (name.to_owned(), serde_json::from_str(data.strip_suffix("\n\n").unwrap()).unwrap())
    }

    async fn check(&mut self, name: &str, data: Value) {
        assert_eq!(self.next().await, (name.to_owned(), data));
    }
}

fn key(name: &str, value: Option<&str>) -> Value {
    let mut key = json!({"key": name, "created": MADE, "modified": MADE});
    if let Some(value) = value {
        key["value"] = value.into();
    }
    key
}

fn changed(change: &str, mut key: Value) -> Value {
    key["change"] = change.into();
    key
}

fn whole(keys: &[Value], waiting: usize) -> Value {
    json!({"creation_time": MADE, "expiry_time": GONE, "keys": keys, "waiting": waiting})
}

#[tokio::test(start_paused = true)]
async fn tells_the_state_then_every_change_and_no_value_but_the_address() {
    let world = Harness::new().await;
    world.set("token", "secret").await;
    world.set("master_ip", "10.0.0.1").await;
    let mut watcher = Watcher::of(&world).await;
    let keys = [key("token", None), key("master_ip", Some("10.0.0.1"))];
    watcher.check("state", whole(&keys, 0)).await;

    let store = &world.service.store;
    world.set("a", "1").await;
    watcher.check("key", changed("set", key("a", None))).await;
    let address = Update { value: Some("10.0.0.2".to_owned()), ..Update::default() };
    store.update_key(&world.pin, "master_ip", address).await.unwrap();
    watcher.check("key", changed("set", key("master_ip", Some("10.0.0.2")))).await;
    let name = Update { name: Some("b".to_owned()), ..Update::default() };
    store.update_key(&world.pin, "a", name).await.unwrap();
    let mut renamed = changed("renamed", key("b", None));
    renamed["from"] = "a".into();
    watcher.check("key", renamed).await;
    store.delete_key(&world.pin, "b").await.unwrap();
    watcher.check("key", changed("deleted", key("b", None))).await;
    store.delete_cluster(&world.pin).await.unwrap();
    watcher.check("gone", json!({"reason": "deleted"})).await;
    assert_eq!(watcher.raw().await, None);
    assert_eq!(world.service.hub.waiters(), 0);
}

#[tokio::test(start_paused = true)]
async fn tells_how_many_wait() {
    let world = Harness::new().await;
    let mut watcher = Watcher::of(&world).await;
    watcher.check("state", whole(&[], 0)).await;
    let ready = world.key("master_ready");
    let held = [("prefer", "wait=50")];
    let waits =
        async { tokio::join!(world.ask("GET", &ready, &held, ""), world.ask("GET", &ready, &held, "")) };
    let events = async {
        watcher.check("counts", json!({"waiting": 2})).await;
        let keys: [Value; 0] = [];
        Watcher::of(&world).await.check("state", whole(&keys, 2)).await;
        world.set("master_ready", "10.0.0.1").await;
        assert_eq!(watcher.next().await.0, "key");
        watcher.check("counts", json!({"waiting": 0})).await;
    };
    tokio::join!(waits, events);
}

#[tokio::test(start_paused = true)]
async fn counts_no_faster_than_a_person_can_read() {
    let world = Harness::new().await;
    let mut watcher = Watcher::of(&world).await;
    watcher.next().await;
    let wait = || world.service.hub.wait(&world.pin, "a").unwrap();
    let first = wait();
    watcher.check("counts", json!({"waiting": 1})).await;
    let more: Vec<_> = (0..90).map(|_| wait()).collect();
    let begun = Instant::now();
    watcher.check("counts", json!({"waiting": 91})).await;
    assert_eq!(begun.elapsed(), COUNTS);
    drop((first, more));
    watcher.check("counts", json!({"waiting": 0})).await;
}

#[tokio::test(start_paused = true)]
async fn sends_a_long_state_in_pieces() {
    let world = Harness::new().await;
    for number in 0..200 {
        world.set(&format!("{number:0>100}"), "1").await;
    }
    let mut watcher = Watcher::of(&world).await;
    let mut state = String::new();
    let mut pieces = 0;
    while !state.ends_with("\n\n") {
        state.push_str(&watcher.raw().await.unwrap());
        pieces += 1;
    }
    let data = state.strip_prefix("event: state\ndata: ").unwrap().trim_end();
    let data: Value = serde_json::from_str(data).unwrap();
    assert_eq!(data["keys"].as_array().unwrap().len(), 200);
    assert!(pieces > 3, "{pieces}");
}

#[tokio::test(start_paused = true)]
async fn cuts_off_who_is_more_than_sixteen_events_behind() {
    let world = Harness::new().await;
    let (mut slow, mut slower) = (Watcher::of(&world).await, Watcher::of(&world).await);
    slow.next().await;
    slower.next().await;
    for number in 0..16 {
        world.set(&format!("key{number}"), "1").await;
    }
    assert_eq!(slow.next().await.1["key"], "key0");
    world.set("key16", "1").await;
    assert_eq!(slower.raw().await, None);
    let metrics = crate::admin::exposition::render(&world.service, None, true);
    assert!(metrics.contains("\ncernvm_pairing_event_streams_cut_total 1\n"), "{metrics}");
    for number in 1..17 {
        assert_eq!(slow.next().await.1["key"], format!("key{number}"));
    }
    let again = Watcher::of(&world).await.next().await;
    assert_eq!((again.0.as_str(), again.1["keys"].as_array().unwrap().len()), ("state", 17));
    assert_eq!(world.service.hub.waiters(), 1);
}

#[tokio::test(start_paused = true)]
async fn begins_with_the_state_again_after_a_reconnect() {
    let world = Harness::new().await;
    let mut watcher = Watcher::of(&world).await;
    watcher.check("state", whole(&[], 0)).await;
    drop(watcher);
    world.set("a", "1").await;
    let mut watcher = Watcher::of(&world).await;
    watcher.check("state", whole(&[key("a", None)], 0)).await;
    assert_eq!(world.service.hub.waiters(), 1);
}

/// One who watches a pin that has three seconds left.
async fn last_seconds(world: &Harness) -> Watcher {
    world.clock.advance(Limits::default().lifetime - Duration::from_secs(3));
    let mut watcher = Watcher::of(world).await;
    watcher.next().await;
    watcher
}

#[tokio::test(start_paused = true)]
async fn ends_the_moment_the_pin_expires() {
    let world = Harness::new().await;
    let mut watcher = last_seconds(&world).await;
    let begun = Instant::now();
    timeout(Duration::from_millis(2999), watcher.raw()).await.unwrap_err();
    world.clock.advance(Duration::from_secs(3));
    watcher.check("gone", json!({"reason": "expired"})).await;
    assert_eq!((watcher.raw().await, begun.elapsed()), (None, Duration::from_secs(3)));
}

#[tokio::test(start_paused = true)]
async fn goes_by_the_clock_when_that_was_set_back() {
    let world = Harness::new().await;
    let mut watcher = last_seconds(&world).await;
    timeout(Duration::from_secs(4), watcher.raw()).await.unwrap_err();
    world.clock.advance(Duration::from_secs(3));
    watcher.check("gone", json!({"reason": "expired"})).await;
}

#[tokio::test(start_paused = true)]
async fn hears_from_the_sweeper_that_the_clock_was_set() {
    let world = Harness::new().await;
    let mut watcher = Watcher::of(&world).await;
    watcher.next().await;
    let begun = Instant::now();
    let (gone, ()) = tokio::join!(watcher.next(), async {
        world.clock.advance(Limits::default().lifetime);
        world.service.store.sweep().await.unwrap();
    });
    assert_eq!(gone, ("gone".to_owned(), json!({"reason": "expired"})));
    assert_eq!(begun.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn ends_when_the_service_does() {
    let world = Harness::new().await;
    let mut watcher = Watcher::of(&world).await;
    watcher.next().await;
    world.service.hub.close();
    assert_eq!(watcher.raw().await, None);
    assert_eq!(world.ask("GET", &format!("{}/events", world.cluster()), &[], "").await.status, 503);
}

#[tokio::test(start_paused = true)]
async fn says_every_fifteen_seconds_that_it_is_there() {
    let world = Harness::new().await;
    let mut watcher = Watcher::of(&world).await;
    watcher.next().await;
    let begun = Instant::now();
    for count in 1..4 {
        assert!(watcher.raw().await.unwrap().starts_with(": "));
        assert_eq!(begun.elapsed(), COMMENT * count);
    }
}

#[tokio::test(start_paused = true)]
async fn refuses_in_json_and_lets_no_crowd_in() {
    let world = Harness::new().await;
    let unknown = world.ask("GET", "/api/v1/clusters/zzzzzzzzzzzz/events", &[], "").await;
    assert_eq!((unknown.status, unknown.body.as_str()), (404, r#"{"detail":"Not found."}"#));
    let path = format!("{}/events", world.cluster());
    assert_eq!(world.ask("GET", &path, &[("accept", "application/json")], "").await.status, 406);
    assert_eq!(world.ask("POST", &path, &[], "").await.status, 405);
    let mut watchers = Vec::new();
    for _ in 0..100 {
        watchers.push(Watcher::of(&world).await);
    }
    let crowded = world.ask("GET", &path, &[], "").await;
    assert_eq!((crowded.status, crowded.header("retry-after")), (503, "10"));
    // A pin of the service of these tests has room for one more, who waits.
    let waiting = world.service.hub.wait(&world.pin, "a").unwrap();
    assert_eq!(world.ask("GET", &world.key("a"), &[("prefer", "wait=1")], "").await.status, 503);
    drop((watchers, waiting));
    assert_eq!(world.service.hub.waiters(), 0);
}

#[tokio::test(start_paused = true)]
async fn tells_of_nodes_that_are_there_that_report_and_that_are_removed() {
    let world = Harness::new().await;
    let report = |id: &'static str, state: &str| {
        let (path, body) =
            (format!("{}/nodes/{id}", world.cluster()), format!(r#"{{"role":"slave","state":"{state}"}}"#));
        let world = &world;
        async move {
            let asked = world.ask("PUT", &path, &[("content-type", "application/json")], &body).await;
            assert_eq!(asked.status, 204);
        }
    };
    let shown = |change: &str, id: &str, state: &str| {
        let report = json!({
            "name": "", "role": "slave", "state": state, "addresses": [], "detail": "", "ssh_host_keys": []
        });
        json!({"change": change, "id": id, "reported": MADE, "report": report})
    };
    report("a", "waiting").await;
    let mut watcher = Watcher::of(&world).await;
    watcher.check("state", whole(&[], 0)).await;
    watcher.check("node", shown("set", "a", "waiting")).await;
    // Only the latest of each is told, at most four times a second, and a reader that is slow misses none of these.
    for state in ["joined", "failed", "ready"].iter().cycle().take(30) {
        report("b", state).await;
    }
    watcher.check("node", shown("set", "b", "ready")).await;
    let sealed = format!("{}/nodes/c", world.cluster());
    world.ask("PUT", &sealed, &[("content-type", "text/plain")], "v1.c2VhbGVk").await;
    watcher.check("node", json!({"change": "set", "id": "c", "reported": MADE})).await;
    world.ask("DELETE", &sealed, &[], "").await;
    watcher.check("node", json!({"change": "deleted", "id": "c", "reported": MADE})).await;
    world.service.store.delete_cluster(&world.pin).await.unwrap();
    watcher.check("gone", json!({"reason": "deleted"})).await;
    assert!(watcher.raw().await.is_none());
}
