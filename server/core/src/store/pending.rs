//! What the log holds and the database does not yet: how it is put together, and how it is read with the rest.

use std::collections::BTreeMap;

use redb::{Error, ReadTransaction, ReadableTable, TableError};

use super::layout::RECORDS;
use super::record::Record;
use super::types::Id;
use crate::clock::Timestamp;

/// What a number of commits have made of records and of the mark.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Pending {
    /// What each record has become; `None`: it is deleted.
    pub(super) records: BTreeMap<Id, Option<Record>>,
    /// The new mark, if it has moved.
    pub(super) mark: Option<Timestamp>,
    /// The number of the last frame of the log that is among it.
    pub(super) last: u64,
}

impl Pending {
    /// Adds what came later.
    pub(super) fn add(&mut self, later: Self) {
        self.records.extend(later.records);
        self.mark = later.mark.or(self.mark);
        self.last = self.last.max(later.last);
    }

    /// The same for one frame.
    pub(super) fn add_frame(
        &mut self,
        number: u64,
        records: &BTreeMap<Id, Option<Record>>,
        mark: Option<Timestamp>,
    ) {
        self.records.extend(records.iter().map(|(id, record)| (*id, record.clone())));
        self.mark = mark.or(self.mark);
        self.last = number;
    }
}

/// Gives every record to `take`, in the order of the numbers, until that has had enough: those that a transaction sees, with
/// what is pending in their place.
///
/// # Errors
/// The database cannot be read. Within: what `take` says.
pub(super) fn each_record<E>(
    transaction: &ReadTransaction,
    pending: &BTreeMap<Id, Option<Record>>,
    mut take: impl FnMut(Id, &[u8]) -> Result<(), E>,
) -> Result<Result<(), E>, Error> {
    let mut pending = pending.iter().peekable();
    let take_pending = |(id, record): (&Id, &Option<Record>), take: &mut dyn FnMut(Id, &[u8]) -> _| {
        record.as_ref().map_or(Ok(()), |record| take(*id, &record.encode()))
    };
    let table = match transaction.open_table(RECORDS) {
        Err(TableError::TableDoesNotExist(_)) => None,
        table => Some(table?),
    };
    for item in table.iter().map(ReadableTable::iter).collect::<Result<Vec<_>, _>>()?.into_iter().flatten() {
        let (id, bytes) = item?;
        let id = id.value();
        while let Some(before) = pending.next_if(|(before, _)| **before < id) {
            if let Err(err) = take_pending(before, &mut take) {
                return Ok(Err(err));
            }
        }
        let taken = match pending.next_if(|(same, _)| **same == id) {
            Some(instead) => take_pending(instead, &mut take),
            None => take(id, bytes.value()),
        };
        if let Err(err) = taken {
            return Ok(Err(err));
        }
    }
    Ok(pending.try_for_each(|after| take_pending(after, &mut take)))
}
