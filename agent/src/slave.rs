//! What a slave awaits: that its master is ready, then the master's address and the other keys.
//!
//! The rules are in docs/behaviour.md, "Requests".

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use protocol::key::{MASTER_IP, MASTER_READY};
use protocol::wait;

use crate::backoff::{Backoff, Clock, Patience};
use crate::session::Session;
use client::{Answer, Outcome, Request, Service};
use context::value::{self, Origin};
use protocol::error::{Error, Status};

/// Longest time for all keys other than `master_ip` together, once the master is ready.
const OTHER_KEYS_LIMIT: Duration = Duration::from_secs(60);
/// Shortest time between the beginnings of two waits on one key.
const WAIT_SPACING: Duration = Duration::from_secs(1);
/// A request that took so long was held, whatever became of it: longer than resolving, connecting (10 s each) or a
/// service's patience with a handshake (15 s) may take, since those must not count as a success of any kind.
const HELD: Duration = Duration::from_secs(21);
/// How often a service that does not hold requests is asked whether the pin still exists. One that does is asked after
/// every answer that came too soon.
const CONFIRM_EVERY: Duration = Duration::from_secs(60);
/// Longest time for one look without waiting (`--no-wait`).
const LOOK_LIMIT: Duration = Duration::from_secs(15);

/// What a slave got.
#[derive(Debug, Default)]
pub struct Gathered {
    /// The keys that came, among them always `master_ip`; each fit to be substituted.
    pub values: BTreeMap<String, String>,
    /// Why the others did not.
    pub missing: BTreeMap<String, Error>,
}

impl Gathered {
    /// The error of a run that has substituted what came, if something did not.
    pub fn into_shortfall(mut self) -> Option<Error> {
        if self.missing.len() == 1 {
            return self.missing.pop_first().map(|(_, error)| error);
        }
        let (unsafe_values, absent): (Vec<_>, Vec<_>) =
            self.missing.into_iter().partition(|(_, error)| error.status() == Status::Nonsense);
        let names: Vec<String> = absent.iter().map(|(key, _)| format!("'{key}'")).collect();
        let first = unsafe_values.into_iter().chain(absent).next();
        first.map(|(_, error)| match error.tried() {
            Some(tried) => {
                let what = format!("no keys {} under the pin", names.join(", "));
                Error::timed_out(&what, tried, error.next_step().to_owned())
            }
            None => error,
        })
    }
}

/// Awaits the master, then `master_ip` and these keys, as long as the context allows.
///
/// # Errors
/// When there is no `master_ip` to be had: 75 if the master did not become ready, 69 if no service could be reached, 77
/// if the pin is unknown, 76 if what is there is not an address. A key that is missing is no error here.
pub fn gather<S: Service, C: Clock>(session: &mut Session<S, C>, keys: &[String]) -> Result<Gathered, Error> {
    let patience = session.patience();
    gather_within(session, keys, &patience, OTHER_KEYS_LIMIT)
}

/// The same, but looks only once.
///
/// # Errors
/// As [`gather`]; 75 when the master is not ready yet.
pub fn look<S: Service, C: Clock>(session: &mut Session<S, C>, keys: &[String]) -> Result<Gathered, Error> {
    let patience = Patience::once(session.clock(), LOOK_LIMIT);
    gather_within(session, keys, &patience, LOOK_LIMIT)
}

/// For a slave with a cache: looks once whether the master has another address, `limit` in all.
///
/// # Errors
/// As [`look`]; the cached address is good enough then.
pub fn look_for_master<S: Service, C: Clock>(
    session: &mut Session<S, C>,
    limit: Duration,
) -> Result<String, Error> {
    let patience = Patience::once(session.clock(), limit);
    await_master(session, &patience)
}

fn gather_within<S: Service, C: Clock>(
    session: &mut Session<S, C>,
    keys: &[String],
    patience: &Patience,
    others: Duration,
) -> Result<Gathered, Error> {
    let mut gathered = Gathered::default();
    gathered.values.insert(MASTER_IP.to_owned(), await_master(session, patience)?);
    let patience = patience.at_most(session.clock(), others);
    for key in keys.iter().filter(|key| *key != MASTER_IP) {
        let result = await_key(session, key, &format!("waiting for the key '{key}'"), &patience)
            .and_then(|value| value::check(key, &value, Origin::Received).map(|()| value));
        match result {
            Ok(value) => drop(gathered.values.insert(key.clone(), value)),
            Err(error) => drop(gathered.missing.insert(key.clone(), error)),
        }
    }
    Ok(gathered)
}

/// The address of a master that is ready.
pub(crate) fn await_master<S: Service, C: Clock>(
    session: &mut Session<S, C>,
    patience: &Patience,
) -> Result<String, Error> {
    let mut backoff = Backoff::default();
    let mut awaited = "waiting until the master is ready";
    loop {
        let ready = await_key(session, MASTER_READY, awaited, patience)?;
        let there = session.ask(&Request::Get { key: MASTER_IP, wait: 0 }, patience)?;
        awaited = match there {
            Outcome::Value(address) if is_ready_for(&ready, &address) => {
                value::check(MASTER_IP, &address, Origin::Received)?;
                return Ok(address);
            }
            Outcome::Value(_) => "waiting until the master is ready with its new address",
            _ => "the master is ready, but has no master_ip; waiting for it",
        };
        session.say_waiting(awaited, patience);
        if !session.pause(&mut backoff, patience) {
            return Err(not_in_time(session, MASTER_READY, patience));
        }
    }
}

/// Whether a `master_ready` of this value is that of the master at `address`. An old master's value, which is not an
/// address, counts for any.
pub(crate) fn is_ready_for(ready: &str, address: &str) -> bool {
    match ready.parse::<IpAddr>() {
        Ok(ready) => address.parse() == Ok(ready),
        Err(_) => true,
    }
}

/// The value of a key, as it is, once it is there. Has the service hold the request if it knows how to, else polls; says
/// meanwhile what is `awaited`.
pub(crate) fn await_key<S: Service, C: Clock>(
    session: &mut Session<S, C>,
    key: &str,
    awaited: &str,
    patience: &Patience,
) -> Result<String, Error> {
    session.establish(patience)?;
    let mut backoff = Backoff::default();
    let mut confirmed = session.clock().now();
    loop {
        let began = session.clock().now();
        let wait = wait_for(patience, patience.left(session.clock()));
        if wait > 0 {
            // Before the request, which may be held for most of a minute.
            session.say_waiting(awaited, patience);
        }
        let answer = match session.attempt(&Request::Get { key, wait }, patience) {
            Ok(answer) => answer,
            Err(failure) => {
                if session.clock().now().saturating_sub(began) >= HELD {
                    // It was held, then cut off: by a service that was restarted, or by something in between that
                    // does not let a request live so long. Not the first of several failures in a row.
                    backoff.reset();
                }
                session.pause_after(failure, &mut backoff, patience)?;
                continue;
            }
        };
        let granted = match answer {
            Answer { outcome: Outcome::Value(value), .. } => return Ok(value),
            Answer { granted, .. } => granted,
        };
        let now = session.clock().now();
        let held = now.saturating_sub(began);
        let asked = Duration::from_secs(granted.unwrap_or_default().min(wait));
        let too_soon = granted.is_some() && held + WAIT_SPACING < asked;
        if too_soon || (granted.is_none() && now.saturating_sub(confirmed) >= CONFIRM_EVERY) {
            session.confirm_pin(patience)?;
            confirmed = now;
        }
        if granted.is_some() && held >= WAIT_SPACING && !too_soon {
            backoff.reset();
            if patience.left(session.clock()) >= WAIT_SPACING {
                continue;
            }
        } else if session.pause(&mut backoff, patience) {
            continue;
        }
        return Err(not_in_time(session, key, patience));
    }
}

/// For how many seconds to have a request held: as long as a service may, but a second less than is left.
fn wait_for(patience: &Patience, left: Duration) -> u64 {
    if patience.is_once() { 0 } else { left.as_secs().saturating_sub(1).min(wait::MAX_SECONDS) }
}

fn absent(key: &str) -> String {
    if key == MASTER_READY {
        "the master is not ready yet".to_owned()
    } else {
        format!("there is no key '{key}' yet")
    }
}

fn not_in_time<S: Service, C: Clock>(session: &Session<S, C>, key: &str, patience: &Patience) -> Error {
    let next = if key == MASTER_READY {
        "look at the master's console: it must have the same pin, reach the service and finish its boot"
    } else {
        "look whether the master publishes it (cernvm-cluster-agent publish), and how the context spells it"
    };
    Error::timed_out(&absent(key), patience.tried(session.clock()), next)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::fake::{Reply, Stage, done, failed, missing, value, waited};
    use client::Kind;

    fn gathered(stage: &mut Stage, keys: &[&str]) -> Result<Gathered, Error> {
        let keys: Vec<String> = keys.iter().map(|key| (*key).to_owned()).collect();
        gather(&mut stage.session, &keys)
    }

    /// What a slave makes of these values of `master_ready` and `master_ip`, when it looks once.
    fn once(ready: &'static str, address: &'static str) -> Result<String, Error> {
        let script =
            vec![("cluster", done()), ("get master_ready", value(ready)), ("get master_ip", value(address))];
        let mut stage = Stage::script(1500, script);
        look(&mut stage.session, &[]).map(|mut gathered| gathered.values.remove("master_ip").unwrap())
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
        for (ready, address) in [("10.0.0.4", "10.0.0.5"), ("10.0.0.5", "master"), ("::1", "127.0.0.1")] {
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
        let mut stage = Stage::script(
            1500,
            vec![
                ("cluster", done()),
                ("get master_ready wait=50", waited(50, 50)),
                ("get master_ready wait=50", waited(50, 50)),
                ("get master_ready wait=50", (value("10.0.0.5").0, 20)),
                ("get master_ip", value("10.0.0.5")),
                ("get token wait=50", (value("abc").0, 3)),
                ("get more wait=50", value("x")),
            ],
        );
        let gathered = gathered(&mut stage, &["token", "master_ip", "more"]).unwrap();
        let values: Vec<_> = gathered.values.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(values, [("master_ip", "10.0.0.5"), ("more", "x"), ("token", "abc")]);
        assert!(gathered.into_shortfall().is_none());
        // Nothing but the waits themselves took time.
        assert_eq!(stage.seen().last().unwrap().at, Duration::from_secs(123));
    }

    #[test]
    fn polls_an_old_service_without_asking_it_twice() {
        let mut polls = 0;
        let mut stage = Stage::new(&["pair"], 1500, move |line| match line {
            "pair cluster" => done(),
            "pair get master_ip" => value("10.0.0.5"),
            _ => {
                polls += 1;
                if polls < 20 { missing() } else { value("yes") }
            }
        });
        gathered(&mut stage, &[]).unwrap();
        let seen = stage.seen();
        let lines: Vec<&str> = seen.iter().map(|seen| seen.line.as_str()).take(3).collect();
        assert_eq!(lines, ["pair cluster", "pair get master_ready wait=50", "pair get master_ready wait=50"]);
        assert_eq!(stage.count("pair get master_ready"), 20);
        let minutes = usize::try_from(seen.last().unwrap().at.as_secs() / 60).unwrap();
        assert!((2..=minutes + 1).contains(&stage.count("pair cluster")), "once a minute: {seen:?}");
    }

    /// The times between the beginnings of the looks at `master_ready`.
    fn spacings(stage: &Stage) -> Vec<Duration> {
        let seen = stage.seen();
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
            ("one that breaks off", || failed(Kind::Connect)),
            ("one that is overloaded", || failed(Kind::Status(503, Some(Duration::ZERO)))),
            ("a master that is ready elsewhere", || value("10.0.0.4")),
        ];
        for (what, reply) in cases {
            let mut stage = Stage::new(&["pair"], 300, move |line| match line {
                "pair cluster" => done(),
                "pair get master_ip" => value("10.0.0.5"),
                _ => reply(),
            });
            let error = gathered(&mut stage, &[]).unwrap_err();
            assert!([Status::Unreachable, Status::TimedOut].contains(&error.status()), "{what}: {error}");
            let spacings = spacings(&stage);
            assert!(spacings.len() > 5, "{what}");
            assert!(
                spacings.iter().all(|spacing| *spacing >= Duration::from_secs(1)),
                "{what}: {spacings:?}"
            );
            assert!(stage.seen().last().unwrap().at < Duration::from_secs(300), "{what}");
        }
    }

    #[test]
    fn goes_on_waiting_when_the_service_was_gone_for_a_while() {
        let mut stage = Stage::script(
            1500,
            vec![
                ("cluster", done()),
                ("get master_ready wait=50", failed(Kind::Connect)),
                ("get master_ready wait=50", failed(Kind::Connect)),
                ("get master_ready wait=50", waited(50, 50)),
                ("get master_ready wait=50", value("10.0.0.5")),
                ("get master_ip", failed(Kind::Timeout)),
                ("get master_ip", value("10.0.0.5")),
            ],
        );
        gathered(&mut stage, &[]).unwrap();
    }

    #[test]
    fn comes_back_soon_to_a_service_whose_answers_are_cut_off() {
        let mut cuts = 0;
        let mut stage = Stage::new(&["pair"], 3000, move |line| match line {
            "pair cluster" => done(),
            "pair get master_ip" => value("10.0.0.5"),
            _ => {
                cuts += 1;
                if cuts < 20 { (failed(Kind::Connect).0, 30) } else { value("10.0.0.5") }
            }
        });
        gathered(&mut stage, &[]).unwrap();
        let spacings = spacings(&stage);
        assert_eq!(spacings.len(), 19);
        assert!(spacings.iter().all(|spacing| *spacing <= Duration::from_secs(32)), "{spacings:?}");
    }

    #[test]
    fn leaves_a_service_alone_that_lets_connections_time_out() {
        let mut tries = 0;
        let mut stage = Stage::new(&["pair"], 1500, move |line| match line {
            "pair cluster" => done(),
            "pair get master_ip" => value("10.0.0.5"),
            _ => {
                tries += 1;
                if tries < 12 { (failed(Kind::Timeout).0, 10) } else { value("10.0.0.5") }
            }
        });
        gathered(&mut stage, &[]).unwrap();
        let spacings = spacings(&stage);
        assert_eq!(spacings.len(), 11);
        // 10 s each, and from the fifth on a pause of at least 15 s.
        assert!(spacings[4..].iter().all(|spacing| *spacing >= Duration::from_secs(25)), "{spacings:?}");
    }

    #[test]
    fn ends_at_once_when_the_pin_goes_while_it_waits() {
        let mut stage = Stage::script(
            1500,
            vec![
                ("cluster", done()),
                ("get master_ready wait=50", waited(50, 20)),
                ("cluster", done()),
                ("get master_ready wait=50", waited(50, 30)),
                ("cluster", missing()),
            ],
        );
        let error = gathered(&mut stage, &[]).unwrap_err();
        assert_eq!(error.status(), Status::Refused);
        assert!(error.to_string().contains("http://pair no longer knows the pin enic…"), "{error}");
    }

    #[test]
    fn gives_up_at_the_deadline_and_says_what_it_waited_for() {
        for holds in [true, false] {
            let mut stage = Stage::new(&["pair"], 120, move |line| match line.split_once("wait=") {
                _ if line == "pair cluster" => done(),
                Some((_, wait)) if holds => {
                    let wait = wait.parse().unwrap();
                    waited(wait, wait)
                }
                _ => missing(),
            });
            let error = gathered(&mut stage, &[]).unwrap_err();
            assert_eq!(error.status(), Status::TimedOut);
            assert!(error.to_string().starts_with("the master is not ready yet after 1"), "{error}");
            assert!(stage.seen().iter().all(|seen| seen.at + seen.limit <= Duration::from_secs(120)));
        }
    }

    #[test]
    fn gives_what_came_when_another_key_is_missing() {
        let mut stage = Stage::new(&["pair"], 1500, |line| match line.split_once("wait=") {
            _ if line == "pair cluster" => done(),
            _ if line.contains("master_") => value("10.0.0.5"),
            _ if line.contains("good") => value("abc"),
            _ if line.contains("evil") => value("`reboot`"),
            Some((_, wait)) => waited(50, wait.parse().unwrap()),
            None => missing(),
        });
        let gathered = gathered(&mut stage, &["absent", "evil", "good", "gone"]).unwrap();
        let names = |map: Vec<&String>| map.into_iter().cloned().collect::<Vec<_>>().join(" ");
        assert_eq!(names(gathered.values.keys().collect()), "good master_ip");
        assert_eq!(names(gathered.missing.keys().collect()), "absent evil gone");
        assert!(stage.seen().iter().all(|seen| seen.at <= Duration::from_secs(61)), "60 s for all of them");
        assert_eq!(gathered.into_shortfall().unwrap().status(), Status::Nonsense);
    }

    #[test]
    fn names_every_key_that_is_missing() {
        let mut stage = Stage::new(&["pair"], 1500, |line| match line {
            "pair cluster" => done(),
            _ if line.contains("master_") => value("10.0.0.5"),
            _ => missing(),
        });
        let one = gathered(&mut stage, &["absent"]).unwrap().into_shortfall().unwrap();
        assert!(one.to_string().starts_with("there is no key 'absent' yet after"), "{one}");
        let two = gathered(&mut stage, &["absent", "gone"]).unwrap().into_shortfall().unwrap();
        assert!(two.to_string().contains("'absent', 'gone'"), "{two}");
        assert_eq!((one.status(), two.status()), (Status::TimedOut, Status::TimedOut));
    }

    #[test]
    fn looks_for_a_new_master_within_the_time_that_a_cache_allows() {
        let mut stage = Stage::new(&["pair"], 1500, |_| (failed(Kind::Timeout).0, 1000));
        let error = look_for_master(&mut stage.session, Duration::from_secs(3)).unwrap_err();
        assert_eq!(error.status(), Status::Unreachable);
        assert_eq!(stage.session.clock().now(), Duration::from_secs(3));

        let mut stage = Stage::script(1500, vec![("cluster", done()), ("get master_ready", missing())]);
        let error = look_for_master(&mut stage.session, Duration::from_secs(3)).unwrap_err();
        assert_eq!(error.status(), Status::TimedOut);
    }
}
