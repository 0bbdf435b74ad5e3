//! What a slave awaits: that its master is ready, then the master's address and the other keys.
//!
//! The rules are DESIGN's "Ready", "404", "Pace" and "Several keys".

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use protocol::key::{MASTER_IP, MASTER_READY};
use protocol::wait;

use crate::backoff::{Backoff, Clock, Patience};
use crate::client::{Answer, Outcome, Request, Service};
use crate::error::Error;
use crate::session::Session;
use crate::value::{self, Origin};

/// Longest time for all keys other than `master_ip` together, once the master is ready.
const OTHER_KEYS_LIMIT: Duration = Duration::from_secs(60);
/// Shortest time between the beginnings of two waits on one key.
const WAIT_SPACING: Duration = Duration::from_secs(1);
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
            self.missing.into_iter().partition(|(_, error)| matches!(error, Error::UnsafeValue { .. }));
        let names: Vec<String> = absent.iter().map(|(key, _)| format!("'{key}'")).collect();
        let first = unsafe_values.into_iter().chain(absent).next();
        first.map(|(_, error)| match error {
            Error::TimedOut { tried, next, .. } => {
                Error::TimedOut { what: format!("no keys {} under the pin", names.join(", ")), tried, next }
            }
            other => other,
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
        let result = await_key(session, key, &patience)
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
    loop {
        let ready = await_key(session, MASTER_READY, patience)?;
        let there = session.ask(&Request::Get { key: MASTER_IP, wait: 0 }, patience)?;
        let not_yet = match there {
            Outcome::Value(address) if is_ready_for(&ready, &address) => {
                value::check(MASTER_IP, &address, Origin::Received)?;
                return Ok(address);
            }
            Outcome::Value(_) => "the master is not ready yet with its new address",
            _ => "the master is ready, but has no master_ip",
        };
        session.say_waiting(not_yet, patience);
        if !session.pause(&mut backoff, patience) {
            return Err(not_in_time(session, MASTER_READY, patience));
        }
    }
}

/// Whether a `master_ready` of this value is that of the master at `address`. An old master's value, which is not an
/// address, counts for any.
fn is_ready_for(ready: &str, address: &str) -> bool {
    match ready.parse::<IpAddr>() {
        Ok(ready) => address.parse() == Ok(ready),
        Err(_) => true,
    }
}

/// The value of a key, as it is, once it is there. Has the service hold the request if it knows how to, else polls.
pub(crate) fn await_key<S: Service, C: Clock>(
    session: &mut Session<S, C>,
    key: &str,
    patience: &Patience,
) -> Result<String, Error> {
    session.establish(patience)?;
    let mut backoff = Backoff::default();
    let mut confirmed = session.clock().now();
    loop {
        let began = session.clock().now();
        let wait = wait_for(patience, patience.left(session.clock()));
        let answer = match session.attempt(&Request::Get { key, wait }, patience) {
            Ok(answer) => answer,
            Err(failure) => {
                session.pause_after(failure, &mut backoff, patience)?;
                continue;
            }
        };
        let granted = match answer {
            Answer { outcome: Outcome::Value(value), .. } => return Ok(value),
            Answer { granted, .. } => granted,
        };
        session.say_waiting(&absent(key), patience);
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
    Error::TimedOut { what: absent(key), tried: patience.tried(session.clock()), next: next.to_owned() }
}
