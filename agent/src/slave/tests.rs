//! What a slave asks, and what it makes of the answers.

use super::*;
use crate::session::fake::{FakeSession, Reply, done, failed, missing, value, waited};
use client::{FailureKind, SealFault};

fn gathered(fake: &mut FakeSession, keys: &[&str]) -> Result<GatheredValues, Error> {
    let keys: Vec<String> = keys.iter().map(|key| (*key).to_owned()).collect();
    gather(&mut fake.session, &keys)
}

/// What a slave makes of these values of `master_ready` and `master_ip`, when it looks once.
fn once(ready: &'static str, address: &'static str) -> Result<String, Error> {
    let script =
        vec![("cluster", done()), ("get master_ready", value(ready)), ("get master_ip", value(address))];
    let mut fake = FakeSession::script(1500, script);
    gather_once(&mut fake.session, &[]).map(|mut gathered| gathered.values.remove("master_ip").unwrap())
}

#[test]
fn takes_the_address_that_is_ready() {
    for (ready, address) in [
        ("10.0.0.5", "10.0.0.5"),
        ("2001:db8::5", "2001:0DB8:0::5"),
        ("yes", "10.0.0.5"),
        ("true", "master.example.org"),
        ("", "10.0.0.5"),
    ] {
        assert_eq!(once(ready, address).unwrap(), address, "{ready}");
    }
    for (ready, address) in [
        ("10.0.0.4", "10.0.0.5"),
        ("10.0.0.5", "master"),
        ("::1", "127.0.0.1"),
        ("no", "10.0.0.5"),
        ("False", "10.0.0.5"),
        ("0", "10.0.0.5"),
    ] {
        let error = once(ready, address).unwrap_err();
        assert_eq!(error.status(), Status::TimedOut, "{error}");
    }
}

#[test]
fn takes_nothing_that_is_not_an_address() {
    for address in ["$(reboot)", "10.0.0.5; reboot", "", "10.0.0.5\n"] {
        let error = once("yes", address).unwrap_err();
        assert_eq!(error.status(), Status::Nonsense);
        assert!(!error.to_string().contains("reboot"), "{error}");
    }
}

#[test]
fn waits_where_the_service_can_and_then_takes_what_is_there() {
    let mut fake = FakeSession::script(
        1500,
        vec![
            ("cluster", done()),
            ("get master_ready wait=50", waited(50, 50)),
            ("get master_ready wait=50", waited(50, 50)),
            ("get master_ready wait=50", (value("10.0.0.5").0, 20)),
            ("get master_ip", value("10.0.0.5")),
            ("get token wait=50", (value("abc").0, 3)),
            ("get more wait=50", value("x")),
            ("get master_ip", value("10.0.0.5")),
        ],
    );
    let gathered = gathered(&mut fake, &["token", "master_ip", "more"]).unwrap();
    let values: Vec<_> = gathered.values.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    assert_eq!(values, [("master_ip", "10.0.0.5"), ("more", "x"), ("token", "abc")]);
    assert!(gathered.into_shortfall().is_none());
    // Nothing but the waits themselves took time.
    assert_eq!(fake.seen().last().unwrap().at, Duration::from_secs(123));
}

#[test]
fn polls_an_old_service_without_asking_it_twice() {
    let mut polls = 0;
    let mut fake = FakeSession::new(&["pair"], 1500, move |line| match line {
        "pair cluster" => done(),
        "pair get master_ip" => value("10.0.0.5"),
        _ => {
            polls += 1;
            if polls < 20 { missing() } else { value("yes") }
        }
    });
    gathered(&mut fake, &[]).unwrap();
    let seen = fake.seen();
    let lines: Vec<&str> = seen.iter().map(|seen| seen.line.as_str()).take(3).collect();
    assert_eq!(lines, ["pair cluster", "pair get master_ready wait=50", "pair get master_ready wait=50"]);
    assert_eq!(fake.count("pair get master_ready"), 20);
    let minutes = usize::try_from(seen.last().unwrap().at.as_secs() / 60).unwrap();
    assert!((2..=minutes + 1).contains(&fake.count("pair cluster")), "once a minute: {seen:?}");
}

fn does_not_open() -> Reply {
    failed(FailureKind::Seal(SealFault::Forged))
}

#[test]
fn takes_nothing_from_a_service_with_a_value_that_does_not_open() {
    for forged in ["master_ready", "master_ip", "token"] {
        let mut fake = FakeSession::new(&["pair"], 1500, move |line| match line {
            "pair cluster" => done(),
            _ if line.contains(forged) => does_not_open(),
            _ if line.contains("master_") => value("10.0.0.5"),
            _ => value("abc"),
        });
        let error = gathered(&mut fake, &["a", "token", "z"]).unwrap_err();
        assert_eq!(error.status(), Status::Refused, "{forged}");
        assert!(error.is_unopened(), "{error}");
        assert_eq!(fake.count(&format!("pair get {forged}")), 1, "it is not asked again");
        assert_eq!(fake.count("pair get z"), 0);
    }
}

#[test]
fn goes_on_with_the_earlier_values_where_one_does_not_open() {
    for forged in ["master_ready", "master_ip", "token"] {
        let (values, missing, seconds) = again(&["token", "more"], move |line| match line {
            "pair cluster" => done(),
            _ if line.contains(forged) => does_not_open(),
            _ if line.contains("master_") => value("10.0.0.6"),
            _ => value("new"),
        });
        assert_eq!((values, missing), (map(&OLD), vec!["more".to_owned()]), "{forged}");
        assert_eq!(seconds, 0);
    }
}

/// The times between the beginnings of the looks at `master_ready`.
fn spacings(fake: &FakeSession) -> Vec<Duration> {
    let seen = fake.seen();
    let looks: Vec<_> = seen.iter().filter(|seen| seen.line.contains("master_ready")).collect();
    looks.windows(2).map(|pair| pair[1].at - pair[0].at).collect()
}

#[test]
fn never_begins_two_waits_on_a_key_within_a_second() {
    type Says = fn() -> Reply;
    let cases: [(&str, Says); 6] = [
        ("an old service", missing),
        ("a service that grants nothing", || waited(0, 0)),
        ("one that comes back at once", || waited(50, 0)),
        ("one that breaks off", || failed(FailureKind::Connect)),
        ("one that is overloaded", || failed(FailureKind::Status(503, Some(Duration::ZERO)))),
        ("a master that is ready elsewhere", || value("10.0.0.4")),
    ];
    for (what, reply) in cases {
        let mut fake = FakeSession::new(&["pair"], 300, move |line| match line {
            "pair cluster" => done(),
            "pair get master_ip" => value("10.0.0.5"),
            _ => reply(),
        });
        let error = gathered(&mut fake, &[]).unwrap_err();
        assert!([Status::Unreachable, Status::TimedOut].contains(&error.status()), "{what}: {error}");
        let spacings = spacings(&fake);
        assert!(spacings.len() > 5, "{what}");
        assert!(spacings.iter().all(|spacing| *spacing >= Duration::from_secs(1)), "{what}: {spacings:?}");
        assert!(fake.seen().last().unwrap().at < Duration::from_secs(300), "{what}");
    }
}

#[test]
fn goes_on_waiting_when_the_service_was_gone_for_a_while() {
    let mut fake = FakeSession::script(
        1500,
        vec![
            ("cluster", done()),
            ("get master_ready wait=50", failed(FailureKind::Connect)),
            ("get master_ready wait=50", failed(FailureKind::Connect)),
            ("get master_ready wait=50", waited(50, 50)),
            ("get master_ready wait=50", value("10.0.0.5")),
            ("get master_ip", failed(FailureKind::Timeout)),
            ("get master_ip", value("10.0.0.5")),
        ],
    );
    gathered(&mut fake, &[]).unwrap();
}

#[test]
fn comes_back_soon_to_a_service_whose_answers_are_cut_off() {
    let mut cuts = 0;
    let mut fake = FakeSession::new(&["pair"], 3000, move |line| match line {
        "pair cluster" => done(),
        "pair get master_ip" => value("10.0.0.5"),
        _ => {
            cuts += 1;
            if cuts < 20 { (failed(FailureKind::Connect).0, 30) } else { value("10.0.0.5") }
        }
    });
    gathered(&mut fake, &[]).unwrap();
    let spacings = spacings(&fake);
    assert_eq!(spacings.len(), 19);
    assert!(spacings.iter().all(|spacing| *spacing <= Duration::from_secs(32)), "{spacings:?}");
}

#[test]
fn leaves_a_service_alone_that_lets_connections_time_out() {
    let mut tries = 0;
    let mut fake = FakeSession::new(&["pair"], 1500, move |line| match line {
        "pair cluster" => done(),
        "pair get master_ip" => value("10.0.0.5"),
        _ => {
            tries += 1;
            if tries < 12 { (failed(FailureKind::Timeout).0, 10) } else { value("10.0.0.5") }
        }
    });
    gathered(&mut fake, &[]).unwrap();
    let spacings = spacings(&fake);
    assert_eq!(spacings.len(), 11);
    // 10 s each, and from the fifth on a pause of at least 15 s.
    assert!(spacings[4..].iter().all(|spacing| *spacing >= Duration::from_secs(25)), "{spacings:?}");
}

#[test]
fn ends_at_once_when_the_pin_goes_while_it_waits() {
    let mut fake = FakeSession::script(
        1500,
        vec![
            ("cluster", done()),
            ("get master_ready wait=50", waited(50, 20)),
            ("cluster", done()),
            ("get master_ready wait=50", waited(50, 30)),
            ("cluster", missing()),
            ("cluster", missing()),
        ],
    );
    let error = gathered(&mut fake, &[]).unwrap_err();
    assert_eq!(error.status(), Status::Refused);
    assert!(error.to_string().contains("http://pair no longer knows the pin enic…"), "{error}");
}

#[test]
fn gives_up_at_the_deadline_and_says_what_it_waited_for() {
    for holds in [true, false] {
        let mut fake = FakeSession::new(&["pair"], 120, move |line| match line.split_once("wait=") {
            _ if line == "pair cluster" => done(),
            Some((_, wait)) if holds => {
                let wait = wait.parse().unwrap();
                waited(wait, wait)
            }
            _ => missing(),
        });
        let error = gathered(&mut fake, &[]).unwrap_err();
        assert_eq!(error.status(), Status::TimedOut);
        assert!(error.to_string().starts_with("the master is not ready yet after 1"), "{error}");
        assert!(fake.seen().iter().all(|seen| seen.at + seen.limit <= Duration::from_secs(120)));
    }
}

#[test]
fn gives_what_came_when_another_key_is_missing() {
    let mut fake = FakeSession::new(&["pair"], 1500, |line| match line.split_once("wait=") {
        _ if line == "pair cluster" => done(),
        _ if line.contains("master_") => value("10.0.0.5"),
        _ if line.contains("good") => value("abc"),
        _ if line.contains("evil") => value("`reboot`"),
        Some((_, wait)) => waited(50, wait.parse().unwrap()),
        None => missing(),
    });
    let gathered = gathered(&mut fake, &["absent", "evil", "good", "gone"]).unwrap();
    let names = |map: Vec<&String>| map.into_iter().cloned().collect::<Vec<_>>().join(" ");
    assert_eq!(names(gathered.values.keys().collect()), "good master_ip");
    assert_eq!(names(gathered.missing.keys().collect()), "absent evil gone");
    assert!(fake.seen().iter().all(|seen| seen.at <= Duration::from_secs(61)), "60 s for all of them");
    assert_eq!(gathered.into_shortfall().unwrap().status(), Status::Nonsense);
}

#[test]
fn names_every_key_that_is_missing() {
    let mut fake = FakeSession::new(&["pair"], 1500, |line| match line {
        "pair cluster" => done(),
        _ if line.contains("master_") => value("10.0.0.5"),
        _ => missing(),
    });
    let one = gathered(&mut fake, &["absent"]).unwrap().into_shortfall().unwrap();
    assert!(one.to_string().starts_with("there is no key 'absent' yet after"), "{one}");
    let two = gathered(&mut fake, &["absent", "gone"]).unwrap().into_shortfall().unwrap();
    assert!(two.to_string().contains("'absent', 'gone'"), "{two}");
    assert_eq!((one.status(), two.status()), (Status::TimedOut, Status::TimedOut));
}

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// What a slave with the master 10.0.0.4 and a token of an earlier boot makes of a service: the values, the keys that
/// are missing, and after how many seconds.
fn again(
    keys: &[&str],
    replies: impl FnMut(&str) -> Reply + 'static,
) -> (BTreeMap<String, String>, Vec<String>, u64) {
    let mut fake = FakeSession::new(&["pair"], 100, replies);
    let keys: Vec<String> = keys.iter().map(|key| (*key).to_owned()).collect();
    let earlier = map(&[("master_ip", "10.0.0.4"), ("token", "old")]);
    let (gathered, _) = gather_again(&mut fake.session, &keys, &earlier, true);
    let seconds = fake.session.clock().now().as_secs();
    (gathered.values, gathered.missing.into_keys().collect(), seconds)
}

const OLD: [(&str, &str); 2] = [("master_ip", "10.0.0.4"), ("token", "old")];

#[test]
fn uses_the_earlier_values_at_once_when_the_service_is_silent() {
    for reply in [
        || (failed(FailureKind::Timeout).0, 1000),
        || failed(FailureKind::Connect),
        || failed(FailureKind::Html),
        // The pin has expired.
        missing,
    ] {
        let (values, missing, seconds) = again(&["token", "more"], move |_| reply());
        assert_eq!((values, missing), (map(&OLD), vec!["more".to_owned()]));
        assert!(seconds <= 3, "{seconds} s");
    }
}

#[test]
fn waits_as_at_the_first_boot_when_the_service_contradicts() {
    // The master is being replaced: it is not ready, or ready with another address.
    for ready in [None, Some("10.0.0.4")] {
        let mut looks = 0;
        let (values, ..) = again(&["token"], move |line| match line.split(" wait=").next().unwrap() {
            "pair cluster" => done(),
            "pair get master_ready" => {
                looks += 1;
                if looks < 5 { ready.map_or_else(missing, value) } else { value("10.0.0.5") }
            }
            "pair get master_ip" => value("10.0.0.5"),
            _ => value("new"),
        });
        assert_eq!(values, map(&[("master_ip", "10.0.0.5"), ("token", "new")]), "{ready:?}");
    }
}

#[test]
fn uses_the_earlier_values_after_the_deadline_when_the_service_goes_on_contradicting() {
    let (values, missing, seconds) = again(&["token"], |line| match line {
        "pair cluster" => done(),
        _ => missing(),
    });
    assert_eq!((values, missing), (map(&OLD), vec![]));
    assert!((99..=103).contains(&seconds), "{seconds} s");
}

#[test]
fn begins_again_when_another_master_comes_while_the_keys_are_fetched() {
    let script = vec![
        ("cluster", done()),
        ("get master_ready wait=50", value("10.0.0.4")),
        ("get master_ip", value("10.0.0.4")),
        ("get token wait=50", value("new")),
        ("get master_ip", value("10.0.0.5")),
        ("get master_ready wait=50", value("10.0.0.5")),
        ("get master_ip", value("10.0.0.5")),
        ("get token wait=50", value("new")),
        ("get master_ip", value("10.0.0.5")),
    ];
    let gathered = gathered(&mut FakeSession::script(1500, script), &["token"]).unwrap();
    assert_eq!(gathered.values, map(&[("master_ip", "10.0.0.5"), ("token", "new")]));
}

#[test]
fn uses_no_key_of_which_it_cannot_tell_the_master() {
    let mut asked = 0;
    let mut fake =
        FakeSession::new(&["pair"], 1500, move |line| match line.split(" wait=").next().unwrap() {
            "pair cluster" => done(),
            "pair get master_ready" => value("10.0.0.5"),
            "pair get master_ip" => {
                asked += 1;
                if asked == 1 { value("10.0.0.5") } else { failed(FailureKind::Connect) }
            }
            _ => value("new"),
        });
    let gathered = gathered(&mut fake, &["token"]).unwrap();
    assert_eq!(gathered.values, map(&[("master_ip", "10.0.0.5")]));
    assert_eq!(gathered.into_shortfall().unwrap().status(), Status::Unreachable);
}

#[test]
fn fills_nothing_up_with_what_another_master_gave() {
    let (values, missing, _) = again(&["token"], |line| match line {
        "pair cluster" => done(),
        line if line.contains("master_") => value("10.0.0.5"),
        _ => missing(),
    });
    assert_eq!((values, missing), (map(&[("master_ip", "10.0.0.5")]), vec!["token".to_owned()]));
}

/// A slave with ten minutes, whose master has this address and is not ready; after how many seconds it goes on.
fn without_ready(address: &'static str) -> u64 {
    let mut fake = FakeSession::new(&["pair"], 600, move |line| match line {
        "pair cluster" => done(),
        "pair get master_ip" => value(address),
        _ => missing(),
    });
    let earlier = map(&[("master_ip", "10.0.0.4")]);
    let (gathered, _) = gather_again(&mut fake.session, &[], &earlier, true);
    assert_eq!(gathered.values, earlier);
    fake.session.clock().now().as_secs()
}

#[test]
fn waits_less_for_the_same_master_than_for_another_one() {
    let same = without_ready("10.0.0.4");
    assert!((SAME_MASTER_LIMIT.as_secs() - 1..=SAME_MASTER_LIMIT.as_secs() + 3).contains(&same), "{same} s");
    let other = without_ready("10.0.0.5");
    assert!((599..=603).contains(&other), "{other} s");
}

#[test]
fn takes_each_value_that_is_there_and_the_earlier_one_of_each_that_is_not() {
    let ready = |line: &str| match line {
        "pair cluster" => Some(done()),
        line if line.contains("master_") => Some(value("10.0.0.4")),
        _ => None,
    };
    let (values, missing, seconds) =
        again(&["more", "token"], move |line| ready(line).unwrap_or_else(missing));
    assert_eq!((values, missing), (map(&OLD), vec!["more".to_owned()]));
    assert!(seconds <= 3, "{seconds} s");
    let (values, ..) = again(&["more", "token"], move |line| {
        ready(line).unwrap_or_else(|| if line.contains("more") { value("x") } else { value("`reboot`") })
    });
    assert_eq!(values, map(&[("master_ip", "10.0.0.4"), ("more", "x"), ("token", "old")]));
}

#[test]
fn tries_until_the_deadline_and_not_two_seconds_less() {
    for (holds, timeout) in [(true, 10), (true, 61), (false, 10), (false, 100)] {
        let mut fake = FakeSession::new(&["pair"], timeout, move |line| match line.split_once("wait=") {
            _ if line == "pair cluster" => done(),
            Some((_, wait)) if holds => waited(wait.parse().unwrap(), wait.parse().unwrap()),
            _ => missing(),
        });
        let error = gathered(&mut fake, &[]).unwrap_err();
        assert!(error.to_string().contains(&format!("not ready yet after {timeout} s")), "{error}");
    }
}
