//! Services that answer, but not as one should.

use serde_json::json;
use worlds::http::Headers;
use worlds::mock_server::{MockServer, Reply, Seen};
use worlds::together::together;

use crate::{PIN, fails, slave};

/// A service on which the pin exists, and that gives one reply to every request for a key.
fn service_with(reply: Reply) -> MockServer {
    MockServer::start(move |seen, _| if is_key(seen) { reply.clone() } else { cluster() })
}

fn is_key(seen: &Seen) -> bool {
    seen.path.contains("/keys/")
}

fn cluster() -> Reply {
    Reply::json(200, &json!({"pin": PIN, "creation_time": "2026-01-01T00:00:00Z"}))
}

/// Makes a service give this reply to everything, and another to requests for a key only.
fn check(reply: &Reply, status: i32, words: &[&str]) {
    let always = reply.clone();
    let services = [MockServer::start(move |_, _| always.clone()), service_with(reply.clone())];
    together(services, |service| {
        fails(&slave(PIN, &service.url()), status, words);
    });
}

#[test]
fn a_web_page_is_said_to_be_one() {
    check(
        &Reply::of(200, "text/html; charset=utf-8", "<html>Welcome to our guests' network!</html>"),
        76,
        &["HTML"],
    );
}

#[test]
fn half_an_answer_is_none() {
    let half =
        b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 100\r\n\r\nmaster_re".to_vec();
    check(&Reply::Raw(half), 69, &[]);
}

#[test]
fn half_an_answer_and_then_nothing_is_none() {
    let half =
        b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 100\r\n\r\nmaster_re".to_vec();
    check(&Reply::Stall(half), 69, &[]);
}

#[test]
fn a_closed_connection_is_no_answer() {
    check(&Reply::Raw(Vec::new()), 69, &[]);
}

#[test]
fn an_answer_that_drips_is_given_up_at_the_deadline() {
    check(&Reply::Drip(b"HTTP/1.1 200 OK\r\nX-Drip: ".to_vec()), 69, &[]);
}

#[test]
fn garbage_is_no_answer() {
    let service = MockServer::start(|_, _| Reply::Raw(b"\x00\x16\xff\xfe SSH-2.0-none\r\n\r\n".to_vec()));
    let finished = fails_with(&service, &[69, 76]);
    assert!(finished.contains(&service.address().to_string()), "{finished}");
}

/// Where a broken protocol may be a broken line, either status will do.
#[track_caller]
fn fails_with(service: &MockServer, statuses: &[i32]) -> String {
    let guest = slave(PIN, &service.url());
    let before = guest.context();
    let finished = guest.run(&["contextualize"]);
    assert!(statuses.contains(&finished.status), "{}: {}", finished.status, finished.stderr);
    crate::has_one_sentence(&finished);
    assert_eq!(guest.context(), before);
    finished.stderr
}

#[test]
fn an_answer_of_a_gigabyte_is_cut_off() {
    const GIGABYTE: u64 = 1 << 30;
    for length in ["Content-Length: 1073741824\r\n", ""] {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n{length}\r\nmaster_ready: ");
        for service in [
            MockServer::start({
                let head = head.clone();
                move |_, _| Reply::Flood(head.clone().into_bytes(), GIGABYTE)
            }),
            service_with(Reply::Flood(head.clone().into_bytes(), GIGABYTE)),
        ] {
            fails(&slave(PIN, &service.url()), 76, &[]);
            // What the kernel's buffers hold is taken too.
            assert!(service.flooded() < GIGABYTE / 16, "{} bytes were taken", service.flooded());
        }
    }
}

#[test]
fn a_head_without_end_is_cut_off() {
    const GIGABYTE: u64 = 1 << 30;
    let service = MockServer::start(|_, _| Reply::Flood(b"HTTP/1.1 200 OK\r\nX-Long: ".to_vec(), GIGABYTE));
    fails_with(&service, &[69, 76]);
    assert!(service.flooded() < GIGABYTE / 16, "{} bytes were taken", service.flooded());
}

#[test]
fn an_answer_of_another_kind_makes_no_sense() {
    for body in ["", "master_ip: 192.0.2.1", "{}", "ok"] {
        let service = service_with(Reply::of(200, "text/plain", body));
        fails(&slave(PIN, &service.url()), 76, &[]);
    }
    let service = MockServer::start(|_, _| Reply::json(200, &json!(["not a cluster"])));
    fails(&slave(PIN, &service.url()), 76, &[]);
}

#[test]
fn only_what_can_heal_is_tried_again() {
    let heal = [408, 425, 429, 500, 502, 503, 504].map(|status| (status, true));
    let stay = [400, 401, 403, 410, 418].map(|status| (status, false));
    together(heal.into_iter().chain(stay), |(status, heals)| {
        let service = MockServer::start(move |_, _| Reply::status(status));
        fails(&slave(PIN, &service.url()), if heals { 69 } else { 76 }, &[&status.to_string()]);
        let requests = service.seen().len();
        assert_eq!(requests > 1, heals, "{status}: {requests} requests");
    });
}

#[test]
fn a_redirect_to_another_host_is_not_followed() {
    let elsewhere = MockServer::start(|_, _| cluster());
    let to = format!("http://localhost:{}/", elsewhere.address().port());
    let service = MockServer::start(move |_, _| {
        Reply::Answer(302, Headers(vec![("Location".into(), to.clone())]), Vec::new())
    });
    fails(&slave(PIN, &service.url()), 76, &["redirect", "localhost"]);
    assert_eq!(elsewhere.connections(), 0);
}
