//! What a fuzzer throws at the record format. `docs/fuzzing.md` says how.

use std::sync::Arc;

use protocol::Pin;

use super::Key;
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
    }
}
