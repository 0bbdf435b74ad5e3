//! What is still to happen, in the order of time.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use crate::agent::{Key, Reply};
use crate::time::Micros;

/// Something that happens to a VM, or to the service where the VM does not matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Event {
    /// The time.
    pub(crate) at: Micros,
    /// Breaks ties, so that a run can be repeated.
    order: u64,
    /// The VM.
    pub(crate) vm: u32,
    /// In which of its attempts: what belongs to an earlier one comes too late for the VM, though not for the service.
    pub(crate) attempt: u32,
    /// In which life of the service.
    pub(crate) life: u8,
    /// The kind.
    pub(crate) what: EventKind,
}

/// What can happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EventKind {
    /// A VM's program starts.
    Start,
    /// The VM sends the request that it has decided on.
    Send,
    /// A SYN comes in; how many of this connection came before it.
    Knock(u8),
    /// The service takes the connection off its backlog.
    Accepted,
    /// The ClientHello of a connection is there to be looked at.
    Hello,
    /// A request is there to be looked at.
    Arrive,
    /// A write has been read, and goes to the disk.
    Write(Key),
    /// The time of a wait is over.
    WaitOver,
    /// The VM has its answer, or knows that it gets none.
    Answer(Reply),
    /// A commit is on the disk.
    Committed,
    /// The service stops.
    Down,
    /// The service listens again.
    Up,
}

impl Ord for Event {
    fn cmp(&self, other: &Self) -> Ordering {
        // The earliest is the greatest: `BinaryHeap` gives the greatest first.
        (other.at, other.order).cmp(&(self.at, self.order))
    }
}

impl PartialOrd for Event {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The events to come.
#[derive(Debug, Default)]
pub(crate) struct EventQueue {
    heap: BinaryHeap<Event>,
    scheduled: u64,
}

impl EventQueue {
    /// Adds one; those of one moment happen in the order in which they were added.
    pub(crate) fn add(&mut self, at: Micros, vm: u32, attempt: u32, life: u8, what: EventKind) {
        self.heap.push(Event { at, order: self.scheduled, vm, attempt, life, what });
        self.scheduled += 1;
    }

    /// How many were added so far.
    pub(crate) fn scheduled(&self) -> u64 {
        self.scheduled
    }
}

impl Iterator for EventQueue {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        self.heap.pop()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_by_time_then_by_order() {
        let mut agenda = EventQueue::default();
        for (at, vm) in [(5, 0), (3, 1), (5, 2), (1, 3), (3, 4)] {
            agenda.add(at, vm, 0, 0, EventKind::Send);
        }
        let order: Vec<_> = agenda.map(|event| (event.at, event.vm)).collect();
        assert_eq!(order, [(1, 3), (3, 1), (3, 4), (5, 0), (5, 2)]);
    }
}
