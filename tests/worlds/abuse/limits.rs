//! Beyond each limit: the status, the message, `Retry-After`, and the metric. Limits of bytes and connections have longer
//! tests in this world; limits of time are in the unit tests.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use worlds::api::{Api, key_path, keys};
use worlds::http::{Request, Response};
use worlds::service::Service;
use worlds::wait::until;

use crate::raw::{Raw, statuses};

/// A service whose counters can be read.
pub(crate) struct Counted {
    pub(crate) service: Service,
    metrics: Api,
}

impl Counted {
    pub(crate) fn with(options: &[&str]) -> Self {
        let mut service = Service::with(&[&["--metrics-listen", "127.0.0.1:0"], options].concat());
        let metrics = service.line_after("metrics on http://");
        let address = metrics.trim_end_matches("/metrics").parse().expect("an address");
        Self { metrics: Api(address), service }
    }

    pub(crate) fn api(&self) -> Api {
        self.service.api()
    }

    /// How many requests were refused for a cause.
    fn refusals(&self, cause: &str) -> usize {
        let name = format!("cernvm_pairing_refusals_total{{cause=\"{cause}\"}} ");
        let text = self.metrics.get("/metrics").text();
        let count = text.lines().find_map(|line| line.strip_prefix(&name)?.parse().ok());
        count.unwrap_or_default()
    }

    /// How many wait and watch now.
    pub(crate) fn waiters(&self) -> Option<usize> {
        let text = self.metrics.get("/metrics").text();
        text.lines().find_map(|line| line.strip_prefix("cernvm_pairing_waiters ")?.parse().ok())
    }

    /// That one request was refused so, and counted; `retry` are the seconds after which to come again.
    #[track_caller]
    fn refused(&self, request: &Request, cause: &str, status: u16, words: &str, retry: Option<&str>) {
        let before = self.refusals(cause);
        let answer = self.api().ask(&request.clone().header("Accept", "application/json"));
        assert_eq!(answer.status, status, "{}", answer.text());
        assert!(answer.text().contains(words), "{}", answer.text());
        assert_eq!(answer.headers.get("Retry-After").as_deref(), retry);
        assert_eq!(self.refusals(cause), before + 1, "{cause}");
    }
}

fn create() -> Request {
    Request::new("POST", "/api/v1/clusters")
}

fn post(pin: &str, key: &str, value: &str) -> Request {
    Request::new("POST", &keys(pin)).json(&serde_json::json!({ "key": key, "value": value }))
}

#[test]
fn a_pin_has_so_many_keys_and_bytes() {
    let counted = Counted::with(&[]);
    let api = counted.api();
    let pin = api.new_pin();
    for n in 0..256 {
        api.create_key(&pin, &format!("k{n}"), "1");
    }
    let full = "This cluster has too many keys.";
    counted.refused(&post(&pin, "one-more", "1"), "pin_full", 400, full, None);
    assert_eq!(api.delete(&key_path(&pin, "k0")).status, 204);
    api.create_key(&pin, "one-more", "1");

    // A megabyte in all, names and values together: 15 times 65,538 leave 65,506.
    let pin = api.new_pin();
    for n in 10..25 {
        api.create_key(&pin, &n.to_string(), &"x".repeat(65_536));
    }
    let long = "The keys and values of this cluster would be too long";
    counted.refused(&post(&pin, "k", &"x".repeat(65_506)), "pin_full", 400, long, None);
    api.create_key(&pin, "k", &"x".repeat(65_505));
    let grown = Request::new("PATCH", &key_path(&pin, "k")).json(&serde_json::json!({ "key": "kk" }));
    counted.refused(&grown, "pin_full", 400, long, None);
}

#[test]
fn a_service_has_so_many_pins() {
    let counted = Counted::with(&["--max-pins", "2"]);
    let pin = counted.api().new_pin();
    let _other = counted.api().new_pin();
    let full = "The service has too many clusters. Try again later.";
    counted.refused(&create(), "pins_full", 503, full, Some("60"));
    counted.api().delete_pin(&pin);
    let _third = counted.api().new_pin();
}

/// Without the room that they leave, the master would be refused too, and the slaves would wait for nothing.
#[test]
fn those_who_wait_leave_room_for_the_master() {
    let counted = Counted::with(&["--max-connections", "64"]);
    let api = counted.api();
    let pin = api.new_pin();
    let path = key_path(&pin, "master_ready");
    let wait = Request::new("GET", &path).header("Prefer", "wait=50");
    // Of one address's 48 connections two are never held.
    let mut held: Vec<Raw> = (0..46).map(|_| Raw::connect(counted.service.address())).collect();
    for raw in &mut held {
        raw.send(format!("GET {path} HTTP/1.1\r\nHost: x\r\nPrefer: wait=50\r\n\r\n").as_bytes());
    }
    until("they are held", || (counted.waiters() == Some(46)).then_some(()));
    counted.refused(&wait, "waiters", 503, "Too many requests wait already.", Some("10"));
    assert_eq!(api.ask(&wait).headers.get("Connection").as_deref(), Some("close"));
    api.create_key(&pin, "master_ready", "192.0.2.1");
    for raw in &mut held {
        assert_eq!(statuses(&raw.head()), [200]);
    }
    assert_eq!(api.ask(&wait).status, 200);
}

#[test]
fn a_pin_has_so_many_who_wait() {
    let counted = Counted::with(&["--max-waiters-per-pin", "3"]);
    let api = counted.api();
    let [pin, other] = [api.new_pin(), api.new_pin()];
    let begin = |path: &str| {
        let mut held = Raw::connect(counted.service.address());
        held.send(format!("GET {path} HTTP/1.1\r\nHost: x\r\nPrefer: wait=50\r\n\r\n").as_bytes());
        held
    };
    // Two who wait, and one who watches.
    let path = key_path(&pin, "master_ready");
    let mut held = [begin(&path), begin(&path)];
    let mut watching = begin(&format!("/api/v1/clusters/{pin}/events"));
    until("they are held", || (counted.waiters() == Some(3)).then_some(()));
    let wait = Request::new("GET", &path).header("Prefer", "wait=50");
    let full = "Too many requests wait already. Try again later.";
    counted.refused(&wait, "waiters", 503, full, Some("10"));
    // Others have room, those who do not wait are answered, and those who are in stay in.
    let mut elsewhere = begin(&key_path(&other, "master_ready"));
    until("it is held", || (counted.waiters() == Some(4)).then_some(()));
    assert_eq!(api.value(&pin, "master_ready"), None);
    for pin in [&pin, &other] {
        api.create_key(pin, "master_ready", "192.0.2.1");
    }
    for held in held.iter_mut().chain([&mut elsewhere]) {
        assert_eq!(statuses(&held.head()), [200]);
    }
    assert!(watching.up_to("master_ready").contains("event: key"));
}

#[test]
fn a_connection_has_a_head_and_bodies_of_so_many_bytes() {
    let counted = Counted::with(&["--max-value-length", "10"]);
    let pin = counted.api().new_pin();
    for head in [
        "GET / HTTP/1.1\r\nA: ".to_owned() + &"b".repeat(9000),
        "A: b\r\n".repeat(100),
        "x\r\n\r\n".to_owned(),
    ] {
        let before = counted.refusals("head");
        let mut connection = Raw::connect(counted.service.address());
        connection.send(format!("{head}\r\n\r\n").as_bytes());
        assert!(matches!(statuses(&connection.rest())[..], [400 | 431]));
        until("it is counted", || (counted.refusals("head") == before + 1).then_some(()));
    }
    let long = "Ensure this field has no more than 10 characters.";
    counted.refused(&post(&pin, "a", "12345678901"), "malformed", 400, long, None);
    let name = "Ensure this field has no more than 100 characters.";
    counted.refused(&post(&pin, &"a".repeat(101), "1"), "malformed", 400, name, None);
    let body = "The body is longer than 1048576 bytes.";
    counted.refused(&post(&pin, "a", &"x".repeat(1 << 20)), "malformed", 413, body, None);
}

#[test]
fn an_address_has_so_many_creations_and_a_creator_a_token() {
    let file = tempfile::NamedTempFile::new().expect("a temporary file can be made");
    std::fs::write(file.path(), "correct-horse-battery\n").expect("it can be written");
    let path = file.path().to_str().expect("its name is plain");
    let counted = Counted::with(&["--max-creations-per-hour", "1", "--create-token-file", path]);
    let token = "Making a cluster needs the token of the service's admin";
    counted.refused(&create(), "token", 401, token, None);
    // A client without a token uses up no creations.
    let with_token = || create().header("Authorization", "Bearer correct-horse-battery");
    assert_eq!(counted.api().ask(&with_token()).status, 201);
    let answer = counted.api().ask(&with_token().header("Accept", "application/json"));
    assert_eq!(answer.status, 429);
    assert!(answer.text().contains("This address has made too many clusters"), "{}", answer.text());
    assert_eq!(counted.refusals("creations"), 1);
}

#[test]
fn a_service_has_so_many_connections_and_tells_so_many_others() {
    let counted = Counted::with(&["--max-connections", "2", "--max-connections-per-address", "2"]);
    let mut busy = vec![Raw::busy(counted.service.address())];
    until("one is told", || {
        // One that was not busy yet may have made room.
        busy.push(Raw::busy(counted.service.address()));
        let mut connection = Raw::connect(counted.service.address());
        connection.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        let told = "The service has too many connections. Try again later.";
        connection.rest().contains(told).then_some(())
    });
    let mut told = counted.refusals("connections");
    assert!(told > 0);

    // Sixty-four clients that ask nothing take all places for answers; further ones are closed without one, and counted.
    let mut silent = Vec::new();
    until("a connection is refused", || {
        silent.extend((0..64).map(|_| Raw::connect(counted.service.address())));
        let mut late = TcpStream::connect(counted.service.address()).expect("the kernel accepts");
        let _ = late.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
        let closed = !late.read(&mut [0]).is_ok_and(|read| read > 0);
        told += usize::from(!closed);
        closed.then_some(())
    });
    until("it is counted", || (counted.refusals("connections") > told).then_some(()));
    drop((silent, busy));
}

#[test]
fn an_answer_about_an_unknown_pin_is_counted() {
    let counted = Counted::with(&[]);
    let unknown = Request::new("GET", "/api/v1/clusters/zzzzzzzzzzzz");
    counted.refused(&unknown, "unknown_pin", 404, "Not found.", None);
}

#[test]
fn a_forwarded_address_counts_where_a_proxy_is_trusted_and_nowhere_else() {
    let create = |counted: &Counted, client: &str| -> Response {
        counted.api().ask(&create().header("X-Forwarded-For", client))
    };
    // Not trusted, whatever it says: 127.0.0.1 is one address.
    let plain = Counted::with(&["--max-creations-per-hour", "1", "--trusted-proxy", "192.0.2.0/24"]);
    assert_eq!(create(&plain, "198.51.100.1").status, 201);
    assert_eq!(create(&plain, "198.51.100.2").status, 429);

    let behind =
        Counted::with(&["--max-creations-per-hour", "1", "--trusted-proxy", "127.0.0.1,192.0.2.0/24"]);
    // Two proxies in a row, of which the outer one says who it was; what stands left of that is made up.
    assert_eq!(create(&behind, "203.0.113.9, 198.51.100.1, 192.0.2.7").status, 201);
    assert_eq!(create(&behind, "203.0.113.8, 198.51.100.1").status, 429);
    assert_eq!(create(&behind, "198.51.100.2").status, 201);
    // A machine's whole /64 counts as one.
    assert_eq!(create(&behind, "2001:db8::1").status, 201);
    assert_eq!(create(&behind, "2001:db8::ffff:2").status, 429);
    // Its connections count for no address: more of them than one address may have.
    let crowded = Counted::with(&[
        "--max-connections",
        "9",
        "--max-connections-per-address",
        "1",
        "--trusted-proxy",
        "127.0.0.1",
    ]);
    let mut many: Vec<Raw> = (0..4).map(|_| Raw::connect(crowded.service.address())).collect();
    for connection in &mut many {
        connection.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
        assert_eq!(statuses(&connection.head()), [200]);
    }
}
