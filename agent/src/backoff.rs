//! When to try again, and the clock by which that is decided.
//!
//! Pure: no I/O, no thread, the random numbers and the time come from the caller. The load model for thousands of VMs
//! and the tests use the very code that a booting VM does.

use std::time::{Duration, Instant};

/// The shortest pause: what a service can be asked to bear from one client.
const FLOOR: Duration = Duration::from_secs(1);
/// The longest pause: a VM that boots must not lie still much longer than the original's 25 to 34 s.
const CEILING: Duration = Duration::from_secs(30);

/// Time kept for the last try before the deadline.
const LAST_TRY: Duration = Duration::from_secs(1);

/// Time as the agent sees it: monotonic, so that setting the clock at boot does not matter.
pub trait Clock {
    /// The time since some fixed moment.
    fn now(&self) -> Duration;
    /// Lets this much time pass.
    fn sleep(&self, pause: Duration);
}

/// The machine's own monotonic clock.
#[derive(Debug, Clone)]
pub struct SystemClock(Instant);

impl Default for SystemClock {
    fn default() -> Self {
        Self(Instant::now())
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Duration {
        self.0.elapsed()
    }

    fn sleep(&self, pause: Duration) {
        std::thread::sleep(pause);
    }
}

/// How long something is tried, and since when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    started: Duration,
    until: Duration,
    once: bool,
}

impl Patience {
    /// Tries again until so much time has passed.
    #[must_use]
    pub fn of(clock: &impl Clock, length: Duration) -> Self {
        let started = clock.now();
        Self { started, until: started + length, once: false }
    }

    /// Asks once, and allows so much time for the answer.
    #[must_use]
    pub fn once(clock: &impl Clock, length: Duration) -> Self {
        Self { once: true, ..Self::of(clock, length) }
    }

    /// The same, but from now on no longer than this.
    #[must_use]
    pub fn at_most(self, clock: &impl Clock, length: Duration) -> Self {
        Self { until: self.until.min(clock.now().saturating_add(length)), ..self }
    }

    /// Whether there is to be no second try.
    #[must_use]
    pub fn is_once(&self) -> bool {
        self.once
    }

    /// What is left of the time; zero once it has passed.
    #[must_use]
    pub fn left(&self, clock: &impl Clock) -> Duration {
        self.until.saturating_sub(clock.now())
    }

    /// For how long it was tried until now.
    #[must_use]
    pub fn tried(&self, clock: &impl Clock) -> Duration {
        clock.now().saturating_sub(self.started)
    }

    /// How long to pause before the next try, or `None` when it is time to give up. A second is kept for that try, so
    /// a pause that would pass the deadline ends just before it.
    pub fn next_pause(
        &self,
        clock: &impl Clock,
        backoff: &mut Backoff,
        random: &mut fastrand::Rng,
        at_least: Option<Duration>,
    ) -> Option<Duration> {
        let room = self.left(clock).saturating_sub(LAST_TRY);
        (!self.once && room >= FLOOR).then(|| backoff.pause(random, at_least, room))
    }
}

/// Pauses that grow from 1 s to 30 s.
///
/// Half of each is fixed and half is drawn, so VMs that boot together, or that all lost the service in one moment, drift
/// apart at once: 1–2, 2–4, 4–8, 8–16, then always 15–30 s.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Backoff {
    /// How often it has doubled; saturates where the ceiling is reached.
    doublings: u32,
}

impl Backoff {
    /// Begins again with the shortest pause.
    pub fn reset(&mut self) {
        self.doublings = 0;
    }

    /// The next pause, no longer than `left`, the time until the deadline. `at_least` is the service's `Retry-After`:
    /// a lower bound, to which up to 15 s are added, since the service tells every waiting VM the same.
    pub fn pause(
        &mut self,
        random: &mut fastrand::Rng,
        at_least: Option<Duration>,
        left: Duration,
    ) -> Duration {
        let fixed = FLOOR.saturating_mul(1 << self.doublings).min(CEILING / 2);
        if fixed < CEILING / 2 {
            self.doublings += 1;
        }
        let fixed = fixed.max(at_least.unwrap_or_default());
        fixed.saturating_add(fixed.min(CEILING / 2).mul_f64(random.f64())).min(left)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::cell::Cell;
    use std::rc::Rc;

    /// A clock that only goes on when somebody sleeps, and shares its time with its clones.
    #[derive(Debug, Clone, Default)]
    pub(crate) struct FakeClock(Rc<Cell<Duration>>);

    impl Clock for FakeClock {
        fn now(&self) -> Duration {
            self.0.get()
        }

        fn sleep(&self, pause: Duration) {
            self.0.set(self.0.get() + pause);
        }
    }

    const FOREVER: Duration = Duration::from_secs(1_000_000);

    #[test]
    fn grows_from_one_second_to_thirty() {
        let mut random = fastrand::Rng::with_seed(1);
        for _ in 0..1000 {
            let mut backoff = Backoff::default();
            for (from, to) in [(1, 2), (2, 4), (4, 8), (8, 16), (15, 30), (15, 30), (15, 30)] {
                let pause = backoff.pause(&mut random, None, FOREVER);
                assert!(
                    (Duration::from_secs(from)..=Duration::from_secs(to)).contains(&pause),
                    "{pause:?} is not in {from}..={to} s"
                );
            }
        }
    }

    #[test]
    fn spreads_what_began_together() {
        let firsts: std::collections::HashSet<u128> = (0..100)
            .map(|seed| Backoff::default().pause(&mut fastrand::Rng::with_seed(seed), None, FOREVER))
            .map(|pause| pause.as_millis() / 10)
            .collect();
        assert!(firsts.len() > 40, "100 clients chose {} different centiseconds only", firsts.len());
    }

    #[test]
    fn has_no_patience_left_after_the_deadline() {
        let clock = FakeClock::default();
        clock.sleep(Duration::from_secs(7));
        let patience = Patience::of(&clock, Duration::from_secs(10));
        clock.sleep(Duration::from_secs(4));
        assert_eq!(patience.left(&clock), Duration::from_secs(6));
        assert_eq!(patience.at_most(&clock, Duration::from_secs(2)).left(&clock), Duration::from_secs(2));
        assert_eq!(patience.at_most(&clock, Duration::from_secs(60)).left(&clock), Duration::from_secs(6));
        clock.sleep(Duration::from_secs(60));
        assert_eq!(patience.left(&clock), Duration::ZERO);
        assert_eq!(patience.tried(&clock), Duration::from_secs(64));
    }

    #[test]
    fn keeps_a_second_for_the_last_try_and_a_second_between_tries() {
        let mut random = fastrand::Rng::with_seed(1);
        let mut next = |patience: &Patience, clock: &FakeClock, at_least: u64| {
            let at_least = Some(Duration::from_secs(at_least));
            patience.next_pause(clock, &mut Backoff::default(), &mut random, at_least)
        };
        let clock = FakeClock::default();
        let patience = Patience::of(&clock, Duration::from_secs(100));
        assert_eq!(next(&patience, &clock, 3600), Some(Duration::from_secs(99)));
        clock.sleep(Duration::from_secs(98));
        assert_eq!(next(&patience, &clock, 0), Some(Duration::from_secs(1)));
        clock.sleep(Duration::from_millis(1));
        assert_eq!(next(&patience, &clock, 0), None);
        assert_eq!(next(&Patience::once(&clock, FOREVER), &clock, 0), None);
    }

    proptest! {
        #[test]
        fn keeps_to_retry_after_and_to_the_deadline(
            seed: u64,
            steps in 1..40_usize,
            at_least in proptest::option::of(0..u64::MAX / 1_000_000_000),
            left in 0..100_000_u64,
        ) {
            let (at_least, left) = (at_least.map(Duration::from_secs), Duration::from_secs(left));
            let mut random = fastrand::Rng::with_seed(seed);
            let mut backoff = Backoff::default();
            for _ in 0..steps {
                let pause = backoff.pause(&mut random, at_least, left);
                prop_assert!(pause <= left);
                prop_assert!(pause >= at_least.unwrap_or(FLOOR).max(FLOOR).min(left));
            }
        }
    }
}
