//! The rules of a session, with services in memory and a clock that only goes on when somebody sleeps.

use super::*;
use crate::session::fake::{Stage, done, failed, missing, value};
use client::{Kind, TlsFault};
use protocol::error::Status;

const ASK: Request<'static> = Request::Get { key: "a", wait: 0 };

fn tls(dates_only: bool) -> Kind {
    Kind::Tls(if dates_only { TlsFault::Dates } else { TlsFault::Other })
}

#[test]
fn tries_again_what_can_heal_and_nothing_else() {
    let unavailable = Kind::Status(503, None);
    for kind in [Kind::Dns, Kind::Connect, Kind::Timeout, tls(true), unavailable] {
        let script = vec![
            ("cluster", failed(kind)),
            ("cluster", done()),
            ("get a", failed(kind)),
            ("get a", failed(kind)),
            ("get a", value("b")),
        ];
        let mut stage = Stage::script(100, script);
        let patience = stage.session.patience();
        let outcome = stage.session.ask(&ASK, &patience).unwrap();
        assert!(outcome == Outcome::Value("b".to_owned()), "{kind:?}");
        assert_eq!(stage.seen().len(), 5);
    }
    for (kind, exit) in [
        (tls(false), Status::Refused),
        (Kind::Html, Status::Nonsense),
        (Kind::Redirect, Status::Nonsense),
        (Kind::TooLarge, Status::Nonsense),
        (Kind::Nonsense, Status::Nonsense),
        (Kind::Status(400, None), Status::Nonsense),
        (Kind::Status(403, None), Status::Nonsense),
    ] {
        for script in [vec![("cluster", failed(kind))], vec![("cluster", done()), ("get a", failed(kind))]] {
            let requests = script.len();
            let mut stage = Stage::script(100, script);
            let patience = stage.session.patience();
            let Err(error) = stage.session.ask(&ASK, &patience) else { panic!("{kind:?}") };
            assert_eq!((error.status(), stage.seen().len()), (exit, requests), "{kind:?}: {error}");
        }
    }
}

#[test]
fn gives_up_at_the_deadline_with_the_last_cause() {
    for (kind, exit) in [
        (Kind::Dns, Status::Unreachable),
        (Kind::Connect, Status::Unreachable),
        (Kind::Status(500, None), Status::Unreachable),
        (tls(true), Status::Refused),
    ] {
        let mut stage = Stage::new(&["pair"], 100, move |_| failed(kind));
        let patience = stage.session.patience();
        let error = stage.session.establish(&patience).unwrap_err();
        assert_eq!(error.status(), exit);
        assert!(error.to_string().contains(&format!("{kind:?}")), "{error}");
        let seen = stage.seen();
        assert!((6..=10).contains(&seen.len()), "{} tries in 100 s", seen.len());
        assert!(seen.last().unwrap().at < Duration::from_secs(100), "{seen:?}");
        for pair in seen.windows(2) {
            assert!(pair[1].at - pair[0].at >= Duration::from_secs(1), "{pair:?}");
        }
    }
}

#[test]
fn keeps_to_retry_after() {
    let wait = Some(Duration::from_secs(40));
    let script = vec![("cluster", failed(Kind::Status(503, wait))), ("cluster", done())];
    let mut stage = Stage::script(1000, script);
    let patience = stage.session.patience();
    stage.session.establish(&patience).unwrap();
    let at = stage.seen()[1].at.as_secs();
    assert!((40..=55).contains(&at), "{at}");
}

#[test]
fn gives_no_request_more_time_than_is_left_and_a_wait_ten_seconds_more_than_it_asks_for() {
    let mut stage = Stage::new(&["pair"], 100, |_| done());
    let patience = stage.session.patience();
    stage.session.ask(&ASK, &patience).unwrap();
    stage.session.ask(&Request::Get { key: "a", wait: 50 }, &patience).unwrap();
    stage.session.clock().sleep(Duration::from_secs(95));
    stage.session.ask(&Request::Get { key: "a", wait: 4 }, &patience).unwrap();
    let limits: Vec<_> = stage.seen().iter().map(|seen| seen.limit.as_secs()).collect();
    assert_eq!(limits, [15, 15, 60, 5]);
}

#[test]
fn asks_once_where_once_is_all_there_is() {
    let mut stage = Stage::new(&["dead", "slow", "alive"], 100, |line| match line {
        "dead cluster" => failed(Kind::Connect),
        "slow cluster" => (failed(Kind::Timeout).0, 1000),
        _ => done(),
    });
    let patience = Patience::once(stage.session.clock(), Duration::from_secs(3));
    stage.session.establish(&patience).unwrap();
    assert_eq!(stage.session.service_name(), "http://alive");

    let mut stage = Stage::new(&["dead"], 100, |_| failed(Kind::Connect));
    let patience = Patience::once(stage.session.clock(), Duration::from_secs(3));
    assert_eq!(stage.session.establish(&patience).unwrap_err().status(), Status::Unreachable);
    assert_eq!(stage.seen().len(), 1);
}

/// What comes of services that each say one thing again and again: k, the pin is known; u, it is unknown; d, the
/// service is down; h, it is HTML.
fn among(services: &'static str) -> (Stage, Result<(), Error>) {
    let hosts: Vec<String> = (0..services.len()).map(|index| format!("s{index}")).collect();
    let hosts: Vec<&str> = hosts.iter().map(String::as_str).collect();
    let mut stage = Stage::new(&hosts, 60, move |line| {
        let index: usize = line[1..2].parse().unwrap();
        match services.as_bytes()[index] {
            b'k' => done(),
            b'u' => missing(),
            b'd' => failed(Kind::Connect),
            _ => failed(Kind::Html),
        }
    });
    let patience = stage.session.patience();
    let result = stage.session.establish(&patience);
    (stage, result)
}

#[test]
fn keeps_the_first_service_that_knows_the_pin() {
    for (services, kept) in [("kk", 0), ("uk", 1), ("dk", 1), ("hk", 1), ("udhkk", 3)] {
        let (mut stage, result) = among(services);
        result.unwrap();
        assert_eq!(stage.session.service_name(), format!("http://s{kept}"), "{services}");
        let asked = stage.seen().len();
        let patience = stage.session.patience();
        stage.session.ask(&ASK, &patience).unwrap();
        assert_eq!(stage.seen().len(), asked + 1, "it is asked again who knows the pin");
        assert!(stage.seen()[asked].line.starts_with(&format!("s{kept}")), "{services}");
    }
}

#[test]
fn ends_at_once_when_all_have_answered_that_the_pin_is_unknown() {
    for (services, says) in [
        ("u", "http://s0 does not know the pin enic…: it is mistyped, expired or deleted"),
        (
            "uu",
            "no service of the context knows the pin enic…: it is mistyped, expired or deleted (http://s0 does",
        ),
        ("hu", "; http://s1 does not know the pin)"),
    ] {
        let (stage, result) = among(services);
        let error = result.unwrap_err();
        assert_eq!((error.status(), stage.seen().len()), (Status::Refused, services.len()));
        assert!(error.to_string().contains(says), "{error}");
    }
}

#[test]
fn goes_on_asking_those_that_have_not_answered() {
    let (stage, result) = among("ud");
    assert_eq!(result.unwrap_err().status(), Status::Unreachable);
    assert_eq!(stage.count("s0"), 1, "it has said that it does not know the pin");
    assert!(stage.count("s1") > 3);
}

#[test]
fn ends_at_once_when_none_can_be_used() {
    let (stage, result) = among("hh");
    assert_eq!((result.unwrap_err().status(), stage.seen().len()), (Status::Nonsense, 2));
}

#[test]
fn says_a_thing_when_it_is_new_and_then_once_a_minute() {
    let mut said = Said::default();
    let mut due = |text, at| said.is_due(text, Duration::from_secs(at));
    let dues = [("a", 0), ("a", 59), ("a", 60), ("b", 61), ("b", 62), ("a", 63), ("a", 122), ("a", 123)];
    let expected = [true, false, true, true, false, true, false, true];
    assert_eq!(dues.map(|(text, at)| due(text, at)), expected);
    assert!(said.end() && !said.end());
    assert!(said.is_due("a", Duration::from_secs(124)));
}
