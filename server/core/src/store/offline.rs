//! The store of a service that does not run: what is in it, and how to take out what one does not want to load.
//!
//! Records are read one by one, so this works with a store that is too large for the memory.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;

use super::copy::WholeCluster;
use super::embedded::FILE_NAME;
use super::file;
use super::journal::CommitError;
use super::layout::guarded;
use super::logged::Logged;
use super::nodes::NODE_BYTES;
use super::pins::PinKey;
use super::record::Record;
use super::snapshot::Snapshot;
use super::state::{CLUSTER_BYTES, KEY_BYTES};
use super::types::Id;
use crate::Refused;
use crate::clock::Timestamp;

/// Records that are deleted together.
const BATCH: usize = 10_000;

/// What is in a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OfflineStats {
    /// Pins that have not expired.
    pub pins: usize,
    /// Their keys.
    pub keys: usize,
    /// Their nodes.
    pub nodes: usize,
    /// What they take in memory, in bytes.
    pub bytes: usize,
    /// What the largest pin takes of that.
    pub largest: usize,
    /// Pins that have expired and are not deleted yet.
    pub expired: usize,
}

/// What was taken out of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Purged {
    /// Pins that had expired.
    pub expired: usize,
    /// Pins that were too large.
    pub large: usize,
}

/// What is known of a pin.
struct StoredPin {
    expires: Timestamp,
    keys: usize,
    nodes: usize,
    bytes: usize,
}

/// The store of a service that does not run. While this lives, none can be started.
pub struct AtRest {
    records: Logged,
}

impl AtRest {
    /// Opens the store in a data directory. It is made if it is not there, which is for the caller to prevent.
    ///
    /// # Errors
    /// As for [`super::embedded::Embedded::open`].
    pub fn open(dir: &Path) -> Result<Self, Refused> {
        Self::open_in(dir, &dir.join(FILE_NAME))
    }

    /// Opens a backup, or any other store file. It is made if it is not there, which is for the caller to prevent.
    ///
    /// # Errors
    /// As for [`AtRest::open`].
    pub fn open_file(path: &Path) -> Result<Self, Refused> {
        Self::open_in(path.parent().unwrap_or(path), path)
    }

    fn open_in(dir: &Path, path: &Path) -> Result<Self, Refused> {
        let advice =
            "if the service is just starting or ending, try again; else look for a warning in its log";
        let file = file::open(dir, path, advice)?;
        Ok(Self { records: Logged::open(path, file, false)? })
    }

    /// Whether there is a store in a data directory.
    ///
    /// # Errors
    /// It cannot be told.
    pub fn is_there(dir: &Path) -> std::io::Result<bool> {
        fs::exists(dir.join(FILE_NAME))
    }

    /// What it holds.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn snapshot(&self) -> Result<Snapshot, Refused> {
        self.records.snapshot()
    }
}

impl AtRest {
    /// What is in the store at `now`.
    ///
    /// # Errors
    /// The file cannot be read, or is damaged.
    pub fn stats(&self, now: Timestamp) -> Result<OfflineStats, Refused> {
        let mut stats = OfflineStats::default();
        for found in self.pins()?.values() {
            if found.expires <= now {
                stats.expired += 1;
                continue;
            }
            stats.pins += 1;
            stats.keys += found.keys;
            stats.nodes += found.nodes;
            stats.bytes += found.bytes;
            stats.largest = stats.largest.max(found.bytes);
        }
        Ok(stats)
    }

    /// Every cluster, in the order of their creation. All of them are in memory then.
    ///
    /// # Errors
    /// The file cannot be read, or is damaged.
    pub fn clusters(&self) -> Result<Vec<WholeCluster>, Refused> {
        let (mut clusters, mut places) = (Vec::<WholeCluster>::new(), HashMap::new());
        self.each(|_, record| match record {
            Record::Cluster { pin, created, expires } => {
                places.insert(pin, clusters.len());
                clusters.push(WholeCluster { pin, created, expires, keys: Vec::new(), nodes: Vec::new() });
            }
            Record::Key { pin, key } => {
                if let Some(place) = places.get(&pin) {
                    clusters[*place].keys.push(key);
                }
            }
            Record::Node { pin, node } => {
                if let Some(place) = places.get(&pin) {
                    clusters[*place].nodes.push(node);
                }
            }
        })?;
        for cluster in &mut clusters {
            cluster.nodes.sort_by(|one, other| one.id.cmp(&other.id));
        }
        Ok(clusters)
    }

    /// Deletes the pins that have expired at `now`, and those that take more than `most` bytes.
    ///
    /// # Errors
    /// The file cannot be read or written, or is damaged; what was deleted until then stays deleted.
    pub fn purge(&mut self, now: Timestamp, most: Option<usize>) -> Result<Purged, Refused> {
        let mut purged = Purged::default();
        let mut doomed = self.pins()?;
        doomed.retain(|_, found| {
            let (expired, large) = (found.expires <= now, most.is_some_and(|most| found.bytes > most));
            purged.expired += usize::from(expired);
            purged.large += usize::from(large && !expired);
            expired || large
        });
        let mut records: Vec<Id> = Vec::new();
        self.each(|id, record| {
            records.extend(doomed.contains_key(&record.pin()).then_some(id));
        })?;
        // The last first: should it end half-way, no key or node is without its cluster.
        for batch in records.rchunks(BATCH) {
            let batch: BTreeMap<Id, Option<Record>> = batch.iter().map(|id| (*id, None)).collect();
            self.records.commit(&batch, None).map_err(|err| match err {
                CommitError::Undone(err) | CommitError::InDoubt(err) => err,
                CommitError::Outdated(_) => Refused::Failed("another process writes to the store".to_owned()),
            })?;
        }
        Ok(purged)
    }

    fn pins(&self) -> Result<HashMap<PinKey, StoredPin>, Refused> {
        let mut pins: HashMap<PinKey, StoredPin> = HashMap::new();
        self.each(|_, record| match record {
            Record::Cluster { pin, expires, .. } => {
                pins.insert(pin, StoredPin { expires, keys: 0, nodes: 0, bytes: CLUSTER_BYTES });
            }
            Record::Key { pin, key } => {
                if let Some(found) = pins.get_mut(&pin) {
                    found.keys += 1;
                    found.bytes += KEY_BYTES + key.name.len() + key.value.len();
                }
            }
            Record::Node { pin, node } => {
                if let Some(found) = pins.get_mut(&pin) {
                    found.nodes += 1;
                    found.bytes += NODE_BYTES + node.bytes();
                }
            }
        })?;
        Ok(pins)
    }

    fn each(&self, mut take: impl FnMut(Id, Record)) -> Result<(), Refused> {
        guarded("the store", || {
            self.records.load(|id, record| {
                take(id, record);
                Ok(())
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::clock::ManualClock;
    use crate::store::suite::{LIFETIME, START, wait};
    use crate::store::{Limits, Store};

    #[test]
    fn shows_and_takes_out_what_has_expired_and_what_is_too_large() {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::at(START));
        let open = || Store::open(dir.path(), Limits::default(), clock.clone(), Arc::new(())).unwrap();
        let store = open();
        let pins: Vec<_> = (0..3).map(|_| wait(store.create_cluster()).unwrap().pin).collect();
        for (pin, length) in pins.iter().zip([10, 10, 50_000]) {
            wait(store.create_key(pin, "k", &"v".repeat(length))).unwrap();
        }
        wait(store.backdate(&pins[0], LIFETIME / 2)).unwrap();
        drop(store);
        let now = START.after(LIFETIME / 2);

        let mut at_rest = AtRest::open(dir.path()).unwrap();
        let stats = at_rest.stats(now).unwrap();
        assert_eq!((stats.pins, stats.keys, stats.expired), (2, 2, 1));
        assert!(stats.largest > 50_000 && stats.bytes > stats.largest);
        assert_eq!(at_rest.purge(now, None), Ok(Purged { expired: 1, large: 0 }));
        assert_eq!(at_rest.stats(now), Ok(OfflineStats { expired: 0, ..stats }));
        assert_eq!(at_rest.purge(now, Some(10_000)), Ok(Purged { expired: 0, large: 1 }));
        drop(at_rest);
        let store = open();
        let known = pins.iter().map(|pin| wait(store.cluster(pin)).is_ok());
        assert_eq!(known.collect::<Vec<_>>(), [false, true, false]);
        assert_eq!(wait(store.key(&pins[1], "k")).unwrap().value, "v".repeat(10));
    }
}
