//! The address of a master that is ready.

use std::time::Duration;

use protocol::key::{MASTER_IP, MASTER_READY, is_ready_for};

use super::wait::{await_key, not_in_time};
use crate::backoff::{Backoff, Clock, Deadline};
use crate::session::Session;
use crate::span::in_words;
use client::{Outcome, Request, Service};
use context::value::{self, Origin};
use protocol::error::Error;

/// From which age on it is said since when the master is ready: after a power cut or with a pin that is used again, the
/// machine that said so may be no more.
const NOTABLE_AGE: Duration = Duration::from_secs(60);

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
