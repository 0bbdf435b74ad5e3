//! The load client: raw nonblocking sockets on one epoll, on one core of its own, so that it costs as little as it
//! can and the figures are the server's.

pub(crate) mod abuse;
pub(crate) mod closed_loop;
pub(crate) mod connection;
pub(crate) mod crowd;
pub(crate) mod wire;

use std::time::Duration;

/// A request and how its answer is framed.
#[derive(Debug, Clone)]
pub(crate) struct Exchange {
    /// The bytes to send.
    pub(crate) request: Vec<u8>,
    /// What comes back.
    pub(crate) framing: wire::Framing,
}

/// Latencies, in nanoseconds; a percentile is the exact one of the sample.
#[derive(Debug, Default)]
pub(crate) struct Latencies(Vec<u32>);

impl Latencies {
    /// Adds one; more than 4.2 s counts as that.
    pub(crate) fn add(&mut self, latency: Duration) {
        self.0.push(u32::try_from(latency.as_nanos()).unwrap_or(u32::MAX));
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// Takes those of another over.
    pub(crate) fn append(&mut self, other: &mut Self) {
        self.0.append(&mut other.0);
    }

    /// Microseconds below which `share` (0.99) of them are; 0 when there are none.
    pub(crate) fn percentile_us(&mut self, share: f64) -> f64 {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "share is from 0 to 1")]
        let rank = (self.0.len() as f64 * share) as usize;
        let Some(last) = self.0.len().checked_sub(1) else { return 0.0 };
        let (_, nanoseconds, _) = self.0.select_nth_unstable(rank.min(last));
        f64::from(*nanoseconds) / 1000.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_the_percentile_of_what_was_added() {
        let mut latencies = Latencies::default();
        assert_eq!(latencies.percentile_us(0.5), 0.0);
        for microseconds in (1..=100).rev() {
            latencies.add(Duration::from_micros(microseconds));
        }
        assert_eq!(latencies.percentile_us(0.5), 51.0);
        assert_eq!(latencies.percentile_us(0.99), 100.0);
        assert_eq!(latencies.percentile_us(0.0), 1.0);
    }
}
