//! A `master_ready` that is there before this master says that it is ready: of an earlier boot, or of the original's unit.

use std::net::IpAddr;
use std::time::Duration;

use client::{Outcome, Request, Service};
use protocol::error::Error;
use protocol::key::{MASTER_READY, is_ready_for};

use super::writes::write_while;
use super::{Master, is};
use crate::backoff::{Clock, Deadline};
use crate::session::Session;

/// The dates of an answer are to the second, each of two.
const AGE_PRECISION: Duration = Duration::from_secs(2);

impl Master<'_> {
    /// A `master_ready` from before this boot is not true now: this master set it at an earlier boot and could not
    /// withdraw it, or another machine had this address then.
    pub(super) fn withdraw_earlier_ready<S: Service, C: Clock>(
        &mut self,
        session: &mut Session<S, C>,
        address: IpAddr,
        there: &str,
        deadline: &Deadline,
    ) -> Result<(), Error> {
        let ready_in = self.memory.record().ready_in.as_ref();
        let was_earlier = match (ready_in, &self.boot) {
            (Some(ready_in), Some(boot)) => ready_in != boot,
            (Some(_), None) => false,
            (None, _) => self.finds_ready_older_than_boot(session, address, deadline)?,
        };
        if !was_earlier {
            return Ok(());
        }
        let delete = Request::Delete { key: MASTER_READY };
        if write_while(session, there, &delete, deadline)? == Some(Outcome::Done) {
            log::info!("withdrew the master_ready of an earlier boot: slaves wait until this boot is ready");
        }
        self.remember(|record| record.ready_in = None);
        Ok(())
    }

    /// Whether `master_ready` names this address and is older than this boot, where service and system tell. What the
    /// original's unit has set stays: it would not set it again.
    fn finds_ready_older_than_boot<S: Service, C: Clock>(
        &self,
        session: &mut Session<S, C>,
        address: IpAddr,
        deadline: &Deadline,
    ) -> Result<bool, Error> {
        let Some(booted) = self.booted else { return Ok(false) };
        let ready = session.ask(&Request::Get { key: MASTER_READY, wait: 0 }, deadline)?;
        let up = booted.elapsed() + AGE_PRECISION;
        let is_older = session.age().is_some_and(|age| age > up);
        Ok(is_older && matches!(ready, Outcome::Value(ready) if is(&ready, address)))
    }

    /// The original's unit says only once in the life of an instance that the master is ready. What it has said goes with
    /// the address that is replaced, so it has to be said again here.
    pub(super) fn note_original_ready<S: Service, C: Clock>(
        &mut self,
        session: &mut Session<S, C>,
        before: &str,
        deadline: &Deadline,
    ) -> Result<(), Error> {
        if self.memory.record().ready_in.is_some() {
            return Ok(());
        }
        if let Outcome::Value(ready) = session.ask(&Request::Get { key: MASTER_READY, wait: 0 }, deadline)?
            && ready.parse::<IpAddr>().is_err()
            && is_ready_for(&ready, before)
        {
            self.remember(|record| record.original_ready = true);
        }
        Ok(())
    }
}
