//! The CPU of the service: one queue in which everything is done in the order in which it came.

use crate::time::{Micros, SECOND};

/// The queue, and how busy each second was.
#[derive(Debug)]
pub(crate) struct Cpu {
    cores: u32,
    /// In nanoseconds, since what is done takes few microseconds: when everything that has come is done.
    free_at: u64,
    /// Nanoseconds of work done in each second, of all cores.
    done: Vec<u64>,
    longest_queue: Micros,
}

impl Cpu {
    /// So many cores, which share one queue as if they were one that is so many times as fast. That is exact while
    /// there is a queue; what comes alone is done a little too soon.
    pub(crate) fn new(cores: u32) -> Self {
        Self { cores, free_at: 0, done: Vec::new(), longest_queue: 0 }
    }

    /// Queues something that takes one core `nanoseconds`, and says when it is done.
    pub(crate) fn work(&mut self, now: Micros, nanoseconds: u64) -> Micros {
        let mut at = self.free_at.max(now * 1000);
        self.longest_queue = self.longest_queue.max(at / 1000 - now);
        self.free_at = at + nanoseconds / u64::from(self.cores);
        while at < self.free_at {
            let second = at / (SECOND * 1000);
            let end = self.free_at.min((second + 1) * SECOND * 1000);
            let index = usize::try_from(second).expect("a run of a few hours");
            if self.done.len() <= index {
                self.done.resize(index + 1, 0);
            }
            self.done[index] += (end - at) * u64::from(self.cores);
            at = end;
        }
        self.free_at.div_ceil(1000)
    }

    /// Forgets what is queued: the process has ended.
    pub(crate) fn clear(&mut self, now: Micros) {
        self.free_at = self.free_at.min(now * 1000);
    }

    /// When everything is done that has come so far.
    pub(crate) fn free_at(&self) -> Micros {
        self.free_at.div_ceil(1000)
    }

    /// The share of one core that the busiest second took.
    pub(crate) fn peak(&self) -> f64 {
        self.done.iter().max().map_or(0.0, |most| *most as f64 / (SECOND * 1000) as f64)
    }

    /// Seconds of CPU time in all.
    #[cfg(test)]
    pub(crate) fn total(&self) -> f64 {
        self.done.iter().sum::<u64>() as f64 / 1e9
    }

    /// The longest that anything lay in the queue.
    pub(crate) fn longest_queue(&self) -> Micros {
        self.longest_queue
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn does_one_thing_after_the_other() {
        let mut cpu = Cpu::new(1);
        // 1000 things of 2 ms that come at once: the last is done after 2 s, and both seconds are full.
        let last = (0..1000).map(|_| cpu.work(SECOND, 2_000_000)).last();
        assert_eq!(last, Some(3 * SECOND));
        assert_eq!((cpu.peak(), cpu.total()), (1.0, 2.0));
        assert_eq!(cpu.longest_queue(), 1998 * 1000);
        // What comes to an idle one is done at once.
        assert_eq!(cpu.work(10 * SECOND, 5000), 10 * SECOND + 5);
        assert_eq!(cpu.done[3..10], [0; 7]);
    }

    #[test]
    fn is_as_many_times_as_fast_as_it_has_cores() {
        let mut cpu = Cpu::new(4);
        let last = (0..1000).map(|_| cpu.work(0, 2_000_000)).last();
        assert_eq!(last, Some(SECOND / 2));
        assert_eq!((cpu.peak(), cpu.total()), (2.0, 2.0));
    }
}
