//! What a master tells the service: its address while it boots, and that it is ready once it has booted.
//!
//! The rules are DESIGN's "Master" and "Ready". That a slave never gets an address that is not ready depends on the
//! order of the requests here and in `slave.rs`; `interleavings.rs` plays every order of them.

use std::net::IpAddr;
use std::time::Duration;

use protocol::key::{MASTER_IP, MASTER_READY};

use crate::address;
use crate::backoff::{Backoff, Clock, Patience};
use crate::client::{Outcome, Request, Service};
use crate::error::Error;
use crate::session::Session;
use crate::settings::AddressRule;

/// How long a booting master tries: the boot must go on, and `master-ready` makes up for it later.
const PUSH_LIMIT: Duration = Duration::from_secs(30);
/// Most characters that are shown of an address which somebody else put under the pin.
const SHOWN: usize = 64;

/// At boot: puts the master's address under the pin, and gives it back. A master that replaces another one withdraws
/// the other's `master_ready` first.
///
/// # Errors
/// As [`Session::ask`]; 65 when no address fits the context's rule.
pub fn push<S: Service, C: Clock>(session: &mut Session<S, C>, rule: &AddressRule) -> Result<IpAddr, Error> {
    let patience = session.patience().at_most(session.clock(), PUSH_LIMIT);
    let address = own_address(session, rule, &patience)?;
    push_address(session, address, &patience)?;
    Ok(address)
}

/// After the boot: makes sure that the master's address is under the pin, says that it is ready, and gives it back.
///
/// # Errors
/// 76 when another address is there, which stays; otherwise as [`push`].
pub fn ready<S: Service, C: Clock>(session: &mut Session<S, C>, rule: &AddressRule) -> Result<IpAddr, Error> {
    let patience = session.patience();
    let address = own_address(session, rule, &patience)?;
    ready_address(session, address, &patience)?;
    Ok(address)
}

fn own_address<S: Service, C: Clock>(
    session: &mut Session<S, C>,
    rule: &AddressRule,
    patience: &Patience,
) -> Result<IpAddr, Error> {
    session.establish(patience)?;
    let chosen = address::choose(rule, session.reached())?;
    log::info!("this master's address is {chosen}");
    Ok(chosen.address)
}

/// What is under the pin once [`claim`] has asked for a place there.
enum Claim {
    /// This master's address.
    Ours,
    /// Another address.
    Others(String),
}

pub(crate) fn push_address<S: Service, C: Clock>(
    session: &mut Session<S, C>,
    address: IpAddr,
    patience: &Patience,
) -> Result<(), Error> {
    let value = address.to_string();
    let mut backoff = Backoff::default();
    loop {
        match claim(session, address, patience)? {
            Claim::Ours => return Ok(()),
            Claim::Others(other) => {
                log::warn!("master_ip was {}: this master, {value}, takes its place", shown(&other));
                // Before master_ip changes, or a slave could take the old "ready" for the new address.
                session.ask(&Request::Delete { key: MASTER_READY }, patience)?;
                let replace = Request::Replace { key: MASTER_IP, value: &value };
                if session.ask(&replace, patience)? == Outcome::Done {
                    return Ok(());
                }
            }
        }
        // It was there, and then it was not: somebody else is changing it.
        look_again(session, &mut backoff, patience)?;
    }
}

pub(crate) fn ready_address<S: Service, C: Clock>(
    session: &mut Session<S, C>,
    address: IpAddr,
    patience: &Patience,
) -> Result<(), Error> {
    let value = address.to_string();
    let mut backoff = Backoff::default();
    loop {
        if let Claim::Others(other) = claim(session, address, patience)? {
            return Err(taken(session, address, &other));
        }
        let before = match session.ask(&Request::Create { key: MASTER_READY, value: &value }, patience)? {
            Outcome::Exists => session.ask(&Request::Get { key: MASTER_READY, wait: 0 }, patience)?,
            other => other,
        };
        let written = match &before {
            Outcome::Done => true,
            Outcome::Value(there) if is(there, address) => true,
            Outcome::Value(_) => {
                let replace = Request::Replace { key: MASTER_READY, value: &value };
                session.ask(&replace, patience)? == Outcome::Done
            }
            Outcome::Missing | Outcome::Exists => false,
        };
        if written {
            match session.ask(&Request::Get { key: MASTER_IP, wait: 0 }, patience)? {
                Outcome::Value(there) if is(&there, address) => return Ok(()),
                Outcome::Value(other) => {
                    // Another master came in between. If it was ready, its slaves wait for what was overwritten here.
                    if before == Outcome::Value(other.clone()) {
                        let give_back = Request::Replace { key: MASTER_READY, value: &other };
                        session.ask(&give_back, patience)?;
                    }
                    return Err(taken(session, address, &other));
                }
                _ => {}
            }
        }
        look_again(session, &mut backoff, patience)?;
    }
}

/// Whether a value is this address, however it is written.
fn is(value: &str, address: IpAddr) -> bool {
    value.parse() == Ok(address)
}

/// Another master's address is where this one's should be.
fn taken<S: Service, C: Clock>(session: &Session<S, C>, address: IpAddr, other: &str) -> Error {
    Error::Nonsense {
        service: session.service_name(),
        problem: format!("that master_ip is {}, while this master's address is {address}", shown(other)),
        next: "another master has this pin: give it a pin of its own, or reboot this one to take its place"
            .to_owned(),
    }
}

/// Puts the address under the pin, unless one is there.
fn claim<S: Service, C: Clock>(
    session: &mut Session<S, C>,
    address: IpAddr,
    patience: &Patience,
) -> Result<Claim, Error> {
    let value = address.to_string();
    let mut backoff = Backoff::default();
    loop {
        match session.ask(&Request::Create { key: MASTER_IP, value: &value }, patience)? {
            Outcome::Done => return Ok(Claim::Ours),
            Outcome::Exists => match session.ask(&Request::Get { key: MASTER_IP, wait: 0 }, patience)? {
                Outcome::Value(there) if there == value || there.parse() == Ok(address) => {
                    return Ok(Claim::Ours);
                }
                Outcome::Value(there) => return Ok(Claim::Others(there)),
                _ => {}
            },
            _ => {}
        }
        look_again(session, &mut backoff, patience)?;
    }
}

/// Creates a key, or changes it where it exists. False when it was deleted in between, or the pin is gone.
pub(crate) fn put<S: Service, C: Clock>(
    session: &mut Session<S, C>,
    key: &str,
    value: &str,
    patience: &Patience,
) -> Result<bool, Error> {
    match session.ask(&Request::Create { key, value }, patience)? {
        Outcome::Done => Ok(true),
        Outcome::Exists => Ok(session.ask(&Request::Replace { key, value }, patience)? == Outcome::Done),
        _ => Ok(false),
    }
}

/// After a 404 where the pin or a key was expected: ends if the pin is gone, else pauses before another look.
pub(crate) fn look_again<S: Service, C: Clock>(
    session: &mut Session<S, C>,
    backoff: &mut Backoff,
    patience: &Patience,
) -> Result<(), Error> {
    session.confirm_pin(patience)?;
    if session.pause(backoff, patience) {
        return Ok(());
    }
    Err(Error::Nonsense {
        service: session.service_name(),
        problem: "404 to a write under a pin that it knows".to_owned(),
        next: "look whether another master or a script changes the keys of this pin".to_owned(),
    })
}

/// Somebody else's address, fit for a console.
fn shown(other: &str) -> String {
    other.chars().filter(|c| !c.is_control()).take(SHOWN).collect()
}
