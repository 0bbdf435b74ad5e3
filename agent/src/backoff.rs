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
pub(crate) const LAST_TRY: Duration = Duration::from_millis(500);
/// The longest `Retry-After` that is used: a longer one would make a VM sleep until its deadline.
const RETRY_AFTER_CAP: Duration = Duration::from_secs(60);

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

/// How long something is tried, and since when. It is for the whole of it, however many requests that takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadline {
    started: Duration,
    until: Duration,
    once: bool,
}

impl Deadline {
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

    /// For how long it was tried until now, to the nearest second.
    #[must_use]
    pub fn tried(&self, clock: &impl Clock) -> Duration {
        let tried = clock.now().saturating_sub(self.started);
        Duration::from_secs((tried + Duration::from_millis(500)).as_secs())
    }

    /// How long to pause before the next try, or `None` when it is time to give up. [`LAST_TRY`] is kept for that try. A
    /// pause after which there would be no room for another one lasts until just before the deadline.
    pub fn next_pause(
        &self,
        clock: &impl Clock,
        backoff: &mut Backoff,
        random: &mut fastrand::Rng,
        at_least: Option<Duration>,
    ) -> Option<Duration> {
        let room = self.left(clock).saturating_sub(LAST_TRY);
        (!self.once && room >= FLOOR).then(|| {
            let pause = backoff.pause(random, at_least, room);
            if room - pause < FLOOR { room } else { pause }
        })
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
    /// a lower bound up to 60 s, to which up to 15 s are added, since the service tells every waiting VM the same.
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
        let fixed = fixed.max(at_least.unwrap_or_default().min(RETRY_AFTER_CAP));
        fixed.saturating_add(fixed.min(CEILING / 2).mul_f64(random.f64())).min(left)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::cell::Cell;
    use std::rc::Rc;

    /// A clock that only advances when it is slept on, and shares its time with its clones.
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
    fn has_no_time_left_after_the_deadline() {
        let clock = FakeClock::default();
        clock.sleep(Duration::from_secs(7));
        let deadline = Deadline::of(&clock, Duration::from_secs(10));
        clock.sleep(Duration::from_secs(4));
        assert_eq!(deadline.left(&clock), Duration::from_secs(6));
        assert_eq!(deadline.at_most(&clock, Duration::from_secs(2)).left(&clock), Duration::from_secs(2));
        assert_eq!(deadline.at_most(&clock, Duration::from_secs(60)).left(&clock), Duration::from_secs(6));
        clock.sleep(Duration::from_secs(60));
        assert_eq!(deadline.left(&clock), Duration::ZERO);
        assert_eq!(deadline.tried(&clock), Duration::from_secs(64));
        clock.sleep(Duration::from_millis(500));
        assert_eq!(deadline.tried(&clock), Duration::from_secs(65));
    }

    #[test]
    fn keeps_time_for_the_last_try_and_a_second_between_tries() {
        let mut random = fastrand::Rng::with_seed(1);
        let mut next = |deadline: &Deadline, clock: &FakeClock, at_least: u64| {
            let at_least = Some(Duration::from_secs(at_least));
            deadline.next_pause(clock, &mut Backoff::default(), &mut random, at_least)
        };
        let clock = FakeClock::default();
        let deadline = Deadline::of(&clock, Duration::from_secs(100));
        // An hour of Retry-After is a minute.
        let capped = next(&deadline, &clock, 3600).unwrap();
        assert!((RETRY_AFTER_CAP..=RETRY_AFTER_CAP + CEILING / 2).contains(&capped), "{capped:?}");
        clock.sleep(Duration::from_millis(96_500));
        let (pause, room) = (next(&deadline, &clock, 0).unwrap(), Duration::from_secs(3));
        assert!(
            pause == room || room - pause >= FLOOR,
            "the last pause ends just before the deadline: {pause:?}"
        );
        clock.sleep(Duration::from_secs(2));
        assert_eq!(next(&deadline, &clock, 0), Some(Duration::from_secs(1)));
        clock.sleep(Duration::from_millis(1));
        assert_eq!(next(&deadline, &clock, 0), None);
        assert_eq!(next(&Deadline::once(&clock, FOREVER), &clock, 0), None);
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
                prop_assert!(pause >= at_least.unwrap_or(FLOOR).clamp(FLOOR, RETRY_AFTER_CAP).min(left));
            }
        }
    }
}
