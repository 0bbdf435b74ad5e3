//! How fast one source may do what a guesser or a flooder does: learn that a pin is unknown, create pins, try tokens,
//! store bytes, take processor time.
//!
//! A source that is too fast is delayed, and refused when the delay would be too long. A request about a live pin is
//! delayed only for the processor time that its source has used while others wanted some too.
//!
//! The algorithm is the generic cell rate algorithm (ITU-T I.371): each source has a theoretical arrival time. Every
//! event moves it on, and an event is delayed by as much as that time is ahead of now, less the slack. A source whose
//! time has passed needs no entry, so the table holds those only that were busy of late. IPv6 sources are limited by
//! prefix too, as in `sources`.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::sources::{AddressPrefix, FACTORS, prefixes};

/// Answers about unknown pins that a source gets without delay: a small cluster that boots with a deleted pin.
const UNKNOWN_BURST: u32 = 100;
/// After that, one in so much time.
const UNKNOWN_EVERY: Duration = Duration::from_millis(50);
/// Longest delay. An agent waits longer for an answer, and the arithmetic still holds: a source with all the
/// connections that it may have (12,288) gets 2,458 answers a second. There are 36^12 pins, so it takes 60,000 years
/// on average to find one of a thousand that are live.
const MAX_DELAY: Duration = Duration::from_secs(5);
/// Pins that a source may create in an hour: far more than people and scripts do, and far less than it takes to fill
/// the service (10,000,000) within the day that a pin lives.
pub const CREATIONS_PER_HOUR: u32 = 1000;
/// How many wrong tokens are answered without delay: a person may mistype.
const TOKENS_BURST: u32 = 5;
/// After that, one in so much time.
const TOKENS_EVERY: Duration = Duration::from_secs(2);
/// Processor time that a source may use without delay: ten thousand slaves that ask at once.
const PROCESSOR_BURST: Duration = Duration::from_secs(1);
/// After that it gets one second of processor time in so many, while others are connected too.
const PROCESSOR_PERIOD: u32 = 4;
/// Most prefixes with an entry, of some 60 bytes each. Past that, those without one share one.
const ENTRIES: usize = 65_536;
/// To go through that many takes a millisecond, which a flood from everywhere must not cost at every step.
const PURGE_EVERY: Duration = Duration::from_secs(1);

/// The rates of every source.
pub(crate) struct RateLimits {
    unknown: RateLimiter,
    creations: Option<RateLimiter>,
    tokens: RateLimiter,
    processor: RateLimiter,
}

/// One kind of event: so many at once, then one in so much time.
struct RateLimiter {
    slack: Duration,
    every: Duration,
    /// What happens to an event that would be delayed for longer than [`MAX_DELAY`].
    beyond: OverLimit,
    table: Mutex<Table>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum OverLimit {
    /// It is refused, and does not count.
    Refused,
    /// It is refused, and counts as far as that.
    Capped,
}

#[derive(Default)]
struct Table {
    /// The theoretical arrival times; `None` stands for all those for which there was no room.
    arrivals: HashMap<Option<AddressPrefix>, Instant>,
    /// When it was last gone through for entries whose time has passed.
    purged: Option<Instant>,
}

impl RateLimits {
    /// With so many creations an hour for each source; 0: without a limit.
    pub(crate) fn new(creations_per_hour: u32) -> Self {
        let creations = (creations_per_hour > 0)
            .then(|| RateLimiter::new(creations_per_hour, Duration::from_secs(3600) / creations_per_hour));
        Self {
            unknown: RateLimiter::new(UNKNOWN_BURST, UNKNOWN_EVERY),
            creations,
            tokens: RateLimiter::new(TOKENS_BURST, TOKENS_EVERY),
            processor: RateLimiter {
                slack: PROCESSOR_BURST * PROCESSOR_PERIOD,
                every: Duration::ZERO,
                beyond: OverLimit::Capped,
                table: Mutex::default(),
            },
        }
    }

    /// Delays the answer that a pin is unknown. Await it before sending that answer.
    pub(crate) async fn unknown_pin(&self, client: IpAddr) {
        delay(self.unknown.take(client, Instant::now()).unwrap_or(MAX_DELAY)).await;
    }

    /// To be awaited before a client gets a new pin.
    ///
    /// # Errors
    /// Its source has created so many that the delay would be too long: the time to wait.
    pub(crate) async fn creation(&self, client: IpAddr) -> Result<(), Duration> {
        if let Some(creations) = &self.creations {
            delay(creations.take(client, Instant::now())?).await;
        }
        Ok(())
    }

    /// To be called before a token is compared.
    ///
    /// # Errors
    /// Its source has tried so many wrong ones that no other is looked at: the time to wait.
    pub(crate) fn may_try_token(&self, client: IpAddr) -> Result<(), Duration> {
        self.tokens.peek(client, Instant::now()).map(|_| ())
    }

    /// Delays the answer that a token is wrong. Await it before sending that answer.
    pub(crate) async fn wrong_token(&self, client: IpAddr) {
        delay(self.tokens.take(client, Instant::now()).unwrap_or(MAX_DELAY)).await;
    }

    /// Counts processor time that a client's connection has used.
    pub(crate) fn used(&self, client: IpAddr, used: Duration) {
        let _ = self.processor.check(client, Instant::now(), used * PROCESSOR_PERIOD, true);
    }

    /// Counts processor time that a client's connection has used, and delays its next request if that was too much.
    ///
    /// # Errors
    /// The delay would be too long: the time to wait. This is known after the longest delay, so that refusals do not
    /// use the processor instead.
    pub(crate) async fn processor(&self, client: IpAddr, used: Duration) -> Result<(), Duration> {
        let due = self.processor.check(client, Instant::now(), used * PROCESSOR_PERIOD, true);
        delay(due.unwrap_or(MAX_DELAY)).await;
        due.map(|_| ())
    }
}

async fn delay(delay: Duration) {
    if delay > Duration::ZERO {
        sleep(delay).await;
    }
}

impl RateLimiter {
    fn new(burst: u32, every: Duration) -> Self {
        Self { slack: every * burst, every, beyond: OverLimit::Refused, table: Mutex::default() }
    }

    /// Counts an event, and says how long to delay it; when that would be too long, it does not count.
    ///
    /// # Errors
    /// It would be too long: the time to wait.
    fn take(&self, client: IpAddr, now: Instant) -> Result<Duration, Duration> {
        self.check(client, now, self.every, true)
    }

    /// As [`Self::take`], but nothing counts.
    fn peek(&self, client: IpAddr, now: Instant) -> Result<Duration, Duration> {
        self.check(client, now, self.every, false)
    }

    fn check(
        &self,
        client: IpAddr,
        now: Instant,
        cost: Duration,
        counts: bool,
    ) -> Result<Duration, Duration> {
        // Nothing that is done under the lock can panic half-way.
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let mut longest = Duration::ZERO;
        let mut moved = [None; FACTORS.len()];
        for ((prefix, factor), moved) in prefixes(client).zip(FACTORS).zip(&mut moved) {
            let entry = table.entry(prefix, now);
            let cost = cost / u32::try_from(factor).expect("factors are small");
            let arrival = table.arrivals.get(&entry).map_or(now, |&arrival| arrival.max(now)) + cost;
            longest = longest.max((arrival - now).saturating_sub(self.slack));
            let arrival = arrival.min(now + self.slack + MAX_DELAY);
            *moved = Some((entry, arrival));
        }
        let refused = longest > MAX_DELAY;
        if counts && (!refused || self.beyond == OverLimit::Capped) {
            table.arrivals.extend(moved.into_iter().flatten());
        }
        if refused { Err(longest) } else { Ok(longest) }
    }
}

impl Table {
    /// The key under which a prefix has its time.
    fn entry(&mut self, prefix: AddressPrefix, now: Instant) -> Option<AddressPrefix> {
        if self.arrivals.len() < ENTRIES || self.arrivals.contains_key(&Some(prefix)) {
            return Some(prefix);
        }
        if self.purged.is_none_or(|purged| now - purged >= PURGE_EVERY) {
            self.arrivals.retain(|_, arrival| *arrival > now);
            self.purged = Some(now);
        }
        (self.arrivals.len() < ENTRIES).then_some(prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn address(n: u32) -> IpAddr {
        IpAddr::V4(n.into())
    }

    /// So many events at one moment: the longest delay, and how many did not count.
    fn burst(limiter: &RateLimiter, client: IpAddr, events: usize, now: Instant) -> (Duration, usize) {
        let taken: Vec<_> = (0..events).map(|_| limiter.take(client, now)).collect();
        let longest = taken.iter().filter_map(|taken| taken.ok()).max().unwrap_or_default();
        (longest, taken.iter().filter(|taken| taken.is_err()).count())
    }

    #[test]
    fn slows_a_source_that_is_too_fast_and_forgets_it_with_time() {
        let limiter = RateLimiter::new(10, SECOND);
        let now = Instant::now();
        assert_eq!(burst(&limiter, address(1), 10, now), (Duration::ZERO, 0));
        assert_eq!(burst(&limiter, address(1), 3, now), (3 * SECOND, 0));
        assert_eq!(burst(&limiter, address(2), 10, now), (Duration::ZERO, 0));
        assert_eq!(burst(&limiter, address(1), 5, now), (MAX_DELAY, 3));
        assert_eq!(limiter.take(address(1), now), Err(6 * SECOND));
        assert_eq!(burst(&limiter, address(1), 5, now + 10 * SECOND), (Duration::ZERO, 0));
        assert_eq!(burst(&limiter, address(1), 10, now + 100 * SECOND), (Duration::ZERO, 0));
    }

    #[test]
    fn remembers_no_more_sources_than_it_may() {
        let limiter = RateLimiter::new(1, SECOND);
        let now = Instant::now();
        let count = u32::try_from(ENTRIES).unwrap();
        for n in 0..count {
            assert_eq!(limiter.take(address(n), now), Ok(Duration::ZERO));
        }
        // The first of those without an entry does what they all have done.
        assert_eq!(limiter.take(address(count), now), Ok(Duration::ZERO));
        assert_eq!(limiter.take(address(count + 1), now), Ok(SECOND));
        assert_eq!(limiter.table.lock().unwrap().arrivals.len(), ENTRIES + 1);
        assert_eq!(limiter.take(address(count + 1), now + 2 * SECOND), Ok(Duration::ZERO));
        assert_eq!(limiter.table.lock().unwrap().arrivals.len(), 1);
    }

    /// An IPv6 customer with 65,536 networks gets no more than four of them.
    #[test]
    fn limits_the_wider_prefixes_of_ipv6_too() {
        let limiter = RateLimiter::new(10, Duration::from_secs(3600));
        let now = Instant::now();
        let of = |site: u16, network: u16| IpAddr::from([0x2001, 0xdb8, site, network, 0, 0, 0, 1]);
        let taken = |site| (0..1000).filter(|&n| limiter.take(of(site, n << 6), now).is_ok()).count();
        assert_eq!(taken(0), 40);
        assert_eq!(taken(1), 40);
        let of_one_56 =
            (0..256).flat_map(|n| [of(2, n); 10]).filter(|&a| limiter.take(a, now).is_ok()).count();
        assert_eq!(of_one_56, 20);
    }

    #[tokio::test(start_paused = true)]
    async fn answers_about_unknown_pins_in_the_end_and_refuses_creations_with_a_time() {
        let limits = RateLimits::new(10);
        let begun = Instant::now();
        for _ in 0..UNKNOWN_BURST {
            limits.unknown_pin(address(1)).await;
        }
        assert_eq!(begun.elapsed(), Duration::ZERO);
        limits.unknown_pin(address(1)).await;
        assert!(begun.elapsed() > Duration::ZERO);

        for _ in 0..10 {
            limits.creation(address(1)).await.unwrap();
        }
        let later = limits.creation(address(1)).await.unwrap_err();
        assert!(later <= Duration::from_secs(360) && later > MAX_DELAY, "{later:?}");
        limits.creation(address(2)).await.unwrap();
        let free = RateLimits::new(0);
        for _ in 0..10_000 {
            free.creation(address(1)).await.unwrap();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn looks_at_no_token_of_a_source_that_guesses() {
        let limits = RateLimits::new(10);
        let begun = Instant::now();
        let mut looked_at = 0;
        while begun.elapsed() < Duration::from_secs(3600) {
            match limits.may_try_token(address(1)) {
                Ok(()) => {
                    looked_at += 1;
                    limits.wrong_token(address(1)).await;
                }
                Err(later) => delay(later).await,
            }
        }
        assert!((1800..=1810).contains(&looked_at), "{looked_at}");
        limits.may_try_token(address(2)).unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn shares_processor_time() {
        let limits = RateLimits::new(10);
        let begun = Instant::now();
        limits.used(address(1), SECOND * 100);
        limits.processor(address(2), Duration::from_micros(50)).await.unwrap();
        assert_eq!(begun.elapsed(), Duration::ZERO);
        let later = limits.processor(address(1), Duration::from_micros(50)).await.unwrap_err();
        assert!(later > MAX_DELAY && later < 2 * MAX_DELAY, "{later:?}");
        assert_eq!(begun.elapsed(), MAX_DELAY);
        // What was used is forgotten with time, and then slows before it is refused.
        limits.used(address(1), SECOND);
        tokio::time::advance(MAX_DELAY / 2).await;
        let begun = Instant::now();
        limits.processor(address(1), Duration::from_micros(50)).await.unwrap();
        assert!(begun.elapsed() > MAX_DELAY / 4 && begun.elapsed() <= MAX_DELAY, "{:?}", begun.elapsed());
    }
}
