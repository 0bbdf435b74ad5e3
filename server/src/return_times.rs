//! When clients that are sent away are to come back: those who waited would otherwise all come back at one time, and each
//! of them needs a connection, perhaps a handshake, and an answer.

use std::thread::available_parallelism;

/// Clients that one core takes in within a second and has time left: a connection, the request that is held, its answer.
const PLAIN_EACH_CORE: usize = 10_000;
/// The same with a TLS handshake that resumes a session.
const TLS_EACH_CORE: usize = 3_000;
/// The largest spread, in seconds. A VM must not lie still much longer than in its own longest pause.
const SPREAD_MAX: u64 = 30;

/// How fast clients may come back.
#[derive(Debug, Clone, Copy)]
pub struct ReturnTimes {
    each_second: usize,
}

impl ReturnTimes {
    /// For a service that speaks TLS or not, on so many cores.
    #[must_use]
    pub fn new(tls: bool, cores: usize) -> Self {
        Self { each_second: cores.max(1) * if tls { TLS_EACH_CORE } else { PLAIN_EACH_CORE } }
    }

    /// For a service on this machine.
    pub(crate) fn here(tls: bool) -> Self {
        Self::new(tls, available_parallelism().map_or(1, usize::from))
    }

    /// For one client a second.
    #[cfg(test)]
    pub(crate) fn slow() -> Self {
        Self { each_second: 1 }
    }

    /// `Retry-After` in seconds for one of so many clients: `least`, or some seconds more, drawn by chance.
    ///
    /// An agent waits between once and twice as long (docs/behaviour.md), so half of the time that all of them take to
    /// come back is enough.
    #[must_use]
    pub fn retry_after(self, least: u64, clients: usize, random: &mut fastrand::Rng) -> u64 {
        let spread = clients.div_ceil(2 * self.each_second).max(1);
        least + random.u64(..u64::try_from(spread).map_or(SPREAD_MAX, |spread| spread.min(SPREAD_MAX)))
    }
}

/// When it is worth asking again, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RetryAfter {
    /// After so many.
    Exactly(u64),
    /// All who waited were sent away at one time: after so many at least, and not all at one time.
    SentAway(u64),
    /// Those who wait now have taken the room: the same.
    NoRoom(u64),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spreads_clients_over_the_time_that_it_takes_to_serve_them() {
        let mut random = fastrand::Rng::with_seed(1);
        for (tls, cores, clients, largest) in [
            (false, 1, 0, 1),
            (false, 1, 20_000, 1),
            (false, 1, 20_001, 2),
            (true, 1, 10_000, 2),
            (true, 2, 10_000, 1),
            (true, 1, 100_000, 17),
            (true, 8, 1_000_000, 21),
            (true, 1, usize::MAX, 30),
        ] {
            let times = ReturnTimes::new(tls, cores);
            let mut counts = vec![0; 31];
            for _ in 0..10_000 {
                let seconds = times.retry_after(1, clients, &mut random);
                counts[usize::try_from(seconds).unwrap()] += 1;
            }
            assert_eq!(counts[0], 0);
            let (most, fewest) = (counts[1..=largest].iter().max(), counts[1..=largest].iter().min());
            assert!(*fewest.unwrap() * 2 > *most.unwrap(), "{counts:?}");
            assert_eq!(counts[1..=largest].iter().sum::<usize>(), 10_000, "{counts:?}");
            let full = times.retry_after(10, clients, &mut random);
            assert!((10..=9 + largest as u64).contains(&full));
        }
    }
}
