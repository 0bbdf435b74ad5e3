//! The processor time that a connection uses, and when it has to let other connections go on.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Processor time after which a connection lets others go on, and after which it is counted for its source. Requests
/// of agents take a twentieth of it.
const TIME_SLICE: Duration = Duration::from_millis(1);
/// Requests that one poll of a connection may answer before others go on, where the time is not taken.
const REQUESTS_PER_POLL: u32 = 32;

/// What a connection has used.
///
/// To read the clock twice for each poll costs a tenth of a plain request, so the time is only taken while there are
/// several sources to share the processor among.
pub(crate) struct ProcessorMeter {
    created: Instant,
    /// When the poll that runs began, in nanoseconds since `created`; [`NOT_TAKEN`]: its time is not taken.
    polled: AtomicU64,
    /// What earlier polls used and is not counted yet, in nanoseconds.
    used: AtomicU64,
    /// Requests that came in the poll that runs.
    requests: AtomicU32,
    /// Whether its source may have used too much: at the beginning, and after a refusal.
    owes: AtomicBool,
}

const NOT_TAKEN: u64 = u64::MAX;

impl ProcessorMeter {
    pub(crate) fn new() -> Self {
        Self {
            created: Instant::now(),
            polled: AtomicU64::new(NOT_TAKEN),
            used: AtomicU64::new(0),
            requests: AtomicU32::new(0),
            owes: AtomicBool::new(true),
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.created.elapsed().as_nanos()).unwrap_or(NOT_TAKEN)
    }

    /// Runs a poll of the connection, and takes its time if `contended`.
    pub(crate) fn poll<T>(&self, contended: bool, poll: impl FnOnce() -> T) -> T {
        // One task polls a connection, so nothing else writes here meanwhile.
        self.requests.store(0, Relaxed);
        self.polled.store(if contended { self.now() } else { NOT_TAKEN }, Relaxed);
        let polled = poll();
        let running = self.running();
        if running > 0 {
            self.used.store(self.used.load(Relaxed) + running, Relaxed);
        }
        polled
    }

    /// A request has come. Whether others have to go on first, and the source is to be asked whether it has used too
    /// much.
    pub(crate) fn is_due(&self) -> bool {
        if self.polled.load(Relaxed) == NOT_TAKEN {
            return self.requests.fetch_add(1, Relaxed) >= REQUESTS_PER_POLL;
        }
        let used = || Duration::from_nanos(self.used.load(Relaxed) + self.running());
        self.owes.load(Relaxed) || used() >= TIME_SLICE
    }

    /// Nanoseconds of the poll that runs, if its time is taken.
    fn running(&self) -> u64 {
        match self.polled.load(Relaxed) {
            NOT_TAKEN => 0,
            begun => self.now().saturating_sub(begun),
        }
    }

    /// Takes what was used and is not counted yet.
    pub(crate) fn take(&self) -> Duration {
        Duration::from_nanos(self.used.swap(0, Relaxed))
    }

    /// Whether the source has to be asked before each request, until it was let through.
    pub(crate) fn set_owes(&self, owes: bool) {
        self.owes.store(owes, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn yields_after_a_slice_where_several_share_and_after_some_requests_elsewhere() {
        let meter = ProcessorMeter::new();
        // The first request of a connection is looked at: its source may have used too much on another.
        assert!(meter.poll(true, || meter.is_due()));
        meter.set_owes(false);
        meter.take();
        meter.poll(true, || {
            assert!(!meter.is_due());
            let begun = Instant::now();
            while begun.elapsed() < TIME_SLICE {}
            assert!(meter.is_due());
        });
        assert!(meter.take() >= TIME_SLICE);
        for _ in 0..2 {
            let due = meter.poll(false, || (0..=REQUESTS_PER_POLL).filter(|_| meter.is_due()).count());
            assert_eq!(due, 1);
        }
        assert_eq!(meter.take(), Duration::ZERO, "no time was taken");
    }
}
