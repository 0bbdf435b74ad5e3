//! The store that lasts: the state in memory, and behind it a redb database that one thread writes.
//!
//! What a write promises is kept by `writer`; this is the handle that many tasks share, and the opening of the file.

use std::path::Path;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use protocol::Pin;
use redb::Durability;
use redb::backends::FileBackend;
use tokio::sync::oneshot;

use super::batch::{Batch, Core};
use super::database::{Records, guarded};
use super::device::Device;
use super::file;
use super::local::Local;
use super::record::Record;
use super::snapshot::Snapshot;
use super::state::{Entry, Numbered};
use super::writer::{Health, Job, Look, PAUSE, Write, Writer};
use super::{Limits, Observer, StoreError};
use crate::clock::{Clock, Timestamp};

/// The file that [`Embedded::open`] makes in the data directory.
pub const FILE_NAME: &str = "pairing.redb";

/// Clusters in a file. Dropping it answers what is queued, and closes the file; it blocks for that long.
pub struct Embedded {
    core: Arc<Core>,
    health: Health,
    /// `None` only while it is dropped.
    queue: Option<mpsc::Sender<Box<dyn Job>>>,
    writer: Option<JoinHandle<()>>,
}

impl Embedded {
    /// Opens the store in the data directory `dir`, for this process alone, and reads all of it. Directory and file
    /// are made if they are not there, for this user alone (0700 and 0600).
    ///
    /// # Errors
    /// [`StoreError::Failed`] or [`StoreError::NoSpace`] with a sentence that names the file: it cannot be made, read
    /// or written, is damaged, has another format, or is open in another process.
    pub fn open(
        dir: &Path,
        limits: Limits,
        clock: Arc<dyn Clock>,
        observer: Arc<dyn Observer>,
    ) -> Result<Self, StoreError> {
        let path = dir.join(FILE_NAME);
        let name = path.display().to_string();
        let file = file::open(dir, &path, "stop that one first, or use another data directory")?;
        let disk = FileBackend::new(file).map_err(|err| StoreError::Failed(format!("{name}: {err}")))?;
        let core = Core::new(limits, clock, observer);
        Self::start(&name, Device::new(disk), Durability::Immediate, Health::new(PAUSE), core)
    }

    /// Makes a cluster older than it is, as if it had been created `by` earlier: for tests of what happens when it
    /// expires.
    ///
    /// # Errors
    /// As those of any write.
    #[doc(hidden)]
    pub async fn backdate(&self, pin: &Pin, by: Duration) -> Result<(), StoreError> {
        let pin = pin.clone();
        self.write(move |batch| batch.backdate(&pin, by)).await
    }

    /// What is durable, and a moment: every write that was answered before it is in there. Later writes go on.
    ///
    /// # Errors
    /// After an I/O error, until the file could be opened anew.
    pub(crate) async fn snapshot(&self) -> Result<(Snapshot, Timestamp), StoreError> {
        let now = self.now();
        let (asker, answer) = oneshot::channel();
        self.enqueue(Box::new(Look(asker)))?;
        let snapshot = answer.await.unwrap_or_else(|_| Err(gone()))?;
        Ok((snapshot, now))
    }

    /// The time, as this store has it.
    pub(crate) fn now(&self) -> Timestamp {
        self.core.clock.now()
    }

    fn enqueue(&self, job: Box<dyn Job>) -> Result<(), StoreError> {
        let queue = self.queue.as_ref().expect("it is there until the store is dropped");
        queue.send(job).map_err(|_| gone())
    }

    /// Reads the records into memory, and starts the thread that writes.
    pub(super) fn start(
        name: &str,
        device: Device,
        durability: Durability,
        health: Health,
        core: Core,
    ) -> Result<Self, StoreError> {
        let records = guarded(name, || {
            let records = Records::open(name.to_owned(), device, durability)?;
            load(&core, &records)?;
            Ok(records)
        })?;
        let core = Arc::new(core);
        let (queue, jobs) = mpsc::channel();
        let writer = Writer::new(core.clone(), records, health.clone());
        let writer = std::thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || writer.run(&jobs))
            .map_err(|err| StoreError::Failed(format!("no thread for the store: {err}")))?;
        Ok(Self { core, health, queue: Some(queue), writer: Some(writer) })
    }
}

impl Local for Embedded {
    fn core(&self) -> &Core {
        &self.core
    }

    async fn write<T: Send + 'static>(
        &self,
        operation: impl FnOnce(&mut Batch<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (asker, answer) = oneshot::channel();
        self.enqueue(Box::new(Write::new(operation, asker)))?;
        answer.await.unwrap_or_else(|_| Err(gone()))
    }

    /// A commit of the last second answers for the next one; when there was none, it takes one to know.
    async fn writable(&self) -> Result<(), StoreError> {
        match self.health.recent() {
            Some(outcome) => outcome,
            None => {
                self.write(|batch| {
                    batch.probe();
                    Ok(())
                })
                .await
            }
        }
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(writer) = self.writer.take() {
            // If it panicked, whoever waited for it has been told.
            let _ = writer.join();
        }
    }
}

fn gone() -> StoreError {
    StoreError::Failed("the thread that writes has ended: restart the service".to_owned())
}

/// Reads every record into the state. A cluster that is due is read like any other: nobody has been told anything of
/// it yet, and whoever asks for it will bury it.
fn load(core: &Core, records: &Records) -> Result<(), StoreError> {
    let mut ledger = core.state.ledger();
    records.load(|id, record| {
        ledger.next_id = id + 1;
        match record {
            Record::Cluster { pin, created, expires } => {
                let entry = Entry { id, created, expires, keys: Vec::new() };
                core.state.publish(&mut ledger, pin, Some(entry));
            }
            Record::Key { pin, key } => {
                if !core.state.restore(&mut ledger, pin, Numbered { id, key }) {
                    return Err("its cluster is missing".to_owned());
                }
            }
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Change, Cluster, Store, suite};

    struct World(tempfile::TempDir);

    impl Default for World {
        fn default() -> Self {
            Self(tempfile::tempdir().unwrap())
        }
    }

    impl suite::World for World {
        type Store = Embedded;
        const LASTS: bool = true;

        fn open(&self, limits: Limits, clock: Arc<dyn Clock>, observer: Arc<dyn Observer>) -> Embedded {
            Embedded::open(self.0.path(), limits, clock, observer).unwrap()
        }
    }

    suite::run!(World);

    #[test]
    fn a_cluster_that_was_backdated_expires_so_much_sooner() {
        let mut fixture = suite::Fixture::<World>::new(Limits::default());
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
