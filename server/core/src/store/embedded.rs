//! The embedded journal: a redb database in a file of the data directory.

use std::path::Path;

use redb::Durability;
use redb::backends::FileBackend;

use super::batch::Changes;
use super::database::{Records, guarded};
use super::device::Device;
use super::file;
use super::handle::Shared;
use super::journal::{CommitError, Journal};
use super::record::Record;
use super::snapshot::Snapshot;
use super::state::{Entry, NumberedKey};
use crate::Refused;
use crate::clock::Timestamp;

/// The store's file in the data directory.
pub const FILE_NAME: &str = "pairing.redb";

/// The open database.
pub(super) struct Embedded {
    name: String,
    records: Records,
}

impl Embedded {
    /// Opens the file in the data directory `dir`, for this process alone.
    ///
    /// # Errors
    /// As for [`super::Store::open`].
    pub(super) fn open(dir: &Path) -> Result<Self, Refused> {
        let path = dir.join(FILE_NAME);
        let name = path.display().to_string();
        let file = file::open(dir, &path, "stop that one first, or use another data directory")?;
        let disk = FileBackend::new(file).map_err(|err| Refused::Failed(format!("{name}: {err}")))?;
        Self::on(&name, Device::new(disk), Durability::Immediate)
    }

    /// Opens the database on a disk, which is called `name` in messages.
    ///
    /// # Errors
    /// A sentence for the operator, with the name.
    pub(super) fn on(name: &str, device: Device, durability: Durability) -> Result<Self, Refused> {
        let records = guarded(name, || Records::open(name.to_owned(), device, durability))?;
        Ok(Self { name: name.to_owned(), records })
    }

    /// The high-water mark of expiry.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(super) fn mark(&self) -> Result<Timestamp, Refused> {
        guarded(&self.name, || self.records.mark())
    }

    /// Reads every record into the state.
    ///
    /// # Errors
    /// The file is damaged.
    pub(super) fn load(&self, shared: &Shared) -> Result<(), Refused> {
        let mut writer = shared.state.writer();
        let take = |id, record| {
            writer.next_id = id + 1;
            match record {
                Record::Cluster { pin, created, expires } => {
                    let entry = Entry { id, created, expires, keys: Vec::new() };
                    shared.state.publish(&mut writer, pin, Some(entry));
                }
                Record::Key { pin, key } => {
                    if !shared.state.restore(&mut writer, pin, NumberedKey { id, key }) {
                        return Err("its cluster is missing".to_owned());
                    }
                }
            }
            Ok(())
        };
        guarded(&self.name, || self.records.load(take))
    }
}

/// It blocks; the writer's thread is there for that.
impl Journal for Embedded {
    async fn commit(&mut self, changes: &Changes) -> Result<(), CommitError> {
        self.records.commit(changes.records(), changes.mark())
    }

    async fn resolve(&mut self, changes: &Changes) -> Result<bool, Refused> {
        self.records.reopen()?;
        self.records.holds(changes.records(), changes.mark())
    }

    fn snapshot(&self) -> Result<Snapshot, Refused> {
        self.records.snapshot()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use crate::clock::Clock;
    use crate::store::{Change, Cluster, Limits, Observer, Store, suite};

    struct Directory(tempfile::TempDir);

    impl Default for Directory {
        fn default() -> Self {
            Self(tempfile::tempdir().unwrap())
        }
    }

    impl suite::Place for Directory {
        const LASTS: bool = true;

        fn open(&self, limits: Limits, clock: Arc<dyn Clock>, observer: Arc<dyn Observer>) -> Store {
            Store::open(self.0.path(), limits, clock, observer).unwrap()
        }
    }

    suite::run!(Directory);

    #[test]
    fn a_cluster_that_was_backdated_expires_so_much_sooner() {
        let mut fixture = suite::Fixture::<Directory>::new(Limits::default());
        let pin = fixture.pin();
        let made = suite::wait(fixture.store().cluster(&pin)).unwrap();
        let by = suite::LIFETIME - Duration::from_micros(1);
        suite::wait(fixture.store().backdate(&pin, by)).unwrap();
        let expected = Cluster { created: made.created.before(by), expires: made.expires.before(by), ..made };
        for _ in 0..2 {
            assert_eq!(suite::wait(fixture.store().cluster(&pin)), Ok(expected.clone()));
            fixture.reopen();
        }
        fixture.clock.advance(Duration::from_micros(1));
        assert_eq!(suite::wait(fixture.store().sweep()), Ok(None));
        assert_eq!(fixture.log.take(), [(pin, Change::Expired)]);
    }
}
