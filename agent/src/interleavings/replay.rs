//! One run of one of the agent's programs, over a service that answers from a list.
//!
//! What a program does next depends on its disk, the answers that it got and its monotonic clock, and on nothing else. So
//! a run is the list of its answers: the program runs again from its beginning for each step, up to the request that has
//! no answer yet.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::LazyLock;
use std::time::Duration;

use protocol::error::{Error, Status};
use protocol::key::MASTER_IP;
use protocol::url::ServiceUrl;

use crate::backoff::Clock as _;
use crate::backoff::tests::FakeClock;
use crate::cache::{Cache, Writer};
use crate::master::Master;
use crate::phase::obtain::{self, ObtainedValues};
use crate::publish;
use crate::session::Session;
use client::{Answer, Failure, FailureKind, Outcome, Reached, Request, Service, TlsFault};
use context::settings::{AddressRule, Role, Settings};

/// The key that a master publishes beside its address.
pub(super) const TOKEN: &str = "token";
/// `cvm_cluster_timeout`, in seconds.
pub(super) const TIMEOUT: u64 = 6;

/// What came back for a request.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Reply {
    /// An answer, and for how many seconds it was held back.
    Answer(Answer, u64),
    /// The service is down.
    Refused,
    /// The connection broke; the request may have arrived.
    Broken,
    /// The machine's wall clock is wrong, so that no certificate is valid yet.
    ClockWrong,
    /// The API's 404 of a service that does not know the pin.
    UnknownPin,
}

impl Reply {
    fn of(outcome: Outcome) -> Self {
        Self::Answer(Answer { outcome, granted: None }, 0)
    }

    pub(super) fn done() -> Self {
        Self::of(Outcome::Done)
    }

    pub(super) fn exists() -> Self {
        Self::of(Outcome::Exists)
    }

    pub(super) fn missing() -> Self {
        Self::of(Outcome::Missing)
    }

    pub(super) fn value(value: &str) -> Self {
        Self::of(Outcome::Value(value.to_owned()))
    }

    /// A 404 after a wait of so many seconds.
    pub(super) fn waited(seconds: u64) -> Self {
        Self::Answer(Answer { outcome: Outcome::Missing, granted: Some(seconds) }, seconds)
    }
}

/// A request that owns its texts.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum OwnedRequest {
    Cluster,
    Get { key: String, wait: u64 },
    Create { key: String, value: String },
    Replace { key: String, value: String },
    Delete { key: String },
}

impl From<&Request<'_>> for OwnedRequest {
    fn from(request: &Request<'_>) -> Self {
        let owned = |text: &str| text.to_owned();
        match *request {
            Request::Cluster => Self::Cluster,
            Request::Get { key, wait } => Self::Get { key: owned(key), wait },
            Request::Create { key, value } => Self::Create { key: owned(key), value: owned(value) },
            Request::Replace { key, value } => Self::Replace { key: owned(key), value: owned(value) },
            Request::Delete { key } => Self::Delete { key: owned(key) },
            Request::Report { .. } | Request::Nodes { .. } | Request::Changed { .. } => {
                unreachable!("this service has nothing that came later")
            }
        }
    }
}

/// What a machine runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Program {
    /// `contextualize` on a master.
    Push,
    /// `publish` of the token.
    Publish,
    /// `master-ready`, perhaps with `--force`.
    Ready { force: bool },
    /// `master-ready --withdraw`.
    Withdraw,
    /// `contextualize` on a slave.
    Obtain,
}

/// How a program that has ended ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RunResult {
    /// The exit status; `None` for success.
    pub(super) status: Option<Status>,
    /// The values that were substituted.
    pub(super) values: BTreeMap<String, String>,
    /// How they were obtained.
    pub(super) how: String,
    /// How many seconds the run took.
    pub(super) seconds: u64,
}

/// Where a run has got to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum RunPosition {
    /// It asks this of the service with this index.
    Asking(usize, OwnedRequest),
    Ended(RunResult),
}

/// The content of a machine's cache file; `None` where there is none.
pub(super) type CacheBytes = Option<Rc<[u8]>>;

/// A run with its answers up to now.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Run {
    pub(super) program: Program,
    /// Which boot of the machine it is in.
    pub(super) boot: u8,
    /// The address that the context's rule chooses now.
    pub(super) chosen: &'static str,
    /// All addresses that the machine holds.
    pub(super) held: Vec<&'static str>,
    /// What a master publishes as its token.
    pub(super) token: &'static str,
    /// The disk when the run began.
    pub(super) disk: CacheBytes,
    pub(super) replies: Vec<Reply>,
}

/// What a run has come to.
#[derive(Debug, Clone)]
pub(super) struct Progress {
    pub(super) at: RunPosition,
    /// What a power cut since the last answer may leave on the disk; the last is the disk as it is now.
    pub(super) disks: Vec<CacheBytes>,
}

/// What 0.1.0 did, as far as the programs' inputs can bring it back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Behaviour {
    Current,
    /// A master keeps nothing from boot to boot.
    MasterForgets,
    /// A slave that has a cache looks once, whatever the service answers.
    SlaveLooksOnce,
    /// The cache holds only if it has every key, and is written only by a run that got every key.
    CacheIsAllOrNothing,
    /// A master does not know in which boot it is, so it withdraws nothing of an earlier one and decides anew each time.
    BootIsUnknown,
}

/// The context that all machines share, but for their role.
pub(super) fn settings(role: Role, services: usize) -> Settings {
    static OF_PIN: LazyLock<Settings> = LazyLock::new(|| crate::testing::settings("enico1qq0oey"));
    Settings {
        role,
        services: (0..services).map(url).collect(),
        timeout: Duration::from_secs(TIMEOUT),
        nodes: false,
        ..OF_PIN.clone()
    }
}

fn url(index: usize) -> ServiceUrl {
    ServiceUrl::parse(&format!("http://pair{index}"), false).unwrap()
}

/// The cache that a machine has with this disk.
pub(super) fn cache(disk: &CacheBytes, settings: &Settings) -> Cache {
    Cache::of(disk.as_deref(), "i-1", settings, None)
}

impl Run {
    fn role(&self) -> Role {
        if self.program == Program::Obtain { Role::Slave } else { Role::Master }
    }

    /// Runs the program from its beginning.
    pub(super) fn progress(&self, services: usize, behaviour: Behaviour) -> Progress {
        let settings = settings(self.role(), services);
        let clock = FakeClock::default();
        // No rule may depend on how long a machine has been up.
        let began = Duration::from_secs(40 * 86_400 * u64::from(self.boot));
        clock.sleep(began);
        let feed = Rc::new(RunInputs {
            clock: clock.clone(),
            replies: RefCell::new(self.replies.iter().cloned().collect()),
            asked: RefCell::new(None),
            disks: RefCell::new(vec![self.disk.clone()]),
            needs_token: behaviour == Behaviour::CacheIsAllOrNothing,
        });
        let replay = |index| Replay { index, url: url(index), feed: Rc::clone(&feed) };
        let random = fastrand::Rng::with_seed(7);
        let session = Session::with_services(
            (0..services).map(replay).collect(),
            settings.pin.clone(),
            settings.timeout,
            clock.clone(),
            random,
        );
        let disk = Rc::clone(&feed);
        let write: Writer = Box::new(move |bytes| disk.write(bytes));
        let kept = self.disk.as_deref().filter(|_| behaviour != Behaviour::MasterForgets);
        let mut cache = Cache::of(kept, "i-1", &settings, Some(write));
        if behaviour == Behaviour::CacheIsAllOrNothing && !cache.values().contains_key(TOKEN) {
            let disk = Rc::clone(&feed);
            cache = Cache::of(None, "i-1", &settings, Some(Box::new(move |bytes: &[u8]| disk.write(bytes))));
        }
        let obtained = self.act(session, &mut cache, behaviour);
        let at = match feed.asked.take() {
            Some((index, asked)) => RunPosition::Asking(index, asked),
            None => RunPosition::Ended(RunResult {
                status: obtained.trouble.map(|error| error.status()),
                values: obtained.values,
                how: obtained.how,
                seconds: (clock.now() - began).as_secs(),
            }),
        };
        let disks = feed.disks.take();
        Progress { at, disks }
    }

    fn act(
        &self,
        mut session: Session<Replay, FakeClock>,
        cache: &mut Cache,
        behaviour: Behaviour,
    ) -> ObtainedValues {
        let done = |result: Result<(), Error>| ObtainedValues {
            values: BTreeMap::new(),
            trouble: result.err(),
            how: String::new(),
        };
        if self.program == Program::Obtain {
            let keys = [MASTER_IP.to_owned(), TOKEN.to_owned()];
            let wait = behaviour != Behaviour::SlaveLooksOnce || !cache.values().contains_key(MASTER_IP);
            return obtain::gather(&mut session, &keys, cache, wait);
        }
        let rule = AddressRule::Literal(self.chosen.parse().unwrap());
        let boot = (behaviour != Behaviour::BootIsUnknown).then(|| format!("boot {}", self.boot));
        let force = self.program == Program::Ready { force: true };
        let machine = self.held.iter().map(|address| address.parse().unwrap()).collect();
        let mut master = Master { rule: &rule, machine, boot, booted: None, force, memory: cache };
        match self.program {
            Program::Obtain => unreachable!("slaves are dealt with"),
            Program::Publish => done(publish::publish(&mut session, Some(&master), TOKEN, self.token)),
            Program::Push => obtain::push(&mut session, &mut master),
            Program::Ready { .. } => done(master.ready(&mut session).map(drop)),
            Program::Withdraw => done(master.withdraw(&mut session).map(drop)),
        }
    }

    pub(super) fn has_met_wrong_clock(&self) -> bool {
        self.replies.contains(&Reply::ClockWrong)
    }

    /// Whether the service was silent, at least once: it was down, or did not know the pin.
    pub(super) fn met_silence(&self) -> bool {
        self.replies.iter().any(|reply| !matches!(reply, Reply::Answer(..)))
    }
}

/// Where the answers of a run come from, and where its disk's content goes.
struct RunInputs {
    clock: FakeClock,
    replies: RefCell<VecDeque<Reply>>,
    asked: RefCell<Option<(usize, OwnedRequest)>>,
    /// What the disk has had since the last answer; the first as that came in.
    disks: RefCell<Vec<CacheBytes>>,
    /// Whether a cache without the token is not written.
    needs_token: bool,
}

impl RunInputs {
    fn write(&self, bytes: &[u8]) {
        // After the request that has no answer yet the run goes on only so that it ends.
        let has_token = bytes.windows(TOKEN.len()).any(|window| window == TOKEN.as_bytes());
        if self.asked.borrow().is_none() && (has_token || !self.needs_token) {
            self.disks.borrow_mut().push(Some(bytes.into()));
        }
    }
}

/// A service that gives the answers of a list, and at its end notes what is asked and breaks the run off.
struct Replay {
    index: usize,
    url: ServiceUrl,
    feed: Rc<RunInputs>,
}

impl Service for Replay {
    fn send(&mut self, request: &Request<'_>, limit: Duration) -> Result<Answer, Failure> {
        let feed = &self.feed;
        let reply = feed.replies.borrow_mut().pop_front();
        if reply.is_some() {
            let mut disks = feed.disks.borrow_mut();
            let last = disks.pop();
            disks.clear();
            disks.extend(last);
        }
        match reply {
            Some(Reply::Answer(answer, held)) => {
                feed.clock.sleep(Duration::from_secs(held).min(limit));
                Ok(answer)
            }
            Some(Reply::UnknownPin) => Ok(Answer { outcome: Outcome::Missing, granted: None }),
            Some(Reply::Refused) => Err(Failure::new(FailureKind::Connect, "connection refused")),
            Some(Reply::Broken) => Err(Failure::new(FailureKind::Broken, "connection reset")),
            Some(Reply::ClockWrong) => Err(Failure::new(FailureKind::Tls(TlsFault::Dates), "not yet valid")),
            None => {
                feed.asked.borrow_mut().get_or_insert((self.index, OwnedRequest::from(request)));
                feed.clock.sleep(Duration::from_secs(1_000_000));
                Err(Failure::new(FailureKind::Nonsense, "the end of the list"))
            }
        }
    }

    fn url(&self) -> &ServiceUrl {
        &self.url
    }

    fn reached(&self) -> Option<Reached> {
        None
    }
}
