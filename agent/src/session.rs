//! A run against the services of the context: which of them is kept, what is tried again, and what is said meanwhile.
//!
//! The rules are in docs/behaviour.md, "Requests". What master and slave ask for is not decided here.

use std::time::Duration;

use protocol::Pin;

use crate::backoff::{Backoff, Clock, Patience};
use crate::notify;
use client::{Answer, Failure, HttpService, Outcome, Reached, Request, Service};
use context::settings::Settings;
use protocol::error::Error;
use protocol::url::ServiceUrl;

/// Longest time for a request that the service answers as soon as it can.
const REQUEST_LIMIT: Duration = Duration::from_secs(15);
/// Longest time that a held request may take beyond the wait that it asked for.
const WAIT_GRACE: Duration = Duration::from_secs(10);
/// How often the same thing is said again.
const SAY_AGAIN: Duration = Duration::from_secs(60);

/// The services of a context, one of which is kept from the first that knows the pin on.
pub struct Session<S, C> {
    candidates: Vec<Candidate<S>>,
    kept: Option<usize>,
    pin: Pin,
    clock: C,
    timeout: Duration,
    random: fastrand::Rng,
    waiting: Said,
}

/// A service that may be the one.
struct Candidate<S> {
    service: S,
    /// Why it is not asked any more.
    out: Option<Out>,
    trouble: Said,
}

/// Why a service is passed over.
enum Out {
    Unknown,
    Failed(Error),
}

impl<C: Clock> Session<HttpService, C> {
    /// A session with the services of these settings. Nothing is sent yet.
    ///
    /// # Errors
    /// [`Status::BadContext`](protocol::error::Status::BadContext) when the context's CA cannot be used.
    pub fn new(settings: &Settings, clock: C) -> Result<Self, Error> {
        let service = |url: &ServiceUrl| HttpService::new(url.clone(), settings.pin.clone(), &settings.trust);
        let services = settings.services.iter().map(service).collect::<Result<_, _>>()?;
        let random = fastrand::Rng::new();
        Ok(Self::with_services(services, settings.pin.clone(), settings.timeout, clock, random))
    }
}

impl<S: Service, C: Clock> Session<S, C> {
    /// A session with these services, of which there is at least one; `random` spreads its pauses.
    pub fn with_services(
        services: Vec<S>,
        pin: Pin,
        timeout: Duration,
        clock: C,
        random: fastrand::Rng,
    ) -> Self {
        let candidate = |service| Candidate { service, out: None, trouble: Said::default() };
        Self {
            candidates: services.into_iter().map(candidate).collect(),
            kept: None,
            pin,
            clock,
            timeout,
            random,
            waiting: Said::default(),
        }
    }

    /// The clock by which it goes.
    pub fn clock(&self) -> &C {
        &self.clock
    }

    /// The patience that the context asks for (`cvm_cluster_timeout`), beginning now.
    pub fn patience(&self) -> Patience {
        Patience::of(&self.clock, self.timeout)
    }

    /// How the kept service was reached; `None` before [`Session::establish`].
    pub fn reached(&self) -> Option<Reached> {
        self.candidates[self.kept?].service.reached()
    }

    /// The URL of the kept service, or of all where none is kept yet.
    pub fn service_name(&self) -> String {
        match self.kept {
            Some(kept) => self.candidates[kept].service.url().to_string(),
            None => {
                let urls: Vec<_> = self.candidates.iter().map(|c| c.service.url().to_string()).collect();
                urls.join(", ")
            }
        }
    }

    /// Finds the first service that knows the pin, and keeps it for the run.
    ///
    /// # Errors
    /// 77 when every service says that the pin is unknown, or is not to be trusted; 69 when the patience ends while
    /// one of them has not answered.
    pub fn establish(&mut self, patience: &Patience) -> Result<(), Error> {
        let mut backoff = Backoff::default();
        while self.kept.is_none() {
            let mut last = None;
            for index in 0..self.candidates.len() {
                if self.candidates[index].out.is_some() {
                    continue;
                }
                match self.send_to(index, &Request::Cluster, &self.share(index, patience)) {
                    Ok(Answer { outcome: Outcome::Done, .. }) => {
                        self.kept = Some(index);
                        return Ok(());
                    }
                    Ok(_) => self.pass_over(index, Out::Unknown),
                    Err(failure) if failure.can_heal() => last = Some((index, failure)),
                    Err(failure) => {
                        let error = self.final_error(index, failure, patience);
                        self.pass_over(index, Out::Failed(error));
                    }
                }
            }
            let Some((index, failure)) = last else { return Err(self.verdict()) };
            self.pause_or_give_up(index, failure, &mut backoff, patience)?;
        }
        Ok(())
    }

    /// Asks the kept service until it answers.
    ///
    /// # Errors
    /// The service's last failure, when it cannot heal or the patience ends.
    pub fn ask(&mut self, request: &Request<'_>, patience: &Patience) -> Result<Outcome, Error> {
        self.establish(patience)?;
        let mut backoff = Backoff::default();
        loop {
            match self.attempt(request, patience) {
                Ok(answer) => return Ok(answer.outcome),
                Err(failure) => self.pause_after(failure, &mut backoff, patience)?,
            }
        }
    }

    /// Asks the kept service once. To be called after [`Session::establish`].
    ///
    /// # Errors
    /// Why there is no answer; [`Session::pause_after`] knows what to do about it.
    pub fn attempt(&mut self, request: &Request<'_>, patience: &Patience) -> Result<Answer, Failure> {
        let kept = self.kept.expect("a request about a key comes after a service is kept");
        self.send_to(kept, request, patience)
    }

    /// Asks whether the kept service still knows the pin: a key's 404 says nothing of it.
    ///
    /// # Errors
    /// 77 when it does not.
    pub fn confirm_pin(&mut self, patience: &Patience) -> Result<(), Error> {
        match self.ask(&Request::Cluster, patience)? {
            Outcome::Done => Ok(()),
            _ => Err(self.unknown_pin(&format!("{} no longer knows", self.service_name()), "")),
        }
    }

    /// Pauses before the next try after a failure of the kept service.
    ///
    /// # Errors
    /// The failure as an error, when it cannot heal or there is no time for another try.
    pub fn pause_after(
        &mut self,
        failure: Failure,
        backoff: &mut Backoff,
        patience: &Patience,
    ) -> Result<(), Error> {
        let kept = self.kept.expect("what failed was asked of the kept service");
        if !failure.can_heal() {
            return Err(self.final_error(kept, failure, patience));
        }
        self.pause_or_give_up(kept, failure, backoff, patience)
    }

    /// Pauses although nothing failed, because what is awaited is not there; false when there is no time for another
    /// look.
    pub fn pause(&mut self, backoff: &mut Backoff, patience: &Patience) -> bool {
        match patience.next_pause(&self.clock, backoff, &mut self.random, None) {
            Some(pause) => {
                self.clock.sleep(pause);
                true
            }
            None => false,
        }
    }

    /// Says what is awaited: when that begins or changes, then once a minute.
    pub fn say_waiting(&mut self, what: &str, patience: &Patience) {
        if self.waiting.is_due(what, self.clock.now()) {
            let line = match patience.tried(&self.clock).as_secs() {
                0 => what.to_owned(),
                seconds => format!("{what}, for {seconds} s so far"),
            };
            log::info!("{line}");
            notify::status(&line);
        }
    }

    /// Where there is no second round, a service that is silent must leave time for those after it.
    fn share(&self, index: usize, patience: &Patience) -> Patience {
        let still_to_ask = u32::try_from(self.candidates.len() - index).unwrap_or(u32::MAX);
        let share =
            if patience.is_once() { patience.left(&self.clock) / still_to_ask } else { Duration::MAX };
        patience.at_most(&self.clock, share)
    }

    fn send_to(
        &mut self,
        index: usize,
        request: &Request<'_>,
        patience: &Patience,
    ) -> Result<Answer, Failure> {
        let limit = match request {
            Request::Get { wait, .. } if *wait > 0 => Duration::from_secs(*wait) + WAIT_GRACE,
            _ => REQUEST_LIMIT,
        };
        let candidate = &mut self.candidates[index];
        let result = candidate.service.send(request, limit.min(patience.left(&self.clock)));
        match &result {
            Ok(_) => {
                if candidate.trouble.end() {
                    log::info!("{} answers again", candidate.service.url());
                }
            }
            Err(failure) => {
                if failure.can_heal()
                    && !patience.is_once()
                    && candidate.trouble.is_due(&failure.cause, self.clock.now())
                {
                    let line = format!("{} cannot be used: {failure}; trying again", candidate.service.url());
                    log::warn!("{line}");
                    notify::status(&line);
                }
            }
        }
        result
    }

    fn pause_or_give_up(
        &mut self,
        index: usize,
        failure: Failure,
        backoff: &mut Backoff,
        patience: &Patience,
    ) -> Result<(), Error> {
        let at_least = failure.retry_after();
        match patience.next_pause(&self.clock, backoff, &mut self.random, at_least) {
            Some(pause) => {
                self.clock.sleep(pause);
                Ok(())
            }
            None => Err(self.final_error(index, failure, patience)),
        }
    }

    fn final_error(&self, index: usize, failure: Failure, patience: &Patience) -> Error {
        failure.into_error(self.candidates[index].service.url(), patience.tried(&self.clock))
    }

    fn pass_over(&mut self, index: usize, out: Out) {
        let candidate = &mut self.candidates[index];
        candidate.out = Some(out);
        let why = candidate.in_words();
        if self.candidates.len() > 1 {
            log::warn!("{why}; passing it over");
        }
    }

    /// The error when every service is out: a pin that is unknown to one of them comes before what ails the others.
    fn verdict(&mut self) -> Error {
        let all: Vec<String> = self.candidates.iter().map(Candidate::in_words).collect();
        let unknown = |candidate: &Candidate<S>| matches!(candidate.out, Some(Out::Unknown));
        let failed = self.candidates.iter_mut().find_map(|candidate| {
            match candidate.out.take_if(|out| matches!(out, Out::Failed(_)))? {
                Out::Failed(error) => Some(error),
                Out::Unknown => None,
            }
        });
        match failed {
            Some(error) if !self.candidates.iter().any(unknown) => error,
            _ if all.len() == 1 => self.unknown_pin(&format!("{} does not know", self.service_name()), ""),
            _ => self.unknown_pin("no service of the context knows", &format!(" ({})", all.join("; "))),
        }
    }

    fn unknown_pin(&self, who: &str, details: &str) -> Error {
        Error::unknown_pin(format!("{who} the pin {}: it is mistyped, expired or deleted{details}", self.pin))
    }
}

impl<S: Service> Candidate<S> {
    fn in_words(&self) -> String {
        match &self.out {
            Some(Out::Unknown) => format!("{} does not know the pin", self.service.url()),
            Some(Out::Failed(error)) => error.to_string(),
            None => format!("{} has not answered", self.service.url()),
        }
    }
}

/// What was last said about something, so that it is not said at every try.
#[derive(Default)]
struct Said(Option<(String, Duration)>);

impl Said {
    /// Whether `text` is to be said now; then it counts as said.
    fn is_due(&mut self, text: &str, now: Duration) -> bool {
        let due = match &self.0 {
            Some((last, at)) => last != text || now.saturating_sub(*at) >= SAY_AGAIN,
            None => true,
        };
        if due {
            self.0 = Some((text.to_owned(), now));
        }
        due
    }

    /// Forgets it; whether there was something.
    fn end(&mut self) -> bool {
        self.0.take().is_some()
    }
}

#[cfg(test)]
pub(crate) mod fake;
#[cfg(test)]
mod tests;
