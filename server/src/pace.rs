//! How fast one address may do what a guesser or a flooder does: hear that a pin is unknown, and make pins.
//!
//! Whoever is too fast is slowed. Nothing that concerns a live pin comes by here, so that a thousand slaves behind one
//! address are served as fast as one, whatever their neighbours do.
//!
//! Each address has a debt, as a point in time at which it will be even: every event moves that point on, and time
//! lets it fall back behind the present (the generic cell rate algorithm, ITU-T I.371). An address that is even needs
//! no entry, so the table holds those only who were busy of late.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::origin::Source;

/// Answers about unknown pins that an address gets as fast as it asks: a small cluster that boots with a dead pin.
const UNKNOWN_AT_ONCE: u32 = 100;
/// After that, one in so much time.
const UNKNOWN_EVERY: Duration = Duration::from_millis(50);
/// Longest that anybody is held. An agent's patience with an answer is longer, and the arithmetic still holds: an
/// address with all the connections that it may have (12,288) hears 2,458 answers a second. There are 36^12 pins, so
/// it takes 60,000 years on average to hit one of a thousand that live.
const LONGEST: Duration = Duration::from_secs(5);
/// Pins that an address may make in an hour: far more than people and scripts do, and far less than it takes to fill
/// the service (10,000,000) within the day that a pin lives.
pub const CREATIONS_PER_HOUR: u32 = 1000;
/// Most addresses with an entry, of some 40 bytes each. Past that, those without one share one.
const ADDRESSES: usize = 65_536;
/// To go through that many takes a millisecond, which a flood from everywhere must not cost at every step.
const PURGE_EVERY: Duration = Duration::from_secs(1);

/// The pace of everybody.
pub(crate) struct Pace {
    unknown: Allowance,
    creations: Option<Allowance>,
}

/// One kind of event: so many at once, then one in so much time.
struct Allowance {
    slack: Duration,
    every: Duration,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    /// When an address will be even; `None` stands for all those for whom there was no room.
    even: HashMap<Option<Source>, Instant>,
    /// When it was last gone through for those who are even by now.
    purged: Option<Instant>,
}

impl Pace {
    /// With so many creations an hour; 0: as many as anybody likes.
    pub(crate) fn new(creations_per_hour: u32) -> Self {
        let creations = (creations_per_hour > 0)
            .then(|| Allowance::new(creations_per_hour, Duration::from_secs(3600) / creations_per_hour));
        Self { unknown: Allowance::new(UNKNOWN_AT_ONCE, UNKNOWN_EVERY), creations }
    }

    /// To be awaited before an address is told that a pin is unknown.
    pub(crate) async fn unknown_pin(&self, client: IpAddr) {
        let delay = self.unknown.take(client, Instant::now()).unwrap_or(LONGEST);
        hold(delay).await;
    }

    /// To be awaited before an address gets a new pin.
    ///
    /// # Errors
    /// It has made so many that it would have to be held for too long: when to come again.
    pub(crate) async fn creation(&self, client: IpAddr) -> Result<(), Duration> {
        if let Some(creations) = &self.creations {
            hold(creations.take(client, Instant::now())?).await;
        }
        Ok(())
    }
}

async fn hold(delay: Duration) {
    if delay > Duration::ZERO {
        sleep(delay).await;
    }
}

impl Allowance {
    fn new(at_once: u32, every: Duration) -> Self {
        Self { slack: every * at_once, every, table: Mutex::default() }
    }

    /// Counts an event, and says how long to hold it; when that would be longer than [`LONGEST`], it does not count.
    ///
    /// # Errors
    /// It would be longer: by how much to come later.
    fn take(&self, client: IpAddr, now: Instant) -> Result<Duration, Duration> {
        // Nothing that is done under the lock can panic half-way.
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let source = table.place(client.into(), now);
        let even = table.even.get(&source).map_or(now, |&even| even.max(now)) + self.every;
        let delay = (even - now).saturating_sub(self.slack);
        if delay > LONGEST {
            return Err(delay);
        }
        table.even.insert(source, even);
        Ok(delay)
    }
}

impl Table {
    /// Where an address has its entry.
    fn place(&mut self, source: Source, now: Instant) -> Option<Source> {
        if self.even.len() < ADDRESSES || self.even.contains_key(&Some(source)) {
            return Some(source);
        }
        if self.purged.is_none_or(|purged| now - purged >= PURGE_EVERY) {
            self.even.retain(|_, even| *even > now);
            self.purged = Some(now);
        }
        (self.even.len() < ADDRESSES).then_some(source)
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
    fn burst(allowance: &Allowance, client: IpAddr, events: usize, now: Instant) -> (Duration, usize) {
        let taken: Vec<_> = (0..events).map(|_| allowance.take(client, now)).collect();
        let longest = taken.iter().filter_map(|taken| taken.ok()).max().unwrap_or_default();
        (longest, taken.iter().filter(|taken| taken.is_err()).count())
    }

    #[test]
    fn slows_whoever_is_too_fast_and_forgets_it_with_time() {
        let allowance = Allowance::new(10, SECOND);
        let now = Instant::now();
        assert_eq!(burst(&allowance, address(1), 10, now), (Duration::ZERO, 0));
        assert_eq!(burst(&allowance, address(1), 3, now), (3 * SECOND, 0));
        assert_eq!(burst(&allowance, address(2), 10, now), (Duration::ZERO, 0));
        assert_eq!(burst(&allowance, address(1), 5, now), (LONGEST, 3));
        assert_eq!(allowance.take(address(1), now), Err(6 * SECOND));
        assert_eq!(burst(&allowance, address(1), 5, now + 10 * SECOND), (Duration::ZERO, 0));
        assert_eq!(burst(&allowance, address(1), 10, now + 100 * SECOND), (Duration::ZERO, 0));
    }

    #[test]
    fn remembers_no_more_addresses_than_it_may() {
        let allowance = Allowance::new(1, SECOND);
        let now = Instant::now();
        let count = u32::try_from(ADDRESSES).unwrap();
        for n in 0..count {
            assert_eq!(allowance.take(address(n), now), Ok(Duration::ZERO));
        }
        // The first of those without an entry does what they all have done.
        assert_eq!(allowance.take(address(count), now), Ok(Duration::ZERO));
        assert_eq!(allowance.take(address(count + 1), now), Ok(SECOND));
        assert_eq!(allowance.table.lock().unwrap().even.len(), ADDRESSES + 1);
        assert_eq!(allowance.take(address(count + 1), now + 2 * SECOND), Ok(Duration::ZERO));
        assert_eq!(allowance.table.lock().unwrap().even.len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn answers_about_unknown_pins_in_the_end_and_refuses_creations_with_a_time() {
        let pace = Pace::new(10);
        let begun = Instant::now();
        for _ in 0..UNKNOWN_AT_ONCE {
            pace.unknown_pin(address(1)).await;
        }
        assert_eq!(begun.elapsed(), Duration::ZERO);
        pace.unknown_pin(address(1)).await;
        assert!(begun.elapsed() > Duration::ZERO);

        for _ in 0..10 {
            pace.creation(address(1)).await.unwrap();
        }
        let later = pace.creation(address(1)).await.unwrap_err();
        assert!(later <= Duration::from_secs(360) && later > LONGEST, "{later:?}");
        pace.creation(address(2)).await.unwrap();
        let free = Pace::new(0);
        for _ in 0..10_000 {
            free.creation(address(1)).await.unwrap();
        }
    }
}
