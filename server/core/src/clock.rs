//! Wall-clock time, and the one place where the service reads it.
//!
//! Expiry goes by wall-clock time, since a pin lives 24 hours across restarts. Everything shorter (waits, timeouts)
//! goes by tokio's monotonic clock.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use time::OffsetDateTime;

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
        let (seconds, micros) = (self.0 / 1_000_000, self.0 % 1_000_000);
        // The largest is in the year 9999; a clock that is past it has other worries.
        let time = i64::try_from(seconds).ok().and_then(|s| OffsetDateTime::from_unix_timestamp(s).ok());
        let time = time.unwrap_or(OffsetDateTime::UNIX_EPOCH);
        let (year, month, day) = time.to_calendar_date();
        let (hour, minute, second) = time.to_hms();
        write!(f, "{year:04}-{:02}-{day:02}T{hour:02}:{minute:02}:{second:02}", u8::from(month))?;
        if micros > 0 {
            write!(f, ".{micros:06}")?;
        }
        f.write_str("Z")
    }
}

/// Where the time comes from; tests inject their own.
pub trait Clock: Send + Sync + 'static {
    /// The time now.
    fn now(&self) -> Timestamp;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        // A clock before 1970 makes every pin look fresh rather than the service crash.
        Timestamp(0).after(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
    }
}

/// A clock that never steps back, whatever the one below it does.
pub struct SteadyClock {
    source: Arc<dyn Clock>,
    latest: AtomicU64,
}

impl SteadyClock {
    /// Shows what `source` shows, but nothing before `earliest`.
    #[must_use]
    pub fn new(source: Arc<dyn Clock>, earliest: Timestamp) -> Self {
        Self { source, latest: AtomicU64::new(earliest.0) }
    }
}

impl Clock for SteadyClock {
    fn now(&self) -> Timestamp {
        let now = self.source.now();
        Timestamp(self.latest.fetch_max(now.0, Ordering::Relaxed)).max(now)
    }
}

/// A clock that stands still until it is set: for tests, also those of a program that embeds the service.
#[derive(Debug, Default)]
pub struct ManualClock(AtomicU64);

impl ManualClock {
    /// A clock that shows `now`.
    #[must_use]
    pub fn at(now: Timestamp) -> Self {
        Self(AtomicU64::new(now.0))
    }

    /// Sets it, forwards or back.
    pub fn set(&self, now: Timestamp) {
        self.0.store(now.0, Ordering::SeqCst);
    }

    /// Moves it forwards.
    pub fn advance(&self, span: Duration) {
        self.set(self.now().after(span));
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_clock_goes_forward_only() {
        let source = Arc::new(ManualClock::at(Timestamp(10)));
        let clock = SteadyClock::new(source.clone(), Timestamp(20));
        for (set, shown) in [(10, 20), (19, 20), (30, 30), (5, 30), (31, 31)] {
            source.set(Timestamp(set));
            assert_eq!(clock.now(), Timestamp(shown));
        }
    }

    #[test]
    fn shows_times_as_the_original_does() {
        for (micros, shown) in [
            (0, "1970-01-01T00:00:00Z"),
            (1_478_001_296_123_456, "2016-11-01T11:54:56.123456Z"),
            (1_582_934_400_000_001, "2020-02-29T00:00:00.000001Z"),
            (u64::MAX, "1970-01-01T00:00:00.551615Z"),
        ] {
            assert_eq!(Timestamp(micros).to_string(), shown);
        }
    }
}
