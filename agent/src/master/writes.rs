//! How a master writes under the pin, where other programs may write too.

use std::net::IpAddr;

use protocol::key::{MASTER_IP, MASTER_READY};

use crate::backoff::{Backoff, Clock, Deadline};
use crate::session::Session;
use client::{Outcome, Request, Service};
use protocol::error::Error;

/// Deletes what another program put in the place of this cluster's values, which no slave would take.
pub(super) fn delete_unopened<S: Service, C: Clock>(
    session: &mut Session<S, C>,
    deadline: &Deadline,
) -> Result<(), Error> {
    for key in [MASTER_READY, MASTER_IP] {
        match session.ask(&Request::Get { key, wait: 0 }, deadline) {
            Err(error) if error.is_unopened() => {
                log::warn!("{error}; deleting it");
                session.ask(&Request::Delete { key }, deadline)?;
            }
            other => drop(other?),
        }
    }
    Ok(())
}

/// Puts the address in place of the other one. False when that went meanwhile.
pub(super) fn replace<S: Service, C: Clock>(
    session: &mut Session<S, C>,
    other: &str,
    address: IpAddr,
    deadline: &Deadline,
) -> Result<bool, Error> {
    // Before master_ip changes, or a slave could take the old "ready" for the new address.
    if write_while(session, other, &Request::Delete { key: MASTER_READY }, deadline)?.is_none() {
        return Ok(false);
    }
    let replace = Request::Replace { key: MASTER_IP, value: &address.to_string() };
    Ok(write_while(session, other, &replace, deadline)? == Some(Outcome::Done))
}

/// Writes while `master_ip` is still what was `seen` there; `None` when it has changed. The API has no conditional writes,
/// so this looks just before each try: the one before may have taken minutes to fail.
pub(super) fn write_while<S: Service, C: Clock>(
    session: &mut Session<S, C>,
    seen: &str,
    request: &Request<'_>,
    deadline: &Deadline,
) -> Result<Option<Outcome>, Error> {
    let mut backoff = Backoff::default();
    loop {
        match session.ask(&Request::Get { key: MASTER_IP, wait: 0 }, deadline)? {
            Outcome::Value(there) if there == seen => {}
            _ => return Ok(None),
        }
        match session.attempt(request, deadline) {
            Ok(answer) => return Ok(Some(answer.outcome)),
            Err(failure) => session.pause_after(request, failure, &mut backoff, deadline)?,
        }
    }
}

/// Creates a key, or changes it where it exists. False when it was deleted in between, or the pin is gone.
pub(crate) fn put<S: Service, C: Clock>(
    session: &mut Session<S, C>,
    key: &str,
    value: &str,
    deadline: &Deadline,
) -> Result<bool, Error> {
    match session.ask(&Request::Create { key, value }, deadline)? {
        Outcome::Done => Ok(true),
        Outcome::Exists => Ok(session.ask(&Request::Replace { key, value }, deadline)? == Outcome::Done),
        _ => Ok(false),
    }
}

/// After a 404 where the pin or a key was expected: ends if the pin is gone, else pauses before another look.
pub(crate) fn look_again<S: Service, C: Clock>(
    session: &mut Session<S, C>,
    backoff: &mut Backoff,
    deadline: &Deadline,
) -> Result<(), Error> {
    session.confirm_pin(deadline)?;
    if session.pause(backoff, deadline) {
        return Ok(());
    }
    Err(Error::nonsense(
        session.service_name(),
        "404 to a write under a pin that it knows",
        "look whether another master or a script changes the keys of this pin",
    ))
}
