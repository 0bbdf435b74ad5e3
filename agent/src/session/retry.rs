//! When a request is sent again, and when another service of the context is asked instead.

use std::time::Duration;

use super::{FAILOVER_AFTER, Session};
use crate::backoff::{Backoff, Clock, Deadline};
use client::{Failure, FailureKind, Request, Service};
use protocol::error::Error;

impl<S: Service, C: Clock> Session<S, C> {
    /// Pauses before the next try after a failure of the kept service. Gives its turn to another service of the context
    /// once it is out of reach for [`FAILOVER_AFTER`].
    ///
    /// # Errors
    /// The failure as an error, when it cannot heal or there is no time for another try.
    pub fn pause_after(
        &mut self,
        request: &Request<'_>,
        failure: Failure,
        backoff: &mut Backoff,
        deadline: &Deadline,
    ) -> Result<(), Error> {
        let kept = self.kept.expect("what failed was asked of the kept service");
        if !self.can_heal(kept, request, &failure) {
            return Err(self.final_error(kept, failure, deadline));
        }
        let until_failover = self.until_failover(kept).filter(|_| !deadline.is_once());
        let at_least = failure.retry_after();
        match deadline.next_pause(&self.clock, backoff, &mut self.random, at_least) {
            Some(pause) => match until_failover.filter(|left| *left <= pause) {
                Some(left) => {
                    self.clock.sleep(left);
                    self.give_up_turn(kept, &failure);
                }
                None => self.clock.sleep(pause),
            },
            None => return Err(self.final_error(kept, failure, deadline)),
        }
        Ok(())
    }

    /// How long the kept service may still be out of reach before another one is asked; `None` where there is none.
    fn until_failover(&self, kept: usize) -> Option<Duration> {
        let since = self.candidates[kept].unreachable_since?;
        let over = (since + FAILOVER_AFTER).saturating_sub(self.clock.now());
        (self.candidates.len() > 1).then_some(over)
    }

    /// Lets the services after this one be asked first, those too that did not know the pin before.
    fn give_up_turn(&mut self, kept: usize, failure: &Failure) {
        log::warn!(
            "{} cannot be used: {failure}; asking the next service",
            self.candidates[kept].service.url()
        );
        self.kept = None;
        self.first = kept + 1;
        for candidate in &mut self.candidates {
            candidate.out = None;
            candidate.unknown = 0;
        }
    }

    /// Whether asking again may help: what a pairing service that has answered says otherwise than one does comes from
    /// something between, except for a verdict on what was to be written, and for a value that does not open.
    pub(super) fn can_heal(&self, index: usize, request: &Request<'_>, failure: &Failure) -> bool {
        let writes = !matches!(
            request,
            Request::Cluster | Request::Get { .. } | Request::Changed { .. } | Request::Nodes { .. }
        );
        let verdict = match failure.kind {
            FailureKind::Rejected | FailureKind::Status(400 | 401 | 405 | 413 | 415 | 422, _) => writes,
            // SECURITY: to ask again would leave it to the service how long a boot waits for another value.
            FailureKind::Seal(_) => true,
            _ => false,
        };
        failure.can_heal() || (self.candidates[index].answered && !verdict)
    }

    /// Pauses although nothing failed, because what is awaited is not there; false when there is no time for another
    /// look.
    pub fn pause(&mut self, backoff: &mut Backoff, deadline: &Deadline) -> bool {
        match deadline.next_pause(&self.clock, backoff, &mut self.random, None) {
            Some(pause) => {
                self.clock.sleep(pause);
                true
            }
            None => false,
        }
    }

    pub(super) fn pause_or_give_up(
        &mut self,
        index: usize,
        failure: Failure,
        backoff: &mut Backoff,
        deadline: &Deadline,
    ) -> Result<(), Error> {
        let at_least = failure.retry_after();
        match deadline.next_pause(&self.clock, backoff, &mut self.random, at_least) {
            Some(pause) => {
                self.clock.sleep(pause);
                Ok(())
            }
            None => Err(self.final_error(index, failure, deadline)),
        }
    }

    pub(super) fn final_error(&self, index: usize, failure: Failure, deadline: &Deadline) -> Error {
        failure.into_error(self.candidates[index].service.url(), deadline.tried(&self.clock))
    }
}
