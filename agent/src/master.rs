//! What a master tells the service: its address while it boots, and that it is ready once it has booted.
//!
//! The rules are in docs/behaviour.md, "Requests". That a slave never gets an address that is not ready depends on the
//! order of the requests here and in `slave.rs`; `interleavings.rs` plays every order of them.

use std::net::IpAddr;
use std::time::Duration;

use protocol::key::{MASTER_IP, MASTER_READY};

use crate::address;
use crate::backoff::{Backoff, Clock, Patience};
use crate::session::Session;
use client::{Outcome, Request, Service};
use context::settings::AddressRule;
use protocol::error::Error;

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
    Error::nonsense(
        session.service_name(),
        format!("that master_ip is {}, while this master's address is {address}", shown(other)),
        "another master has this pin: give it a pin of its own, or reboot this one to take its place",
    )
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
    Err(Error::nonsense(
        session.service_name(),
        "404 to a write under a pin that it knows",
        "look whether another master or a script changes the keys of this pin",
    ))
}

/// Somebody else's address, fit for a console.
fn shown(other: &str) -> String {
    other.chars().filter(|c| !c.is_control()).take(SHOWN).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::fake::{Reply, Stage, done, exists, failed, missing, value};
    use client::Kind;
    use protocol::error::Status;

    const RULE: AddressRule = AddressRule::Literal(IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 5)));

    /// Boots a master at 10.0.0.5 with a service that is asked exactly this.
    fn pushed(script: Vec<(&'static str, Reply)>) -> Result<IpAddr, Error> {
        push(&mut Stage::script(1500, script).session, &RULE)
    }

    /// The same master after its boot.
    fn readied(script: Vec<(&'static str, Reply)>) -> Result<IpAddr, Error> {
        ready(&mut Stage::script(1500, script).session, &RULE)
    }

    #[test]
    fn pushes_its_address() {
        let script = vec![("cluster", done()), ("create master_ip=10.0.0.5", done())];
        assert_eq!(pushed(script).unwrap().to_string(), "10.0.0.5");
    }

    #[test]
    fn is_content_with_its_own_address_from_an_earlier_try() {
        pushed(vec![
            ("cluster", done()),
            ("create master_ip=10.0.0.5", failed(Kind::Timeout)),
            ("create master_ip=10.0.0.5", exists()),
            ("get master_ip", value("10.0.0.5")),
        ])
        .unwrap();
    }

    #[test]
    fn withdraws_ready_before_it_takes_another_masters_place() {
        for withdrawn in [done(), missing()] {
            pushed(vec![
                ("cluster", done()),
                ("create master_ip=10.0.0.5", exists()),
                ("get master_ip", value("10.0.0.4")),
                ("delete master_ready", withdrawn),
                ("replace master_ip=10.0.0.5", done()),
            ])
            .unwrap();
        }
    }

    #[test]
    fn begins_again_when_the_other_address_goes_meanwhile() {
        pushed(vec![
            ("cluster", done()),
            ("create master_ip=10.0.0.5", exists()),
            ("get master_ip", missing()),
            ("cluster", done()),
            ("create master_ip=10.0.0.5", exists()),
            ("get master_ip", value("10.0.0.4")),
            ("delete master_ready", done()),
            ("replace master_ip=10.0.0.5", missing()),
            ("cluster", done()),
            ("create master_ip=10.0.0.5", done()),
        ])
        .unwrap();
    }

    #[test]
    fn ends_at_once_when_the_pin_is_gone() {
        let error = pushed(vec![
            ("cluster", done()),
            ("create master_ip=10.0.0.5", missing()),
            ("cluster", missing()),
        ])
        .unwrap_err();
        assert_eq!(error.status(), Status::Refused);
    }

    #[test]
    fn lets_the_boot_go_on_after_thirty_seconds() {
        let mut stage = Stage::new(&["pair"], 1500, |_| failed(Kind::Connect));
        assert_eq!(push(&mut stage.session, &RULE).unwrap_err().status(), Status::Unreachable);
        assert!(stage.session.clock().now() <= PUSH_LIMIT);
        let mut stage = Stage::new(&["pair"], 1500, |_| (failed(Kind::Timeout).0, 1000));
        assert_eq!(push(&mut stage.session, &RULE).unwrap_err().status(), Status::Unreachable);
        assert!(stage.session.clock().now() <= PUSH_LIMIT);
    }

    #[test]
    fn says_that_it_is_ready_once_its_address_is_there() {
        readied(vec![
            ("cluster", done()),
            ("create master_ip=10.0.0.5", done()),
            ("create master_ready=10.0.0.5", done()),
            ("get master_ip", value("10.0.0.5")),
        ])
        .unwrap();
    }

    #[test]
    fn renews_ready_of_an_earlier_boot_and_of_an_old_master() {
        readied(vec![
            ("cluster", done()),
            ("create master_ip=10.0.0.5", exists()),
            ("get master_ip", value("10.0.0.5")),
            ("create master_ready=10.0.0.5", exists()),
            ("get master_ready", value("10.0.0.5")),
            ("get master_ip", value("10.0.0.5")),
        ])
        .unwrap();
        readied(vec![
            ("cluster", done()),
            ("create master_ip=10.0.0.5", exists()),
            ("get master_ip", value("10.0.0.5")),
            ("create master_ready=10.0.0.5", exists()),
            ("get master_ready", value("yes")),
            ("replace master_ready=10.0.0.5", done()),
            ("get master_ip", value("10.0.0.5")),
        ])
        .unwrap();
    }

    #[test]
    fn overwrites_nothing_of_another_master() {
        let error = readied(vec![
            ("cluster", done()),
            ("create master_ip=10.0.0.5", exists()),
            ("get master_ip", value("10.0.0.4")),
        ])
        .unwrap_err();
        assert_eq!(error.status(), Status::Nonsense);
        let text = error.to_string();
        assert!(text.contains("10.0.0.4") && text.contains("10.0.0.5"), "{text}");
    }

    #[test]
    fn gives_back_what_it_took_from_a_master_that_came_in_between() {
        let beginning = || {
            vec![
                ("cluster", done()),
                ("create master_ip=10.0.0.5", done()),
                ("create master_ready=10.0.0.5", exists()),
            ]
        };
        let mut ready = beginning();
        ready.extend([
            ("get master_ready", value("10.0.0.4")),
            ("replace master_ready=10.0.0.5", done()),
            ("get master_ip", value("10.0.0.4")),
            ("replace master_ready=10.0.0.4", done()),
        ]);
        assert_eq!(readied(ready).unwrap_err().status(), Status::Nonsense);
        // An old value would make the other master ready before it is.
        let mut old = beginning();
        old.extend([
            ("get master_ready", value("yes")),
            ("replace master_ready=10.0.0.5", done()),
            ("get master_ip", value("10.0.0.4")),
        ]);
        assert_eq!(readied(old).unwrap_err().status(), Status::Nonsense);
    }

    #[test]
    fn shows_nothing_that_could_steer_a_console() {
        assert_eq!(shown("10.0.0.4\u{1b}[2J\n"), "10.0.0.4[2J");
        assert_eq!(shown(&"x".repeat(1000)).len(), SHOWN);
    }
}
