//! The database with a log in front of it: a commit is an append to the log, and the database takes in a half of the log at
//! a time, on a thread of its own.
//!
//! What the log holds and the database does not is kept in memory, too, and takes precedence when the
//! database is read. While there is no room on the disk for what is to be taken in, only what deletes is appended.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use redb::backends::FileBackend;
use redb::{Durability, Error, StorageBackend};

use super::append_log::{AppendLog, HALF_BYTES};
use super::database::Records;
use super::device::Device;
use super::file;
use super::folding::Folding;
use super::frame;
use super::journal::CommitError;
use super::layout::{DAMAGED, LogState, guarded};
use super::pending::Pending;
use super::record::Record;
use super::snapshot::Snapshot;
use super::types::Id;
use crate::Refused;
use crate::clock::Timestamp;

/// Records that the database takes in together where room is scarce: the pages that they were on are free for the next.
const PART: usize = 500;

/// The open database with its log.
pub(super) struct Logged {
    records: Records,
    log: Option<OpenLog>,
    /// What is in the half that is written to.
    current: Pending,
    /// What is in the other half, while the database takes it in.
    folding: Option<Folding>,
    /// What it could not take in. It is older than what is current.
    stuck: Option<Pending>,
}

struct OpenLog {
    name: String,
    log: AppendLog,
}

impl Logged {
    /// Opens a store's file, which is locked, and the log beside it. One that has no log gets one, if it `is_served`.
    ///
    /// # Errors
    /// A sentence for the operator, with the name.
    pub(super) fn open(path: &Path, file: File, is_served: bool) -> Result<Self, Refused> {
        let name = path.display().to_string();
        let disk = |file| FileBackend::new(file).map_err(|err| Refused::Failed(format!("{name}: {err}")));
        let device = Device::new(disk(file)?);
        let records = guarded(&name, || Records::open(name.clone(), device, Durability::Immediate))?;
        let log_path = file::log_of(path);
        let log_name = log_path.display().to_string();
        let log = match records.log() {
            Some(_) => Some(disk(file::open_log(path, &log_path)?)?),
            None if is_served => file::make_log(&log_path, records.last_log())
                .and_then(disk)
                .inspect_err(|err| log::warn!("{err}; writes are slower without a log"))
                .ok(),
            None => None,
        };
        match log {
            Some(log) => guarded(&name, || Self::on(records, log_name, log, HALF_BYTES)),
            None => Ok(Self::without_log(records)),
        }
    }

    /// A database without a log: every commit is its own.
    pub(super) fn without_log(records: Records) -> Self {
        Self::new(records, None, None)
    }

    fn new(records: Records, log: Option<OpenLog>, stuck: Option<Pending>) -> Self {
        Self { records, log, current: Pending::default(), folding: None, stuck }
    }

    /// Opens the log on a disk, which is called `name` in messages, or begins one with halves of so many bytes.
    ///
    /// # Errors
    /// As for [`Logged::open`].
    pub(super) fn on(
        mut records: Records,
        name: String,
        disk: impl StorageBackend,
        half: u64,
    ) -> Result<Self, Refused> {
        let device = records.beside(disk);
        let failed = |records: &Records, err| records.explain_of(&name, &Error::Io(err));
        let Some(state) = records.log() else {
            let id = getrandom::u64().map_err(|err| Refused::Failed(format!("no random numbers: {err}")))?;
            let made = AppendLog::begin(device, id, half, records.syncs())
                .map_err(|err| failed(&records, err))
                .and_then(|log| {
                    let state = Some(LogState { id, folded: 0 });
                    records.commit_with(&BTreeMap::new(), None, state).map(|()| log).map_err(refused)
                });
            return match made {
                Ok(log) => Ok(Self::new(records, Some(OpenLog { name, log }), None)),
                Err(Refused::NoSpace(why)) => {
                    log::warn!("{why}; writes are slower without a log");
                    Ok(Self::without_log(records))
                }
                Err(err) => Err(err),
            };
        };
        let (log, pending) = AppendLog::open(device, state, half, records.syncs())
            .map_err(|err| failed(&records, err))?
            .map_err(|why| Refused::Failed(format!("{name}: {why}; {DAMAGED}")))?;
        // A process that was killed may not have come to it.
        log.sync().map_err(|err| failed(&records, err))?;
        let mut logged = Self::new(records, Some(OpenLog { name, log }), Some(pending));
        match logged.fold_now() {
            Err(Refused::NoSpace(why)) => log::warn!("{why}; what is in the log stays there"),
            folded => folded?,
        }
        Ok(logged)
    }

    /// Whether the database could not take in what it should have.
    pub(super) fn is_stuck(&self) -> bool {
        self.stuck.is_some()
    }

    /// Has it try that again.
    pub(super) fn unstick(&mut self) {
        if let Err(err) = self.fold_now() {
            log::warn!("{err}; what is in the log stays there for now");
        }
    }

    /// Whether a log is in use.
    pub(super) fn has_log(&self) -> bool {
        self.log.is_some()
    }

    /// The high-water mark of expiry.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(super) fn mark(&self) -> Result<Timestamp, Refused> {
        self.pending().mark.map_or_else(|| self.records.mark(), Ok)
    }

    /// Gives every record to `take`, in the order of the numbers.
    ///
    /// # Errors
    /// The file is damaged, or `take` finds that the records do not fit together.
    pub(super) fn load(&self, take: impl FnMut(Id, Record) -> Result<(), String>) -> Result<(), Refused> {
        self.records.load(&self.pending().records, take)
    }

    /// What is durable now.
    ///
    /// # Errors
    /// As for [`Records::snapshot`].
    pub(super) fn snapshot(&self) -> Result<Snapshot, Refused> {
        self.records.snapshot(self.pending().records)
    }

    /// Makes records and the mark durable, as [`Records::commit`].
    pub(super) fn commit(
        &mut self,
        records: &BTreeMap<Id, Option<Record>>,
        mark: Option<Timestamp>,
    ) -> Result<(), CommitError> {
        self.records.check_syncs().map_err(CommitError::Undone)?;
        // Without changes it asks whether a write would go through: so a full disk is seen before the log is full as well.
        let asks = records.is_empty() && mark.is_none();
        if self.log.is_none() || asks {
            self.finish_folding();
            self.records.commit(records, mark)?;
        }
        let Some(OpenLog { log, .. }) = &self.log else { return Ok(()) };
        let frame = frame::encode(log.id(), log.next(), records, mark);
        let fits_at_all = log.ever_fits(frame.len());
        if self.folding.as_ref().is_some_and(Folding::is_over) {
            self.finish_folding();
        }
        let frees = !records.is_empty() && records.values().all(Option::is_none);
        if !fits_at_all || (self.stuck.is_some() && !frees) {
            self.fold_now().map_err(CommitError::Undone)?;
        }
        if !fits_at_all {
            return self.records.commit(records, mark);
        }
        self.make_room(frame.len()).map_err(CommitError::Undone)?;
        let Some(OpenLog { name, log }) = &mut self.log else { return self.records.commit(records, mark) };
        let number = log.next();
        let Err(err) = log.append(&frame) else {
            self.current.add_frame(number, records, mark);
            return Ok(());
        };
        let err = self.records.explain_of(name, &Error::Io(err));
        match (self.records.check_syncs(), err) {
            (Ok(()), err) if log.erase().is_ok() => Err(CommitError::Undone(err)),
            // That would say that nothing was changed.
            (_, Refused::NoSpace(why)) => Err(CommitError::InDoubt(Refused::Failed(why))),
            (_, err) => Err(CommitError::InDoubt(err)),
        }
    }

    /// Finds out whether a commit happened that was in doubt.
    ///
    /// # Errors
    /// It still cannot be told.
    pub(super) fn resolve(
        &mut self,
        records: &BTreeMap<Id, Option<Record>>,
        mark: Option<Timestamp>,
    ) -> Result<bool, Refused> {
        self.records.check_syncs()?;
        if let Some(OpenLog { name, log }) = self.log.as_mut().filter(|open| open.log.is_torn()) {
            return match log.erase() {
                Ok(()) => Ok(false),
                Err(err) => Err(self.records.explain_of(name, &Error::Io(err))),
            };
        }
        self.records.reopen()?;
        self.records.holds(records, mark)
    }

    /// All that the database does not hold, or may not.
    fn pending(&self) -> Pending {
        let mut pending = self.stuck.clone().unwrap_or_default();
        if let Some(folding) = &self.folding {
            pending.add(Pending::clone(&folding.pending));
        }
        pending.add(self.current.clone());
        pending
    }

    /// Sees to it that so many bytes fit into the half that is written to.
    fn make_room(&mut self, bytes: usize) -> Result<(), Refused> {
        if self.log.as_ref().is_none_or(|open| open.log.fits(bytes)) {
            return Ok(());
        }
        self.finish_folding();
        if self.stuck.is_some() {
            return self.fold_now();
        }
        let pending = Arc::new(std::mem::take(&mut self.current));
        match self.records.fold(&pending) {
            Ok(folding) => {
                self.folding = Some(folding);
                self.log.iter_mut().for_each(|open| open.log.turn());
                Ok(())
            }
            Err(_) => {
                self.stuck = Some(Arc::unwrap_or_clone(pending));
                self.fold_now()
            }
        }
    }

    /// Waits until the database has taken in what it is at.
    fn finish_folding(&mut self) {
        let Some(folding) = self.folding.take() else { return };
        let pending = folding.pending.clone();
        if let Err(err) = self.records.folded(folding) {
            log::warn!("{err}; what is in the log stays there for now");
            self.stuck = Some(Arc::unwrap_or_clone(pending));
        }
    }

    /// Has the database take in everything, here and now, which leaves the log empty.
    fn fold_now(&mut self) -> Result<(), Refused> {
        self.finish_folding();
        let mut pending = self.stuck.take().unwrap_or_default();
        pending.add(std::mem::take(&mut self.current));
        let log = self.records.log().map(|log| LogState { folded: log.folded.max(pending.last), ..log });
        let folded = fold(&mut self.records, &pending, log);
        match &folded {
            Ok(()) => self.log.iter_mut().for_each(|open| open.log.turn()),
            Err(_) => self.stuck = Some(pending),
        }
        folded
    }

    /// Closes the log: the database has everything then, and any release reads it that reads the records.
    fn close(&mut self) -> Result<(), Refused> {
        if self.log.take().is_none() {
            return Ok(());
        }
        self.finish_folding();
        self.records.check_syncs()?;
        let mut pending = self.stuck.take().unwrap_or_default();
        pending.add(std::mem::take(&mut self.current));
        fold(&mut self.records, &pending, None)
    }
}

impl Drop for Logged {
    fn drop(&mut self) {
        let closed = guarded("the store", || self.close());
        if let Err(err) = closed {
            log::warn!("{err}; the next start reads the log");
        }
    }
}

/// Has the database take in what is pending, and notes that it has.
fn fold(records: &mut Records, pending: &Pending, log: Option<LogState>) -> Result<(), Refused> {
    if pending.records.is_empty() && pending.mark.is_none() && records.log() == log {
        return Ok(());
    }
    match records.commit_with(&pending.records, pending.mark, log) {
        Err(CommitError::Undone(Refused::NoSpace(_))) => fold_in_parts(records, pending, log),
        folded => folded.map_err(refused),
    }
}

/// The same where room is scarce, in several commits, the last of which notes it: until then the log has it all. What is
/// deleted comes first, since that makes room, two commits later.
fn fold_in_parts(records: &mut Records, pending: &Pending, log: Option<LogState>) -> Result<(), Refused> {
    let (deleted, put): (Vec<_>, Vec<_>) = pending.records.iter().partition(|(_, record)| record.is_none());
    let parts = deleted.chunks(PART).chain([&[][..], &[]]).chain(put.chunks(PART));
    for part in parts {
        let part = part.iter().map(|(id, record)| (**id, (*record).clone())).collect();
        records.commit(&part, None).map_err(refused)?;
    }
    records.commit_with(&BTreeMap::new(), pending.mark, log).map_err(refused)
}

fn refused(err: CommitError) -> Refused {
    match err {
        CommitError::Undone(err) | CommitError::InDoubt(err) => err,
        CommitError::Outdated(_) => Refused::Failed("another process writes to the store".to_owned()),
    }
}

#[cfg(test)]
mod tests;
