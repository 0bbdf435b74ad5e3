//! The programs of a VM: the agent's own code, over a service that answers from a list.
//!
//! What the agent does next depends on the answers that it got, on the clock and on its random numbers, and on nothing
//! else. So a VM is the list of its answers with their times, and a seed: the agent is run again from its beginning with
//! them, up to the request that has no answer yet. No rule of the agent is written down a second time here.

use std::cell::Cell;
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;
use std::time::Duration;

use client::{Answer, Failure, FailureKind, Outcome, Reached, Request, Service};
use cluster_agent::sim::{self, Clock, Master, Session, UnsavedRecord};
use context::settings::{AddressRule, DEFAULT_TIMEOUT};
use protocol::Pin;
use protocol::error::Error;
use protocol::key::{MASTER_IP, MASTER_READY};
use protocol::url::ServiceUrl;

use crate::shell;
use crate::time::{Micros, duration, micros};

/// Every master's address: no cluster sees another's.
const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));

/// Longer than any deadline.
const AGES: Duration = Duration::from_secs(1_000_000);

/// What runs in a VM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Program {
    /// `contextualize` on a master.
    Push,
    /// `master-ready`.
    Ready,
    /// `contextualize` on a slave.
    Slave,
    /// The shell agent on a slave.
    OldSlave,
}

/// A request, without what the service does not need to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RequestKind {
    /// Does the pin exist?
    Cluster,
    /// GET of a key, with the seconds for which it may be held.
    Get(Key, u64),
    /// POST of a key.
    Create(Key),
    /// PUT or DELETE of a key.
    Change(Key),
}

/// How a request ends for the VM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reply {
    /// 200 or 201 without a value.
    Done,
    /// 409.
    Exists,
    /// 200 with the value of the key.
    Value,
    /// 404 at once.
    Missing,
    /// 404 at the end of a wait.
    Waited,
    /// 503 with `Retry-After` in seconds.
    Busy(u64),
    /// The connection was refused or broke.
    Broken,
    /// A time limit of the VM passed.
    Late,
}

/// A key that is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Key {
    /// `master_ip`.
    MasterIp,
    /// `master_ready`.
    MasterReady,
}

/// What a program does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// It sends a request at this time, and waits for its answer for so long at most.
    RequestKind { ask: RequestKind, at: Micros, limit: Micros },
    /// It has ended: at which time, and whether it got what it wanted.
    End { at: Micros, well: bool },
}

/// A run of a program in a VM.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) program: Program,
    seed: u64,
    began: Micros,
    replies: Vec<(Micros, Reply)>,
}

impl Run {
    /// A program that starts now.
    pub(crate) fn new(program: Program, seed: u64, began: Micros) -> Self {
        Self { program, seed, began, replies: Vec::new() }
    }

    /// Tells the program how its last request ended, and when.
    pub(crate) fn tell(&mut self, at: Micros, reply: Reply) {
        self.replies.push((at, reply));
    }

    /// When it started.
    pub(crate) fn began(&self) -> Micros {
        self.began
    }

    /// What the program does now.
    pub(crate) fn step(&self, template: &Template) -> Step {
        let clock = SimulatedClock(Rc::new(Cell::new(duration(self.began))));
        let asked = Rc::new(Cell::new(None));
        let service = Replay {
            url: template.url.clone(),
            clock: clock.clone(),
            replies: self.replies.iter(),
            asked: Rc::clone(&asked),
        };
        let well = if self.program == Program::OldSlave {
            shell::slave(service, &clock)
        } else {
            let (pin, random) = (template.pin.clone(), fastrand::Rng::with_seed(self.seed));
            let session = Session::with_services(vec![service], pin, DEFAULT_TIMEOUT, clock.clone(), random);
            self.act(session).is_ok()
        };
        asked.take().unwrap_or(Step::End { at: micros(clock.now()), well })
    }

    fn act(&self, mut session: Session<Replay<'_>, SimulatedClock>) -> Result<(), Error> {
        let mut memory = UnsavedRecord::default();
        let mut master = Master {
            rule: &AddressRule::Literal(ADDRESS),
            machine: Vec::new(),
            boot: None,
            booted: None,
            force: false,
            memory: &mut memory,
        };
        match self.program {
            Program::Push => master.push(&mut session).map(drop),
            Program::Ready => master.ready(&mut session).map(drop),
            Program::Slave | Program::OldSlave => sim::gather(&mut session, &[]).map(drop),
        }
    }
}

/// What all runs have in common and need not make anew.
#[derive(Debug)]
pub(crate) struct Template {
    url: ServiceUrl,
    pin: Pin,
}

impl Default for Template {
    fn default() -> Self {
        let url = ServiceUrl::parse("http://pair", false).expect("it is a URL");
        Self { url, pin: Pin::parse("enico1qq0oey").expect("it is a pin") }
    }
}

/// A clock that advances by each sleep, and jumps to the time of an answer.
#[derive(Debug, Clone)]
pub(crate) struct SimulatedClock(Rc<Cell<Duration>>);

impl Clock for SimulatedClock {
    fn now(&self) -> Duration {
        self.0.get()
    }

    fn sleep(&self, pause: Duration) {
        self.0.set(self.0.get() + pause);
    }
}

/// A service that gives the answers of a list, and at its end notes what is asked and breaks the run off.
#[derive(Debug)]
pub(crate) struct Replay<'a> {
    url: ServiceUrl,
    clock: SimulatedClock,
    replies: std::slice::Iter<'a, (Micros, Reply)>,
    asked: Rc<Cell<Option<Step>>>,
}

impl Service for Replay<'_> {
    fn send(&mut self, request: &Request<'_>, limit: Duration) -> Result<Answer, Failure> {
        let Some((at, reply)) = self.replies.next() else {
            if self.asked.get().is_none() {
                let (ask, at) = (RequestKind::from(request), micros(self.clock.now()));
                self.asked.set(Some(Step::RequestKind { ask, at, limit: micros(limit) }));
            }
            // Past every deadline, so that nothing more is tried.
            self.clock.sleep(AGES);
            return Err(Failure::new(FailureKind::Nonsense, "the end of the list"));
        };
        self.clock.0.set(duration(*at));
        let wait = match request {
            Request::Get { wait, .. } if *wait > 0 => Some(*wait),
            _ => None,
        };
        let answer = |outcome| Ok(Answer { outcome, granted: wait });
        let failure = |kind, cause: &str| Err(Failure::new(kind, cause));
        match reply {
            Reply::Done => answer(Outcome::Done),
            Reply::Exists => answer(Outcome::Exists),
            Reply::Value => answer(Outcome::Value(ADDRESS.to_string())),
            Reply::Missing | Reply::Waited => answer(Outcome::Missing),
            Reply::Busy(seconds) => {
                failure(FailureKind::Status(503, Some(Duration::from_secs(*seconds))), "503")
            }
            Reply::Broken => failure(FailureKind::Connect, "refused"),
            Reply::Late => failure(FailureKind::Timeout, "no answer in time"),
        }
    }

    fn url(&self) -> &ServiceUrl {
        &self.url
    }

    fn reached(&self) -> Option<Reached> {
        None
    }
}

impl From<&Request<'_>> for RequestKind {
    fn from(request: &Request<'_>) -> Self {
        let key = |name: &str| match name {
            MASTER_IP => Key::MasterIp,
            MASTER_READY => Key::MasterReady,
            other => unreachable!("the agent does not ask for {other} here"),
        };
        match request {
            Request::Cluster => Self::Cluster,
            Request::Get { key: name, wait } => Self::Get(key(name), *wait),
            Request::Create { key: name, .. } => Self::Create(key(name)),
            Request::Replace { key: name, .. } | Request::Delete { key: name } => Self::Change(key(name)),
            Request::Report { .. } | Request::Nodes { .. } | Request::Changed { .. } => {
                unreachable!("the model has no nodes")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::SECOND;

    /// Runs a program against these answers, each a second after the request, and says what it asked and how it ended.
    fn play(program: Program, replies: &[Reply]) -> (Vec<RequestKind>, Option<bool>) {
        let template = Template::default();
        let mut run = Run::new(program, 1, 0);
        let mut asked = Vec::new();
        for reply in replies {
            let Step::RequestKind { ask, at, .. } = run.step(&template) else { break };
            asked.push(ask);
            run.tell(at + SECOND, *reply);
        }
        match run.step(&template) {
            Step::RequestKind { .. } => (asked, None),
            Step::End { well, .. } => (asked, Some(well)),
        }
    }

    #[test]
    fn a_slave_asks_for_the_pin_waits_and_reads() {
        use RequestKind::{Cluster, Get};
        let (asked, end) = play(Program::Slave, &[Reply::Done, Reply::Value, Reply::Value]);
        assert_eq!(asked, [Cluster, Get(Key::MasterReady, 50), Get(Key::MasterIp, 0)]);
        assert_eq!(end, Some(true));
        let (asked, _) = play(Program::Slave, &[Reply::Busy(1), Reply::Done, Reply::Broken, Reply::Value]);
        assert_eq!(asked[..2], [Cluster, Cluster]);
        assert_eq!(asked[2..], [Get(Key::MasterReady, 50); 2]);
    }

    #[test]
    fn a_master_pushes_then_is_ready() {
        use RequestKind::{Cluster, Create, Get};
        let (asked, end) = play(Program::Push, &[Reply::Done, Reply::Done]);
        assert_eq!((asked, end), (vec![Cluster, Create(Key::MasterIp)], Some(true)));
        let replies = [Reply::Done, Reply::Exists, Reply::Value, Reply::Done, Reply::Value];
        let (asked, end) = play(Program::Ready, &replies);
        let (ip, ready) = (Key::MasterIp, Key::MasterReady);
        assert_eq!(asked, [Cluster, Create(ip), Get(ip, 0), Create(ready), Get(ip, 0)]);
        assert_eq!(end, Some(true));
    }

    #[test]
    fn an_old_slave_asks_until_the_master_is_ready() {
        let (asked, end) =
            play(Program::OldSlave, &[Reply::Missing, Reply::Broken, Reply::Value, Reply::Value]);
        let ready = RequestKind::Get(Key::MasterReady, 0);
        assert_eq!(asked, [ready, ready, ready, RequestKind::Get(Key::MasterIp, 0)]);
        assert_eq!(end, Some(true));
        assert_eq!(play(Program::OldSlave, &[Reply::Missing; 60]).1, Some(false));
    }

    #[test]
    fn a_run_can_be_repeated_and_goes_by_its_seed() {
        let template = Template::default();
        let next = |seed| {
            let mut run = Run::new(Program::Slave, seed, 7 * SECOND);
            run.tell(8 * SECOND, Reply::Broken);
            assert_eq!(run.step(&template), run.step(&template));
            match run.step(&template) {
                Step::RequestKind { at, .. } => at,
                end => panic!("{end:?}"),
            }
        };
        assert!((9 * SECOND..=10 * SECOND).contains(&next(1)), "{}", next(1));
        assert_ne!(next(1), next(2));
    }
}
