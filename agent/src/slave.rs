//! What a slave awaits: that its master is ready, then the master's address and the other keys.
//!
//! The rules are in docs/behaviour.md, "Requests".

use std::collections::BTreeMap;
use std::time::Duration;

use protocol::key::{MASTER_IP, MASTER_READY};

use crate::backoff::{Clock, Deadline};
use crate::session::Session;
use client::{Outcome, Request, Service};
use context::value::{self, Origin};
use protocol::error::{Error, Status};

mod gathered;
mod ready;
#[cfg(test)]
mod tests;
mod wait;

pub use gathered::GatheredValues;
pub(crate) use ready::await_master;
pub(crate) use wait::await_key;

/// Longest time for all keys other than `master_ip` together, once the master is ready.
const OTHER_KEYS_LIMIT: Duration = Duration::from_secs(60);
/// Longest time for one look without waiting (`--no-wait`).
const LOOK_LIMIT: Duration = Duration::from_secs(15);
/// Longest time for the look of a slave that has values of an earlier boot, and again for its other keys: a boot without
/// the service must not be held up.
const LOOK_AGAIN_LIMIT: Duration = Duration::from_secs(3);

/// How long a slave that has values of an earlier boot waits for a master that is not ready but has the same address: as
/// long as a machine takes to boot and to be ready, not until one comes back that was shut down for good.
const SAME_MASTER_LIMIT: Duration = Duration::from_secs(300);
/// Awaits the master, then `master_ip` and these keys, as long as the context allows.
///
/// # Errors
/// When there is no `master_ip` to be had: 75 if the master did not become ready, 69 if no service could be reached, 77
/// if the pin is unknown, 76 if what is there is not an address; and 77 if any value does not open. A key that is
/// missing is no error here.
pub fn gather<S: Service, C: Clock>(
    session: &mut Session<S, C>,
    keys: &[String],
) -> Result<GatheredValues, Error> {
    let deadline = session.deadline();
    gather_within(session, keys, &deadline)
}

/// The same, but looks only once.
///
/// # Errors
/// As [`gather`]; 75 when the master is not ready yet.
pub fn gather_once<S: Service, C: Clock>(
    session: &mut Session<S, C>,
    keys: &[String],
) -> Result<GatheredValues, Error> {
    let deadline = Deadline::once(session.clock(), LOOK_LIMIT);
    gather_within(session, keys, &deadline)
}

/// For a slave that has values of an earlier boot, `master_ip` among them: those of today where the service gives them.
/// A service that does not answer leaves the earlier values in force at once. One that answers otherwise, because the
/// master is being replaced, is waited for as at the first boot, and only then are they used; one whose master has the
/// same address and is not ready, for [`SAME_MASTER_LIMIT`]. With `wait` false it is looked at once in any case. Also says
/// how it went.
pub fn gather_again<S: Service, C: Clock>(
    session: &mut Session<S, C>,
    keys: &[String],
    earlier: &BTreeMap<String, String>,
    wait: bool,
) -> (GatheredValues, String) {
    let before = earlier.get(MASTER_IP).map(String::as_str).unwrap_or_default();
    let result = match look_again(session, keys, before) {
        Err(error) if error.status() == Status::TimedOut && wait => {
            log::info!("the service does not confirm that the master is still {before}: {error}");
            gather_after_contradiction(session, keys, before)
        }
        other => other,
    };
    match result {
        Ok(mut gathered) => {
            let address = gathered.values[MASTER_IP].clone();
            if address == before {
                gathered.fill_from(earlier);
                return (gathered, format!("the master is still {address}"));
            }
            // What an earlier boot got was another master's.
            (gathered, format!("the master is now {address}"))
        }
        Err(error) => {
            if error.is_unopened() {
                log::warn!("{error}; {}", error.next_step());
            }
            let how = format!("the values are those of an earlier boot ({error})");
            let absent = |key: &&String| !earlier.contains_key(*key);
            let missing = |key: &String| (key.clone(), unknown_now(key, &error));
            let missing = keys.iter().filter(absent).map(missing).collect();
            (GatheredValues { values: earlier.clone(), missing }, how)
        }
    }
}

/// Awaits a master that is not ready as at the first boot, but one that still has the earlier address only for
/// [`SAME_MASTER_LIMIT`]: nothing says then that the earlier value is wrong.
fn gather_after_contradiction<S: Service, C: Clock>(
    session: &mut Session<S, C>,
    keys: &[String],
    before: &str,
) -> Result<GatheredValues, Error> {
    let deadline = session.deadline();
    let first = deadline.at_most(session.clock(), SAME_MASTER_LIMIT);
    match gather_within(session, keys, &first) {
        Err(error) if error.status() == Status::TimedOut && first != deadline => {
            let request = Request::Get { key: MASTER_IP, wait: 0 };
            match session.ask(&request, &deadline)? {
                Outcome::Value(there) if there == before => Err(error),
                _ => gather_within(session, keys, &deadline),
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

/// Awaits the master and the other keys, and begins again where another master comes meanwhile.
fn gather_within<S: Service, C: Clock>(
    session: &mut Session<S, C>,
    keys: &[String],
    deadline: &Deadline,
) -> Result<GatheredValues, Error> {
    loop {
        let address = await_master(session, deadline)?;
        let others = deadline.at_most(session.clock(), OTHER_KEYS_LIMIT);
        if let Some(gathered) = gather_others(session, address, keys, &others)? {
            return Ok(gathered);
        }
    }
}

/// One look of a slave that had this address at an earlier boot.
fn look_again<S: Service, C: Clock>(
    session: &mut Session<S, C>,
    keys: &[String],
    before: &str,
) -> Result<GatheredValues, Error> {
    let look = Deadline::once(session.clock(), LOOK_AGAIN_LIMIT);
    let address = await_master(session, &look)?;
    let others = if address == before {
        // Other keys may have changed, or come since. They are not worth a wait.
        Deadline::once(session.clock(), LOOK_AGAIN_LIMIT)
    } else {
        session.deadline().at_most(session.clock(), OTHER_KEYS_LIMIT)
    };
    let gathered = gather_others(session, address, keys, &others)?;
    gathered.ok_or_else(|| wait::not_in_time(session, MASTER_READY, &look))
}

/// The master's address and the other keys, as far as they come in time; `None` where another master has replaced it
/// meanwhile, whose keys these may be.
///
/// # Errors
/// 77 for a value that does not open: then nothing that this service answers is used.
fn gather_others<S: Service, C: Clock>(
    session: &mut Session<S, C>,
    address: String,
    keys: &[String],
    deadline: &Deadline,
) -> Result<Option<GatheredValues>, Error> {
    let mut gathered = GatheredValues::default();
    for key in keys.iter().filter(|key| *key != MASTER_IP) {
        let result = await_key(session, key, &format!("waiting for the key '{key}'"), deadline)
            .and_then(|value| value::check(key, &value, Origin::Received).map(|()| value));
        match result {
            Ok(value) => drop(gathered.values.insert(key.clone(), value)),
            Err(error) if error.is_unopened() => return Err(error),
            Err(error) => drop(gathered.missing.insert(key.clone(), error)),
        }
    }
    if !gathered.values.is_empty() {
        match is_still(session, &address, deadline) {
            Ok(true) => {}
            Ok(false) => {
                log::warn!("another master has replaced {address} meanwhile");
                return Ok(None);
            }
            Err(error) if error.is_unopened() => return Err(error),
            Err(error) => gathered.distrust(&error),
        }
    }
    gathered.values.insert(MASTER_IP.to_owned(), address);
    Ok(Some(gathered))
}

/// Whether the address is still the master's, after the other keys have come: a master publishes its own only when its
/// address is there.
fn is_still<S: Service, C: Clock>(
    session: &mut Session<S, C>,
    address: &str,
    deadline: &Deadline,
) -> Result<bool, Error> {
    let deadline = if deadline.is_once() {
        Deadline::once(session.clock(), LOOK_AGAIN_LIMIT)
    } else {
        // The time for the keys may be over.
        Deadline::of(session.clock(), LOOK_LIMIT)
    };
    let there = session.ask(&Request::Get { key: MASTER_IP, wait: 0 }, &deadline)?;
    Ok(there == Outcome::Value(address.to_owned()))
}
