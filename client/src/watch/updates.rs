//! What becomes known of a cluster: its events in one thread, its nodes in another. Each comes back by itself after the
//! service was gone, or goes on at the next service.

use std::ops::ControlFlow;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use protocol::Pin;
use protocol::error::Error;

use super::view::{ClusterView, Link, Loss};
use crate::pins::Watched;
use crate::{ClusterEvent, Failure, FailureKind, Pins};

/// How long one stream of events is read, and then begun anew.
const STREAM: Duration = Duration::from_secs(3600);
/// How long the service may hold a request for nodes, in seconds.
const WAIT: u64 = 50;
/// Before another attempt, in units of this: 1, 2, 4 and then always 8.
const PAUSE: Duration = Duration::from_millis(500);

/// What is known, shared with the threads that get to know it.
pub(super) struct Known {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    view: ClusterView,
    has_changed: bool,
    /// There is nothing more to be known, for this reason.
    failed: Option<Error>,
    /// Nothing more is wanted.
    is_over: bool,
}

/// What a thread does.
type Follow = fn(Turns, &Pin, &Known);

impl Known {
    /// Starts to ask.
    pub(super) fn start(services: Vec<[Pins; 2]>, pin: &Pin, view: ClusterView) -> Arc<Self> {
        let state = State { view, has_changed: true, failed: None, is_over: false };
        let known = Arc::new(Self { state: Mutex::new(state), changed: Condvar::new() });
        let (events, nodes): (Vec<_>, Vec<_>) =
            services.into_iter().map(|[events, nodes]| (events, nodes)).unzip();
        let threads = [(events, follow_events as Follow), (nodes, follow_nodes)];
        for (services, follow) in threads {
            let (pin, known) = (pin.clone(), known.clone());
            thread::spawn(move || follow(Turns::new(services), &pin, &known));
        }
        known
    }

    /// Waits for a change, for at most so long, and lets `look` at it. `Some` of it ends the watch.
    ///
    /// # Errors
    /// Why there is nothing more to be known.
    pub(super) fn look<T>(
        &self,
        limit: Duration,
        look: impl FnOnce(&ClusterView) -> Option<T>,
    ) -> Result<Option<T>, Error> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let is_waiting = |state: &mut State| !state.has_changed && state.failed.is_none();
        let waited = self.changed.wait_timeout_while(state, limit, is_waiting);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.has_changed = false;
        let end = match state.failed.take() {
            Some(error) => Err(error),
            None => Ok(look(&state.view)),
        };
        state.is_over = !matches!(end, Ok(None));
        end
    }

    /// Changes what is known. False when nothing more is wanted.
    fn change(&self, change: impl FnOnce(&mut State)) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut state);
        state.has_changed = true;
        self.changed.notify_one();
        !state.is_over && state.failed.is_none()
    }
}

fn follow_events(mut services: Turns, pin: &Pin, known: &Known) {
    loop {
        let started = Instant::now();
        let service = services.current();
        let mut has_told = false;
        let mut is_gone = false;
        let ended = service.watch(pin, STREAM, &mut |event| {
            has_told = true;
            is_gone = matches!(event, ClusterEvent::Gone);
            let is_wanted = known.change(|state| state.view.take_in(event));
            if is_wanted && !is_gone { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        let ended = match ended {
            Ok(Watched::Told) if is_gone => Err(service.unknown_pin(pin)),
            Ok(Watched::Told) => Ok(Failure::new(FailureKind::Broken, "the service ended the connection")),
            Ok(Watched::Unknown) => Err(service.unknown_pin(pin)),
            Ok(Watched::Untold) => Err(service.tells_nothing()),
            Err(failure) if failure.can_heal() => Ok(failure),
            Err(failure) => Err(service.explain(failure, started.elapsed())),
        };
        if has_told {
            services.failures = 0;
        }
        let can_heal = ended.is_ok();
        let (loss, failed) = match ended {
            Ok(failure) => {
                let next = services.current().next_step(&failure);
                (Loss { next, cause: failure.cause }, None)
            }
            Err(error) => {
                let loss = Loss { cause: error.to_string(), next: error.next_step().to_owned() };
                (loss, if services.pass_over() { None } else { Some(error) })
            }
        };
        let is_wanted = known.change(|state| {
            state.view.link = Link::Lost(loss);
            state.failed = failed;
        });
        if !is_wanted {
            return;
        }
        services.pause(can_heal);
    }
}

/// Ends silently where the other thread says why: at an unknown pin, or a service that has no nodes.
fn follow_nodes(mut services: Turns, pin: &Pin, known: &Known) {
    let mut query = String::new();
    loop {
        let listed = services.current().nodes(pin, query.trim_start_matches('&'), WAIT);
        let can_heal = match &listed {
            Ok(list) => list.is_some(),
            Err(failure) => failure.can_heal(),
        };
        let list = listed.ok().flatten();
        let is_wanted = known.change(|state| match state.view.take_in_nodes(list.as_deref()) {
            Ok(next) => query = next,
            Err(error) => state.failed = Some(error),
        });
        if !is_wanted || !(can_heal || services.pass_over()) {
            return;
        }
        if list.is_some() {
            services.failures = 0;
        } else if services.pause(can_heal) {
            // Another service counts its lists anew.
            query.clear();
        }
    }
}

/// Services that take turns, with pauses that get longer.
struct Turns {
    services: Vec<Pins>,
    current: usize,
    /// How often in a row there was no answer.
    failures: u32,
}

impl Turns {
    fn new(services: Vec<Pins>) -> Self {
        Self { services, current: 0, failures: 0 }
    }

    fn current(&mut self) -> &mut Pins {
        &mut self.services[self.current]
    }

    /// Asks the current one no more. False when it is the last.
    fn pass_over(&mut self) -> bool {
        if self.services.len() == 1 {
            return false;
        }
        self.services.remove(self.current);
        self.current %= self.services.len();
        true
    }

    /// Waits a little, then goes on: after a failure that can heal at the next. Whether that is another than before.
    fn pause(&mut self, can_heal: bool) -> bool {
        thread::sleep(PAUSE * (1 << self.failures));
        self.failures = (self.failures + 1).min(3);
        if can_heal {
            self.current = (self.current + 1) % self.services.len();
        }
        !can_heal || self.services.len() > 1
    }
}
