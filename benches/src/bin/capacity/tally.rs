//! What is counted in a run.

use crate::time::{Micros, SECOND};

/// Counts of a run.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// Requests sent by VMs in each second, also those that were refused.
    offered: Vec<u32>,
    /// Requests that the service answered in each second, other than by 503.
    served: Vec<u32>,
    /// Answers of 503.
    pub(crate) busy: u64,
    /// Connections that were refused, closed without a word or cut.
    pub(crate) broken: u64,
    /// Requests that were given up because a time limit passed.
    pub(crate) late: u64,
    /// SYNs that fell into a full backlog.
    pub(crate) dropped: u64,
    /// Most connections at a time.
    pub(crate) connections: usize,
    /// For each slave that got its master's address: how long after it was possible, that is after the master had
    /// booted, it had itself begun, and the service was back.
    delays: Vec<Micros>,
    /// Slaves that gave up.
    pub(crate) slaves_gave_up: u64,
    /// Masters whose `master-ready` gave up.
    pub(crate) masters_gave_up: u64,
}

impl Counters {
    /// A VM sends a request.
    pub(crate) fn offer(&mut self, at: Micros) {
        count(&mut self.offered, at);
    }

    /// The service has answered one.
    pub(crate) fn serve(&mut self, at: Micros) {
        count(&mut self.served, at);
    }

    /// A slave has its master's address after so long.
    pub(crate) fn arrive(&mut self, delay: Micros) {
        self.delays.push(delay);
    }

    /// Requests sent in the busiest second.
    pub(crate) fn peak_offered(&self) -> u32 {
        self.offered.iter().copied().max().unwrap_or_default()
    }

    /// Requests answered in the busiest second.
    pub(crate) fn peak_served(&self) -> u32 {
        self.served.iter().copied().max().unwrap_or_default()
    }

    /// Requests sent in these seconds.
    #[cfg(test)]
    pub(crate) fn offered(&self, seconds: std::ops::Range<usize>) -> u32 {
        let sent = self.offered.iter().skip(seconds.start);
        sent.take(seconds.len()).sum()
    }

    /// Slaves that got their master's address.
    #[cfg(test)]
    pub(crate) fn arrived(&self) -> usize {
        self.delays.len()
    }

    /// Sorts the delays and gives those within which these shares of the slaves were through; 0 where there are none.
    pub(crate) fn delays<const N: usize>(&mut self, shares: [f64; N]) -> [Micros; N] {
        self.delays.sort_unstable();
        shares.map(|share| {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "share is from 0 to 1"
            )]
            let rank = (self.delays.len() as f64 * share) as usize;
            let last = self.delays.len().saturating_sub(1);
            self.delays.get(rank.min(last)).copied().unwrap_or_default()
        })
    }
}

fn count(bins: &mut Vec<u32>, at: Micros) {
    let second = usize::try_from(at / SECOND).expect("a run of a few hours");
    if bins.len() <= second {
        bins.resize(second + 1, 0);
    }
    bins[second] += 1;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_busiest_second_and_the_slowest_slave() {
        let mut tally = Counters::default();
        for at in [0, SECOND, 2 * SECOND - 1, 2 * SECOND] {
            tally.offer(at);
        }
        assert_eq!((tally.peak_offered(), tally.offered(1..3)), (2, 3));
        assert_eq!(tally.delays([0.5]), [0]);
        for delay in (1..=100).rev() {
            tally.arrive(delay);
        }
        assert_eq!((tally.delays([0.0, 0.5, 0.99, 1.0]), tally.arrived()), ([1, 51, 100, 100], 100));
    }
}
