//! A service in memory for tests: what it answers is a function, and what it was asked is a list of lines.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use protocol::Pin;

use crate::backoff::Clock as _;
use crate::backoff::tests::FakeClock;
use crate::session::Session;
use client::{Answer, Failure, FailureKind, Outcome, Reached, Request, Service};
use protocol::url::ServiceUrl;

/// What comes back, and after how many seconds.
pub(crate) type Reply = (Result<Answer, Failure>, u64);

/// Takes a request as a line (`pair get master_ip wait=50`) and says what comes back.
pub(crate) type Replies = Rc<RefCell<dyn FnMut(&str) -> Reply>>;

/// A request, and when it was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SentRequest {
    pub(crate) line: String,
    pub(crate) at: Duration,
    pub(crate) limit: Duration,
}

/// One of the services of a test.
pub(crate) struct FakeService {
    url: ServiceUrl,
    clock: FakeClock,
    replies: Replies,
    seen: Rc<RefCell<Vec<SentRequest>>>,
    offers_nodes: bool,
}

impl Service for FakeService {
    fn send(&mut self, request: &Request<'_>, limit: Duration) -> Result<Answer, Failure> {
        let host = self.url.host();
        let line = match request {
            Request::Cluster => format!("{host} cluster"),
            Request::Get { key, wait: 0 } => format!("{host} get {key}"),
            Request::Get { key, wait } => format!("{host} get {key} wait={wait}"),
            Request::Changed { key, etag, wait } => format!("{host} changed {key} {etag} wait={wait}"),
            Request::Create { key, value } => format!("{host} create {key}={value}"),
            Request::Replace { key, value } => format!("{host} replace {key}={value}"),
            Request::Report { id, report } => format!("{host} report {id} {report}"),
            Request::Nodes { query, wait } => format!("{host} nodes {query} wait={wait}"),
            Request::Delete { key } => format!("{host} delete {key}"),
        };
        self.seen.borrow_mut().push(SentRequest { line: line.clone(), at: self.clock.now(), limit });
        assert!(self.seen.borrow().len() < 10_000, "asked without end: {line}");
        let (result, held) = (self.replies.borrow_mut())(&line);
        let held = Duration::from_secs(held);
        self.clock.sleep(held.min(limit));
        if held > limit { Err(Failure::new(FailureKind::Timeout, "no whole answer in time")) } else { result }
    }

    fn offers_nodes(&self) -> bool {
        self.offers_nodes
    }

    fn url(&self) -> &ServiceUrl {
        &self.url
    }

    fn reached(&self) -> Option<Reached> {
        None
    }
}

/// A session with services, and what it was asked.
pub(crate) struct FakeSession {
    pub(crate) session: Session<FakeService, FakeClock>,
    seen: Rc<RefCell<Vec<SentRequest>>>,
}

impl FakeSession {
    /// Services of these host names that answer as `replies` says, and `timeout` seconds of deadline.
    pub(crate) fn new(hosts: &[&str], timeout: u64, replies: impl FnMut(&str) -> Reply + 'static) -> Self {
        let (clock, seen) = (FakeClock::default(), Rc::<RefCell<Vec<SentRequest>>>::default());
        let replies: Replies = Rc::new(RefCell::new(replies));
        let fake = |host: &&str| FakeService {
            url: ServiceUrl::parse(&format!("http://{host}"), false).unwrap(),
            clock: clock.clone(),
            replies: Rc::clone(&replies),
            seen: Rc::clone(&seen),
            // Host names tell what a service is.
            offers_nodes: host.contains("nodes"),
        };
        let services = hosts.iter().map(fake).collect();
        let pin = Pin::parse("enico1qq0oey").unwrap();
        let timeout = Duration::from_secs(timeout);
        let session = Session::with_services(services, pin, timeout, clock, fastrand::Rng::with_seed(1));
        Self { session, seen }
    }

    /// One service, `pair`, that is asked exactly these lines and answers each with its reply.
    pub(crate) fn script(timeout: u64, script: Vec<(&'static str, Reply)>) -> Self {
        let mut script = VecDeque::from(script);
        Self::new(&["pair"], timeout, move |line| {
            let (expected, reply) = script.pop_front().unwrap_or_else(|| panic!("asked too much: {line}"));
            assert_eq!(line.strip_prefix("pair "), Some(expected));
            reply
        })
    }

    pub(crate) fn seen(&self) -> Vec<SentRequest> {
        self.seen.borrow().clone()
    }

    /// How many requests began like this.
    pub(crate) fn count(&self, beginning: &str) -> usize {
        self.seen.borrow().iter().filter(|seen| seen.line.starts_with(beginning)).count()
    }
}

pub(crate) fn done() -> Reply {
    (Ok(Answer { outcome: Outcome::Done, granted: None }), 0)
}

pub(crate) fn exists() -> Reply {
    (Ok(Answer { outcome: Outcome::Exists, granted: None }), 0)
}

pub(crate) fn value(text: &str) -> Reply {
    (Ok(Answer { outcome: Outcome::Value(text.to_owned()), granted: None }), 0)
}

/// A 404 of a service that does not know how to wait.
pub(crate) fn missing() -> Reply {
    (Ok(Answer { outcome: Outcome::Missing, granted: None }), 0)
}

/// A 404 after a wait: granted for so long, held for so long.
pub(crate) fn waited(granted: u64, held: u64) -> Reply {
    (Ok(Answer { outcome: Outcome::Missing, granted: Some(granted) }), held)
}

pub(crate) fn failed(kind: FailureKind) -> Reply {
    (Err(Failure::new(kind, format!("{kind:?}"))), 0)
}
