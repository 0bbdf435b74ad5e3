//! The frames of the log: each holds what one commit has changed, and shows by its checksum whether it is whole.
//!
//! | bytes of a frame | |
//! |---|---|
//! | 8 | identifier of the log, drawn when the log was begun |
//! | 8 | number of the frame: one more than that of the one before |
//! | 4 | bytes from here to the end of the frame, without the next four |
//! | 4 | CRC-32 of all the rest |
//! | 1 | `1` if the mark moves, else `0` |
//! | 8 | the new mark, or `0` |
//! | | for each record: 8, its number; 4, its length, or [`DELETED`]; then the record, see `record` |
//!
//! Numbers are little-endian. The decoder takes any bytes. Values come from clients: what makes bytes of a value no frame is
//! that no client knows the identifier.

use std::collections::BTreeMap;

use super::pending::Pending;
use super::record::Record;
use super::types::Id;
use crate::clock::Timestamp;

/// Bytes before what the checksum's length counts.
pub(super) const HEADER: usize = 24;
/// Stands for the length of a record that is deleted.
const DELETED: u32 = u32::MAX;

/// Writes a frame.
pub(super) fn encode(
    log: u64,
    number: u64,
    records: &BTreeMap<Id, Option<Record>>,
    mark: Option<Timestamp>,
) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER + 9 + 128 * records.len());
    bytes.extend(log.to_le_bytes());
    bytes.extend(number.to_le_bytes());
    bytes.extend([0; 8]);
    bytes.push(u8::from(mark.is_some()));
    bytes.extend(mark.map_or(0, |mark| mark.0).to_le_bytes());
    for (id, record) in records {
        bytes.extend(id.to_le_bytes());
        match record {
            None => bytes.extend(DELETED.to_le_bytes()),
            Some(record) => {
                let record = record.encode();
                bytes.extend(length(record.len()).to_le_bytes());
                bytes.extend(record);
            }
        }
    }
    seal(&mut bytes);
    bytes
}

/// Notes how long a frame is, and its checksum.
pub(super) fn seal(frame: &mut [u8]) {
    let payload = length(frame.len() - HEADER);
    frame[16..20].copy_from_slice(&payload.to_le_bytes());
    let checksum = checksum(frame);
    frame[20..HEADER].copy_from_slice(&checksum.to_le_bytes());
}

/// Reads the frame with which `bytes` begin, and says how long it is. `None`: they begin with no whole frame of this
/// log.
///
/// # Errors
/// The frame is whole, and holds what this version does not read.
pub(super) fn decode(log: u64, bytes: &[u8]) -> Result<Option<(Pending, usize)>, String> {
    let Some(whole) = whole(log, bytes) else { return Ok(None) };
    let mut rest = &whole[8..];
    let read = || "a frame of the log is cut short".to_owned();
    let number = u64::from_le_bytes(take(&mut rest).ok_or_else(read)?);
    let _: [u8; 8] = take(&mut rest).ok_or_else(read)?;
    let [marked] = take(&mut rest).ok_or_else(read)?;
    let mark = Timestamp(u64::from_le_bytes(take(&mut rest).ok_or_else(read)?));
    let mut pending = Pending { last: number, mark: (marked != 0).then_some(mark), ..Pending::default() };
    while !rest.is_empty() {
        let id = u64::from_le_bytes(take(&mut rest).ok_or_else(read)?);
        let length = u32::from_le_bytes(take(&mut rest).ok_or_else(read)?);
        let record = if length == DELETED {
            None
        } else {
            let length = usize::try_from(length).map_err(|_| read())?;
            let (record, left) = rest.split_at_checked(length).ok_or_else(read)?;
            rest = left;
            Some(Record::decode(record).map_err(|err| format!("record {id} in the log is damaged: {err}"))?)
        };
        pending.records.insert(id, record);
    }
    Ok(Some((pending, whole.len())))
}

/// Whether there is a frame of this log anywhere in `bytes` that is whole and has this number or a later one.
pub(super) fn has_later(log: u64, number: u64, bytes: &[u8]) -> bool {
    let begins = log.to_le_bytes();
    bytes.windows(begins.len()).enumerate().filter(|(_, found)| *found == begins).any(|(at, _)| {
        let found = whole(log, &bytes[at..]).and_then(|frame| frame[8..].first_chunk().copied());
        found.is_some_and(|found| u64::from_le_bytes(found) >= number)
    })
}

/// The frame with which `bytes` begin, if it is whole and of this log.
fn whole(log: u64, bytes: &[u8]) -> Option<&[u8]> {
    let header: &[u8; HEADER] = bytes.first_chunk()?;
    if header[..8] != log.to_le_bytes() {
        return None;
    }
    let length = u32::from_le_bytes(*header[16..].first_chunk()?);
    let frame = bytes.get(..HEADER.checked_add(usize::try_from(length).ok()?)?)?;
    (u32::from_le_bytes(*header[20..].first_chunk()?) == checksum(frame)).then_some(frame)
}

/// Of all but the checksum itself.
fn checksum(frame: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&frame[..HEADER - 4]);
    hasher.update(&frame[HEADER..]);
    hasher.finalize()
}

fn length(bytes: usize) -> u32 {
    u32::try_from(bytes).expect("requests are bounded, and so is how many share a commit")
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, left) = rest.split_first_chunk()?;
    *rest = left;
    Some(*taken)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::Key;
    use super::*;
    use crate::store::PinKey;
    use proptest::prelude::*;

    const LOG: u64 = 0x0123_4567_89ab_cdef;

    fn key(value: String) -> Record {
        let pin = PinKey::from_bytes(*b"enico1qq0oey").unwrap();
        let (created, modified) = (Timestamp(1), Timestamp(2));
        Record::Key { pin, key: Arc::new(Key { name: "a".to_owned(), value, created, modified }) }
    }

    fn changes() -> impl Strategy<Value = (BTreeMap<Id, Option<Record>>, Option<Timestamp>)> {
        let record = prop::option::of("\\PC*").prop_map(|value| value.map(key));
        let mark = prop::option::of(any::<u64>()).prop_map(|mark| mark.map(Timestamp));
        (prop::collection::btree_map(any::<u64>(), record, 0..4), mark)
    }

    proptest! {
        #[test]
        fn what_was_written_is_read_and_nothing_that_was_cut_or_changed(
            (records, mark) in changes(), number: u64, rest: Vec<u8>, at: prop::sample::Index, bit in 0..8u8
        ) {
            let frame = encode(LOG, number, &records, mark);
            let expected = Pending { records, mark, last: number };
            let followed = [&frame[..], &rest].concat();
            prop_assert_eq!(decode(LOG, &followed), Ok(Some((expected, frame.len()))));
            prop_assert_eq!(decode(LOG + 1, &frame), Ok(None));
            prop_assert_eq!(decode(LOG, &frame[..at.index(frame.len())]), Ok(None));
            let mut changed = frame.clone();
            changed[at.index(frame.len())] ^= 1u8 << bit;
            prop_assert_eq!(decode(LOG, &changed), Ok(None));
            let behind = [&rest[..], &frame].concat();
            prop_assert!(has_later(LOG, number, &behind));
            prop_assert!(number == u64::MAX || !has_later(LOG, number + 1, &behind));
        }
    }

    #[test]
    fn says_that_it_does_not_know_a_record() {
        let mut frame = encode(LOG, 1, &[(7, Some(key("v".to_owned())))].into(), None);
        frame[HEADER + 9 + 12] = 9;
        seal(&mut frame);
        let why = "record 7 in the log is damaged: it is of kind 9, which this version does not know";
        assert_eq!(decode(LOG, &frame), Err(why.to_owned()));
    }
}
