//! The store as it was at one moment, while writes go on: what a backup is made of.
//!
//! It is a read transaction of redb's, and what the log held beside it. So no reader waits for a writer, nor a writer for a reader; the pages that
//! it sees are not used again while it lives, and the file grows by what is written meanwhile.

use std::collections::BTreeMap;
use std::sync::Weak;

use redb::{Error, ReadTransaction};

use super::layout::guarded;
use super::pending::each_record;
use super::record::Record;
use super::types::Id;
use crate::Refused;

/// The store as it was.
pub struct Snapshot {
    name: String,
    transaction: ReadTransaction,
    pending: BTreeMap<Id, Option<Record>>,
    /// Dead once the database was opened anew after an error: from then on pages that this sees may be written over.
    opening: Weak<()>,
}

impl Snapshot {
    pub(super) fn new(
        name: String,
        transaction: ReadTransaction,
        pending: BTreeMap<Id, Option<Record>>,
        opening: Weak<()>,
    ) -> Self {
        Self { name, transaction, pending, opening }
    }

    /// Gives every record with its number to `take`, in the order of the numbers, until that has had enough.
    ///
    /// # Errors
    /// The file is damaged, or what was given so far is void since the database was opened anew meanwhile; or what
    /// `take` says.
    pub fn each(&self, mut take: impl FnMut(Id, &[u8]) -> Result<(), Refused>) -> Result<(), Refused> {
        let take = |id, bytes: &[u8]| if self.is_void() { Err(self.void()) } else { take(id, bytes) };
        let explain = |err: Error| Refused::Failed(format!("{}: {err}", self.name));
        let outcome =
            guarded(&self.name, || each_record(&self.transaction, &self.pending, take).map_err(explain)?);
        // Whatever else it came to: it may have come from pages that were written over.
        if self.is_void() { Err(self.void()) } else { outcome }
    }

    fn void(&self) -> Refused {
        Refused::Failed(format!(
            "{}: the file was opened anew meanwhile, after an error that the log tells of",
            self.name
        ))
    }

    fn is_void(&self) -> bool {
        self.opening.strong_count() == 0
    }
}
