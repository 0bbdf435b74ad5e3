//! Which service of the context is kept: each is asked in its turn, and passed over when it does not know the pin.

use std::time::Duration;

use super::{Candidate, FAILOVER_AFTER, PassedOver, REQUEST_LIMIT, Session};
use crate::backoff::{Backoff, Clock, Deadline};
use client::{Answer, Outcome, Request, Service};
use protocol::error::Error;
use protocol::url::ServiceUrl;

/// Longest time for a request while other services of the context wait for their turn.
const TURN: Duration = FAILOVER_AFTER;

/// How often a service must say that the pin is unknown before it is believed: it may be a gateway's answer while the
/// service restarts.
const UNKNOWN_TIMES: u32 = 2;

impl<S: Service, C: Clock> Session<S, C> {
    /// Finds the first service that knows the pin, and keeps it.
    ///
    /// # Errors
    /// 77 when every service has said twice that the pin is unknown, or is not to be trusted; 69 when the deadline
    /// passes while one of them has not answered.
    pub fn establish(&mut self, deadline: &Deadline) -> Result<(), Error> {
        let mut backoff = Backoff::default();
        let mut turn = TURN;
        while self.kept.is_none() {
            let (mut last, mut doubtful) = (None, false);
            for step in 0..self.candidates.len() {
                let index = (self.first + step) % self.candidates.len();
                if self.candidates[index].out.is_some() {
                    continue;
                }
                let others = self.candidates.len() - step;
                match self.send_to(index, &Request::Cluster, &self.share(others, turn, deadline)) {
                    Ok(Answer { outcome: Outcome::Done, .. }) => {
                        self.candidates[index].unknown = 0;
                        self.kept = Some(index);
                        return Ok(());
                    }
                    Ok(_) if self.is_unknown(index) || deadline.is_once() => {
                        self.pass_over(index, PassedOver::Unknown);
                    }
                    Ok(_) => doubtful = true,
                    Err(failure) if self.can_heal(index, &Request::Cluster, &failure) => {
                        last = Some((index, failure));
                    }
                    Err(failure) => {
                        let error = self.final_error(index, failure, deadline);
                        self.pass_over(index, PassedOver::Failed(error));
                    }
                }
            }
            match last {
                Some((index, failure)) => self.pause_or_give_up(index, failure, &mut backoff, deadline)?,
                None if doubtful && self.pause(&mut backoff, deadline) => {}
                None => return Err(self.verdict()),
            }
            turn = REQUEST_LIMIT;
        }
        Ok(())
    }

    /// Counts one more answer that the pin is unknown. Whether there were enough to believe it.
    pub(super) fn is_unknown(&mut self, index: usize) -> bool {
        let candidate = &mut self.candidates[index];
        candidate.unknown += 1;
        candidate.unknown >= UNKNOWN_TIMES
    }

    /// A silent service must leave time for those after it, of which there are `others` with itself.
    fn share(&self, others: usize, turn: Duration, deadline: &Deadline) -> Deadline {
        let others = u32::try_from(others).unwrap_or(u32::MAX);
        let share = match others {
            _ if deadline.is_once() => deadline.left(&self.clock) / others,
            1 => Duration::MAX,
            _ => turn,
        };
        deadline.at_most(&self.clock, share)
    }

    pub(super) fn pass_over(&mut self, index: usize, out: PassedOver) {
        let candidate = &mut self.candidates[index];
        candidate.out = Some(out);
        let why = candidate.in_words();
        if self.candidates.len() > 1 {
            log::warn!("{why}; passing it over");
        }
    }

    /// The error when every service is out: the pin is unknown only when all have said so.
    fn verdict(&mut self) -> Error {
        let failed = self.candidates.iter_mut().find_map(|candidate| {
            match candidate.out.take_if(|out| matches!(out, PassedOver::Failed(_)))? {
                PassedOver::Failed(error) => Some((candidate.service.url().clone(), error)),
                PassedOver::Unknown => None,
            }
        });
        let others = |but: Option<&ServiceUrl>| {
            let others = self.candidates.iter().filter(|candidate| Some(candidate.service.url()) != but);
            others.map(Candidate::in_words).collect::<Vec<_>>().join("; ")
        };
        match failed {
            Some((_, error)) if self.candidates.len() == 1 => error,
            Some((url, error)) => {
                let what = format!("{error} ({})", others(Some(&url)));
                Error::new(error.status(), what, error.next_step().to_owned())
            }
            None if self.candidates.len() == 1 => {
                self.unknown_pin(&format!("{} does not know", self.service_name()), "")
            }
            None => self.unknown_pin("no service of the context knows", &format!(" ({})", others(None))),
        }
    }

    pub(super) fn unknown_pin(&self, who: &str, details: &str) -> Error {
        Error::unknown_pin(format!("{who} the pin {}: it is mistyped, expired or deleted{details}", self.pin))
    }
}
