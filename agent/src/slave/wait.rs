//! The wait for one key: held by the service, or by polling.

use std::time::Duration;

use protocol::key::MASTER_READY;

use crate::backoff::{Backoff, Clock, Deadline, LAST_TRY};
use crate::session::{HELD, Session};
use client::{Answer, FailureKind, Outcome, Request, Service};
use protocol::error::Error;

/// Shortest time between the beginnings of two waits on one key.
const WAIT_SPACING: Duration = Duration::from_secs(1);
/// How often a service that does not hold requests is asked whether the pin still exists. One that does is asked after
/// every answer that came too soon.
const CONFIRM_EVERY: Duration = Duration::from_secs(60);

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
                if was_absent
                    && failure.kind == FailureKind::Timeout
                    && deadline.left(session.clock()).is_zero()
                {
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

pub(super) fn not_in_time<S: Service, C: Clock>(
    session: &Session<S, C>,
    key: &str,
    deadline: &Deadline,
) -> Error {
    let next = if key == MASTER_READY {
        "look at the master's console: it must have the same pin, reach the service and finish its boot"
    } else {
        "look whether the master publishes it (cernvm-cluster-agent publish), and how the context spells it"
    };
    Error::timed_out(&absent(key), deadline.tried(session.clock()), next)
}
