//! The client with a service that plays a script, most of it bad.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;

use super::*;
use crate::connection::Connection;
use crate::mock_server::{MockAction, MockServer, answer};

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
fn ask(acts: Vec<MockAction>, request: &Request<'_>, limit: Duration) -> Result<Answer, Failure> {
    let service = MockServer::start(acts);
    client(&service.url("http")).send(request, limit)
}

#[track_caller]
fn check(act: MockAction, request: &Request<'_>, expected: Outcome) {
    assert_eq!(ask(vec![act], request, PLENTY).map(|answer| answer.outcome), Ok(expected));
}

#[track_caller]
fn check_failure(act: MockAction, request: &Request<'_>, kind: FailureKind, cause: &str) {
    let failure = ask(vec![act], request, PLENTY).unwrap_err();
    assert_eq!(failure.kind, kind, "{failure}");
    assert!(failure.cause.contains(cause), "{failure}");
    for secret in [PIN, "s3cret"] {
        assert!(!failure.cause.contains(secret), "{failure}");
    }
}

fn json(status: &str, body: &str) -> MockAction {
    MockAction::answer(status, "Content-Type: application/json\r\n", body)
}

fn text(body: &str) -> MockAction {
    MockAction::answer("200 OK", "Content-Type: text/plain; charset=utf-8\r\n", body)
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
        let service = MockServer::start([MockAction::answer("404 Not Found", "", "")]);
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
    check(MockAction::answer("404 Not Found", "Content-Type: text/plain\r\n", ""), &GET, Outcome::Missing);
    check(json("201 Created", "{}"), &CREATE, Outcome::Done);
    check(json("409 Conflict", "{}"), &CREATE, Outcome::Exists);
    check(json("404 Not Found", "{}"), &CREATE, Outcome::Missing);
    let replace = Request::Replace { key: "a", value: "b" };
    check(json("200 OK", "{}"), &replace, Outcome::Done);
    check(json("404 Not Found", "{}"), &replace, Outcome::Missing);
    let delete = Request::Delete { key: "a" };
    check(MockAction::Send("HTTP/1.1 204 No Content\r\n\r\n".to_owned()), &delete, Outcome::Done);
    check(json("404 Not Found", "{}"), &delete, Outcome::Missing);
}

#[test]
fn takes_a_404_for_an_unknown_pin_only_where_the_service_itself_says_so() {
    for act in [
        MockAction::answer("404 Not Found", "", ""),
        MockAction::answer("404 Not Found", "Content-Type: text/plain\r\n", r#"{"detail":"Not found."}"#),
        json("404 Not Found", r#"{"message":"no Route matched with those values"}"#),
        json("404 Not Found", r#"{"detail":"Not Found"}"#),
        json("404 Not Found", "{}"),
    ] {
        check_failure(act, &Request::Cluster, FailureKind::NotFound, "not the pairing API's own");
    }
    for act in
        [json("200 OK", r#"{"pin":"other0000000","creation_time":""}"#), json("200 OK", "[]"), text("hello")]
    {
        check_failure(act, &Request::Cluster, FailureKind::Nonsense, "not as application/json for this pin");
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
        let answer = ask(vec![MockAction::answer("404 Not Found", header, "")], &request, PLENTY).unwrap();
        assert_eq!(answer, Answer { outcome: Outcome::Missing, granted }, "{header}");
    }
}

#[test]
fn refuses_what_is_no_answer_of_the_contract() {
    let length = "Content-Length: 3\r\n\r\n";
    for (act, kind, cause) in [
        (text("master_ready: 10.0.0.5"), FailureKind::Nonsense, "something else than 'master_ip: VALUE'"),
        (text("10.0.0.5"), FailureKind::Nonsense, "something else"),
        (
            json("200 OK", r#"{"key":"master_ip","value":"10.0.0.5"}"#),
            FailureKind::Nonsense,
            "something else",
        ),
        (
            MockAction::SendAndClose(
                b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\nmaster_ip: \xff".to_vec(),
            ),
            FailureKind::Nonsense,
            "UTF-8",
        ),
        (
            MockAction::SendAndClose(b"HTTP/1.1 200 OK\r\n\r\nmaster_ip: 10.0.0.5".to_vec()),
            FailureKind::Nonsense,
            "how long",
        ),
        (
            MockAction::answer("200 OK", "Content-Type: text/html\r\n", "<p>log in"),
            FailureKind::Html,
            "captive portal",
        ),
        (text(" <!DOCTYPE HTML><title>log in"), FailureKind::Html, "200 OK"),
        (
            MockAction::answer("404 Not Found", "Content-Type: text/html\r\n", "<p>"),
            FailureKind::NotFound,
            "404 Not Found",
        ),
        (
            MockAction::answer("403 Forbidden", "", "go away"),
            FailureKind::Status(403, None),
            "403 Forbidden: go away",
        ),
        (MockAction::answer("204 No Content", "", ""), FailureKind::Status(204, None), "204"),
        (
            MockAction::SendAndClose(b"220 mail.example.org ESMTP\r\n".to_vec()),
            FailureKind::Nonsense,
            "not HTTP",
        ),
        (MockAction::SendAndClose(vec![0, 159, 146, 150]), FailureKind::Nonsense, "not HTTP"),
        (
            MockAction::SendAndClose(format!("HTTP/1.1 200 OK\r\n{length}").into_bytes()),
            FailureKind::Broken,
            "before the answer was whole",
        ),
        (
            MockAction::SendAndClose(b"HTTP/1.1 200 OK\r\nContent-Le".to_vec()),
            FailureKind::Broken,
            "before the answer was whole",
        ),
        (MockAction::SendAndClose(Vec::new()), FailureKind::Broken, "before the answer was whole"),
        (
            MockAction::SendAndClose(
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nmast".to_vec(),
            ),
            FailureKind::Broken,
            "before the answer was whole",
        ),
        (
            MockAction::SendAndClose(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n".to_vec()),
            FailureKind::Nonsense,
            "",
        ),
    ] {
        check_failure(act, &GET, kind, cause);
    }
}

#[test]
fn calls_a_fault_of_the_server_by_its_status_whatever_its_body() {
    for (status, headers, kind) in [
        ("408 Request Timeout", "", FailureKind::Status(408, None)),
        ("425 Too Early", "", FailureKind::Status(425, None)),
        (
            "429 Too Many Requests",
            "Retry-After: 7\r\n",
            FailureKind::Status(429, Some(Duration::from_secs(7))),
        ),
        ("500 Internal Server Error", "", FailureKind::Status(500, None)),
        ("502 Bad Gateway", "Content-Type: text/html\r\n", FailureKind::Status(502, None)),
        ("503 Service Unavailable", "Retry-After: soon\r\n", FailureKind::Status(503, None)),
        ("504 Gateway Timeout", "Retry-After: -1\r\n", FailureKind::Status(504, None)),
    ] {
        check_failure(MockAction::answer(status, headers, "<html>"), &GET, kind, status);
    }
}

#[test]
fn tells_why_a_write_is_refused_without_its_value() {
    let said = format!(r#"{{"value":["'s3cret' of {PIN} is too long"]}}"#);
    let act = json("400 Bad Request", &said);
    check_failure(act, &CREATE, FailureKind::Rejected, "400 Bad Request: value: '…' of … is too long");
    check_failure(json("200 OK", "{}"), &CREATE, FailureKind::Status(200, None), "200 OK");
}

#[test]
fn reads_no_more_than_an_answer_can_have() {
    for head in [
        "HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: ",
    ] {
        let service = MockServer::start([MockAction::Flood(head.into())]);
        let failure = client(&service.url("http")).send(&GET, PLENTY).unwrap_err();
        assert_eq!(failure.kind, FailureKind::TooLarge, "{failure}");
        // What lies in the sockets' buffers besides what was read.
        assert!(service.sent() < 32 << 20, "{}", service.sent());
    }
}

#[test]
fn gives_up_in_time_on_a_service_that_does_not_come_to_an_end() {
    let half = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nmaster_ip: ";
    let drip = [half.as_slice(), &[b'1'; 1000]].concat();
    let slow_head = [b"HTTP/1.1 200 OK\r\nX: ".as_slice(), &[b'x'; 1000]].concat();
    for act in [MockAction::Hang, MockAction::Drip(drip), MockAction::Drip(slow_head)] {
        let failure = ask(vec![act], &GET, SOON).unwrap_err();
        assert_eq!(
            (failure.kind, failure.cause.as_str()),
            (FailureKind::NoAnswer, "no whole answer in time")
        );
    }
}

#[test]
fn says_which_port_refuses() {
    let closed = MockServer::start([]).address;
    let failure = client(&format!("http://{closed}")).send(&GET, PLENTY).unwrap_err();
    assert_eq!(failure, Failure::new(FailureKind::Connect, format!("{closed}: connection refused")));
}

#[test]
fn says_which_name_does_not_resolve() {
    let failure = client("http://pair.invalid").send(&GET, SOON).unwrap_err();
    match failure.kind {
        FailureKind::Dns => assert!(failure.cause.starts_with("pair.invalid does not resolve"), "{failure}"),
        // Where the machine has no name server that answers.
        kind => {
            assert_eq!(
                (kind, failure.cause.as_str()),
                (FailureKind::Timeout, "its name did not resolve in time")
            )
        }
    }
}

#[test]
fn follows_a_redirect_on_the_host_and_no_other() {
    let to =
        |status: &str, location: &str| MockAction::answer(status, &format!("Location: {location}\r\n"), "");
    let value = || text("master_ip: 10.0.0.5");
    let found = Ok(Outcome::Value("10.0.0.5".to_owned()));
    let follow = |acts| ask(acts, &GET, PLENTY).map(|answer| answer.outcome).map_err(|f| f.kind);
    assert_eq!(follow(vec![to("302 Found", "/elsewhere?x"), value()]), found);
    assert_eq!(
        follow(vec![to("301 Moved Permanently", "http://evil.invalid/"), value()]),
        Err(FailureKind::Redirect)
    );
    let round = vec![to("307 Temporary Redirect", "/x"); 9];
    assert_eq!(follow(round), Err(FailureKind::Redirect));

    let service = MockServer::start([to("308 Permanent Redirect", "/x"), json("201 Created", "{}")]);
    let answer = client(&service.url("http")).send(&CREATE, PLENTY).unwrap();
    assert_eq!(answer.outcome, Outcome::Done);
    let requests = service.requests();
    assert!(requests[1].starts_with("POST /x ") && requests[1].ends_with("\"s3cret\"}"), "{requests:?}");
    drop(service);

    let moved = ask(vec![to("302 Found", "/x"), json("201 Created", "{}")], &CREATE, PLENTY).unwrap_err();
    assert_eq!(moved.kind, FailureKind::Redirect);
}

#[test]
fn stays_on_one_connection_and_knows_its_own_address() {
    let service = MockServer::start(vec![text("master_ip: 10.0.0.5"); 5]);
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
    let act = MockAction::SendAndClose(answer("200 OK", "", "master_ip: 10.0.0.5").into());
    let service = MockServer::start(vec![act; 3]);
    let mut client = client(&service.url("http"));
    for _ in 0..3 {
        client.send(&GET, PLENTY).unwrap();
    }
    assert_eq!(service.connections(), 3);
}

#[test]
fn tries_every_address_of_a_name() {
    // localhost is ::1 and 127.0.0.1; nothing listens on the first.
    let service = MockServer::start([text("master_ip: 10.0.0.5")]);
    let url = format!("http://localhost:{}", service.address.port());
    assert!(client(&url).send(&GET, PLENTY).is_ok());
}

/// What an HTTP proxy does with its one connection.
enum Proxying {
    /// Opens a tunnel to this address, or passes the request on to it.
    To(SocketAddr),
    /// Answers this.
    Says(&'static str),
    /// Answers this a byte at a time, and never comes to an end.
    Drips(&'static str),
}

/// An HTTP proxy for one connection; gives what it was asked.
fn proxy(does: Proxying) -> (SocketAddr, thread::JoinHandle<String>) {
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
        match does {
            Proxying::Says(answer) => client.write_all(answer.as_bytes()).unwrap(),
            Proxying::Drips(answer) => {
                let drops = answer.bytes().chain(std::iter::repeat(b'x'));
                for byte in drops {
                    if client.write_all(&[byte]).is_err() {
                        break;
                    }
                    thread::sleep(Duration::from_millis(20));
                }
            }
            Proxying::To(target) => {
                let service = TcpStream::connect(target).unwrap();
                if asked.starts_with(b"CONNECT ") {
                    client.write_all(b"HTTP/1.1 200 Connected\r\n\r\n").unwrap();
                } else {
                    (&service).write_all(&asked).unwrap();
                }
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
    let variable = |name: &str| {
        ["http_proxy", "https_proxy"].contains(&name).then(|| format!("http://joe:word@{proxy}"))
    };
    let url = ServiceUrl::parse(url, false).unwrap();
    let connection = Connection::in_environment(variable, url, &Trust::WebPki, USER_AGENT, "ca").unwrap();
    HttpService { connection, pin: Pin::parse(PIN).unwrap(), offers_nodes: false, age: None, etag: None }
}

#[test]
fn has_a_proxy_pass_http_on_with_the_whole_url_as_curl_does() {
    let service = MockServer::start([text("master_ip: 10.0.0.5"), json("201 Created", "{}")]);
    let (address, proxy) = proxy(Proxying::To(service.address));
    let mut client = through(address, "http://pair.invalid:8000/x");
    client.send(&GET, PLENTY).unwrap();
    client.send(&CREATE, PLENTY).unwrap();
    assert_eq!(client.reached().map(|reached| reached.through_proxy), Some(true));
    drop(client);
    proxy.join().unwrap();
    let requests = service.requests();
    let cluster = "http://pair.invalid:8000/x/api/v1/clusters/enico1qq0oey";
    assert!(requests[0].starts_with(&format!("GET {cluster}/keys/master_ip HTTP/1.1\r\n")), "{requests:?}");
    assert!(requests[1].starts_with(&format!("POST {cluster}/keys HTTP/1.1\r\n")), "{requests:?}");
    assert!(requests[1].ends_with("\"s3cret\"}"), "{requests:?}");
    for request in &requests {
        let head = request.to_ascii_lowercase();
        assert!(head.contains("host: pair.invalid:8000\r\n"), "{request}");
        assert!(head.contains("proxy-authorization: basic am9londvcmq=\r\n"), "{request}");
    }
    assert_eq!(service.connections(), 1);
}

#[test]
fn has_a_proxy_open_a_tunnel_for_https() {
    let (address, proxy) = proxy(Proxying::Says("HTTP/1.1 200 Connected\r\n\r\n"));
    let failure = through(address, "https://pair.invalid").send(&GET, PLENTY).unwrap_err();
    assert_eq!(failure.kind, FailureKind::Broken, "{failure}");
    let asked = proxy.join().unwrap();
    assert!(asked.starts_with("CONNECT pair.invalid:443 HTTP/1.1\r\n"), "{asked}");
}

#[test]
fn says_that_it_was_the_proxy_that_refused_and_does_not_try_again_what_it_will_refuse_again() {
    for (scheme, answer, status, heals) in [
        ("https", "HTTP/1.1 403 Forbidden\r\n\r\n", 403, false),
        ("https", "HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", 407, false),
        ("https", "HTTP/1.1 503 Service Unavailable\r\n\r\n", 503, true),
        ("http", "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", 403, false),
        ("http", "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n", 407, false),
        ("http", "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n", 502, true),
    ] {
        let (address, proxy) = proxy(Proxying::Says(answer));
        let url = format!("{scheme}://pair.invalid");
        let failure = through(address, &url).send(&GET, PLENTY).unwrap_err();
        assert_eq!(
            (failure.kind, failure.can_heal()),
            (FailureKind::Proxy(Some(status)), heals),
            "{failure}"
        );
        assert!(
            failure.cause.contains("HTTP proxy") && failure.cause.contains(&status.to_string()),
            "{failure}"
        );
        let url = ServiceUrl::parse(&url, false).unwrap();
        let next = failure.into_error(&url, PLENTY).next_step().to_owned();
        assert_eq!(next.contains("password"), status == 407, "{next}");
        proxy.join().unwrap();
    }
    // The service's own 403, passed on.
    let own = "HTTP/1.1 403 Forbidden\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";
    let (address, proxy) = proxy(Proxying::Says(own));
    let failure = through(address, "http://pair.invalid").send(&GET, PLENTY).unwrap_err();
    assert_eq!(failure.kind, FailureKind::Status(403, None), "{failure}");
    proxy.join().unwrap();
}

#[test]
fn gives_up_in_time_on_a_proxy_that_sends_a_byte_at_a_time() {
    for scheme in ["http", "https"] {
        let (address, proxy) = proxy(Proxying::Drips("HTTP/1.1 200 Connected\r\nX: "));
        let failure = through(address, &format!("{scheme}://pair.invalid")).send(&GET, SOON).unwrap_err();
        assert!(matches!(failure.kind, FailureKind::Timeout | FailureKind::NoAnswer), "{failure}");
        proxy.join().unwrap();
    }
}

#[test]
fn says_that_a_port_speaks_tls() {
    let nginx = "<html><head><title>400 The plain HTTP request was sent to HTTPS port</title></head>";
    for act in [
        // An alert: unexpected message.
        MockAction::SendAndClose(vec![21, 3, 1, 0, 2, 2, 10]),
        MockAction::answer("400 Bad Request", "Content-Type: text/html\r\n", nginx),
        MockAction::answer("400 Bad Request", "", "Client sent an HTTP request to an HTTPS server.\n"),
    ] {
        check_failure(act, &GET, FailureKind::NeedsTls, "TLS");
    }
}

#[test]
fn names_tls_when_a_handshake_is_not_answered() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let failure = client(&format!("https://{address}")).send(&GET, SOON).unwrap_err();
    assert_eq!(
        (failure.kind, failure.cause.as_str()),
        (FailureKind::NoAnswer, "connected, but no TLS handshake in time")
    );
}

/// A CA, and a TLS server with a certificate of it for 127.0.0.1.
fn over_tls(acts: Vec<MockAction>) -> (Trust, MockServer) {
    let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let key = rcgen::KeyPair::generate().unwrap();
    let ca = params.self_signed(&key).unwrap().der().clone();
    let issuer = rcgen::Issuer::new(params, key);
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &issuer).unwrap().der().clone();
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate],
            rustls_pki_types::PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
        )
        .unwrap();
    (Trust::Authorities(vec![ca]), MockServer::start_with(Some(std::sync::Arc::new(config)), acts))
}

#[test]
fn goes_over_to_tls_on_the_same_host_and_stays_there() {
    let cluster = format!(r#"{{"pin":"{PIN}","creation_time":"2026-08-01T00:00:00Z"}}"#);
    let (trust, secure) = over_tls(vec![json("200 OK", &cluster), json("201 Created", "{}")]);
    let path = format!("/x/api/v1/clusters/{PIN}");
    let forcing = |path: &str| {
        let location = format!("Location: {}{path}\r\n", secure.url("https"));
        MockServer::start([MockAction::answer("301 Moved Permanently", &location, "")])
    };
    let client = |plain: &MockServer| {
        let url = ServiceUrl::parse(&format!("{}/x", plain.url("http")), false).unwrap();
        let connection = Connection::in_environment(|_| None, url, &trust, USER_AGENT, "ca").unwrap();
        HttpService { connection, pin: Pin::parse(PIN).unwrap(), offers_nodes: false, age: None, etag: None }
    };
    let plain = forcing(&path);
    let mut reading = client(&plain);
    assert_eq!(reading.send(&Request::Cluster, PLENTY).map(|answer| answer.outcome), Ok(Outcome::Done));
    assert_eq!(reading.send(&CREATE, PLENTY).map(|answer| answer.outcome), Ok(Outcome::Done));
    assert_eq!(plain.requests().len(), 1, "a value went out in the clear");
    assert!(secure.requests()[1].starts_with(&format!("POST {path}/keys ")), "{:?}", secure.requests());
    drop((reading, plain, secure));

    // A write that comes first is repeated as it is: a server that forces TLS has not looked at it.
    let (trust, secure) = over_tls(vec![json("201 Created", "{}")]);
    let location = format!("Location: {}{path}/keys\r\n", secure.url("https"));
    let plain = MockServer::start([MockAction::answer("301 Moved Permanently", &location, "")]);
    let url = ServiceUrl::parse(&format!("{}/x", plain.url("http")), false).unwrap();
    let connection = Connection::in_environment(|_| None, url, &trust, USER_AGENT, "ca").unwrap();
    let mut writing =
        HttpService { connection, pin: Pin::parse(PIN).unwrap(), offers_nodes: false, age: None, etag: None };
    assert_eq!(writing.send(&CREATE, PLENTY).map(|answer| answer.outcome), Ok(Outcome::Done));
    assert!(secure.requests()[0].ends_with("\"s3cret\"}"), "{:?}", secure.requests());
}
