//! What a slave awaits: that its master is ready, then the master's address and the other keys.
//!
//! The rules are in docs/behaviour.md, "Requests".

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use protocol::key::{MASTER_IP, MASTER_READY};

use crate::backoff::{Backoff, Clock, Deadline, LAST_TRY};
use crate::session::{HELD, Session};
use crate::span::in_words;
use client::{Answer, Kind, Outcome, Request, Service};
use context::value::{self, Origin};
use protocol::error::{Error, Status};

/// Longest time for all keys other than `master_ip` together, once the master is ready.
const OTHER_KEYS_LIMIT: Duration = Duration::from_secs(60);
/// Shortest time between the beginnings of two waits on one key.
const WAIT_SPACING: Duration = Duration::from_secs(1);
/// How often a service that does not hold requests is asked whether the pin still exists. One that does is asked after
/// every answer that came too soon.
const CONFIRM_EVERY: Duration = Duration::from_secs(60);
/// Longest time for one look without waiting (`--no-wait`).
const LOOK_LIMIT: Duration = Duration::from_secs(15);
/// Longest time for the look of a slave that has values of an earlier boot, and again for its other keys: a boot without
/// the service must not be held up.
const LOOK_AGAIN_LIMIT: Duration = Duration::from_secs(3);

/// How long a slave that has values of an earlier boot waits for a master that is not ready but has the same address: as
/// long as a machine takes to boot and to be ready, not until one comes back that was shut down for good.
const SAME_MASTER_LIMIT: Duration = Duration::from_secs(300);
/// From which age on it is said since when the master is ready: after a power cut or with a pin that is used again, the
/// machine that said so may be no more.
const NOTABLE_AGE: Duration = Duration::from_secs(60);

/// What a slave got.
#[derive(Debug, Default)]
pub struct Gathered {
    /// The keys that came, among them always `master_ip`; each fit to be substituted.
    pub values: BTreeMap<String, String>,
    /// Why the others did not.
    pub missing: BTreeMap<String, Error>,
}

impl Gathered {
    /// Takes what did not come from an earlier boot.
    fn fill_from(&mut self, earlier: &BTreeMap<String, String>) {
        self.missing.retain(|key, error| {
            let Some(value) = earlier.get(key) else { return true };
            log::warn!("{error}; the value is that of an earlier boot");
            self.values.insert(key.clone(), value.clone());
            false
        });
    }

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
/// if the pin is unknown, 76 if what is there is not an address; and 77 if any value does not open. A key that is
/// missing is no error here.
pub fn gather<S: Service, C: Clock>(session: &mut Session<S, C>, keys: &[String]) -> Result<Gathered, Error> {
    let deadline = session.deadline();
    gather_within(session, keys, &deadline, OTHER_KEYS_LIMIT)
}

/// The same, but looks only once.
///
/// # Errors
/// As [`gather`]; 75 when the master is not ready yet.
pub fn look<S: Service, C: Clock>(session: &mut Session<S, C>, keys: &[String]) -> Result<Gathered, Error> {
    let deadline = Deadline::once(session.clock(), LOOK_LIMIT);
    gather_within(session, keys, &deadline, LOOK_LIMIT)
}

/// For a slave that has values of an earlier boot, `master_ip` among them: those of today where the service gives them.
/// A service that does not answer leaves the earlier values in force at once. One that answers otherwise, because the
/// master is being replaced, is waited for as at the first boot, and only then are they used; one whose master has the
/// same address and is not ready, for [`SAME_MASTER_LIMIT`]. With
/// `wait` false it is looked at once in any case. Also says how it went.
pub fn gather_again<S: Service, C: Clock>(
    session: &mut Session<S, C>,
    keys: &[String],
    earlier: &BTreeMap<String, String>,
    wait: bool,
) -> (Gathered, String) {
    let before = earlier.get(MASTER_IP).map(String::as_str).unwrap_or_default();
    let deadline = Deadline::once(session.clock(), LOOK_AGAIN_LIMIT);
    let result = match await_master(session, &deadline) {
        Ok(address) if address == before => {
            // Other keys may have changed, or come since. They are not worth a wait.
            let deadline = Deadline::once(session.clock(), LOOK_AGAIN_LIMIT);
            gather_others(session, address, keys, &deadline)
        }
        Ok(address) => {
            let deadline = session.deadline().at_most(session.clock(), OTHER_KEYS_LIMIT);
            gather_others(session, address, keys, &deadline)
        }
        Err(error) if error.status() == Status::TimedOut && wait => {
            log::info!("the service does not confirm that the master is still {before}: {error}");
            gather_after_contradiction(session, keys, before)
        }
        Err(error) => Err(error),
    };
    match result {
        Ok(mut gathered) => {
            let address = &gathered.values[MASTER_IP];
            let is = if address == before { "still" } else { "now" };
            let how = format!("the master is {is} {address}");
            gathered.fill_from(earlier);
            (gathered, how)
        }
        Err(error) => {
            if error.is_unopened() {
                log::warn!("{error}; {}", error.next_step());
            }
            let how = format!("the values are those of an earlier boot ({error})");
            let absent = |key: &&String| !earlier.contains_key(*key);
            let missing = |key: &String| (key.clone(), unknown_now(key, &error));
            let missing = keys.iter().filter(absent).map(missing).collect();
            (Gathered { values: earlier.clone(), missing }, how)
        }
    }
}

/// Awaits a master that is not ready as at the first boot, but one that still has the earlier address only for
/// [`SAME_MASTER_LIMIT`]: nothing says then that the earlier value is wrong.
fn gather_after_contradiction<S: Service, C: Clock>(
    session: &mut Session<S, C>,
    keys: &[String],
    before: &str,
) -> Result<Gathered, Error> {
    let deadline = session.deadline();
    let first = deadline.at_most(session.clock(), SAME_MASTER_LIMIT);
    match gather_within(session, keys, &first, OTHER_KEYS_LIMIT) {
        Err(error) if error.status() == Status::TimedOut && first != deadline => {
            let request = Request::Get { key: MASTER_IP, wait: 0 };
            match session.ask(&request, &deadline)? {
                Outcome::Value(there) if there == before => Err(error),
                _ => gather_within(session, keys, &deadline, OTHER_KEYS_LIMIT),
            }
        }
        result => result,
    }
}

/// A key that no earlier boot had, and that the service does not give now.
fn unknown_now(key: &str, why: &Error) -> Error {
    Error::new(
        why.status(),
        format!("there is no value of '{key}' from an earlier boot, and {why}"),
        why.next_step().to_owned(),
    )
}

fn gather_within<S: Service, C: Clock>(
    session: &mut Session<S, C>,
    keys: &[String],
    deadline: &Deadline,
    others: Duration,
) -> Result<Gathered, Error> {
    let address = await_master(session, deadline)?;
    let deadline = deadline.at_most(session.clock(), others);
    gather_others(session, address, keys, &deadline)
}

/// The master's address and the other keys, as far as they come in time.
///
/// # Errors
/// 77 for a value that does not open: then nothing that this service answers is used.
fn gather_others<S: Service, C: Clock>(
    session: &mut Session<S, C>,
    address: String,
    keys: &[String],
    deadline: &Deadline,
) -> Result<Gathered, Error> {
    let mut gathered = Gathered::default();
    gathered.values.insert(MASTER_IP.to_owned(), address);
    for key in keys.iter().filter(|key| *key != MASTER_IP) {
        let result = await_key(session, key, &format!("waiting for the key '{key}'"), deadline)
            .and_then(|value| value::check(key, &value, Origin::Received).map(|()| value));
        match result {
            Ok(value) => drop(gathered.values.insert(key.clone(), value)),
            Err(error) if error.is_unopened() => return Err(error),
            Err(error) => drop(gathered.missing.insert(key.clone(), error)),
        }
    }
    Ok(gathered)
}

/// The address of a master that is ready.
pub(crate) fn await_master<S: Service, C: Clock>(
    session: &mut Session<S, C>,
    deadline: &Deadline,
) -> Result<String, Error> {
    let mut backoff = Backoff::default();
    let mut awaited = "waiting until the master is ready";
    loop {
        let ready = await_key(session, MASTER_READY, awaited, deadline)?;
        let age = session.age();
        let there = session.ask(&Request::Get { key: MASTER_IP, wait: 0 }, deadline)?;
        awaited = match there {
            Outcome::Value(address) if is_ready_for(&ready, &address) => {
                value::check(MASTER_IP, &address, Origin::Received)?;
                if let Some(age) = age.filter(|age| *age >= NOTABLE_AGE) {
                    log::info!("the master has been ready for {}", in_words(age));
                }
                return Ok(address);
            }
            Outcome::Value(_) => "waiting until the master is ready with its new address",
            _ => "the master is ready, but has no master_ip; waiting for it",
        };
        session.say_waiting(awaited, deadline);
        if !session.pause(&mut backoff, deadline) {
            return Err(not_in_time(session, MASTER_READY, deadline));
        }
    }
}

/// Whether a `master_ready` of this value is that of the master at `address`. An old master's value, which is not an
/// address, counts for any, unless it says no.
pub(crate) fn is_ready_for(ready: &str, address: &str) -> bool {
    match ready.parse::<IpAddr>() {
        Ok(ready) => address.parse() == Ok(ready),
        Err(_) => !["no", "off", "false", "0"].iter().any(|no| ready.eq_ignore_ascii_case(no)),
    }
}

/// The value of a key, as it is, once it is there. Has the service hold the request if it knows how to, else polls; says
/// meanwhile what is `awaited`.
pub(crate) fn await_key<S: Service, C: Clock>(
    session: &mut Session<S, C>,
    key: &str,
    awaited: &str,
    deadline: &Deadline,
) -> Result<String, Error> {
    let mut backoff = Backoff::default();
    let mut confirmed = session.clock().now();
    let mut was_absent = false;
    loop {
        session.establish(deadline)?;
        let began = session.clock().now();
        let wait = wait_for(session, deadline);
        if wait > 0 {
            // Before the request, which may be held for most of a minute.
            session.say_waiting(awaited, deadline);
        }
        let request = Request::Get { key, wait };
        let answer = match session.attempt(&request, deadline) {
            Ok(answer) => answer,
            Err(failure) => {
                let now = session.clock().now();
                if was_absent && failure.kind == Kind::Timeout && deadline.left(session.clock()).is_zero() {
                    // The deadline cut the last look short, which says nothing of the service.
                    return Err(not_in_time(session, key, deadline));
                }
                if now.saturating_sub(began) >= HELD {
                    // It was held, then cut off: by a service that was restarted, or by something in between that
                    // does not let a request live so long. Not the first of several failures in a row.
                    backoff.reset();
                }
                session.pause_after(&request, failure, &mut backoff, deadline)?;
                continue;
            }
        };
        let granted = match answer {
            Answer { outcome: Outcome::Value(value), .. } => return Ok(value),
            Answer { granted, .. } => granted,
        };
        was_absent = true;
        let now = session.clock().now();
        let held = now.saturating_sub(began);
        let asked = Duration::from_secs(granted.unwrap_or_default().min(wait));
        let too_soon = granted.is_some() && held + WAIT_SPACING < asked;
        if too_soon || (granted.is_none() && now.saturating_sub(confirmed) >= CONFIRM_EVERY) {
            session.confirm_pin(deadline)?;
            confirmed = now;
        }
        if granted.is_some() && held >= WAIT_SPACING && !too_soon {
            backoff.reset();
            let room = deadline.left(session.clock()).saturating_sub(LAST_TRY);
            if room >= WAIT_SPACING {
                continue;
            }
            if !room.is_zero() {
                // Too short for a wait: look once more just before the deadline.
                session.clock().sleep(room);
                continue;
            }
        } else if session.pause(&mut backoff, deadline) {
            continue;
        }
        return Err(not_in_time(session, key, deadline));
    }
}

/// For how many seconds to have a request held: as long as a service may, but not beyond the last look.
fn wait_for<S: Service, C: Clock>(session: &Session<S, C>, deadline: &Deadline) -> u64 {
    let left = deadline.left(session.clock());
    if deadline.is_once() { 0 } else { left.saturating_sub(LAST_TRY).as_secs().min(session.longest_wait()) }
}

fn absent(key: &str) -> String {
    if key == MASTER_READY {
        "the master is not ready yet".to_owned()
    } else {
        format!("there is no key '{key}' yet")
    }
}

fn not_in_time<S: Service, C: Clock>(session: &Session<S, C>, key: &str, deadline: &Deadline) -> Error {
    let next = if key == MASTER_READY {
        "look at the master's console: it must have the same pin, reach the service and finish its boot"
    } else {
        "look whether the master publishes it (cernvm-cluster-agent publish), and how the context spells it"
    };
    Error::timed_out(&absent(key), deadline.tried(session.clock()), next)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::fake::{FakeSession, Reply, done, failed, missing, value, waited};
    use client::{Kind, SealFault};

    fn gathered(fake: &mut FakeSession, keys: &[&str]) -> Result<Gathered, Error> {
        let keys: Vec<String> = keys.iter().map(|key| (*key).to_owned()).collect();
        gather(&mut fake.session, &keys)
    }

    /// What a slave makes of these values of `master_ready` and `master_ip`, when it looks once.
    fn once(ready: &'static str, address: &'static str) -> Result<String, Error> {
        let script =
            vec![("cluster", done()), ("get master_ready", value(ready)), ("get master_ip", value(address))];
        let mut fake = FakeSession::script(1500, script);
        look(&mut fake.session, &[]).map(|mut gathered| gathered.values.remove("master_ip").unwrap())
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
        failed(Kind::Seal(SealFault::Forged))
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
            ("one that breaks off", || failed(Kind::Connect)),
            ("one that is overloaded", || failed(Kind::Status(503, Some(Duration::ZERO)))),
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
            assert!(
                spacings.iter().all(|spacing| *spacing >= Duration::from_secs(1)),
                "{what}: {spacings:?}"
            );
            assert!(fake.seen().last().unwrap().at < Duration::from_secs(300), "{what}");
        }
    }

    #[test]
    fn goes_on_waiting_when_the_service_was_gone_for_a_while() {
        let mut fake = FakeSession::script(
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
                if cuts < 20 { (failed(Kind::Connect).0, 30) } else { value("10.0.0.5") }
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
                if tries < 12 { (failed(Kind::Timeout).0, 10) } else { value("10.0.0.5") }
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
            || (failed(Kind::Timeout).0, 1000),
            || failed(Kind::Connect),
            || failed(Kind::Html),
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
        assert!(
            (SAME_MASTER_LIMIT.as_secs() - 1..=SAME_MASTER_LIMIT.as_secs() + 3).contains(&same),
            "{same} s"
        );
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
}
