//! The durable form of the state: a redb database of two tables.
//!
//! | table | key | value |
//! |---|---|---|
//! | `meta` | `format` | [`FORMAT`], or [`WITHOUT_NODES`] while the store has never had a node |
//! | `meta` | `mark` | the high-water mark of expiry in microseconds since 1970, if there is one |
//! | `records` | number of a cluster, key or node | see `record` |
//!
//! Reads are served from memory, so the layout is made for writing alone: numbers are given in the order of creation,
//! and what is created goes to the right edge of one B-tree whatever its pin is. Records that go together in time, and
//! so most of those of one commit, are neighbours.

use std::panic::{AssertUnwindSafe, catch_unwind};

use redb::TableDefinition;

use super::state::Id;
use crate::Refused;

/// The version of the layout. A later one is refused.
pub const FORMAT: u64 = 2;
/// The version before there were nodes. A file has it until the first node reports, so that an earlier release opens
/// it until then, and says by the version why it does not after that.
pub(super) const WITHOUT_NODES: u64 = 1;
pub(super) const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
/// Under which name `meta` has the high-water mark. Releases before it was there pass it over.
pub(super) const MARK: &str = "mark";
pub(super) const RECORDS: TableDefinition<'_, Id, &[u8]> = TableDefinition::new("records");

/// What to do with a file that nothing can be made of.
pub(super) const DAMAGED: &str =
    "restore the file from a backup, or move it away to begin with an empty store";

/// Does something with a file that may be damaged: redb takes one that was closed in order for whole, and panics at
/// some kinds of damage.
pub(super) fn guarded<T>(name: &str, work: impl FnOnce() -> Result<T, Refused>) -> Result<T, Refused> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err(Refused::Failed(format!("{name}: the file is damaged; {DAMAGED}"))))
}
