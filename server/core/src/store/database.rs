//! The open database: a commit of redb's, and what it came to. What is in the tables is `layout`'s.
//!
//! A commit is redb's of one phase: one sync, and checksums that tell at the next opening whether it was whole. They
//! are not cryptographic: redb's design document tells how an attacker who chooses both the values and the moment of a
//! power cut might pass off half a commit as a whole one. Against that, a second sync for each write is too dear.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use redb::{Database, DatabaseError, Durability, Error, ReadableDatabase, StorageError};

use super::device::Device;
use super::folding::Folding;
use super::journal::CommitError;
use super::layout::{DAMAGED, FORMAT, Header, LOGGED, LogState, MARK, META, RECORDS, WITHOUT_NODES};
use super::pending::{Pending, each_record};
use super::record::Record;
use super::snapshot::Snapshot;
use super::types::Id;
use crate::Refused;
use crate::clock::Timestamp;

/// redb's cache. It only has to hold the upper levels of the tree and what one commit touches; the rest of the file
/// is in the kernel's cache, and everything is in the state anyway. Changing random keys of a million pins took the
/// same processor time with 1, 16 and 256 MiB, within a tenth or two.
const CACHE_BYTES: usize = 16 << 20;

/// The open database.
pub(super) struct Records {
    /// The file's path, for messages.
    name: String,
    device: Device,
    /// `None` after an error, until it could be opened anew.
    database: Option<Arc<Database>>,
    /// Alive for as long as this opening of the database lasts.
    opening: Arc<()>,
    durability: Durability,
    header: Header,
}

impl Records {
    /// Opens the database, makes it if there is none, and checks that it is ours. `durability` is there for the test
    /// that wants to see its absence.
    ///
    /// # Errors
    /// A sentence for the operator, with the name.
    pub(super) fn open(name: String, device: Device, durability: Durability) -> Result<Self, Refused> {
        let opening = Arc::default();
        let header = Header { content: WITHOUT_NODES, log: None, last_log: None };
        let mut records = Self { name, device, database: None, opening, durability, header };
        records.open_database()?;
        records.check_integrity()?;
        records.check_format()?;
        Ok(records)
    }

    /// What the database knows of its log; `None`: it has none.
    pub(super) fn log(&self) -> Option<LogState> {
        self.header.log
    }

    /// The identifier of the log that the database had last.
    pub(super) fn last_log(&self) -> Option<u64> {
        self.header.last_log
    }

    /// Whether a commit is synced: always but in a test that wants to see what is lost.
    pub(super) fn syncs(&self) -> bool {
        !matches!(self.durability, Durability::None)
    }

    /// The disk of another file, which is as bad as this one once a sync of either has failed.
    pub(super) fn beside(&self, disk: impl redb::StorageBackend) -> Device {
        self.device.beside(disk)
    }

    /// Gives every record to `take`, in the order of the numbers, with what is pending in its place.
    ///
    /// # Errors
    /// If the file is damaged, or `take` finds that the records do not fit together.
    pub(super) fn load(
        &self,
        pending: &BTreeMap<Id, Option<Record>>,
        mut take: impl FnMut(Id, Record) -> Result<(), String>,
    ) -> Result<(), Refused> {
        let take = |id, bytes: &[u8]| {
            let taken =
                Record::decode(bytes).map_err(|err| err.to_string()).and_then(|record| take(id, record));
            taken.map_err(|why| format!("record {id} is damaged: {why}"))
        };
        let loaded = self
            .database()
            .and_then(|database| Ok(database.begin_read()?))
            .and_then(|transaction| each_record(&transaction, pending, take));
        match loaded {
            Ok(Ok(())) => Ok(()),
            Ok(Err(why)) => Err(Refused::Failed(format!("{}: {why}; {DAMAGED}", self.name))),
            Err(err) => Err(self.explain(&err)),
        }
    }

    /// The high-water mark of expiry; the beginning of time if there is none.
    ///
    /// # Errors
    /// The file is damaged.
    pub(super) fn mark(&self) -> Result<Timestamp, Refused> {
        let read = || {
            let table = self.database()?.begin_read()?.open_table(META)?;
            Ok(Timestamp(table.get(MARK)?.map_or(0, |mark| mark.value())))
        };
        read().map_err(|err| self.explain(&err))
    }

    /// Makes records and the mark durable, all or none; `None` deletes a record, and leaves the mark. Nothing to write
    /// is a commit all the same, which shows that a write would go through.
    pub(super) fn commit(
        &mut self,
        records: &BTreeMap<Id, Option<Record>>,
        mark: Option<Timestamp>,
    ) -> Result<(), CommitError> {
        self.commit_with(records, mark, self.header.log)
    }

    /// The same, with what is then true of the log.
    pub(super) fn commit_with(
        &mut self,
        records: &BTreeMap<Id, Option<Record>>,
        mark: Option<Timestamp>,
        log: Option<LogState>,
    ) -> Result<(), CommitError> {
        let header = self.header_with(records, log);
        let Err(err) = self.try_commit(records, mark, header) else {
            self.header = header;
            return Ok(());
        };
        let err = self.explain(&err);
        // Whatever went wrong, redb wants to be opened anew, and then shows whether the commit was the last thing
        // that succeeded.
        match self.reopen().and_then(|()| Ok(self.header == header && self.holds(records, mark)?)) {
            Ok(true) => Ok(()),
            Ok(false) => Err(CommitError::Undone(err)),
            Err(_) => Err(CommitError::InDoubt(match err {
                // That would say that nothing was changed.
                Refused::NoSpace(why) => Refused::Failed(why),
                err => err,
            })),
        }
    }

    /// Has what is pending committed by a thread of its own, and is not changed until [`Records::folded`].
    ///
    /// # Errors
    /// There is no thread for it.
    pub(super) fn fold(&self, pending: &Arc<Pending>) -> Result<Folding, Refused> {
        let database = self.database.clone().ok_or_else(|| self.explain(&Error::DatabaseClosed))?;
        let log = self.header.log.map(|log| LogState { folded: pending.last, ..log });
        let header = self.header_with(&pending.records, log);
        let (known, durability, pending) = (self.header, self.durability, pending.clone());
        let work = pending.clone();
        let thread = std::thread::Builder::new()
            .name("store-fold".to_owned())
            .spawn(move || write(&database, durability, &work.records, work.mark, known, header))
            .map_err(|err| Refused::Failed(format!("{}: no thread for the store: {err}", self.name)))?;
        Ok(Folding { pending, header, thread })
    }

    /// Waits for such a commit.
    ///
    /// # Errors
    /// It did not happen, or that cannot be told.
    pub(super) fn folded(&mut self, folding: Folding) -> Result<(), Refused> {
        let failed = match folding.thread.join() {
            Ok(Ok(())) => {
                self.header = folding.header;
                return Ok(());
            }
            Ok(Err(err)) => self.explain(&err),
            Err(_) => Refused::Failed(format!("{}: the thread that folds the log has ended", self.name)),
        };
        self.reopen()?;
        if self.header == folding.header { Ok(()) } else { Err(failed) }
    }

    fn header_with(&self, records: &BTreeMap<Id, Option<Record>>, log: Option<LogState>) -> Header {
        let with_nodes = records.values().any(|record| matches!(record, Some(Record::Node { .. })));
        let content = if with_nodes { FORMAT } else { self.header.content };
        Header { content, log, last_log: log.map(|log| log.id).or(self.header.last_log) }
    }

    /// What is durable now, with what is pending; writes go on, and it stays as it is.
    ///
    /// # Errors
    /// The database could not be opened anew after an error.
    pub(super) fn snapshot(&self, pending: BTreeMap<Id, Option<Record>>) -> Result<Snapshot, Refused> {
        let begun = self.database().and_then(|database| Ok(database.begin_read()?));
        let transaction = begun.map_err(|err| self.explain(&err))?;
        Ok(Snapshot::new(self.name.clone(), transaction, pending, Arc::downgrade(&self.opening)))
    }

    /// Closes the database, opens it again, and looks what its last commit has left.
    pub(super) fn reopen(&mut self) -> Result<(), Refused> {
        self.open_database()?;
        self.check_format()
    }

    fn open_database(&mut self) -> Result<(), Refused> {
        // First, so that a snapshot of the old opening learns of it before the new one writes over its pages.
        self.opening = Arc::default();
        self.database = None;
        if self.device.sync_failed() {
            return Err(self.cannot_sync());
        }
        self.device.empty_if_unfinished().map_err(|err| self.explain(&err.into()))?;
        let database = Database::builder()
            .set_cache_size(CACHE_BYTES)
            .create_with_backend(self.device.clone())
            .map_err(|err| match err {
                DatabaseError::UpgradeRequired(version) => Refused::Failed(format!(
                    "{}: the file is a redb database of version {version}, which is too old for this release",
                    self.name
                )),
                DatabaseError::Storage(StorageError::Io(err)) if err.kind() == io::ErrorKind::InvalidData => {
                    self.foreign()
                }
                err => self.explain(&err.into()),
            })?;
        self.database = Some(Arc::new(database));
        Ok(())
    }

    /// Whether the database has become what a commit would have made of it. A commit is atomic, so if it shows any
    /// trace it shows all; one that would have left everything as it was has happened in any case.
    pub(super) fn holds(
        &self,
        records: &BTreeMap<Id, Option<Record>>,
        mark: Option<Timestamp>,
    ) -> Result<bool, Refused> {
        let compare = || {
            if let Some(mark) = mark {
                let table = self.database()?.begin_read()?.open_table(META)?;
                if table.get(MARK)?.is_none_or(|found| found.value() != mark.0) {
                    return Ok(false);
                }
            }
            let table = self.database()?.begin_read()?.open_table(RECORDS)?;
            for (id, record) in records {
                let found = table.get(id)?;
                if found.as_ref().map(|bytes| bytes.value()) != record.as_ref().map(Record::encode).as_deref()
                {
                    return Ok(false);
                }
            }
            Ok(true)
        };
        match compare() {
            Err(Error::TableDoesNotExist(_)) => Ok(false),
            other => other.map_err(|err| self.explain(&err)),
        }
    }

    fn try_commit(
        &self,
        records: &BTreeMap<Id, Option<Record>>,
        mark: Option<Timestamp>,
        header: Header,
    ) -> Result<(), Error> {
        write(self.database()?, self.durability, records, mark, self.header, header)
    }

    /// Compares every page with its checksum, which redb does by itself only for a file that was not closed. For a
    /// million pins it takes a third of a second; without it, damage would be read as data.
    fn check_integrity(&mut self) -> Result<(), Refused> {
        match self.database.as_mut().and_then(Arc::get_mut).map(Database::check_integrity) {
            Some(Ok(false)) => log::warn!("{}: the file was damaged, and could be repaired", self.name),
            Some(Err(err)) => return Err(self.explain(&err.into())),
            Some(Ok(true)) | None => {}
        }
        Ok(())
    }

    /// Reads the format version, or writes it into a database that has nothing in it.
    fn check_format(&mut self) -> Result<(), Refused> {
        let read = || {
            let transaction = self.database()?.begin_read()?;
            if transaction.list_tables()?.next().is_none() {
                return Ok(None);
            }
            let table = transaction.open_table(META)?;
            Header::read(&table).map(Some)
        };
        match read() {
            Ok(Some(header)) if (WITHOUT_NODES..=FORMAT).contains(&header.content) => {
                self.header = header;
                Ok(())
            }
            Ok(None) => {
                self.try_commit(&BTreeMap::new(), None, self.header).map_err(|err| self.explain(&err))
            }
            Ok(Some(Header { content, .. })) => Err(Refused::LaterFormat(format!(
                "{}: the file has format {content}, this release reads formats up to {LOGGED}",
                self.name
            ))),
            Err(Error::TableDoesNotExist(_) | Error::TableTypeMismatch { .. }) => Err(self.foreign()),
            Err(err) => Err(self.explain(&err)),
        }
    }

    fn database(&self) -> Result<&Database, Error> {
        self.database.as_deref().ok_or(Error::DatabaseClosed)
    }

    fn explain(&self, err: &Error) -> Refused {
        self.explain_of(&self.name, err)
    }

    /// What an error of a file that is called `name` means for a write.
    pub(super) fn explain_of(&self, name: &str, err: &Error) -> Refused {
        let text = format!("{name}: {err}");
        match err {
            _ if self.device.sync_failed() => self.cannot_sync(),
            Error::Io(err)
                if matches!(err.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) =>
            {
                Refused::NoSpace(text)
            }
            Error::Corrupted(_) => Refused::Failed(format!("{text}; {DAMAGED}")),
            _ => Refused::Failed(text),
        }
    }

    fn foreign(&self) -> Refused {
        Refused::Failed(format!(
            "{}: the file is not one of this service; move it away, or use another data directory",
            self.name
        ))
    }

    /// Whether a sync has ever failed.
    ///
    /// # Errors
    /// It has. Nothing can be promised any more.
    pub(super) fn check_syncs(&self) -> Result<(), Refused> {
        if self.device.sync_failed() { Err(self.cannot_sync()) } else { Ok(()) }
    }

    fn cannot_sync(&self) -> Refused {
        Refused::Failed(format!(
            "{}: the disk could not sync, and the kernel takes what it could not write for written; \
             check the disk, then reboot, which is what makes it forget that",
            self.name
        ))
    }
}

/// A commit: of records, of the mark, and of what has changed in the header.
fn write(
    database: &Database,
    durability: Durability,
    records: &BTreeMap<Id, Option<Record>>,
    mark: Option<Timestamp>,
    known: Header,
    header: Header,
) -> Result<(), Error> {
    let mut transaction = database.begin_write()?;
    transaction.set_durability(durability)?;
    let probes = records.is_empty() && mark.is_none();
    if probes || mark.is_some() || header != known {
        let mut meta = transaction.open_table(META)?;
        if let Some(mark) = mark {
            meta.insert(MARK, mark.0)?;
        }
        if probes || header != known {
            header.write(&mut meta)?;
        }
    }
    if !records.is_empty() {
        let mut table = transaction.open_table(RECORDS)?;
        for (id, record) in records {
            match record {
                Some(record) => table.insert(id, record.encode().as_slice())?,
                None => table.remove(id)?,
            };
        }
    }
    Ok(transaction.commit()?)
}
