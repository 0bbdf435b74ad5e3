//! Two masters with one pin, the second of which replaces the first, and a slave: every order in which the service may
//! see their requests, with one answer lost anywhere. The slave never gets an address that is not ready, and once both
//! masters have done their part, it gets one.
//!
//! Each of the three is the agent's own code over a service in memory. As it does nothing but send requests and look at
//! the answers, its state is the list of answers that it got, so it is run again from the beginning for each step, and
//! two orders that lead to the same store and the same lists are looked at once.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use protocol::Pin;
use protocol::key::{MASTER_IP, MASTER_READY};

use crate::backoff::tests::FakeClock;
use crate::backoff::{Clock as _, Deadline};
use crate::master::{Master, Unremembered};
use crate::session::Session;
use crate::slave;
use client::{Answer, Failure, Kind, Outcome, Reached, Request, Service};
use context::settings::AddressRule;
use protocol::error::Error;
use protocol::url::ServiceUrl;

/// What came back for a request.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Reply {
    /// An answer, and for how many seconds it was held back.
    Answer(Answer, u64),
    /// Nothing: the request arrived, its answer did not.
    Lost,
}

/// A request that owns its texts.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Pending {
    Get { key: String, wait: u64 },
    Create { key: String, value: String },
    Replace { key: String, value: String },
    Delete { key: String },
}

/// A service that gives the answers of a list, and at its end notes what is asked and breaks the run off.
struct Replay {
    url: ServiceUrl,
    clock: FakeClock,
    replies: VecDeque<Reply>,
    pending: Rc<RefCell<Option<Pending>>>,
}

impl Service for Replay {
    fn send(&mut self, request: &Request<'_>, _limit: Duration) -> Result<Answer, Failure> {
        let owned = |text: &str| text.to_owned();
        let asked = match *request {
            // The pin is there all the time, so it does not matter when it is asked for.
            Request::Cluster => return Ok(Answer { outcome: Outcome::Done, granted: None }),
            Request::Get { key, wait } => Pending::Get { key: owned(key), wait },
            Request::Create { key, value } => Pending::Create { key: owned(key), value: owned(value) },
            Request::Replace { key, value } => Pending::Replace { key: owned(key), value: owned(value) },
            Request::Delete { key } => Pending::Delete { key: owned(key) },
            Request::Report { .. } | Request::Nodes { .. } => unreachable!("this service has no nodes"),
        };
        match self.replies.pop_front() {
            Some(Reply::Answer(answer, held)) => {
                self.clock.sleep(Duration::from_secs(held));
                Ok(answer)
            }
            Some(Reply::Lost) => Err(Failure::new(Kind::Connect, "connection reset")),
            None => {
                self.pending.borrow_mut().get_or_insert(asked);
                self.clock.sleep(Duration::from_secs(1_000_000));
                Err(Failure::new(Kind::Nonsense, "the end of the list"))
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

/// Who takes part.
#[derive(Clone, Copy)]
enum Actor {
    Master(&'static str),
    Slave { deadline: u64 },
}

/// Where an actor has got to.
#[derive(Debug, Clone)]
enum At {
    Asking(Pending),
    Done(Result<Option<String>, String>),
}

impl Actor {
    /// Runs the actor from its beginning with these answers.
    fn run(self, replies: &[Reply]) -> At {
        let clock = FakeClock::default();
        let pending = Rc::new(RefCell::new(None));
        let service = Replay {
            url: ServiceUrl::parse("http://pair", false).unwrap(),
            clock: clock.clone(),
            replies: replies.iter().cloned().collect(),
            pending: Rc::clone(&pending),
        };
        let pin = Pin::parse("enico1qq0oey").unwrap();
        let random = fastrand::Rng::with_seed(7);
        let mut session = Session::with_services(vec![service], pin, Duration::from_secs(600), clock, random);
        let result = self.act(&mut session);
        match pending.take() {
            Some(asked) => At::Asking(asked),
            None => At::Done(result.map_err(|error| error.to_string())),
        }
    }

    fn act(self, session: &mut Session<Replay, FakeClock>) -> Result<Option<String>, Error> {
        match self {
            Self::Master(address) => {
                let rule = AddressRule::Literal(address.parse().unwrap());
                let (mut memory, machine) = (Unremembered::default(), Vec::new());
                let mut master = Master {
                    rule: &rule,
                    machine,
                    boot: None,
                    booted: None,
                    force: false,
                    memory: &mut memory,
                };
                master.push(session)?;
                master.ready(session)?;
                Ok(None)
            }
            Self::Slave { deadline } => {
                let deadline = Deadline::of(session.clock(), Duration::from_secs(deadline));
                slave::await_master(session, &deadline).map(Some)
            }
        }
    }
}

/// The keys of the pin.
type Store = BTreeMap<String, String>;
/// The answers that each actor got.
type Replies = Vec<Vec<Reply>>;

/// Everything at one moment.
#[derive(Clone)]
struct World {
    store: Store,
    /// Every value that `master_ready` has had.
    was_ready: BTreeSet<String>,
    replies: Replies,
    at: Vec<At>,
    losses_left: usize,
}

struct Search {
    actors: Vec<Actor>,
    /// Whether the service holds requests.
    holds: bool,
    seen: HashSet<(Store, Replies)>,
    /// How often the slave got an address, and how often it gave up.
    got: usize,
    gave_up: usize,
    /// How it went wrong.
    broken: Option<String>,
}

impl Search {
    fn run(holds: bool, slave_timeout: u64, losses: usize) -> Self {
        let actors = vec![
            Actor::Master("10.0.0.1"),
            Actor::Master("10.0.0.2"),
            Actor::Slave { deadline: slave_timeout },
        ];
        let world = World {
            store: Store::new(),
            was_ready: BTreeSet::new(),
            replies: vec![Vec::new(); actors.len()],
            at: actors.iter().map(|actor| actor.run(&[])).collect(),
            losses_left: losses,
        };
        let mut search = Self { actors, holds, seen: HashSet::new(), got: 0, gave_up: 0, broken: None };
        search.visit(&world);
        search
    }

    fn visit(&mut self, world: &World) {
        if self.broken.is_some() || !self.seen.insert((world.store.clone(), world.replies.clone())) {
            return;
        }
        for actor in 0..self.actors.len() {
            let At::Asking(asked) = &world.at[actor] else { continue };
            for (store, reply) in self.outcomes(world, asked) {
                let mut next = world.clone();
                next.was_ready.extend(store.get(MASTER_READY).cloned());
                next.store = store;
                next.losses_left -= usize::from(reply == Reply::Lost);
                next.replies[actor].push(reply);
                next.at[actor] = self.actors[actor].run(&next.replies[actor]);
                self.judge(actor, &next);
                self.visit(&next);
            }
        }
    }

    /// What may happen to a request: what the store is then, and what comes back.
    fn outcomes(&self, world: &World, asked: &Pending) -> Vec<(Store, Reply)> {
        let mut store = world.store.clone();
        let plain = |outcome| Answer { outcome, granted: None };
        let (answer, held) = match asked {
            Pending::Get { key, wait } => match store.get(key) {
                Some(value) => (plain(Outcome::Value(value.clone())), 0),
                None if self.holds && *wait > 0 => {
                    (Answer { outcome: Outcome::Missing, granted: Some(*wait) }, *wait)
                }
                None => (plain(Outcome::Missing), 0),
            },
            Pending::Create { key, value } if !store.contains_key(key) => {
                store.insert(key.clone(), value.clone());
                (plain(Outcome::Done), 0)
            }
            Pending::Create { .. } => (plain(Outcome::Exists), 0),
            Pending::Replace { key, value } => match store.get_mut(key) {
                Some(there) => {
                    there.clone_from(value);
                    (plain(Outcome::Done), 0)
                }
                None => (plain(Outcome::Missing), 0),
            },
            Pending::Delete { key } => match store.remove(key) {
                Some(_) => (plain(Outcome::Done), 0),
                None => (plain(Outcome::Missing), 0),
            },
        };
        let mut all = vec![(store.clone(), Reply::Answer(answer, held))];
        if world.losses_left > 0 {
            all.push((store, Reply::Lost));
        }
        all
    }

    fn judge(&mut self, actor: usize, world: &World) {
        match (&self.actors[actor], &world.at[actor]) {
            (Actor::Slave { .. }, At::Done(Ok(Some(address)))) => {
                self.got += 1;
                if !world.was_ready.contains(address) {
                    self.broken = Some(format!("{address} is not ready: {:?}", world.replies));
                }
            }
            (Actor::Slave { .. }, At::Done(_)) => self.gave_up += 1,
            (Actor::Master(_), At::Done(_)) => {
                let done = |actor: &usize| matches!(world.at[*actor], At::Done(_));
                let fits = world.store.get(MASTER_READY) == world.store.get(MASTER_IP);
                if [0, 1].iter().all(done) && !fits {
                    self.broken = Some(format!("no slave gets any further: {:?}", world.replies));
                }
            }
            _ => {}
        }
    }
}

/// Plays every order, and looks whether that was worth it.
fn check(holds: bool, slave_timeout: u64, losses: usize) {
    let search = Search::run(holds, slave_timeout, losses);
    eprintln!(
        "holds {holds}, {losses} lost: {} states, {} times an address, {} times none",
        search.seen.len(),
        search.got,
        search.gave_up
    );
    assert_eq!(search.broken, None);
    assert!(search.got > 100 && search.gave_up > 10, "the search went nowhere");
}

#[test]
fn a_slave_that_polls_never_gets_an_address_that_is_not_ready() {
    check(false, 10, 0);
}

#[test]
fn a_slave_that_waits_never_gets_an_address_that_is_not_ready() {
    check(true, 60, 0);
}

#[test]
fn an_answer_that_is_lost_changes_nothing_about_that() {
    check(false, 4, 1);
}
