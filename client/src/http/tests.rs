//! The client with a service that plays a script, most of it bad.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;

use super::*;
use crate::scripted::{Act, Scripted, answer};

const PIN: &str = "enico1qq0oey";
/// Longer than any answer takes here, shorter than a person at a failing test likes to wait.
const PLENTY: Duration = Duration::from_secs(10);
const SOON: Duration = Duration::from_millis(300);
const GET: Request<'static> = Request::Get { key: "master_ip", wait: 0 };
const CREATE: Request<'static> = Request::Create { key: "token", value: "s3cret" };

fn client(url: &str) -> HttpService {
    let url = ServiceUrl::parse(url, false).unwrap();
    HttpService::new(url, Pin::parse(PIN).unwrap(), &Trust::WebPki).unwrap()
}

/// What a service that plays these acts gives for a request, within a limit.
fn ask(acts: Vec<Act>, request: &Request<'_>, limit: Duration) -> Result<Answer, Failure> {
    let service = Scripted::start(acts);
    client(&service.url("http")).send(request, limit)
}

#[track_caller]
fn check(act: Act, request: &Request<'_>, expected: Outcome) {
    assert_eq!(ask(vec![act], request, PLENTY).map(|answer| answer.outcome), Ok(expected));
}

#[track_caller]
fn check_failure(act: Act, request: &Request<'_>, kind: Kind, cause: &str) {
    let failure = ask(vec![act], request, PLENTY).unwrap_err();
    assert_eq!(failure.kind, kind, "{failure}");
    assert!(failure.cause.contains(cause), "{failure}");
    for secret in [PIN, "s3cret"] {
        assert!(!failure.cause.contains(secret), "{failure}");
    }
}

fn json(status: &str, body: &str) -> Act {
    Act::answer(status, "Content-Type: application/json\r\n", body)
}

fn text(body: &str) -> Act {
    Act::answer("200 OK", "Content-Type: text/plain; charset=utf-8\r\n", body)
}

#[test]
fn sends_what_the_contract_says() {
    for (request, first_line, header, body) in [
        (Request::Cluster, "GET /x/api/v1/clusters/enico1qq0oey ", "accept: application/json", ""),
        (GET, "GET /x/api/v1/clusters/enico1qq0oey/keys/master_ip ", "accept: text/plain", ""),
        (
            Request::Get { key: "a", wait: 50 },
            "GET /x/api/v1/clusters/enico1qq0oey/keys/a ",
            "prefer: wait=50",
            "",
        ),
        (
            CREATE,
            "POST /x/api/v1/clusters/enico1qq0oey/keys ",
            "content-type: application/json",
            r#"{"key":"token","value":"s3cret"}"#,
        ),
        (
            Request::Replace { key: "a", value: "\"" },
            "PUT /x/api/v1/clusters/enico1qq0oey/keys/a ",
            "content-type: application/json",
            r#"{"key":"a","value":"\""}"#,
        ),
        (
            Request::Delete { key: "a" },
            "DELETE /x/api/v1/clusters/enico1qq0oey/keys/a ",
            "user-agent: cernvm-cluster-agent/",
            "",
        ),
    ] {
        let service = Scripted::start([Act::answer("404 Not Found", "", "")]);
        let _ = client(&format!("{}/x/", service.url("http"))).send(&request, PLENTY);
        let requests = service.requests();
        let [sent] = requests.as_slice() else { panic!("{requests:?}") };
        let (head, sent_body) = sent.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with(first_line), "{head}");
        assert!(head.to_ascii_lowercase().contains(header), "{head}");
        assert_eq!(sent_body, body, "{head}");
        assert_eq!(head.to_ascii_lowercase().contains("prefer"), header.contains("prefer"), "{head}");
    }
}

#[test]
fn reads_what_the_contract_says() {
    let cluster = format!(r#"{{"pin":"{PIN}","creation_time":"2026-08-01T00:00:00Z"}}"#);
    check(json("200 OK", &cluster), &Request::Cluster, Outcome::Done);
    check(json("404 Not Found", r#"{"detail":"Not found."}"#), &Request::Cluster, Outcome::Missing);
    check(text("master_ip: 10.0.0.5"), &GET, Outcome::Value("10.0.0.5".to_owned()));
    check(text("master_ip: "), &GET, Outcome::Value(String::new()));
    check(Act::answer("404 Not Found", "Content-Type: text/plain\r\n", ""), &GET, Outcome::Missing);
    check(json("201 Created", "{}"), &CREATE, Outcome::Done);
    check(json("409 Conflict", "{}"), &CREATE, Outcome::Exists);
    check(json("404 Not Found", "{}"), &CREATE, Outcome::Missing);
    let replace = Request::Replace { key: "a", value: "b" };
    check(json("200 OK", "{}"), &replace, Outcome::Done);
    check(json("404 Not Found", "{}"), &replace, Outcome::Missing);
    let delete = Request::Delete { key: "a" };
    check(Act::Send("HTTP/1.1 204 No Content\r\n\r\n".to_owned()), &delete, Outcome::Done);
    check(json("404 Not Found", "{}"), &delete, Outcome::Missing);
}

#[test]
fn takes_a_404_for_an_unknown_pin_only_where_the_service_itself_says_so() {
    for act in [
        Act::answer("404 Not Found", "", ""),
        Act::answer("404 Not Found", "Content-Type: text/plain\r\n", "404 page not found"),
        json("200 OK", r#"{"pin":"other0000000","creation_time":""}"#),
        json("200 OK", "[]"),
        text("hello"),
    ] {
        check_failure(act, &Request::Cluster, Kind::Nonsense, "not as JSON for this pin");
    }
}

#[test]
fn knows_a_service_that_can_wait_by_its_answer() {
    for (header, granted) in [
        ("", None),
        ("Preference-Applied: wait=50\r\n", Some(50)),
        ("Preference-Applied: wait=3\r\n", Some(3)),
        ("Preference-Applied: huh\r\n", Some(0)),
    ] {
        let request = Request::Get { key: "a", wait: 50 };
        let answer = ask(vec![Act::answer("404 Not Found", header, "")], &request, PLENTY).unwrap();
        assert_eq!(answer, Answer { outcome: Outcome::Missing, granted }, "{header}");
    }
}

#[test]
fn refuses_what_is_no_answer_of_the_contract() {
    let length = "Content-Length: 3\r\n\r\n";
    for (act, kind, cause) in [
        (text("master_ready: 10.0.0.5"), Kind::Nonsense, "something else than 'master_ip: VALUE'"),
        (text("10.0.0.5"), Kind::Nonsense, "something else"),
        (json("200 OK", r#"{"key":"master_ip","value":"10.0.0.5"}"#), Kind::Nonsense, "something else"),
        (
            Act::SendAndClose(b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\nmaster_ip: \xff".to_vec()),
            Kind::Nonsense,
            "UTF-8",
        ),
        (
            Act::SendAndClose(b"HTTP/1.1 200 OK\r\n\r\nmaster_ip: 10.0.0.5".to_vec()),
            Kind::Nonsense,
            "how long",
        ),
        (Act::answer("200 OK", "Content-Type: text/html\r\n", "<p>log in"), Kind::Html, "captive portal"),
        (text(" <!DOCTYPE HTML><title>log in"), Kind::Html, "200 OK"),
        (Act::answer("404 Not Found", "Content-Type: text/html\r\n", "<p>"), Kind::Html, "404 Not Found"),
        (Act::answer("403 Forbidden", "", "go away"), Kind::Status(403, None), "403 Forbidden: go away"),
        (Act::answer("204 No Content", "", ""), Kind::Status(204, None), "204"),
        (Act::SendAndClose(b"220 mail.example.org ESMTP\r\n".to_vec()), Kind::Nonsense, "not HTTP"),
        (Act::SendAndClose(vec![0, 159, 146, 150]), Kind::Nonsense, "not HTTP"),
        (
            Act::SendAndClose(format!("HTTP/1.1 200 OK\r\n{length}").into_bytes()),
            Kind::Connect,
            "before the answer was whole",
        ),
        (
            Act::SendAndClose(b"HTTP/1.1 200 OK\r\nContent-Le".to_vec()),
            Kind::Connect,
            "before the answer was whole",
        ),
        (Act::SendAndClose(Vec::new()), Kind::Connect, "before the answer was whole"),
        (
            Act::SendAndClose(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nmast".to_vec()),
            Kind::Connect,
            "before the answer was whole",
        ),
        (
            Act::SendAndClose(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n".to_vec()),
            Kind::Nonsense,
            "",
        ),
    ] {
        check_failure(act, &GET, kind, cause);
    }
}

#[test]
fn calls_a_fault_of_the_server_by_its_status_whatever_its_body() {
    for (status, headers, kind) in [
        ("408 Request Timeout", "", Kind::Status(408, None)),
        ("425 Too Early", "", Kind::Status(425, None)),
        ("429 Too Many Requests", "Retry-After: 7\r\n", Kind::Status(429, Some(Duration::from_secs(7)))),
        ("500 Internal Server Error", "", Kind::Status(500, None)),
        ("502 Bad Gateway", "Content-Type: text/html\r\n", Kind::Status(502, None)),
        ("503 Service Unavailable", "Retry-After: soon\r\n", Kind::Status(503, None)),
        ("504 Gateway Timeout", "Retry-After: -1\r\n", Kind::Status(504, None)),
    ] {
        check_failure(Act::answer(status, headers, "<html>"), &GET, kind, status);
    }
}

#[test]
fn tells_why_a_write_is_refused_without_its_value() {
    let said = format!(r#"{{"value":["'s3cret' of {PIN} is too long"]}}"#);
    let act = json("400 Bad Request", &said);
    check_failure(
        act,
        &CREATE,
        Kind::Status(400, None),
        r#"400 Bad Request: {"value":["'…' of … is too long"]}"#,
    );
    check_failure(json("200 OK", "{}"), &CREATE, Kind::Status(200, None), "200 OK");
}

#[test]
fn reads_no_more_than_an_answer_can_have() {
    for head in [
        "HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: ",
    ] {
        let service = Scripted::start([Act::Flood(head.into())]);
        let failure = client(&service.url("http")).send(&GET, PLENTY).unwrap_err();
        assert_eq!(failure.kind, Kind::TooLarge, "{failure}");
        // What lies in the sockets' buffers besides what was read.
        assert!(service.sent() < 32 << 20, "{}", service.sent());
    }
}

#[test]
fn gives_up_in_time_on_a_service_that_does_not_come_to_an_end() {
    let half = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nmaster_ip: ";
    let drip = [half.as_slice(), &[b'1'; 1000]].concat();
    let slow_head = [b"HTTP/1.1 200 OK\r\nX: ".as_slice(), &[b'x'; 1000]].concat();
    for act in [Act::Hang, Act::Drip(drip), Act::Drip(slow_head)] {
        let failure = ask(vec![act], &GET, SOON).unwrap_err();
        assert_eq!((failure.kind, failure.cause.as_str()), (Kind::Timeout, "no whole answer in time"));
    }
}

#[test]
fn says_which_port_refuses() {
    let closed = Scripted::start([]).address;
    let failure = client(&format!("http://{closed}")).send(&GET, PLENTY).unwrap_err();
    assert_eq!(failure, Failure::new(Kind::Connect, format!("{closed}: connection refused")));
}

#[test]
fn says_which_name_does_not_resolve() {
    let failure = client("http://pair.invalid").send(&GET, SOON).unwrap_err();
    match failure.kind {
        Kind::Dns => assert!(failure.cause.starts_with("pair.invalid does not resolve"), "{failure}"),
        // Where the machine has no name server that answers.
        kind => {
            assert_eq!((kind, failure.cause.as_str()), (Kind::Timeout, "its name did not resolve in time"))
        }
    }
}

#[test]
fn follows_a_redirect_on_the_host_and_no_other() {
    let to = |status: &str, location: &str| Act::answer(status, &format!("Location: {location}\r\n"), "");
    let value = || text("master_ip: 10.0.0.5");
    let found = Ok(Outcome::Value("10.0.0.5".to_owned()));
    let follow = |acts| ask(acts, &GET, PLENTY).map(|answer| answer.outcome).map_err(|f| f.kind);
    assert_eq!(follow(vec![to("302 Found", "/elsewhere?x"), value()]), found);
    assert_eq!(
        follow(vec![to("301 Moved Permanently", "http://evil.invalid/"), value()]),
        Err(Kind::Redirect)
    );
    let round = vec![to("307 Temporary Redirect", "/x"); 9];
    assert_eq!(follow(round), Err(Kind::Redirect));

    let service = Scripted::start([to("308 Permanent Redirect", "/x"), json("201 Created", "{}")]);
    let answer = client(&service.url("http")).send(&CREATE, PLENTY).unwrap();
    assert_eq!(answer.outcome, Outcome::Done);
    let requests = service.requests();
    assert!(requests[1].starts_with("POST /x ") && requests[1].ends_with("\"s3cret\"}"), "{requests:?}");
    drop(service);

    let moved = ask(vec![to("302 Found", "/x"), json("201 Created", "{}")], &CREATE, PLENTY).unwrap_err();
    assert_eq!(moved.kind, Kind::Redirect);
}

#[test]
fn stays_on_one_connection_and_knows_its_own_address() {
    let service = Scripted::start(vec![text("master_ip: 10.0.0.5"); 5]);
    let mut client = client(&service.url("http"));
    assert_eq!(client.reached(), None);
    for _ in 0..5 {
        client.send(&GET, PLENTY).unwrap();
    }
    assert_eq!((service.requests().len(), service.connections()), (5, 1));
    let local = std::net::IpAddr::from([127, 0, 0, 1]);
    assert_eq!(client.reached(), Some(Reached { local, through_proxy: false }));
}

#[test]
fn leaves_a_connection_that_the_service_has_closed() {
    let act = Act::SendAndClose(answer("200 OK", "", "master_ip: 10.0.0.5").into());
    let service = Scripted::start(vec![act; 3]);
    let mut client = client(&service.url("http"));
    for _ in 0..3 {
        client.send(&GET, PLENTY).unwrap();
    }
    assert_eq!(service.connections(), 3);
}

#[test]
fn tries_every_address_of_a_name() {
    // localhost is ::1 and 127.0.0.1; nothing listens on the first.
    let service = Scripted::start([text("master_ip: 10.0.0.5")]);
    let url = format!("http://localhost:{}", service.address.port());
    assert!(client(&url).send(&GET, PLENTY).is_ok());
}

/// An HTTP proxy for one connection: what it is asked for, and then a tunnel to `target`, if it lets any through.
fn proxy(target: Option<SocketAddr>) -> (SocketAddr, thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let serving = thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        let mut asked = Vec::new();
        let mut byte = [0];
        while !asked.ends_with(b"\r\n\r\n") {
            client.read_exact(&mut byte).unwrap();
            asked.push(byte[0]);
        }
        match target {
            None => client.write_all(b"HTTP/1.1 403 Forbidden\r\n\r\n").unwrap(),
            Some(target) => {
                client.write_all(b"HTTP/1.1 200 Connected\r\n\r\n").unwrap();
                let service = TcpStream::connect(target).unwrap();
                let (mut up, mut down) = (client.try_clone().unwrap(), service.try_clone().unwrap());
                let upwards = thread::spawn(move || {
                    let _ = io::copy(&mut up, &mut down);
                    let _ = down.shutdown(Shutdown::Write);
                });
                let _ = io::copy(&mut &service, &mut client);
                upwards.join().unwrap();
            }
        }
        String::from_utf8(asked).unwrap()
    });
    (address, serving)
}

fn through(proxy: SocketAddr, url: &str) -> HttpService {
    let proxy = ureq::Proxy::new(&format!("http://{proxy}")).unwrap();
    let url = ServiceUrl::parse(url, false).unwrap();
    HttpService::through(Some(proxy), url, Pin::parse(PIN).unwrap(), &Trust::WebPki).unwrap()
}

#[test]
fn goes_through_a_proxy_which_resolves_the_name_and_says_that_it_did() {
    let service = Scripted::start([text("master_ip: 10.0.0.5"), text("master_ip: 10.0.0.5")]);
    let (address, proxy) = proxy(Some(service.address));
    let mut client = through(address, "http://pair.invalid:8000");
    for _ in 0..2 {
        client.send(&GET, PLENTY).unwrap();
    }
    assert_eq!(client.reached().map(|reached| reached.through_proxy), Some(true));
    drop(client);
    let asked = proxy.join().unwrap();
    assert!(asked.starts_with("CONNECT pair.invalid:8000 HTTP/1.1\r\n"), "{asked}");
    assert_eq!((service.requests().len(), service.connections()), (2, 1));
}

#[test]
fn says_that_it_was_the_proxy_that_refused() {
    let (address, proxy) = proxy(None);
    let failure = through(address, "http://pair.invalid").send(&GET, PLENTY).unwrap_err();
    assert_eq!(failure.kind, Kind::Connect);
    assert!(
        failure.cause.contains("proxy did not let it through") && failure.cause.contains("403"),
        "{failure}"
    );
    proxy.join().unwrap();
}
