//! Many clients at once, and more than the limits allow.

use std::net::SocketAddr;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use worlds::api::key_path;
use worlds::http::Request;
use worlds::service::Service;
use worlds::wait::until;

use crate::honest::Honest;
use crate::limits::Counted;
use crate::raw::{Raw, statuses};
use crate::stalled::memory;

/// Slaves that wait, behind one address.
const WAITING: usize = 2000;
/// Slaves behind the same address whose pin is dead.
const DEAD: usize = 500;
/// Connections that send a byte now and then.
const SLOW: usize = 5000;

/// Most memory of the service for a slave that waits, in KiB: 12 with the C library's allocator, which touches both buffers of a
/// connection before they are used. The allocator of what is shipped does not: docs/performance.md has its 8.
const WAITER_KIB: usize = 13;

/// Raises the limit of open files as far as it goes: by default it is too low for a crowd on many machines.
fn many_files() {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("every process has this limit");
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).expect("what is allowed can be had");
}

fn get(service: SocketAddr, path: &str, headers: &str) -> Raw {
    let mut connection = Raw::connect(service);
    connection.send(format!("GET {path} HTTP/1.1\r\nHost: x\r\n{headers}\r\n").as_bytes());
    connection
}

#[test]
fn serves_every_slave_behind_an_address_where_others_ask_for_a_dead_pin() {
    many_files();
    let service = Service::start();
    let api = service.api();
    let pin = api.new_pin();
    let waiting: Vec<Raw> = (0..WAITING)
        .map(|_| {
            get(
                service.address(),
                &key_path(&pin, "master_ready"),
                "Prefer: wait=50\r\nConnection: close\r\n",
            )
        })
        .collect();
    let dead: Vec<Raw> = (0..DEAD)
        .map(|_| get(service.address(), "/api/v1/clusters/zzzzzzzzzzzz", "Connection: close\r\n"))
        .collect();
    // Who comes after them all and asks for the live pin is answered a hundred times before the last of them once.
    for _ in 0..100 {
        assert_eq!(api.value(&pin, "absent"), None);
    }
    assert!(!dead.iter().all(Raw::has_news), "the wrong ones were slowed");
    api.create_key(&pin, "master_ready", "192.0.2.1");
    let count = |connections: Vec<Raw>, status| {
        let served = connections.into_iter().map(|mut connection| statuses(&connection.rest()));
        served.filter(|answers| *answers == [status]).count()
    };
    assert_eq!(count(waiting, 200), WAITING);
    assert_eq!(count(dead, 404), DEAD);
}

#[test]
fn a_slave_that_waits_takes_little_memory() {
    many_files();
    let counted = Counted::with(&[]);
    let pin = counted.api().new_pin();
    let path = key_path(&pin, "master_ready");
    let mut waiting = Vec::new();
    let mut with = |crowd: usize| {
        let more = crowd - waiting.len();
        waiting.extend((0..more).map(|_| get(counted.service.address(), &path, "Prefer: wait=50\r\n")));
        until("they are held", || (counted.waiters() == Some(crowd)).then_some(()));
        memory(&counted.service)
    };
    // What the first ones take is there for all.
    let (few, many) = (with(WAITING / 4), with(WAITING));
    let more = WAITING - WAITING / 4;
    assert!(many - few <= more * WAITER_KIB, "{more} waiters take {} KiB", many - few);
}

#[test]
fn serves_an_honest_client_beside_thousands_of_slow_ones() {
    many_files();
    let service = Service::start();
    let honest = Honest::beside(service.api());
    let mut slow: Vec<Raw> = (0..SLOW).map(|_| Raw::connect(service.address())).collect();
    let request = b"POST /api/v1/clusters HTTP/1.1\r\nHost: x\r\nX: ";
    for round in 0..request.len() {
        for connection in &mut slow {
            connection.send(&request[round..=round]);
        }
        honest.is_served(1);
    }
    drop(slow);
    println!("served {} times beside {SLOW} slow connections", honest.stop());
}

#[test]
fn tells_those_for_whom_there_is_no_room_and_takes_them_when_there_is() {
    let service = Service::with(&["--max-connections", "20", "--max-connections-per-address", "10"]);
    // Idle connections make room, the longest idle first.
    let mut held: Vec<Raw> = (0..10).map(|_| get(service.address(), "/healthz", "")).collect();
    for connection in &mut held {
        assert_eq!(statuses(&connection.head()), [200]);
    }
    let mut late = get(service.address(), "/healthz", "");
    assert_eq!(statuses(&late.head()), [200]);
    assert!(!held[0].rest().contains("HTTP"));
    held[9].send(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(held[9].head().contains("200"));
    drop((held, late));

    let mut busy: Vec<Raw> = (0..10).map(|_| Raw::busy(service.address())).collect();
    let refused = until("one is told why", || {
        // One that was not busy yet may have made room.
        busy.push(Raw::busy(service.address()));
        let answer = Request::new("GET", "/healthz").send(service.address()).ok()?;
        (answer.status == 503).then_some(answer)
    });
    assert_eq!(refused.headers.get("Retry-After").as_deref(), Some("10"));
    assert_eq!(refused.headers.get("Connection").as_deref(), Some("close"));
    assert!(refused.text().contains("too many connections"), "{}", refused.text());
    drop(busy);
    until("there is room again", || {
        let answer = Request::new("GET", "/healthz").send(service.address());
        answer.is_ok_and(|answer| answer.status == 200).then_some(())
    });
}

#[test]
fn lets_an_address_make_so_many_pins_and_believes_only_the_proxies_it_was_told_of() {
    let create = |service: &Service, client: &str| {
        let request = Request::new("POST", "/api/v1/clusters").header("X-Forwarded-For", client);
        request.send(service.address()).expect("it answers")
    };
    let plain = Service::with(&["--max-creations-per-hour", "3"]);
    for _ in 0..3 {
        assert_eq!(create(&plain, "192.0.2.1").status, 201);
    }
    // A client that claims another address.
    let refused = create(&plain, "192.0.2.2");
    assert_eq!(refused.status, 429);
    let seconds: u64 = refused.headers.get("Retry-After").expect("it says when").parse().expect("in seconds");
    assert!((1000..=1201).contains(&seconds), "{seconds}");

    let behind =
        Service::with(&["--max-creations-per-hour", "3", "--trusted-proxy", "127.0.0.1", "--access-log"]);
    for client in ["192.0.2.1", "192.0.2.2"] {
        let made: Vec<u16> = (0..4).map(|_| create(&behind, client).status).collect();
        assert_eq!(made, [201, 201, 201, 429], "{client}");
    }
    behind.logs("192.0.2.2 POST");
    assert!(!behind.log().contains("127.0.0.1 POST"));
}

#[test]
fn makes_pins_for_those_who_have_the_token() {
    let file = tempfile::NamedTempFile::new().expect("a temporary file can be made");
    std::fs::write(file.path(), "correct-horse-battery\n").expect("it can be written");
    let path = file.path().to_str().expect("its name is plain");
    let service = Service::with(&["--create-token-file", path]);
    let create = |token: Option<&str>| {
        let request = Request::new("POST", "/api/v1/clusters");
        let request = match token {
            Some(token) => request.header("Authorization", token),
            None => request,
        };
        service.api().ask(&request)
    };
    let made = create(Some("Bearer correct-horse-battery"));
    assert_eq!(made.status, 201);
    for wrong in [None, Some("Bearer wrong-horse-battery"), Some("Basic correct-horse-battery")] {
        let refused = create(wrong);
        assert_eq!(refused.status, 401, "{wrong:?}");
        assert_eq!(refused.headers.get("WWW-Authenticate").as_deref(), Some("Bearer"));
    }
    // A client with a pin needs no token.
    let pin = made.json()["pin"].as_str().expect("a pin").to_owned();
    service.api().create_key(&pin, "a", "1");
    assert!(!service.log().contains("correct-horse"));
}
