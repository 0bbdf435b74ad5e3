//! One connection that sends what it should not.

use std::net::SocketAddr;

use worlds::api::{key_path, keys};
use worlds::http::Request;
use worlds::service::Service;

use crate::honest::Honest;
use crate::raw::{Raw, statuses};

/// Sends bytes, and gives the statuses of what comes back until the service closes.
fn ask(service: SocketAddr, bytes: &[u8]) -> Vec<u16> {
    let mut connection = Raw::connect(service);
    connection.send(bytes);
    statuses(&connection.rest())
}

/// The same, but says that no more will come.
fn ask_and_half_close(service: SocketAddr, bytes: &[u8]) -> Vec<u16> {
    let mut connection = Raw::connect(service);
    connection.send(bytes);
    connection.half_close();
    statuses(&connection.rest())
}

#[test]
fn survives_garbage() {
    let service = Service::start();
    let honest = Honest::beside(service.api());
    let mut random = fastrand::Rng::with_seed(1);
    for round in 0..2000 {
        let length = random.usize(1..2000);
        let mut bytes: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(length).collect();
        // Some of it begins well.
        match round % 4 {
            0 => bytes.splice(0..0, *b"GET /healthz HTTP/1.1\r\n").for_each(drop),
            1 => bytes
                .splice(0..0, *b"POST /api/v1/clusters HTTP/1.1\r\nHost: x\r\nContent-Length: ")
                .for_each(drop),
            _ => {}
        }
        let answers = ask_and_half_close(service.address(), &bytes);
        assert!(answers.iter().all(|status| (200..500).contains(status)), "{round}: {answers:?}");
    }
    honest.is_served(10);
    println!("served {} times beside 2000 floods of garbage", honest.stop());
}

/// RFC 9112 section 9.6: a client may close its sending half behind its last request.
#[test]
fn answers_a_write_behind_which_its_client_sends_no_more() {
    let service = Service::start();
    let api = service.api();
    let pin = api.new_pin();
    let write = |key: &str, framing: &str, body: &str| {
        let head = format!("POST {} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n", keys(&pin));
        let body = body.replace("KEY", key);
        ask_and_half_close(service.address(), format!("{head}{framing}\r\n\r\n{body}").as_bytes())
    };
    for round in 0..20 {
        let (plain, chunked) = (format!("a{round}"), format!("b{round:02}"));
        let body = r#"{"key":"KEY","value":"1"}"#;
        let length = format!("Content-Length: {}", body.len() - "KEY".len() + plain.len());
        assert_eq!(write(&plain, &length, body), [201], "{round}");
        let body = format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
        assert_eq!(write(&chunked, "Transfer-Encoding: chunked", &body), [201], "{round}");
        // Of a body that is cut short no more is awaited.
        assert_eq!(write("cut", "Content-Length: 100", "{"), [400], "{round}");
    }
    assert_eq!(api.value(&pin, "a0").as_deref(), Some("1"));
    // A read can be asked again, and a wait of a client that is gone is held no longer.
    let wait = format!("GET {} HTTP/1.1\r\nHost: x\r\nPrefer: wait=50\r\n\r\n", key_path(&pin, "none"));
    assert_eq!(ask_and_half_close(service.address(), wait.as_bytes()), [0; 0]);
}

#[test]
fn refuses_what_is_too_large() {
    let service = Service::start();
    let api = service.api();
    let pin = api.new_pin();
    let honest = Honest::beside(api);
    let head = |header: &str| format!("GET /healthz HTTP/1.1\r\nConnection: close\r\n{header}\r\n\r\n");
    let many = |count: usize| vec!["A: b"; count].join("\r\n");
    for (what, request, status) in [
        ("a long path", format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "a".repeat(100_000)), 431),
        ("a long header", head(&format!("A: {}", "b".repeat(100_000))), 431),
        ("many headers", head(&many(64)), 431),
        ("as many headers as may be", head(&many(63)), 200),
        ("many long headers", head(&vec![format!("A: {}", "b".repeat(1000)); 60].join("\r\n")), 431),
        ("a long method", format!("{} / HTTP/1.1\r\nHost: x\r\n\r\n", "A".repeat(100_000)), 431),
    ] {
        let answers = ask(service.address(), request.as_bytes());
        // A method of that length can also be no method at all.
        assert!(answers == [status] || answers == [400], "{what}: {answers:?}");
    }
    let post = |body: Vec<u8>| Request::new("POST", &keys(&pin)).body("application/json", body);
    let field = |value: &str| format!(r#"{{"key":"a","value":"{value}"}}"#).into_bytes();
    for (what, body, status) in [
        ("a long value", field(&"x".repeat(65_537)), 400),
        ("a long body", field(&"x".repeat(2_000_000)), 413),
        ("nested brackets", vec![b'['; 100_000], 400),
        ("nested objects", br#"{"a":"#.repeat(100_000), 400),
        ("nested brackets in a value", [br#"{"value":"#, &[b'['; 100_000][..]].concat(), 400),
        ("nested brackets that close", [vec![b'['; 100_000], vec![b']'; 100_000]].concat(), 400),
    ] {
        assert_eq!(api.ask(&post(body.clone())).status, status, "{what}");
        let chunked = Request { chunked: true, ..post(body) };
        assert_eq!(api.ask(&chunked).status, status, "{what}, chunked");
    }
    assert_eq!(api.get(&keys(&pin)).text(), "[]");
    honest.is_served(10);
    println!("served {} times beside what was too large", honest.stop());
}

#[test]
fn takes_one_request_for_one() {
    let service = Service::start();
    let api = service.api();
    let pin = api.new_pin();
    let post = |headers: &str, body: &str| {
        format!(
            "POST {} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n{headers}\r\n{body}",
            keys(&pin)
        )
    };
    // A server that takes the body for shorter than it is finds this in it and deletes the key.
    let hidden = format!("DELETE {} HTTP/1.1\r\nHost: x\r\n\r\n", key_path(&pin, "witness"));
    let whole = hidden.len();
    api.create_key(&pin, "witness", "1");
    for (what, request) in [
        ("two lengths", post(&format!("Content-Length: 0\r\nContent-Length: {whole}\r\n"), &hidden)),
        (
            "two lengths, the other way round",
            post(&format!("Content-Length: {whole}\r\nContent-Length: 0\r\n"), &hidden),
        ),
        ("a list of lengths", post(&format!("Content-Length: 0, {whole}\r\n"), &hidden)),
        ("a signed length", post("Content-Length: +0\r\n", &hidden)),
        ("a length with a blank in it", post("Content-Length: 0 0\r\n", &hidden)),
        ("a hexadecimal length", post("Content-Length: 0x0\r\n", &hidden)),
        ("no length that is a number", post("Content-Length: 99999999999999999999\r\n", &hidden)),
        (
            "both framings",
            post(
                &format!("Content-Length: {}\r\nTransfer-Encoding: chunked\r\n", whole + 5),
                &format!("0\r\n\r\n{hidden}"),
            ),
        ),
        (
            "both framings, the other way round",
            post(
                &format!("Transfer-Encoding: chunked\r\nContent-Length: {}\r\n", whole + 5),
                &format!("0\r\n\r\n{hidden}"),
            ),
        ),
        ("another coding", post("Transfer-Encoding: identity\r\n", &hidden)),
        (
            "another coding after chunks",
            post("Transfer-Encoding: chunked, identity\r\n", &format!("0\r\n\r\n{hidden}")),
        ),
        ("a blank before the colon", post("Content-Length : 0\r\n", &hidden)),
        ("a folded header", post(&format!("Content-Length:\r\n {whole}\r\n"), &hidden)),
        ("a bare CR", post("A: b\rContent-Length: 0\r\n", &hidden)),
        ("a NUL", post("A: b\0Content-Length: 0\r\n", &hidden)),
        ("a wrong size of a chunk", post("Transfer-Encoding: chunked\r\n", &format!("0x0\r\n\r\n{hidden}"))),
        (
            "a chunk that is longer than it says",
            post("Transfer-Encoding: chunked\r\n", &format!("1\r\nab\r\n0\r\n\r\n{hidden}")),
        ),
        (
            "a size of a chunk that wraps round",
            post("Transfer-Encoding: chunked\r\n", &format!("10000000000000000\r\n\r\n{hidden}")),
        ),
    ] {
        assert_eq!(ask(service.address(), request.as_bytes()), [400], "{what}");
        assert_eq!(api.value(&pin, "witness").as_deref(), Some("1"), "{what}");
    }
}

#[test]
fn answers_what_comes_in_one_go_in_its_order() {
    let service = Service::start();
    let api = service.api();
    let pin = api.new_pin();
    let post = |n: usize| {
        let body = format!(r#"{{"key":"k{n}","value":"v{n}"}}"#);
        let head = format!("POST {} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n", keys(&pin));
        format!("{head}Content-Length: {}\r\n\r\n{body}", body.len())
    };
    let get = |n: usize| format!("GET {} HTTP/1.1\r\nHost: x\r\n\r\n", key_path(&pin, &format!("k{n}")));
    let pipeline: String = (0..200).map(|n| post(n) + &get(n)).collect();
    // Lines that end in LF alone are lines too (RFC 9112 section 2.2).
    let last = format!("GET {} HTTP/1.1\nHost: x\nConnection: close\n\n", key_path(&pin, "k199"));
    let mut connection = Raw::connect(service.address());
    connection.send((pipeline + &last).as_bytes());
    let said = connection.rest();
    let expected: Vec<u16> = [201, 200].repeat(200).into_iter().chain([200]).collect();
    assert_eq!(statuses(&said), expected);
    let mut from = 0;
    for n in 0..200 {
        from += said[from..].find(&format!("k{n}: v{n}")).expect("each answer comes in its turn");
    }
}

#[test]
fn holds_nothing_for_those_who_send_no_more() {
    let service = Service::start();
    let pin = service.api().new_pin();
    // Whether this is read before the end of the stream is a matter of luck.
    let answers = ask_and_half_close(service.address(), b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(answers.is_empty() || answers == [200], "{answers:?}");
    assert_eq!(ask_and_half_close(service.address(), b""), [0; 0]);
    assert_eq!(ask_and_half_close(service.address(), b"GET /healthz HTT"), [0; 0]);
    // A wait would be 404 in the end, were it held.
    let wait = format!("GET {} HTTP/1.1\r\nHost: x\r\nPrefer: wait=50\r\n\r\n", key_path(&pin, "a"));
    assert_eq!(ask_and_half_close(service.address(), wait.as_bytes()), [0; 0]);
}
