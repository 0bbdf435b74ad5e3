//! What a fuzzer throws at the record format and at the log. `docs/fuzzing.md` says how.

use std::sync::Arc;

use protocol::Pin;
use redb::StorageBackend as _;
use redb::backends::InMemoryBackend;

use super::Key;
use super::append_log::AppendLog;
use super::device::Device;
use super::frame;
use super::layout::LogState;
use super::nodes::{Node, NodeClass};
use super::pins::PinKey;
use super::record::{Malformed, Record};
use crate::clock::Timestamp;

/// Takes bytes for a record, and for the fields of one that is to be written.
///
/// # Panics
/// If a record does not read back as it was written, or bytes are taken for a record that would be written otherwise.
pub fn record(bytes: &[u8]) {
    if let Ok(record) = Record::decode(bytes) {
        assert_eq!(record.encode(), bytes, "it would be written otherwise");
        is_kept(&record);
    }
    for record in written(bytes).into_iter().flatten() {
        is_kept(&record);
    }
}

/// Takes bytes for the contents of a log, and for what is in a frame of one whose checksum is right.
///
/// # Panics
/// If what was read is not there, or more is, after one more commit.
pub fn log(bytes: &[u8]) {
    let Some((state, contents)) = bytes.split_first_chunk::<16>() else { return };
    let [id, folded] =
        [&state[..8], &state[8..]].map(|part| part.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)));
    read_log(LogState { id, folded: folded >> 1 }, contents);
    let mut frame = [&id.to_le_bytes()[..], &1_u64.to_le_bytes(), &[0; 8], contents].concat();
    frame::seal(&mut frame);
    frame.resize(2 * frame.len() + 200, 0);
    read_log(LogState { id, folded: 0 }, &frame);
}

fn read_log(state: LogState, contents: &[u8]) {
    let half = contents.len() as u64 / 2;
    let disk = InMemoryBackend::new();
    disk.set_len(2 * half).expect("it is in memory");
    disk.write(0, &contents[..contents.len() / 2 * 2]).expect("it is in memory");
    let device = Device::new(disk);
    let open = || AppendLog::open(device.clone(), state, half, true).expect("it is in memory");
    let Ok((mut log, mut found)) = open() else { return };
    assert_eq!(found.last + 1, log.next());
    let written = frame::encode(state.id, log.next(), &std::collections::BTreeMap::new(), Some(Timestamp(7)));
    if !log.fits(written.len()) {
        return;
    }
    log.append(&written).expect("it is in memory");
    (found.last, found.mark) = (found.last + 1, Some(Timestamp(7)));
    // What is behind it may be of the log, too, if the bytes happen to be.
    if let Ok((_, again)) = open() {
        assert!(again.last >= found.last, "{} after {}", again.last, found.last);
    }
}

/// Logs with one frame and two.
#[must_use]
pub fn log_seeds() -> Vec<Vec<u8>> {
    let records = |number: usize| {
        let record = seeds().get(number).and_then(|bytes| Record::decode(bytes).ok());
        [(number as u64, record), (100, None)].into()
    };
    let frames =
        [frame::encode(1, 1, &records(0), None), frame::encode(1, 2, &records(1), Some(Timestamp(9)))];
    let state = [0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0];
    let payload = &frames[1][frame::HEADER..];
    vec![
        [&state[..], &frames[0], &[0; 300]].concat(),
        [&state[..], &frames.concat(), &[0; 600]].concat(),
        [&state[..], payload].concat(),
    ]
}

/// It reads back as it is written, and does not when it is cut short or goes on.
fn is_kept(record: &Record) {
    let mut bytes = record.encode();
    assert_eq!(Record::decode(&bytes).as_ref(), Ok(record));
    let fixed = match record {
        Record::Cluster { .. } => bytes.len(),
        // The value goes to the end, wherever that is.
        Record::Key { key, .. } => bytes.len() - key.value.len(),
        Record::Node { node, .. } => bytes.len() - node.report.len(),
    };
    for cut in 0..fixed {
        assert_eq!(Record::decode(&bytes[..cut]), Err(Malformed::Short), "cut to {cut} bytes");
    }
    if let Record::Cluster { .. } = record {
        bytes.push(0);
        assert_eq!(Record::decode(&bytes), Err(Malformed::Long));
    }
}

/// A cluster, a key and a node with these bytes in their fields.
fn written(bytes: &[u8]) -> Option<[Record; 3]> {
    let (letters, rest) = bytes.split_first_chunk::<{ Pin::MADE_LENGTH }>()?;
    let (first, rest) = rest.split_first_chunk()?;
    let (second, rest) = rest.split_first_chunk()?;
    let (length, text) = rest.split_first()?;
    let pin = letters.map(|byte| Pin::ALPHABET[usize::from(byte) % Pin::ALPHABET.len()]);
    let pin = PinKey::from_bytes(pin).expect("it is of the alphabet");
    let (created, later) = (Timestamp(u64::from_le_bytes(*first)), Timestamp(u64::from_le_bytes(*second)));
    let text = String::from_utf8_lossy(text);
    let (name, value) = text.split_at(text.floor_char_boundary(usize::from(*length)));
    let class = NodeClass::from_number(length % 9)?;
    let node = Node { id: name.into(), report: value.into(), class, reported: later };
    let key = Key { name: name.into(), value: value.into(), created, modified: later };
    let cluster = Record::Cluster { pin, created, expires: later };
    Some([cluster, Record::Key { pin, key: Arc::new(key) }, Record::Node { pin, node: Arc::new(node) }])
}

/// Records of each kind, as a store would have it.
///
/// # Panics
/// Never: the pin is one.
#[must_use]
pub fn seeds() -> Vec<Vec<u8>> {
    const CREATED: Timestamp = Timestamp(1_478_001_296_123_456);
    let pin = PinKey::from_bytes(*b"enico1qq0oey").expect("it is a pin");
    let key = |name: &str, value: &str| {
        let key = Key { name: name.into(), value: value.into(), created: CREATED, modified: CREATED };
        Record::Key { pin, key: Arc::new(key) }
    };
    let node = |id: &str, report: &str, class| {
        let class = NodeClass::from_number(class).expect("it is one");
        let node = Node { id: id.into(), report: report.into(), class, reported: CREATED };
        Record::Node { pin, node: Arc::new(node) }
    };
    [
        Record::Cluster { pin, created: CREATED, expires: Timestamp(u64::MAX) },
        key("master_ip", "10.77.0.2"),
        key("Ünïcode name", "☃\n"),
        key("", ""),
        node("node-1", r#"{"role":"slave","state":"ready"}"#, 7),
        node("x", "v1.c2VhbGVk", 0),
    ]
    .iter()
    .map(Record::encode)
    .collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn holds_for_every_seed() {
        for seed in super::seeds() {
            assert!(super::Record::decode(&seed).is_ok());
            super::record(&seed);
        }
        super::log_seeds().iter().for_each(|seed| super::log(seed));
    }
}
