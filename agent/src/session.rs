//! A run against the services of the context: which of them is kept, what is tried again, and what is said meanwhile.
//!
//! The rules are in docs/behaviour.md, "Requests". What master and slave ask for is not decided here.

use std::time::Duration;

use protocol::Pin;

use crate::backoff::{Backoff, Clock, Deadline};
use crate::notify;
use crate::reporter::Reporter;
use client::{Answer, Failure, HttpService, Outcome, Reached, Request, Sealing, Service};
use context::settings::Settings;
use protocol::error::Error;
use protocol::node::NodeState;
use protocol::url::ServiceUrl;

use throttle::LogThrottle;

mod choose;
mod reports;
mod retry;
mod throttle;

/// Longest time for a request that the service answers as soon as it can.
const REQUEST_LIMIT: Duration = Duration::from_secs(15);
/// Longest time that a held request may take beyond the wait that it asked for.
const WAIT_GRACE: Duration = Duration::from_secs(10);
/// For how many seconds a request is held where another service could take the turn of one that has stopped: nothing but
/// an answer that stays away tells it.
const WAIT_AMONG_SEVERAL: u64 = 10;
/// Longest time that such a request may take beyond that.
const GRACE_AMONG_SEVERAL: Duration = FAILOVER_AFTER;
/// How long the kept service may be out of reach before the others are asked.
const FAILOVER_AFTER: Duration = Duration::from_secs(5);
/// A request that took so long was held, then cut off: longer than resolving and connecting (10 s each) may take.
pub(crate) const HELD: Duration = Duration::from_secs(21);

/// The services of a context. The first that knows the pin is kept until it is out of reach for [`FAILOVER_AFTER`].
pub struct Session<S, C> {
    candidates: Vec<Candidate<S>>,
    kept: Option<usize>,
    /// Which candidate to ask first.
    first: usize,
    pin: Pin,
    clock: C,
    deadline: Deadline,
    random: fastrand::Rng,
    waiting: LogThrottle,
    reporter: Option<Reporter>,
}

/// A service of the context.
struct Candidate<S> {
    service: S,
    /// Why it is not asked any more.
    out: Option<PassedOver>,
    /// Whether it has answered in this run as a pairing service does. What it answers otherwise after that may heal.
    answered: bool,
    /// How often in a row it has said that the pin is unknown.
    unknown: u32,
    /// Since when it is out of reach.
    unreachable_since: Option<Duration>,
    trouble: LogThrottle,
}

/// Why a service is passed over.
enum PassedOver {
    Unknown,
    Failed(Error),
}

/// A service of a context, over HTTP.
pub type ContextService = Sealing<HttpService>;

impl<C: Clock> Session<ContextService, C> {
    /// A session with the services of these settings. Nothing is sent yet.
    ///
    /// # Errors
    /// [`Status::BadContext`](protocol::error::Status::BadContext) when the context's CA cannot be used.
    pub fn new(settings: &Settings, clock: C) -> Result<Self, Error> {
        let services =
            settings.services.iter().map(|url| service(url, settings)).collect::<Result<_, _>>()?;
        let random = fastrand::Rng::new();
        Ok(Self::with_services(services, settings.pin.clone(), settings.timeout, clock, random))
    }
}

/// A service of these settings, and the seal of the cluster. Where another could take its turn, it is noticed when its
/// machine is cut off.
///
/// # Errors
/// [`Status::BadContext`](protocol::error::Status::BadContext) when the context's CA cannot be used.
pub fn service(url: &ServiceUrl, settings: &Settings) -> Result<ContextService, Error> {
    let http = HttpService::new(url.clone(), settings.pin.clone(), &settings.trust)?;
    let http = if settings.services.len() > 1 { http.with_keepalive(FAILOVER_AFTER) } else { http };
    Ok(Sealing::new(http, settings.secret.as_ref(), &settings.pin))
}

impl<S: Service, C: Clock> Session<S, C> {
    /// A session with these services, at least one. `random` spreads its pauses.
    pub fn with_services(
        services: Vec<S>,
        pin: Pin,
        timeout: Duration,
        clock: C,
        random: fastrand::Rng,
    ) -> Self {
        Self {
            candidates: services.into_iter().map(Candidate::new).collect(),
            kept: None,
            first: 0,
            pin,
            deadline: Deadline::of(&clock, timeout),
            clock,
            random,
            waiting: LogThrottle::default(),
            reporter: None,
        }
    }

    /// For how many seconds at most to have a request held.
    pub fn longest_wait(&self) -> u64 {
        if self.candidates.len() > 1 { WAIT_AMONG_SEVERAL } else { protocol::wait::MAX_SECONDS }
    }

    /// The clock by which it goes.
    pub fn clock(&self) -> &C {
        &self.clock
    }

    /// The deadline of the context (`cvm_cluster_timeout`): one for all that the session does, since what runs it has a
    /// limit too.
    pub fn deadline(&self) -> Deadline {
        self.deadline
    }

    /// How the kept service was reached; `None` before [`Session::establish`].
    pub fn reached(&self) -> Option<Reached> {
        self.candidates[self.kept?].service.reached()
    }

    /// The entity tag of the value in the kept service's last answer, if it had one.
    pub fn etag(&self) -> Option<String> {
        self.candidates[self.kept?].service.etag()
    }

    /// How old the value is that the kept service has just given; `None` where it does not say.
    pub fn age(&self) -> Option<Duration> {
        self.candidates[self.kept?].service.age()
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

    /// Asks the kept service until it answers, or another one once that is out of reach.
    ///
    /// # Errors
    /// The service's last failure, when it cannot heal or the deadline passes.
    pub fn ask(&mut self, request: &Request<'_>, deadline: &Deadline) -> Result<Outcome, Error> {
        let mut backoff = Backoff::default();
        loop {
            self.establish(deadline)?;
            match self.attempt(request, deadline) {
                Ok(answer) => return Ok(answer.outcome),
                Err(failure) => self.pause_after(request, failure, &mut backoff, deadline)?,
            }
        }
    }

    /// Asks the kept service once. To be called after [`Session::establish`].
    ///
    /// # Errors
    /// Why there is no answer; [`Session::pause_after`] knows what to do about it.
    pub fn attempt(&mut self, request: &Request<'_>, deadline: &Deadline) -> Result<Answer, Failure> {
        let kept = self.kept.expect("a request about a key comes after a service is kept");
        self.send_to(kept, request, deadline)
    }

    /// Asks whether the kept service still knows the pin: a key's 404 says nothing of it. Where it says twice that it
    /// does not, the other services of the context are asked.
    ///
    /// # Errors
    /// 77 when none knows it.
    pub fn confirm_pin(&mut self, deadline: &Deadline) -> Result<(), Error> {
        let mut backoff = Backoff::default();
        loop {
            if self.ask(&Request::Cluster, deadline)? == Outcome::Done {
                if let Some(kept) = self.kept {
                    self.candidates[kept].unknown = 0;
                }
                return Ok(());
            }
            let kept = self.kept.expect("a service has answered");
            if self.is_unknown(kept) || deadline.is_once() {
                if self.candidates.len() == 1 {
                    let who = format!("{} no longer knows", self.service_name());
                    return Err(self.unknown_pin(&who, ""));
                }
                self.pass_over(kept, PassedOver::Unknown);
                self.kept = None;
                self.first = kept + 1;
                return self.establish(deadline);
            }
            if !self.pause(&mut backoff, deadline) {
                let who = format!("{} no longer knows", self.service_name());
                return Err(self.unknown_pin(&who, ""));
            }
        }
    }

    /// Says what is awaited: when that begins or changes, then once a minute.
    pub fn say_waiting(&mut self, what: &str, deadline: &Deadline) {
        if self.waiting.is_due(what, self.clock.now()) {
            let line = match deadline.tried(&self.clock).as_secs() {
                0 => what.to_owned(),
                seconds => format!("{what}, for {seconds} s so far"),
            };
            log::info!("{line}");
            notify::status(&line);
            self.report(NodeState::Waiting, &line);
        }
    }

    fn send_to(
        &mut self,
        index: usize,
        request: &Request<'_>,
        deadline: &Deadline,
    ) -> Result<Answer, Failure> {
        let limit = match request {
            Request::Get { wait, .. } | Request::Changed { wait, .. } | Request::Nodes { wait, .. }
                if *wait > 0 =>
            {
                let grace = if self.candidates.len() > 1 { GRACE_AMONG_SEVERAL } else { WAIT_GRACE };
                Duration::from_secs(*wait) + grace
            }
            _ => REQUEST_LIMIT,
        };
        let candidate = &mut self.candidates[index];
        let began = self.clock.now();
        let result = candidate.service.send(request, limit.min(deadline.left(&self.clock)));
        let now = self.clock.now();
        match &result {
            Ok(_) => {
                candidate.unreachable_since = None;
                if candidate.trouble.reset() {
                    let again = if candidate.answered { " again" } else { "" };
                    log::info!("{} answers{again}", candidate.service.url());
                }
                candidate.answered = true;
            }
            Err(failure) => {
                // One that was held and then cut off was in reach until now.
                let since = if now.saturating_sub(began) < HELD { began } else { now };
                candidate.unreachable_since.get_or_insert(since);
                let line = format!("{} cannot be used: {failure}; trying again", candidate.service.url());
                let heals = self.can_heal(index, request, failure);
                let trouble = &mut self.candidates[index].trouble;
                if heals && !deadline.is_once() && trouble.is_due(&failure.cause, now) {
                    log::warn!("{line}");
                    notify::status(&line);
                }
            }
        }
        result
    }
}

impl<S: Service> Candidate<S> {
    fn new(service: S) -> Self {
        let trouble = LogThrottle::default();
        Self { service, out: None, answered: false, unknown: 0, unreachable_since: None, trouble }
    }

    fn in_words(&self) -> String {
        match &self.out {
            Some(PassedOver::Unknown) => format!("{} does not know the pin", self.service.url()),
            Some(PassedOver::Failed(error)) => error.to_string(),
            None => format!("{} has not answered", self.service.url()),
        }
    }
}

#[cfg(test)]
pub(crate) mod fake;
#[cfg(test)]
mod tests;
