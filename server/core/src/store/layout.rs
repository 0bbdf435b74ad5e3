//! The durable form of the state: a redb database of two tables.
//!
//! | table | key | value |
//! |---|---|---|
//! | `meta` | `format` | [`FORMAT`], or [`WITHOUT_NODES`] while the store has never had a node; [`LOGGED`] while a log is in use |
//! | `meta` | `log` | identifier of the log, or of the last one |
//! | `meta` | `content` | what `format` would be without the log; only while there is one |
//! | `meta` | `folded` | only while there is one: number of the last frame of the log that is in `records`; later ones take precedence |
//! | `meta` | `mark` | the high-water mark of expiry in microseconds since 1970, if there is one |
//! | `records` | number of a cluster, key or node | see `record` |
//!
//! Reads are served from memory, so the layout is made for writing alone: numbers are given in the order of creation,
//! and what is created goes to the right edge of one B-tree whatever its pin is. Records that go together in time, and
//! so most of those of one commit, are neighbours.

use std::panic::{AssertUnwindSafe, catch_unwind};

use redb::{Error, ReadableTable, Table, TableDefinition};

use super::types::Id;
use crate::Refused;

/// The version of the records' layout. A later one is refused.
pub const FORMAT: u64 = 2;
/// The version before there were nodes. A file has it until the first node reports, so that an earlier release opens
/// it until then, and says by the version why it does not after that.
pub(super) const WITHOUT_NODES: u64 = 1;
/// The version while the newest writes are in the log: an earlier release would not find them. A store that is closed in
/// order has put them into the database, and has one of the earlier versions again.
pub(super) const LOGGED: u64 = 3;
pub(super) const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
/// Under which name `meta` has the version.
const VERSION: &str = "format";
const CONTENT: &str = "content";
const LOG: &str = "log";
const FOLDED: &str = "folded";
/// Under which name `meta` has the high-water mark. Releases before it was there pass it over.
pub(super) const MARK: &str = "mark";
pub(super) const RECORDS: TableDefinition<'_, Id, &[u8]> = TableDefinition::new("records");

/// What `meta` says of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    /// The version of the records' layout.
    pub(super) content: u64,
    pub(super) log: Option<LogState>,
    /// The identifier of the last log.
    pub(super) last_log: Option<u64>,
}

/// The log that is in use, as the database knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LogState {
    /// The log's identifier.
    pub(super) id: u64,
    /// The number of the last of its frames that is in the database.
    pub(super) folded: u64,
}

impl Header {
    /// Reads it; a later version than this one knows is `content`.
    ///
    /// # Errors
    /// It is not there, or cannot be read.
    pub(super) fn read(meta: &impl ReadableTable<&'static str, u64>) -> Result<Self, Error> {
        let get = |name| Ok::<_, Error>(meta.get(name)?.map(|found| found.value()));
        let needed = |name| get(name)?.ok_or_else(|| Error::TableDoesNotExist(META.to_string()));
        let (version, last_log) = (needed(VERSION)?, get(LOG)?);
        if version != LOGGED {
            return Ok(Self { content: version, log: None, last_log });
        }
        let log = LogState { id: needed(LOG)?, folded: needed(FOLDED)? };
        Ok(Self { content: needed(CONTENT)?, log: Some(log), last_log })
    }

    /// Writes it.
    ///
    /// # Errors
    /// The database cannot be written.
    pub(super) fn write(self, meta: &mut Table<'_, &'static str, u64>) -> Result<(), Error> {
        if let Some(id) = self.last_log {
            meta.insert(LOG, id)?;
        }
        meta.insert(VERSION, if self.log.is_some() { LOGGED } else { self.content })?;
        match self.log {
            Some(log) => {
                meta.insert(CONTENT, self.content)?;
                meta.insert(FOLDED, log.folded)?;
            }
            None => {
                meta.remove(CONTENT)?;
                meta.remove(FOLDED)?;
            }
        }
        Ok(())
    }
}

/// What to do with a file that nothing can be made of.
pub(super) const DAMAGED: &str =
    "restore the file from a backup, or move it away to begin with an empty store";

/// Does something with a file that may be damaged: redb takes one that was closed in order for whole, and panics at
/// some kinds of damage.
pub(super) fn guarded<T>(name: &str, work: impl FnOnce() -> Result<T, Refused>) -> Result<T, Refused> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err(Refused::Failed(format!("{name}: the file is damaged; {DAMAGED}"))))
}
