//! What the journal counts: for `/metrics`.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Upper bounds of the latency buckets, in microseconds.
pub const BOUNDS: [u64; 11] =
    [500, 1000, 2500, 5000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000, 4_000_000];

/// The counts, which the journal's tasks share.
#[derive(Debug, Default)]
pub struct Counters(Mutex<JournalStats>);

/// The counts at one moment.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct JournalStats {
    /// Transactions that succeeded, by how long it took until the watch had delivered them; see [`BOUNDS`]. The last
    /// bucket has no bound.
    pub commits: [u64; BOUNDS.len() + 1],
    /// How long they took together, in microseconds.
    pub commit_micros: u64,
    /// Transactions whose comparison was lost to another server.
    pub conflicts: u64,
    /// Requests that were sent again since a member did not answer.
    pub retries: u64,
    /// How often all of the store was loaded, the first time among it.
    pub reloads: u64,
    /// How often a watch was begun.
    pub watches: u64,
    /// Read indexes that etcd was asked for.
    pub read_indexes: u64,
    /// Reads that shared them.
    pub reads: u64,
    /// How long the watch took to deliver what etcd had, in microseconds, when that was last measured.
    pub lag_micros: u64,
    /// Whether the majority cannot be reached.
    pub cut_off: bool,
}

impl Counters {
    /// The counts so far.
    #[must_use]
    pub fn stats(&self) -> JournalStats {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn update(&self, change: impl FnOnce(&mut JournalStats)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl JournalStats {
    pub(crate) fn add_commit(&mut self, took: Duration) {
        let micros = micros(took);
        let bucket = BOUNDS.iter().position(|bound| micros <= *bound).unwrap_or(BOUNDS.len());
        self.commits[bucket] += 1;
        self.commit_micros += micros;
    }
}

pub(crate) fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}
