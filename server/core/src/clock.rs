//! Wall-clock time, and the one place where the service reads it.
//!
//! Expiry goes by wall-clock time, since a pin lives 24 hours across restarts. Everything shorter (waits, timeouts)
//! goes by tokio's monotonic clock.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use protocol::utc::Utc;

/// Microseconds since 1970-01-01 UTC, which is what the wire's `creation_time` can show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// The moment `span` later; the end of time rather than a wrap.
    #[must_use]
    pub fn after(self, span: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(span.as_micros()).unwrap_or(u64::MAX)))
    }

    /// The moment `span` earlier; the beginning of time rather than a wrap.
    #[must_use]
    pub fn before(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(u64::try_from(span.as_micros()).unwrap_or(u64::MAX)))
    }

    /// How long until this moment, seen from `now`; zero when it has come.
    #[must_use]
    pub fn since(self, now: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(now.0))
    }
}

/// RFC 3339 in UTC, with microseconds unless they are zero: the form in which the original service shows times.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Utc(self.0).fmt(f)
    }
}

/// Where the time comes from; tests inject their own.
pub trait Clock: Send + Sync + 'static {
    /// The time now.
    fn now(&self) -> Timestamp;

    /// Time since some moment, by a clock that is never set and that also runs while the machine is suspended.
    fn elapsed(&self) -> Duration;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp(read(ClockId::CLOCK_REALTIME))
    }

    fn elapsed(&self) -> Duration {
        Duration::from_micros(read(ClockId::CLOCK_BOOTTIME))
    }
}

/// What a clock of the machine shows, in microseconds. Each request reads two, and `SystemTime` would take as long again.
fn read(clock: ClockId) -> u64 {
    // A clock before 1970 makes every pin look fresh rather than the service crash.
    clock_gettime(clock).map_or(0, |time| {
        u64::try_from(time.tv_sec() * 1_000_000 + time.tv_nsec() / 1000).unwrap_or_default()
    })
}

/// How far the machine's clock may be from where the boot clock says it should be and still be followed: what a time
/// service corrects bit by bit, or a machine that is paused for a moment.
const FOLLOWED: Duration = Duration::from_secs(10);

/// The store's clock. It follows the machine's clock, but never steps back, and does not follow a jump: it then goes on
/// as fast as the boot clock, so a pin lives as long as it should whatever the machine's clock is set to.
///
/// A jump forward is followed only where no pin loses time: when there is no pin ([`SteadyClock::catch_up`]),
/// or at the next start of the service.
pub struct SteadyClock {
    source: Arc<dyn Clock>,
    /// What the boot clock showed when this clock was made.
    started: Duration,
    /// What to add to the boot clock, in microseconds; it wraps.
    offset: AtomicU64,
    latest: AtomicU64,
    /// Whether the machine's clock has jumped, and the log says so.
    jumped: AtomicBool,
}

impl SteadyClock {
    /// Shows what `source` shows, but nothing before `earliest`.
    #[must_use]
    pub fn new(source: Arc<dyn Clock>, earliest: Timestamp) -> Self {
        let (now, started) = (source.now().max(earliest), source.elapsed());
        let offset = AtomicU64::new(now.0.wrapping_sub(micros(started)));
        Self { source, started, offset, latest: AtomicU64::new(now.0), jumped: AtomicBool::new(false) }
    }

    /// The time now.
    pub fn now(&self) -> Timestamp {
        let (wall, boot) = (self.source.now(), micros(self.source.elapsed()));
        let expected = boot.wrapping_add(self.offset.load(Ordering::Relaxed));
        let now = if wall.0.abs_diff(expected) <= micros(FOLLOWED) {
            self.offset.store(wall.0.wrapping_sub(boot), Ordering::Relaxed);
            if self.jumped.load(Ordering::Relaxed) {
                self.note_return();
            }
            wall
        } else {
            self.note_jump(wall, Timestamp(expected));
            Timestamp(expected)
        };
        Timestamp(self.latest.fetch_max(now.0, Ordering::Relaxed)).max(now)
    }

    /// Follows a jump forward. To be called when there is no pin that would expire by it.
    pub fn catch_up(&self) {
        let (wall, boot) = (self.source.now(), micros(self.source.elapsed()));
        if wall.0 > boot.wrapping_add(self.offset.load(Ordering::Relaxed)) {
            self.offset.store(wall.0.wrapping_sub(boot), Ordering::Relaxed);
        }
    }

    /// Whether this clock has run so long.
    pub fn has_run(&self, span: Duration) -> bool {
        self.source.elapsed().saturating_sub(self.started) >= span
    }

    #[cold]
    fn note_jump(&self, wall: Timestamp, expected: Timestamp) {
        if !self.jumped.swap(true, Ordering::Relaxed) {
            let (way, by) = if wall > expected {
                ("forward", wall.since(expected))
            } else {
                ("back", expected.since(wall))
            };
            log::warn!(
                "the machine's clock went {way} by {} s; pins expire as if it had not, until the service starts again",
                by.as_secs()
            );
        }
    }

    #[cold]
    fn note_return(&self) {
        self.jumped.store(false, Ordering::Relaxed);
        log::info!("the machine's clock and the pins' agree again");
    }
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

/// A clock that stands still until it is moved: for tests, also those of a program that embeds the service.
#[derive(Debug, Default)]
pub struct ManualClock {
    now: AtomicU64,
    /// Microseconds.
    elapsed: AtomicU64,
}

impl ManualClock {
    /// A clock that shows `now`.
    #[must_use]
    pub fn at(now: Timestamp) -> Self {
        Self { now: AtomicU64::new(now.0), elapsed: AtomicU64::default() }
    }

    /// Sets it back, or forward as time does.
    pub fn set(&self, now: Timestamp) {
        let before = self.now.swap(now.0, Ordering::SeqCst);
        self.elapsed.fetch_add(now.0.saturating_sub(before), Ordering::SeqCst);
    }

    /// Sets it while no time passes.
    pub fn jump(&self, now: Timestamp) {
        self.now.store(now.0, Ordering::SeqCst);
    }

    /// Moves it forward as time does.
    pub fn advance(&self, span: Duration) {
        self.set(self.now().after(span));
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.now.load(Ordering::SeqCst))
    }

    fn elapsed(&self) -> Duration {
        Duration::from_micros(self.elapsed.load(Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);
    const NOON: Timestamp = Timestamp(1_700_000_000_000_000);

    #[test]
    fn a_steady_clock_follows_small_steps_and_never_goes_back() {
        let source = Arc::new(ManualClock::at(Timestamp(10)));
        let clock = SteadyClock::new(source.clone(), Timestamp(20));
        for (set, shown) in [(10, 20), (19, 20), (30, 30), (5, 30), (31, 31)] {
            source.jump(Timestamp(set));
            assert_eq!(clock.now(), Timestamp(shown));
        }
    }

    #[test]
    fn a_steady_clock_goes_on_through_a_jump_as_if_there_were_none() {
        for away in [NOON.after(48 * HOUR), NOON.before(48 * HOUR), Timestamp(0)] {
            let source = Arc::new(ManualClock::at(NOON));
            let clock = SteadyClock::new(source.clone(), Timestamp(0));
            source.jump(away);
            assert_eq!(clock.now(), NOON);
            source.advance(HOUR);
            assert_eq!(clock.now(), NOON.after(HOUR));
            // It comes back.
            source.jump(NOON.after(HOUR));
            source.advance(HOUR);
            assert_eq!(clock.now(), NOON.after(2 * HOUR));
        }
    }

    #[test]
    fn a_steady_clock_that_may_catch_up_does_so_forward_only() {
        let source = Arc::new(ManualClock::at(NOON));
        let clock = SteadyClock::new(source.clone(), Timestamp(0));
        source.jump(NOON.after(HOUR));
        clock.catch_up();
        assert_eq!(clock.now(), NOON.after(HOUR));
        source.jump(NOON);
        clock.catch_up();
        assert_eq!(clock.now(), NOON.after(HOUR));
    }
}
