//! The open database: a commit of redb's, and what it came to. What is in the tables is `layout`'s.
//!
//! A commit is redb's of one phase: one sync, and checksums that tell at the next opening whether it was whole. They
//! are not cryptographic: redb's design document tells how an attacker who chooses both the values and the moment of a
//! power cut might pass off half a commit as a whole one. Against that, a second sync for each write is too dear.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use redb::{
    Database, DatabaseError, Durability, Error, ReadableDatabase, ReadableTable, StorageError, TableError,
};

use super::device::Device;
use super::journal::CommitError;
use super::layout::{DAMAGED, FORMAT, MARK, META, RECORDS, WITHOUT_NODES};
use super::record::Record;
use super::snapshot::Snapshot;
use super::state::Id;
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
    database: Option<Database>,
    /// Alive for as long as this opening of the database lasts.
    opening: Arc<()>,
    durability: Durability,
    /// The version of the layout that the file has.
    format: u64,
}

impl Records {
    /// Opens the database, makes it if there is none, and checks that it is ours. `durability` is there for the test
    /// that wants to see its absence.
    ///
    /// # Errors
    /// A sentence for the operator, with the name.
    pub(super) fn open(name: String, device: Device, durability: Durability) -> Result<Self, Refused> {
        let opening = Arc::default();
        let mut records = Self { name, device, database: None, opening, durability, format: WITHOUT_NODES };
        records.reopen()?;
        records.check_integrity()?;
        records.check_format()?;
        Ok(records)
    }

    /// Gives every record to `take`, in the order of the numbers.
    ///
    /// # Errors
    /// If the file is damaged, or `take` finds that the records do not fit together.
    pub(super) fn load(&self, mut take: impl FnMut(Id, Record) -> Result<(), String>) -> Result<(), Refused> {
        let mut load = || {
            let transaction = self.database()?.begin_read()?;
            let table = match transaction.open_table(RECORDS) {
                Err(TableError::TableDoesNotExist(_)) => return Ok(Ok(())),
                table => table?,
            };
            for item in table.iter()? {
                let (id, bytes) = item?;
                let taken = Record::decode(bytes.value())
                    .map_err(|err| err.to_string())
                    .and_then(|record| take(id.value(), record));
                if let Err(why) = taken {
                    return Ok(Err(format!("record {} is damaged: {why}", id.value())));
                }
            }
            Ok(Ok(()))
        };
        match load() {
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
        let with_nodes = records.values().any(|record| matches!(record, Some(Record::Node { .. })));
        let format = if with_nodes { FORMAT } else { self.format };
        let Err(err) = self.try_commit(records, mark, format) else {
            self.format = format;
            return Ok(());
        };
        let err = self.explain(&err);
        // Whatever went wrong, redb wants to be opened anew, and then shows whether the commit was the last thing
        // that succeeded.
        match self.reopen().and_then(|()| self.holds(records, mark)) {
            Ok(true) => Ok(()),
            Ok(false) => Err(CommitError::Undone(err)),
            Err(_) => Err(CommitError::InDoubt(match err {
                // That would say that nothing was changed.
                Refused::NoSpace(why) => Refused::Failed(why),
                err => err,
            })),
        }
    }

    /// What is durable now; writes go on, and it stays as it is.
    ///
    /// # Errors
    /// The database could not be opened anew after an error.
    pub(super) fn snapshot(&self) -> Result<Snapshot, Refused> {
        let begun = self.database().and_then(|database| Ok(database.begin_read()?));
        let transaction = begun.map_err(|err| self.explain(&err))?;
        Ok(Snapshot::new(self.name.clone(), transaction, Arc::downgrade(&self.opening)))
    }

    /// Closes the database, and opens it again.
    pub(super) fn reopen(&mut self) -> Result<(), Refused> {
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
        self.database = Some(database);
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
        format: u64,
    ) -> Result<(), Error> {
        let mut transaction = self.database()?.begin_write()?;
        transaction.set_durability(self.durability)?;
        if let Some(mark) = mark {
            transaction.open_table(META)?.insert(MARK, mark.0)?;
        }
        if records.is_empty() || format != self.format {
            let mut table = transaction.open_table(META)?;
            // After a commit that was in doubt the file may be further than is known here.
            let kept = table.get("format")?.map_or(0, |kept| kept.value());
            table.insert("format", format.max(kept))?;
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

    /// Compares every page with its checksum, which redb does by itself only for a file that was not closed. For a
    /// million pins it takes a third of a second; without it, damage would be read as data.
    fn check_integrity(&mut self) -> Result<(), Refused> {
        match self.database.as_mut().map(Database::check_integrity) {
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
            let version = table.get("format")?.ok_or(Error::TableDoesNotExist(META.to_string()))?;
            Ok(Some(version.value()))
        };
        match read() {
            Ok(Some(version @ WITHOUT_NODES..=FORMAT)) => {
                self.format = version;
                Ok(())
            }
            Ok(None) => {
                self.try_commit(&BTreeMap::new(), None, self.format).map_err(|err| self.explain(&err))
            }
            Ok(Some(version)) => Err(Refused::LaterFormat(format!(
                "{}: the file has format {version}, this release reads formats up to {FORMAT}",
                self.name
            ))),
            Err(Error::TableDoesNotExist(_) | Error::TableTypeMismatch { .. }) => Err(self.foreign()),
            Err(err) => Err(self.explain(&err)),
        }
    }

    fn database(&self) -> Result<&Database, Error> {
        self.database.as_ref().ok_or(Error::DatabaseClosed)
    }

    fn explain(&self, err: &Error) -> Refused {
        let text = format!("{}: {err}", self.name);
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

    fn cannot_sync(&self) -> Refused {
        Refused::Failed(format!(
            "{}: the disk could not sync, and the kernel takes what it could not write for written; \
             check the disk, then reboot, which is what makes it forget that",
            self.name
        ))
    }
}
