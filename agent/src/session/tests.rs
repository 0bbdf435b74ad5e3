//! The rules of a session, with services in memory and a clock that only advances when it is slept on.

use super::*;
use crate::session::fake::{FakeSession, Reply, done, failed, missing, value};
use client::{FailureKind, TlsFault};
use protocol::error::Status;

const ASK: Request<'static> = Request::Get { key: "a", wait: 0 };

fn tls(dates_only: bool) -> FailureKind {
    FailureKind::Tls(if dates_only { TlsFault::Dates } else { TlsFault::Other })
}

#[test]
fn tries_again_what_can_heal_and_nothing_else() {
    let unavailable = FailureKind::Status(503, None);
    for kind in [FailureKind::Dns, FailureKind::Connect, FailureKind::Timeout, tls(true), unavailable] {
        let script = vec![
            ("cluster", failed(kind)),
            ("cluster", done()),
            ("get a", failed(kind)),
            ("get a", failed(kind)),
            ("get a", value("b")),
        ];
        let mut fake = FakeSession::script(100, script);
        let deadline = fake.session.deadline();
        let outcome = fake.session.ask(&ASK, &deadline).unwrap();
        assert!(outcome == Outcome::Value("b".to_owned()), "{kind:?}");
        assert_eq!(fake.seen().len(), 5);
    }
    for (kind, exit) in [
        (tls(false), Status::Refused),
        (FailureKind::Html, Status::Nonsense),
        (FailureKind::Redirect, Status::Nonsense),
        (FailureKind::TooLarge, Status::Nonsense),
        (FailureKind::Nonsense, Status::Nonsense),
        (FailureKind::Status(400, None), Status::Nonsense),
        (FailureKind::Status(403, None), Status::Nonsense),
    ] {
        let mut fake = FakeSession::script(100, vec![("cluster", failed(kind))]);
        let deadline = fake.session.deadline();
        let Err(error) = fake.session.ask(&ASK, &deadline) else { panic!("{kind:?}") };
        assert_eq!((error.status(), fake.seen().len()), (exit, 1), "{kind:?}: {error}");
        // What comes after an answer of the service is from something between.
        let odd =
            [("cluster", done()), ("get a", failed(kind)), ("get a", failed(kind)), ("get a", value("b"))];
        let mut fake = FakeSession::script(100, odd.into());
        let deadline = fake.session.deadline();
        assert!(fake.session.ask(&ASK, &deadline).is_ok(), "{kind:?}");
    }
}

#[test]
fn takes_a_verdict_on_what_it_writes_at_once() {
    let write = Request::Create { key: "a", value: "b" };
    let nonsense = |status| (FailureKind::Status(status, None), Status::Nonsense);
    for (kind, exit) in
        [(FailureKind::Rejected, Status::BadContext), nonsense(401), nonsense(405), nonsense(415)]
    {
        let script = vec![("cluster", done()), ("create a=b", failed(kind))];
        let mut fake = FakeSession::script(100, script);
        let deadline = fake.session.deadline();
        assert_eq!(fake.session.ask(&write, &deadline).unwrap_err().status(), exit, "{kind:?}");
    }
    let script = vec![("cluster", done()), ("create a=b", failed(FailureKind::Html)), ("create a=b", done())];
    let mut fake = FakeSession::script(100, script);
    let deadline = fake.session.deadline();
    fake.session.ask(&write, &deadline).unwrap();
}

#[test]
fn believes_that_a_pin_is_unknown_when_the_service_says_so_twice() {
    let script = vec![("cluster", missing()), ("cluster", done()), ("get a", value("b"))];
    let mut fake = FakeSession::script(100, script);
    let deadline = fake.session.deadline();
    fake.session.ask(&ASK, &deadline).unwrap();

    let script = vec![("cluster", done()), ("cluster", missing()), ("cluster", done())];
    let mut fake = FakeSession::script(100, script);
    let deadline = fake.session.deadline();
    fake.session.establish(&deadline).unwrap();
    fake.session.confirm_pin(&deadline).unwrap();
}

/// Asks for a key of services of which the first is kept, and then fails as `after` says.
fn failing_over(after: fn() -> Reply, other: fn() -> Reply) -> (FakeSession, Result<Outcome, Error>) {
    let mut asked = 0;
    let mut fake = FakeSession::new(&["first", "other"], 100, move |line| {
        asked += 1;
        match line {
            "first cluster" if asked == 1 => done(),
            line if line.starts_with("first") => after(),
            "other cluster" => other(),
            _ => value("b"),
        }
    });
    let deadline = fake.session.deadline();
    let result = fake.session.ask(&ASK, &deadline);
    (fake, result)
}

#[test]
fn gives_the_turn_to_the_next_service_after_five_seconds() {
    for after in [
        || failed(FailureKind::Connect),
        || (failed(FailureKind::Timeout).0, 10),
        || failed(FailureKind::Status(502, None)),
    ] {
        let (fake, result) = failing_over(after, done);
        assert!(result.unwrap() == Outcome::Value("b".to_owned()));
        assert_eq!(fake.session.service_name(), "http://other");
        let seen = fake.seen();
        let turn = seen.iter().find(|seen| seen.line == "other cluster").unwrap();
        let waited = turn.at - seen[1].at;
        assert!((FAILOVER_AFTER..=Duration::from_secs(15)).contains(&waited), "{seen:?}");
    }
}

#[test]
fn does_not_call_a_pin_unknown_while_a_service_that_knew_it_is_out_of_reach() {
    let (fake, result) = failing_over(|| failed(FailureKind::Connect), missing);
    assert_eq!(result.unwrap_err().status(), Status::Unreachable);
    assert_eq!(fake.count("other cluster"), 2);
    let (_, result) = failing_over(missing, missing);
    assert!(result.unwrap() == Outcome::Missing, "a key's 404 says nothing of the pin");
}

#[test]
fn gives_up_at_the_deadline_with_the_last_cause() {
    for (kind, exit) in [
        (FailureKind::Dns, Status::Unreachable),
        (FailureKind::Connect, Status::Unreachable),
        (FailureKind::Status(500, None), Status::Unreachable),
        (tls(true), Status::Refused),
    ] {
        let mut fake = FakeSession::new(&["pair"], 100, move |_| failed(kind));
        let deadline = fake.session.deadline();
        let error = fake.session.establish(&deadline).unwrap_err();
        assert_eq!(error.status(), exit);
        assert!(error.to_string().contains(&format!("{kind:?}")), "{error}");
        let seen = fake.seen();
        assert!((6..=10).contains(&seen.len()), "{} tries in 100 s", seen.len());
        assert!(seen.last().unwrap().at < Duration::from_secs(100), "{seen:?}");
        for pair in seen.windows(2) {
            assert!(pair[1].at - pair[0].at >= Duration::from_secs(1), "{pair:?}");
        }
    }
}

#[test]
fn has_one_deadline_for_all_that_it_does() {
    let fake = FakeSession::new(&["pair"], 100, |_| done());
    fake.session.clock().sleep(Duration::from_secs(60));
    let deadline = fake.session.deadline();
    assert_eq!(deadline.left(fake.session.clock()), Duration::from_secs(40));
}

#[test]
fn keeps_to_retry_after() {
    let wait = Some(Duration::from_secs(40));
    let script = vec![("cluster", failed(FailureKind::Status(503, wait))), ("cluster", done())];
    let mut fake = FakeSession::script(1000, script);
    let deadline = fake.session.deadline();
    fake.session.establish(&deadline).unwrap();
    let at = fake.seen()[1].at.as_secs();
    assert!((40..=55).contains(&at), "{at}");
}

#[test]
fn gives_no_request_more_time_than_is_left_and_a_wait_ten_seconds_more_than_it_asks_for() {
    let mut fake = FakeSession::new(&["pair"], 100, |_| done());
    let deadline = fake.session.deadline();
    fake.session.ask(&ASK, &deadline).unwrap();
    fake.session.ask(&Request::Get { key: "a", wait: 50 }, &deadline).unwrap();
    fake.session.clock().sleep(Duration::from_secs(95));
    fake.session.ask(&Request::Get { key: "a", wait: 4 }, &deadline).unwrap();
    let limits: Vec<_> = fake.seen().iter().map(|seen| seen.limit.as_secs()).collect();
    assert_eq!(limits, [15, 15, 60, 5]);
}

#[test]
fn asks_once_where_once_is_all_there_is() {
    let mut fake = FakeSession::new(&["dead", "slow", "alive"], 100, |line| match line {
        "dead cluster" => failed(FailureKind::Connect),
        "slow cluster" => (failed(FailureKind::Timeout).0, 1000),
        _ => done(),
    });
    let deadline = Deadline::once(fake.session.clock(), Duration::from_secs(3));
    fake.session.establish(&deadline).unwrap();
    assert_eq!(fake.session.service_name(), "http://alive");

    let mut fake = FakeSession::new(&["dead"], 100, |_| failed(FailureKind::Connect));
    let deadline = Deadline::once(fake.session.clock(), Duration::from_secs(3));
    assert_eq!(fake.session.establish(&deadline).unwrap_err().status(), Status::Unreachable);
    assert_eq!(fake.seen().len(), 1);
}

/// What comes of services that each say one thing again and again: k, the pin is known; u, it is unknown; d, the
/// service is down; h, it is HTML.
fn among(services: &'static str) -> (FakeSession, Result<(), Error>) {
    let hosts: Vec<String> = (0..services.len()).map(|index| format!("s{index}")).collect();
    let hosts: Vec<&str> = hosts.iter().map(String::as_str).collect();
    let mut fake = FakeSession::new(&hosts, 60, move |line| {
        let index: usize = line[1..2].parse().unwrap();
        match services.as_bytes()[index] {
            b'k' => done(),
            b'u' => missing(),
            b'd' => failed(FailureKind::Connect),
            _ => failed(FailureKind::Html),
        }
    });
    let deadline = fake.session.deadline();
    let result = fake.session.establish(&deadline);
    (fake, result)
}

#[test]
fn keeps_the_first_service_that_knows_the_pin() {
    for (services, kept) in [("kk", 0), ("uk", 1), ("dk", 1), ("hk", 1), ("udhkk", 3)] {
        let (mut fake, result) = among(services);
        result.unwrap();
        assert_eq!(fake.session.service_name(), format!("http://s{kept}"), "{services}");
        let asked = fake.seen().len();
        let deadline = fake.session.deadline();
        fake.session.ask(&ASK, &deadline).unwrap();
        assert_eq!(fake.seen().len(), asked + 1, "it is asked again who knows the pin");
        assert!(fake.seen()[asked].line.starts_with(&format!("s{kept}")), "{services}");
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
        (
            "uuu",
            "(http://s0 does not know the pin; http://s1 does not know the pin; http://s2 does not know the pin)",
        ),
    ] {
        let (fake, result) = among(services);
        let error = result.unwrap_err();
        assert_eq!((error.status(), fake.seen().len()), (Status::Refused, 2 * services.len()));
        assert!(error.to_string().contains(says) && error.is_unknown_pin(), "{error}");
    }
}

#[test]
fn does_not_call_a_pin_unknown_when_one_of_several_services_has_not_said_so() {
    for services in ["hu", "uh"] {
        let (_, result) = among(services);
        let error = result.unwrap_err();
        assert_eq!((error.status(), error.is_unknown_pin()), (Status::Nonsense, false), "{error}");
        assert!(error.to_string().contains("does not know the pin)"), "{error}");
    }
}

#[test]
fn gives_the_turn_of_a_service_that_stops_answering_a_wait_to_the_next() {
    let mut fake = FakeSession::new(&["first", "other"], 300, move |line| match line {
        "first cluster" | "other cluster" => done(),
        line if line.starts_with("first") => (failed(FailureKind::Timeout).0, 1000),
        _ => value("b"),
    });
    let deadline = fake.session.deadline();
    let wait = fake.session.longest_wait();
    assert!(
        fake.session.ask(&Request::Get { key: "a", wait }, &deadline).unwrap()
            == Outcome::Value("b".to_owned())
    );
    let lines: Vec<_> = fake.seen().into_iter().map(|seen| (seen.line, seen.at.as_secs())).collect();
    let expected = [
        ("first cluster", 0),
        ("first get a wait=10", 0),
        ("other cluster", 15),
        ("other get a wait=10", 15),
    ];
    assert_eq!(lines, expected.map(|(line, at)| (line.to_owned(), at)));
}

#[test]
fn goes_on_asking_those_that_have_not_answered() {
    let (fake, result) = among("ud");
    assert_eq!(result.unwrap_err().status(), Status::Unreachable);
    assert_eq!(fake.count("s0"), 2, "it has said twice that it does not know the pin");
    assert!(fake.count("s1") > 3);
}

#[test]
fn ends_at_once_when_none_can_be_used() {
    let (fake, result) = among("hh");
    assert_eq!((result.unwrap_err().status(), fake.seen().len()), (Status::Nonsense, 2));
}
