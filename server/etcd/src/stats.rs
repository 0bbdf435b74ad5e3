//! What the journal counts: for `/metrics`.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of the latency buckets, in microseconds.
pub const BOUNDS: [u64; 11] =
    [500, 1000, 2500, 5000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000, 4_000_000];

/// The counters.
#[derive(Debug, Default)]
pub struct Counters {
    /// By bucket; the last has no bound.
    commits: [AtomicU64; BOUNDS.len() + 1],
    commit_micros: AtomicU64,
    conflicts: AtomicU64,
    retries: AtomicU64,
    reloads: AtomicU64,
    watches: AtomicU64,
    read_indexes: AtomicU64,
    reads: AtomicU64,
    lag_micros: AtomicU64,
    cut_off: AtomicBool,
}

/// The counters at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Figures {
    /// Transactions that succeeded, by how long it took until the watch had delivered them; see [`BOUNDS`].
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
    /// How long the watch took to deliver what etcd had, in microseconds, when that was last looked at.
    pub lag_micros: u64,
    /// Whether the majority cannot be reached.
    pub cut_off: bool,
}

impl Counters {
    pub(crate) fn committed(&self, took: Duration) {
        let micros = micros(took);
        let bucket = BOUNDS.iter().position(|bound| micros <= *bound).unwrap_or(BOUNDS.len());
        add(&self.commits[bucket], 1);
        add(&self.commit_micros, micros);
    }

    pub(crate) fn conflicted(&self) {
        add(&self.conflicts, 1);
    }

    pub(crate) fn retried(&self) {
        add(&self.retries, 1);
    }

    pub(crate) fn reloaded(&self) {
        add(&self.reloads, 1);
    }

    pub(crate) fn watched(&self) {
        add(&self.watches, 1);
    }

    pub(crate) fn read(&self, reads: usize) {
        add(&self.read_indexes, 1);
        add(&self.reads, u64::try_from(reads).unwrap_or(u64::MAX));
    }

    pub(crate) fn lagged(&self, by: Duration) {
        self.lag_micros.store(micros(by), Ordering::Relaxed);
    }

    pub(crate) fn set_cut_off(&self, cut_off: bool) {
        self.cut_off.store(cut_off, Ordering::Relaxed);
    }

    /// What was counted so far.
    #[must_use]
    pub fn figures(&self) -> Figures {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Figures {
            commits: std::array::from_fn(|bucket| read(&self.commits[bucket])),
            commit_micros: read(&self.commit_micros),
            conflicts: read(&self.conflicts),
            retries: read(&self.retries),
            reloads: read(&self.reloads),
            watches: read(&self.watches),
            read_indexes: read(&self.read_indexes),
            reads: read(&self.reads),
            lag_micros: read(&self.lag_micros),
            cut_off: self.cut_off.load(Ordering::Relaxed),
        }
    }
}

fn add(counter: &AtomicU64, more: u64) {
    // Nothing else hangs on the order in which counters move.
    counter.fetch_add(more, Ordering::Relaxed);
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}
