//! What the store's file holds: one record for each cluster, each key and each node, under its number.
//!
//! A record begins with a byte that says what it is and how it is laid out; numbers are little-endian. The decoder
//! takes any bytes: what it cannot read is an error, never a panic.
//!
//! | bytes of a cluster | | bytes of a key | | bytes of a node | |
//! |---|---|---|---|---|---|
//! | 1 | `1` | 1 | `2` | 1 | `3` |
//! | 12 | pin | 12 | pin | 12 | pin |
//! | 8 | created, microseconds since 1970 | 8 | created | 8 | reported |
//! | 8 | expires | 8 | modified | 1 | what it says of role and state |
//! | | | 2 | length of the name in bytes | 2 | length of the identifier in bytes |
//! | | | | the name, then the value to the end, in UTF-8 | | the identifier, then the report to the end, in UTF-8 |

use std::sync::Arc;

use protocol::Pin;

use super::Key;
use super::nodes::{Node, NodeClass};
use super::pins::PinKey;
use crate::clock::Timestamp;

const CLUSTER: u8 = 1;
const KEY: u8 = 2;
const NODE: u8 = 3;

/// One record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Record {
    Cluster { pin: PinKey, created: Timestamp, expires: Timestamp },
    Key { pin: PinKey, key: Arc<Key> },
    Node { pin: PinKey, node: Arc<Node> },
}

/// Bytes that are no record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Malformed {
    #[error("it is of kind {0}, which this version does not know")]
    Kind(u8),
    #[error("it is cut short")]
    Short,
    #[error("it is longer than it should be")]
    Long,
    #[error("its pin is none")]
    Pin,
    #[error("its text is not UTF-8")]
    Text,
    #[error("it says of role and state what this version does not know")]
    Class,
}

impl Record {
    /// The pin that it belongs to.
    pub(super) fn pin(&self) -> PinKey {
        let (Self::Cluster { pin, .. } | Self::Key { pin, .. } | Self::Node { pin, .. }) = self;
        *pin
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        match self {
            Self::Cluster { pin, created, expires } => {
                let mut bytes = Vec::with_capacity(29);
                bytes.push(CLUSTER);
                bytes.extend(pin.bytes());
                bytes.extend(created.0.to_le_bytes());
                bytes.extend(expires.0.to_le_bytes());
                bytes
            }
            Self::Key { pin, key } => {
                let mut bytes = Vec::with_capacity(31 + key.name.len() + key.value.len());
                bytes.push(KEY);
                bytes.extend(pin.bytes());
                bytes.extend(key.created.0.to_le_bytes());
                bytes.extend(key.modified.0.to_le_bytes());
                let length = u16::try_from(key.name.len()).expect("a name has at most 100 characters");
                bytes.extend(length.to_le_bytes());
                bytes.extend(key.name.as_bytes());
                bytes.extend(key.value.as_bytes());
                bytes
            }
            Self::Node { pin, node } => {
                let mut bytes = Vec::with_capacity(24 + node.id.len() + node.report.len());
                bytes.push(NODE);
                bytes.extend(pin.bytes());
                bytes.extend(node.reported.0.to_le_bytes());
                bytes.push(node.class.number());
                let length = u16::try_from(node.id.len()).expect("an identifier has at most 64 characters");
                bytes.extend(length.to_le_bytes());
                bytes.extend(node.id.as_bytes());
                bytes.extend(node.report.as_bytes());
                bytes
            }
        }
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut rest = bytes;
        let [kind] = take(&mut rest)?;
        match kind {
            CLUSTER => {
                let pin = pin(&mut rest)?;
                let created = Timestamp(u64::from_le_bytes(take(&mut rest)?));
                let expires = Timestamp(u64::from_le_bytes(take(&mut rest)?));
                if !rest.is_empty() {
                    return Err(Malformed::Long);
                }
                Ok(Self::Cluster { pin, created, expires })
            }
            KEY => {
                let pin = pin(&mut rest)?;
                let created = Timestamp(u64::from_le_bytes(take(&mut rest)?));
                let modified = Timestamp(u64::from_le_bytes(take(&mut rest)?));
                let length = usize::from(u16::from_le_bytes(take(&mut rest)?));
                let (name, value) = rest.split_at_checked(length).ok_or(Malformed::Short)?;
                let (name, value) = (text(name)?, text(value)?);
                Ok(Self::Key { pin, key: Arc::new(Key { name, value, created, modified }) })
            }
            NODE => {
                let pin = pin(&mut rest)?;
                let reported = Timestamp(u64::from_le_bytes(take(&mut rest)?));
                let [class] = take(&mut rest)?;
                let class = NodeClass::from_number(class).ok_or(Malformed::Class)?;
                let length = usize::from(u16::from_le_bytes(take(&mut rest)?));
                let (id, report) = rest.split_at_checked(length).ok_or(Malformed::Short)?;
                let (id, report) = (text(id)?.into(), text(report)?.into());
                Ok(Self::Node { pin, node: Arc::new(Node { id, report, class, reported }) })
            }
            kind => Err(Malformed::Kind(kind)),
        }
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], Malformed> {
    let (taken, left) = rest.split_first_chunk().ok_or(Malformed::Short)?;
    *rest = left;
    Ok(*taken)
}

fn pin(rest: &mut &[u8]) -> Result<PinKey, Malformed> {
    let pin: [u8; Pin::MADE_LENGTH] = take(rest)?;
    PinKey::from_bytes(pin).ok_or(Malformed::Pin)
}

fn text(bytes: &[u8]) -> Result<String, Malformed> {
    str::from_utf8(bytes).map(str::to_owned).map_err(|_| Malformed::Text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn records() -> impl Strategy<Value = Record> {
        let pin = || "[a-z0-9]{12}".prop_map(|pin| PinKey::of(&Pin::parse(&pin).unwrap()).unwrap());
        let cluster = (pin(), any::<u64>(), any::<u64>()).prop_map(|(pin, created, expires)| {
            Record::Cluster { pin, created: Timestamp(created), expires: Timestamp(expires) }
        });
        let key = (pin(), any::<u64>(), any::<u64>(), "\\PC{0,100}", "\\PC*").prop_map(
            |(pin, created, modified, name, value)| {
                let (created, modified) = (Timestamp(created), Timestamp(modified));
                Record::Key { pin, key: Arc::new(Key { name, value, created, modified }) }
            },
        );
        let node = (pin(), any::<u64>(), 0u8..9, "[A-Za-z0-9._-]{1,64}", "\\PC*").prop_map(
            |(pin, reported, class, id, report)| {
                let class = NodeClass::from_number(class).unwrap();
                let (id, report, reported) = (id.into(), report.into(), Timestamp(reported));
                Record::Node { pin, node: Arc::new(Node { id, report, class, reported }) }
            },
        );
        prop_oneof![cluster, key, node]
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(record in records()) {
            prop_assert_eq!(Record::decode(&record.encode()), Ok(record));
        }

        #[test]
        fn any_bytes_are_a_record_that_would_be_written_so_or_an_error(
            kind in 0u8..5, rest in prop::collection::vec(any::<u8>(), 0..80)
        ) {
            let bytes = [&[kind], rest.as_slice()].concat();
            if let Ok(record) = Record::decode(&bytes) {
                prop_assert_eq!(record.encode(), bytes);
            }
        }
    }

    #[test]
    fn says_what_is_wrong_with_bytes() {
        let key = [&[KEY][..], b"enico1qq0oey", &[0; 16], &[3, 0], b"nam"].concat();
        for (bytes, wrong) in [
            (&b""[..], Malformed::Short),
            (b"\0", Malformed::Kind(0)),
            (b"\x01enico1qq0oe", Malformed::Short),
            (b"\x01ENICO1QQ0OEY0123456701234567", Malformed::Pin),
            (b"\x01enico1qq0oey01234567012345678", Malformed::Long),
            (&key[..key.len() - 1], Malformed::Short),
            (&[&key[..], b"\xff"].concat(), Malformed::Text),
            (b"\x03enico1qq0oey01234567\x09\x01\0av1.x", Malformed::Class),
            (b"\x03enico1qq0oey01234567\0\x05\0av1", Malformed::Short),
        ] {
            assert_eq!(Record::decode(bytes), Err(wrong), "{bytes:?}");
        }
        assert!(Record::decode(&key).is_ok());
    }
}
