//! What becomes known of a cluster: its events in one thread, its nodes in another. Each comes back by itself after the
//! service was gone.

use std::ops::ControlFlow;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use client::members::Members;
use client::seal::Seal;
use client::{ClusterEvent, Failure, Pins};
use protocol::Pin;
use protocol::error::Error;

/// How long one stream of events is read, and then begun anew.
const STREAM: Duration = Duration::from_secs(3600);
/// How long the service may hold a request for nodes, in seconds.
const WAIT: u64 = 50;
/// Before another attempt, in units of this: 1, 2, 4 and then always 8.
const PAUSE: Duration = Duration::from_millis(500);

/// Something new.
pub(super) enum Update {
    /// An event of the service.
    Event(ClusterEvent),
    /// The nodes as they are now.
    Nodes(Box<Members>),
    /// The service is not there, for this reason.
    Lost(String),
    /// There is nothing more to be known.
    Failed(Error),
}

/// Starts to ask. Nothing comes after [`Update::Failed`].
pub(super) fn start([events, nodes]: [Pins; 2], pin: Pin, seal: Option<Seal>) -> Receiver<Update> {
    let (updates, received) = channel();
    let told = updates.clone();
    let its_pin = pin.clone();
    thread::spawn(move || follow_events(events, &its_pin, &told));
    thread::spawn(move || follow_nodes(nodes, &pin, seal.as_ref(), &updates));
    received
}

fn follow_events(mut service: Pins, pin: &Pin, updates: &Sender<Update>) {
    let mut pauses = Pauses::default();
    loop {
        let started = Instant::now();
        let mut is_gone = false;
        let told = service.watch(pin, STREAM, |event| {
            pauses.reset();
            is_gone = matches!(event, ClusterEvent::Gone(_));
            if updates.send(Update::Event(event)).is_err() || is_gone {
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        });
        let update = match told {
            Ok(true) if is_gone => Update::Failed(service.unknown_pin(pin)),
            Ok(false) => Update::Failed(service.unknown_pin(pin)),
            Ok(true) => Update::Lost("the service ended the connection".to_owned()),
            Err(failure) => lost(&service, failure, started.elapsed()),
        };
        let is_over = matches!(update, Update::Failed(_));
        if updates.send(update).is_err() || is_over {
            return;
        }
        pauses.pause();
    }
}

/// Ends silently where the other thread says why: at an unknown pin, or a service that has no nodes.
fn follow_nodes(mut service: Pins, pin: &Pin, seal: Option<&Seal>, updates: &Sender<Update>) {
    let mut pauses = Pauses::default();
    let mut members = Members::default();
    loop {
        let query = members.after();
        match service.nodes(pin, query.trim_start_matches('&'), WAIT) {
            Ok(Some(list)) => match members.take_in(&list, seal) {
                Ok(()) => {
                    pauses.reset();
                    if updates.send(Update::Nodes(Box::new(members.clone()))).is_err() {
                        return;
                    }
                }
                Err(error) => {
                    let _ = updates.send(Update::Failed(error));
                    return;
                }
            },
            Ok(None) => return,
            Err(failure) if failure.can_heal() => pauses.pause(),
            Err(_) => return,
        }
    }
}

fn lost(service: &Pins, failure: Failure, tried: Duration) -> Update {
    if failure.can_heal() {
        Update::Lost(failure.cause)
    } else {
        Update::Failed(service.explain(failure, tried))
    }
}

/// Pauses that get longer.
#[derive(Default)]
struct Pauses(u32);

impl Pauses {
    fn reset(&mut self) {
        self.0 = 0;
    }

    fn pause(&mut self) {
        thread::sleep(PAUSE * (1 << self.0));
        self.0 = (self.0 + 1).min(3);
    }
}
