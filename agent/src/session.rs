//! A run against the services of the context: which of them is kept, what is tried again, and what is said meanwhile.
//!
//! The rules are in docs/behaviour.md, "Requests". What master and slave ask for is not decided here.

use std::net::IpAddr;
use std::time::Duration;

use protocol::Pin;

use crate::backoff::{Backoff, Clock, Deadline};
use crate::nodes::report::Reporter;
use crate::notify;
use client::{Answer, Failure, HttpService, Kind, Outcome, Reached, Request, Sealing, Service};
use context::settings::Settings;
use protocol::error::{Error, Status};
use protocol::node::NodeState;
use protocol::url::ServiceUrl;

use throttle::LogThrottle;

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
/// Longest time for a request while other services of the context wait for their turn.
const TURN: Duration = FAILOVER_AFTER;
/// How often a service must say that the pin is unknown before it is believed: it may be a gateway's answer while the
/// service restarts.
const UNKNOWN_TIMES: u32 = 2;
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
    /// A session with these services, of which there is at least one; `random` spreads its pauses.
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

    /// Has this VM report itself.
    #[must_use]
    pub fn reporting(mut self, reporter: Option<Reporter>) -> Self {
        self.reporter = reporter;
        self
    }

    /// Reports this VM to the kept service, if that has told that it takes reports. What comes of it is of no
    /// consequence.
    pub fn report(&mut self, state: NodeState, detail: &str) {
        if let (Some(kept), Some(reporter)) = (self.kept, &mut self.reporter) {
            let service = &mut self.candidates[kept].service;
            if service.offers_nodes() {
                reporter.report(service, state, detail);
            }
        }
    }

    /// Reports this VM to the service of this URL, which has told in an earlier run that it takes reports.
    pub fn report_to(&mut self, url: &str, state: NodeState, detail: &str) {
        let mut candidates = self.candidates.iter_mut();
        let service = candidates.find(|candidate| candidate.service.url().to_string() == url);
        if let (Some(candidate), Some(reporter)) = (service, &mut self.reporter) {
            reporter.report(&mut candidate.service, state, detail);
        }
    }

    /// Tells the nodes by which address others reach this VM.
    pub fn set_address(&mut self, address: IpAddr) {
        if let Some(reporter) = &mut self.reporter {
            reporter.address = Some(address);
        }
    }

    /// Makes sure that the kept service has nodes.
    ///
    /// # Errors
    /// 77 when it has told of none.
    pub fn need_nodes(&self) -> Result<(), Error> {
        match self.taking_reports() {
            Some(None) => Err(Error::new(
                Status::Refused,
                format!(
                    "{} has no nodes: it is of an earlier release, or the original service",
                    self.service_name()
                ),
                "use a service of this release; without one, look at the consoles",
            )),
            _ => Ok(()),
        }
    }

    /// Whether the kept service takes reports of nodes, and its URL if it does; `None` where none is kept.
    pub fn taking_reports(&self) -> Option<Option<String>> {
        let service = &self.candidates[self.kept?].service;
        Some(service.offers_nodes().then(|| service.url().to_string()))
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

    /// Counts one more answer that the pin is unknown. Whether there were enough to believe it.
    fn is_unknown(&mut self, index: usize) -> bool {
        let candidate = &mut self.candidates[index];
        candidate.unknown += 1;
        candidate.unknown >= UNKNOWN_TIMES
    }

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
    fn can_heal(&self, index: usize, request: &Request<'_>, failure: &Failure) -> bool {
        let writes = !matches!(
            request,
            Request::Cluster | Request::Get { .. } | Request::Changed { .. } | Request::Nodes { .. }
        );
        let verdict = match failure.kind {
            Kind::Rejected | Kind::Status(400 | 401 | 405 | 413 | 415 | 422, _) => writes,
            // SECURITY: to ask again would leave it to the service how long a boot waits for another value.
            Kind::Seal(_) => true,
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

    fn pause_or_give_up(
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

    fn final_error(&self, index: usize, failure: Failure, deadline: &Deadline) -> Error {
        failure.into_error(self.candidates[index].service.url(), deadline.tried(&self.clock))
    }

    fn pass_over(&mut self, index: usize, out: PassedOver) {
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

    fn unknown_pin(&self, who: &str, details: &str) -> Error {
        Error::unknown_pin(format!("{who} the pin {}: it is mistyped, expired or deleted{details}", self.pin))
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

mod throttle;

#[cfg(test)]
pub(crate) mod fake;
#[cfg(test)]
mod tests;
