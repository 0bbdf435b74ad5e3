//! What a master tells the service: its address while it boots, that it is ready once it has booted, and that it is not
//! any more when it shuts down.
//!
//! The rules are in docs/behaviour.md, "Requests". That a slave never gets an address that is not ready depends on the
//! order of the requests here and in `slave.rs`; `interleavings/` plays every order of them.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use protocol::key::{MASTER_IP, MASTER_READY, is_ready_for};

use crate::address::{self, ChosenAddress};
use crate::backoff::{Backoff, Clock, Deadline};
use crate::session::Session;
use client::{Outcome, Reached, Request, Service};
use context::settings::AddressRule;
use protocol::error::Error;

mod earlier_ready;
mod record;
mod refusals;
mod writes;

pub use record::{MasterRecord, RecordStore, UnsavedRecord};
use refusals::{clone_of_master, replaced, shown};
pub(crate) use writes::look_again;
use writes::{delete_unopened, put, replace, write_while};

/// How long a booting master tries. The boot must go on; `master-ready` tries again later.
const PUSH_LIMIT: Duration = Duration::from_secs(30);
/// How long a master that shuts down tries to withdraw its readiness.
const WITHDRAW_LIMIT: Duration = Duration::from_secs(5);
/// A master, with what it knows of itself.
pub struct Master<'a> {
    /// Which address it pushes.
    pub rule: &'a AddressRule,
    /// The addresses that this machine holds and others can reach. One of these under the pin is its own as long as it
    /// does not remember what it has put there.
    pub machine: Vec<IpAddr>,
    /// The kernel's number of this boot; `None` where it cannot be read.
    pub boot: Option<String>,
    /// When this boot began; `None` where the system does not say.
    pub booted: Option<Instant>,
    /// Whether it takes the cluster back from a master that has replaced it.
    pub force: bool,
    /// What it remembers of earlier boots.
    pub memory: &'a mut dyn RecordStore,
}

/// What is under the pin once [`Master::claim`] has asked for a place there.
enum Claim {
    /// This master's address, as it is written there.
    Ours(String),
    /// Another address that this machine has put there, perhaps at an earlier boot.
    OursBefore(String),
    /// An address of another master.
    Others(String),
}

impl Master<'_> {
    /// At boot: puts the master's address under the pin, and gives it back. A master that replaces another one, or that
    /// has another address than before, withdraws `master_ready` first.
    ///
    /// # Errors
    /// 76 when this master was replaced by another one, which stays; 65 when no address fits the context's rule;
    /// otherwise as [`Session::ask`].
    pub fn push<S: Service, C: Clock>(&mut self, session: &mut Session<S, C>) -> Result<IpAddr, Error> {
        let deadline = session.deadline().at_most(session.clock(), PUSH_LIMIT);
        session.establish(&deadline)?;
        let address = self.decide(session.reached())?;
        self.push_address(session, address, &deadline)?;
        Ok(address)
    }

    /// After the boot: makes sure that the master's address is under the pin, says that it is ready, and gives it back.
    ///
    /// With `force` it deletes a value there that does not open.
    ///
    /// # Errors
    /// 76 when another master's address is there, which stays; otherwise as [`Master::push`].
    pub fn ready<S: Service, C: Clock>(&mut self, session: &mut Session<S, C>) -> Result<IpAddr, Error> {
        let deadline = session.deadline();
        let address = self.address(session, &deadline)?;
        if self.force {
            // Before master_ready goes: should the machine lose power, its next boot must end what this run begins.
            self.remember(|record| record.forced = true);
        }
        match self.ready_address(session, address, &deadline) {
            Err(error) if self.force && error.is_unopened() => {
                delete_unopened(session, &deadline)?;
                self.ready_address(session, address, &deadline)?;
            }
            other => other?,
        }
        Ok(address)
    }

    /// The address that its slaves go to, which the way to the service decides where no setting does.
    ///
    /// # Errors
    /// As [`Session::establish`], and as [`Master::decide`].
    pub fn address<S: Service, C: Clock>(
        &mut self,
        session: &mut Session<S, C>,
        deadline: &Deadline,
    ) -> Result<IpAddr, Error> {
        session.establish(deadline)?;
        self.decide(session.reached())
    }

    /// At shutdown: says that it is not ready any more, unless another master has taken its place. Whether there was
    /// something to withdraw.
    ///
    /// # Errors
    /// As [`Session::ask`].
    pub fn withdraw<S: Service, C: Clock>(&mut self, session: &mut Session<S, C>) -> Result<bool, Error> {
        let deadline = session.deadline().at_most(session.clock(), WITHDRAW_LIMIT);
        let there = match session.ask(&Request::Get { key: MASTER_IP, wait: 0 }, &deadline)? {
            Outcome::Value(there) => there,
            _ => return Ok(false),
        };
        if !self.is_own(&there) {
            return Ok(false);
        }
        let ready = match session.ask(&Request::Get { key: MASTER_READY, wait: 0 }, &deadline)? {
            Outcome::Value(ready) => ready,
            _ => return Ok(false),
        };
        if !is_ready_for(&ready, &there) {
            return Ok(false);
        }
        let delete = Request::Delete { key: MASTER_READY };
        let withdrawn = write_while(session, &there, &delete, &deadline)? == Some(Outcome::Done);
        self.remember(|record| record.ready_in = None);
        Ok(withdrawn)
    }

    /// Before this master publishes a key: makes sure that the cluster is not another master's, whose slaves would get the
    /// value.
    ///
    /// # Errors
    /// 76 when it is; otherwise as [`Session::ask`].
    pub fn may_publish<S: Service, C: Clock>(
        &self,
        session: &mut Session<S, C>,
        deadline: &Deadline,
    ) -> Result<(), Error> {
        session.establish(deadline)?;
        let address = match &self.memory.record().decided {
            Some((boot, address)) if Some(boot) == self.boot.as_ref() => *address,
            _ => address::choose(self.rule, session.reached())?.address,
        };
        match session.ask(&Request::Get { key: MASTER_IP, wait: 0 }, deadline)? {
            Outcome::Value(there) if !is(&there, address) && !self.is_own(&there) => {
                Err(self.taken(session, address, &there))
            }
            _ => Ok(()),
        }
    }

    /// The master's address for this boot: what was decided first stays, since the master's own files name it.
    ///
    /// # Errors
    /// 65 when no address of this machine fits the rule, 74 when the machine's addresses cannot be read.
    pub fn decide(&mut self, reached: Option<Reached>) -> Result<IpAddr, Error> {
        let chosen = address::choose(self.rule, reached)?;
        let address = self.stay_with_decision(&chosen);
        if let Some(boot) = self.boot.clone() {
            self.remember(|record| record.decided = Some((boot, address)));
        }
        Ok(address)
    }

    fn stay_with_decision(&self, chosen: &ChosenAddress) -> IpAddr {
        let decided = self.memory.record().decided.as_ref();
        match decided.filter(|(boot, _)| Some(boot) == self.boot.as_ref()).map(|(_, address)| *address) {
            Some(address) if address == chosen.address => address,
            Some(address) if self.machine.contains(&address) => {
                log::warn!(
                    "this master's address stays {address}, which its own files have since early in this boot, \
                     though it would now be {chosen}"
                );
                address
            }
            Some(address) => {
                log::warn!(
                    "this master's own files name {address}, which this machine has no longer; its address is now \
                     {chosen}: reboot it to have one address in both"
                );
                chosen.address
            }
            None => {
                log::info!("this master's address is {chosen}");
                chosen.address
            }
        }
    }

    pub(crate) fn push_address<S: Service, C: Clock>(
        &mut self,
        session: &mut Session<S, C>,
        address: IpAddr,
        deadline: &Deadline,
    ) -> Result<(), Error> {
        let mut backoff = Backoff::default();
        loop {
            match self.claim(session, address, deadline)? {
                Claim::Ours(there) => {
                    self.withdraw_earlier_ready(session, address, &there, deadline)?;
                    return self.finish_push(session, address, deadline);
                }
                Claim::Others(other) if self.yields() => return Err(self.taken(session, address, &other)),
                Claim::OursBefore(other) => {
                    log::info!("master_ip was {}, this machine's too: it is now {address}", shown(&other));
                    self.note_original_ready(session, &other, deadline)?;
                    if replace(session, &other, address, deadline)? {
                        return self.finish_push(session, address, deadline);
                    }
                }
                Claim::Others(other) => {
                    log::warn!("master_ip was {}: this master, {address}, takes its place", shown(&other));
                    if replace(session, &other, address, deadline)? {
                        return self.finish_push(session, address, deadline);
                    }
                }
            }
            // It was there, and then it was not: another program is changing it.
            look_again(session, &mut backoff, deadline)?;
        }
    }

    pub(crate) fn ready_address<S: Service, C: Clock>(
        &mut self,
        session: &mut Session<S, C>,
        address: IpAddr,
        deadline: &Deadline,
    ) -> Result<(), Error> {
        let value = address.to_string();
        let mut backoff = Backoff::default();
        loop {
            match self.claim(session, address, deadline)? {
                Claim::Ours(_) => {}
                Claim::Others(other) if !self.is_forced() => return Err(self.taken(session, address, &other)),
                Claim::OursBefore(other) | Claim::Others(other) => {
                    log::warn!("master_ip was {}: it is now this master's {address}", shown(&other));
                    if !replace(session, &other, address, deadline)? {
                        look_again(session, &mut backoff, deadline)?;
                        continue;
                    }
                }
            }
            // Before the request: should the machine lose power after it, the next boot must withdraw it.
            let boot = self.boot.clone();
            self.remember(|record| record.ready_in = boot);
            let before = match session.ask(&Request::Create { key: MASTER_READY, value: &value }, deadline)? {
                Outcome::Exists => session.ask(&Request::Get { key: MASTER_READY, wait: 0 }, deadline)?,
                other => other,
            };
            let written = match &before {
                Outcome::Done => true,
                Outcome::Value(there) if is(there, address) => true,
                Outcome::Value(_) => {
                    let replace = Request::Replace { key: MASTER_READY, value: &value };
                    write_while(session, &value, &replace, deadline)? == Some(Outcome::Done)
                }
                Outcome::Missing | Outcome::Exists | Outcome::Nodes(_) | Outcome::Unchanged => false,
            };
            if written {
                match session.ask(&Request::Get { key: MASTER_IP, wait: 0 }, deadline)? {
                    Outcome::Value(there) if is(&there, address) => {
                        self.remember(|record| {
                            record.confirm(address);
                            record.original_ready = false;
                        });
                        return Ok(());
                    }
                    Outcome::Value(other) => {
                        // Another master came in between. If it was ready, its slaves wait for what was overwritten.
                        if before == Outcome::Value(other.clone()) {
                            let give_back = Request::Replace { key: MASTER_READY, value: &other };
                            write_while(session, &other, &give_back, deadline)?;
                        }
                        return Err(self.taken(session, address, &other));
                    }
                    _ => {}
                }
            }
            look_again(session, &mut backoff, deadline)?;
        }
    }

    /// Puts the address under the pin, unless one is there.
    fn claim<S: Service, C: Clock>(
        &mut self,
        session: &mut Session<S, C>,
        address: IpAddr,
        deadline: &Deadline,
    ) -> Result<Claim, Error> {
        // Before the request: should the machine lose power after it, the next boot must know whose address is there.
        self.remember(|record| record.intend(address));
        let value = address.to_string();
        let mut backoff = Backoff::default();
        loop {
            match session.ask(&Request::Create { key: MASTER_IP, value: &value }, deadline)? {
                Outcome::Done => return Ok(Claim::Ours(value)),
                Outcome::Exists => match session.ask(&Request::Get { key: MASTER_IP, wait: 0 }, deadline)? {
                    Outcome::Value(there) if is(&there, address) => return Ok(Claim::Ours(there)),
                    Outcome::Value(there) if self.is_own(&there) => return Ok(Claim::OursBefore(there)),
                    Outcome::Value(there) => return Ok(Claim::Others(there)),
                    _ => {}
                },
                _ => {}
            }
            look_again(session, &mut backoff, deadline)?;
        }
    }

    /// Whether an address under the pin was put there by this machine. One that remembers what it has put there goes by
    /// that: many machines hold the same address, such as that of docker0.
    fn is_own(&self, there: &str) -> bool {
        let record = self.memory.record();
        let is_own = |there| record.is_own(there) || (!self.remembers() && self.machine.contains(&there));
        there.parse().is_ok_and(is_own)
    }

    /// Whether it knows what it has put under the pin at earlier boots.
    fn remembers(&self) -> bool {
        let record = self.memory.record();
        record.was_confirmed() || record.cloned
    }

    /// Whether a person has told it to take the cluster, now or in a run that did not get to its end.
    fn is_forced(&self) -> bool {
        self.force || self.memory.record().forced
    }

    /// Whether this master leaves the cluster to another one whose address is there. That one came later if the service
    /// has confirmed this one's address before. A clone does not replace its original.
    fn yields(&self) -> bool {
        !self.is_forced() && self.remembers()
    }

    fn finish_push<S: Service, C: Clock>(
        &mut self,
        session: &mut Session<S, C>,
        address: IpAddr,
        deadline: &Deadline,
    ) -> Result<(), Error> {
        self.remember(|record| record.confirm(address));
        if self.memory.record().original_ready {
            log::warn!(
                "the original's unit said at the first boot that this master is ready, and will not say it again: \
                 saying so now, for {address}"
            );
            put(session, MASTER_READY, &address.to_string(), deadline)?;
            self.remember(|record| record.original_ready = false);
        }
        Ok(())
    }

    fn remember(&mut self, change: impl FnOnce(&mut MasterRecord)) {
        let before = self.memory.record();
        let mut after = before.clone();
        change(&mut after);
        if after != *before {
            self.memory.keep(after);
        }
    }

    /// Another master's address is where this one's should be.
    fn taken<S: Service, C: Clock>(&self, session: &Session<S, C>, address: IpAddr, other: &str) -> Error {
        let record = self.memory.record();
        if !self.is_forced() && record.was_confirmed() {
            let held = other.parse().is_ok_and(|other| self.machine.contains(&other));
            return replaced(session, address, other, held);
        }
        if !self.is_forced() && record.cloned {
            return clone_of_master(session, address, other);
        }
        let problem = format!("that master_ip is {}, while this master's address is {address}", shown(other));
        let next = "another master has this pin: give this one a pin of its own, or take its place with \
                    `cernvm-cluster-agent master-ready --force`";
        Error::nonsense(session.service_name(), problem, next)
    }
}

/// Whether a value is this address, however it is written.
fn is(value: &str, address: IpAddr) -> bool {
    value.parse() == Ok(address)
}

#[cfg(test)]
mod tests;
