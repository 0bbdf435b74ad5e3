//! The durable form of the state: keys below a prefix.
//!
//! | key | value |
//! |---|---|
//! | `format` | [`FORMAT`] |
//! | `head` | written by every transaction: its number, and the pins that have expired by it |
//! | `p/PIN` | when the cluster was created and expires, and the next number of a key |
//! | `p/PIN/k/NUMBER` | a key: when it was created and modified, its name, its value; the number has 16 hexadecimal digits |
//! | `p/PIN/n/NODE` | a node: its class, when it has reported, the report |
//!
//! A transaction that changes keys of a cluster writes `p/PIN` as well, so comparing that record's revision compares all
//! of the cluster but its nodes. The revision of `head` is that of the last transaction. Times are microseconds since
//! 1970; numbers are little-endian.

use std::sync::Arc;

use pairing_core::clock::Timestamp;
use pairing_core::store::{Id, Key, Node, NodeClass, PinKey};

/// The version of the layout. Another one is refused.
pub(crate) const FORMAT: &str = "1";

/// Tells a transaction from all others.
pub(crate) type TransactionId = [u8; 16];

/// The keys of one store.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    prefix: Arc<str>,
}

/// What a key stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RecordKey {
    Format,
    Head,
    Cluster(PinKey),
    Key(PinKey, Id),
    Node(PinKey, Box<str>),
}

/// What is kept of a cluster besides its keys and nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ClusterRecord {
    pub(crate) created: Timestamp,
    pub(crate) expires: Timestamp,
    /// No key of it has had a number from here on.
    pub(crate) next_id: Id,
}

impl Layout {
    pub(crate) fn new(prefix: &str) -> Self {
        Self { prefix: prefix.into() }
    }

    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    pub(crate) fn format(&self) -> String {
        format!("{}format", self.prefix)
    }

    pub(crate) fn head(&self) -> String {
        format!("{}head", self.prefix)
    }

    pub(crate) fn cluster(&self, pin: PinKey) -> String {
        let pin = pin.pin();
        format!("{}p/{}", self.prefix, pin.reveal())
    }

    /// The first key after those of a cluster: a pin is followed by nothing or by a slash, after which comes `0`.
    pub(crate) fn cluster_end(&self, pin: PinKey) -> String {
        format!("{}0", self.cluster(pin))
    }

    pub(crate) fn key(&self, pin: PinKey, id: Id) -> String {
        format!("{}/k/{id:016x}", self.cluster(pin))
    }

    pub(crate) fn node(&self, pin: PinKey, id: &str) -> String {
        format!("{}/n/{id}", self.cluster(pin))
    }

    /// All clusters: the first key and the first after them.
    pub(crate) fn clusters(&self) -> (String, String) {
        (format!("{}p/", self.prefix), format!("{}p0", self.prefix))
    }

    /// What a key stands for; `None`: it is none of ours.
    pub(crate) fn parse(&self, key: &[u8]) -> Option<RecordKey> {
        let rest = str::from_utf8(key).ok()?.strip_prefix(&*self.prefix)?;
        match rest {
            "format" => return Some(RecordKey::Format),
            "head" => return Some(RecordKey::Head),
            _ => {}
        }
        let rest = rest.strip_prefix("p/")?;
        let (pin, rest) = rest.split_once('/').map_or((rest, None), |(pin, rest)| (pin, Some(rest)));
        let pin = PinKey::from_bytes(pin.as_bytes().try_into().ok()?)?;
        let Some(rest) = rest else { return Some(RecordKey::Cluster(pin)) };
        match rest.split_once('/')? {
            ("k", id) if id.len() == 16 => Some(RecordKey::Key(pin, Id::from_str_radix(id, 16).ok()?)),
            ("n", id) if !id.is_empty() => Some(RecordKey::Node(pin, id.into())),
            _ => None,
        }
    }

    /// What a key stands for, without the pin: for messages.
    pub(crate) fn shown(&self, key: &[u8]) -> String {
        match self.parse(key) {
            Some(RecordKey::Key(pin, id)) => format!("{}p/{:?}/k/{id:016x}", self.prefix, pin),
            Some(RecordKey::Node(pin, _)) => format!("{}p/{:?}/n/…", self.prefix, pin),
            Some(RecordKey::Cluster(pin)) => format!("{}p/{:?}", self.prefix, pin),
            _ => self.prefix.to_string(),
        }
    }
}

impl ClusterRecord {
    const KIND: u8 = 1;

    pub(crate) fn encode(self) -> Vec<u8> {
        let numbers = [self.created.0, self.expires.0, self.next_id];
        [Self::KIND].into_iter().chain(numbers.into_iter().flat_map(u64::to_le_bytes)).collect()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (Self::KIND, mut rest) = (*bytes.first()?, &bytes[1..]) else { return None };
        let record = Self {
            created: Timestamp(number(&mut rest)?),
            expires: Timestamp(number(&mut rest)?),
            next_id: number(&mut rest)?,
        };
        rest.is_empty().then_some(record)
    }
}

const KEY: u8 = 2;
const NODE: u8 = 3;

pub(crate) fn encode_key(key: &Key) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(19 + key.name.len() + key.value.len());
    bytes.push(KEY);
    bytes.extend(key.created.0.to_le_bytes());
    bytes.extend(key.modified.0.to_le_bytes());
    let length = u16::try_from(key.name.len()).expect("a name has at most 100 characters");
    bytes.extend(length.to_le_bytes());
    bytes.extend(key.name.as_bytes());
    bytes.extend(key.value.as_bytes());
    bytes
}

pub(crate) fn decode_key(bytes: &[u8]) -> Option<Arc<Key>> {
    let (KEY, mut rest) = (*bytes.first()?, &bytes[1..]) else { return None };
    let created = Timestamp(number(&mut rest)?);
    let modified = Timestamp(number(&mut rest)?);
    let (length, rest) = rest.split_first_chunk()?;
    let (name, value) = rest.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
    let text = |bytes| str::from_utf8(bytes).ok().map(str::to_owned);
    Some(Arc::new(Key { name: text(name)?, value: text(value)?, created, modified }))
}

pub(crate) fn encode_node(node: &Node) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(10 + node.report.len());
    bytes.extend([NODE, node.class.number()]);
    bytes.extend(node.reported.0.to_le_bytes());
    bytes.extend(node.report.as_bytes());
    bytes
}

pub(crate) fn decode_node(id: &str, bytes: &[u8]) -> Option<Arc<Node>> {
    let (&[NODE, class], mut rest) = bytes.split_first_chunk()? else { return None };
    let (class, reported) = (NodeClass::from_number(class)?, Timestamp(number(&mut rest)?));
    Some(Arc::new(Node { id: id.into(), report: str::from_utf8(rest).ok()?.into(), class, reported }))
}

/// What a transaction leaves in `head`.
pub(crate) fn encode_head(id: &TransactionId, expired: &[PinKey]) -> Vec<u8> {
    id.iter().chain(expired.iter().flat_map(PinKey::bytes)).copied().collect()
}

/// The number of the transaction, and the pins that have expired by it.
pub(crate) fn decode_head(bytes: &[u8]) -> Option<(TransactionId, Vec<PinKey>)> {
    let (id, pins) = bytes.split_first_chunk()?;
    let (pins, []) = pins.as_chunks() else { return None };
    Some((*id, pins.iter().map(|pin| PinKey::from_bytes(*pin)).collect::<Option<_>>()?))
}

fn number(rest: &mut &[u8]) -> Option<u64> {
    let (number, left) = rest.split_first_chunk()?;
    *rest = left;
    Some(u64::from_le_bytes(*number))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pin(text: &[u8; 12]) -> PinKey {
        PinKey::from_bytes(*text).unwrap()
    }

    #[test]
    fn every_key_stands_for_its_place_and_no_other_does() {
        let layout = Layout::new("/x/");
        let pin = pin(b"enico1qq0oey");
        for (key, place) in [
            (layout.format(), RecordKey::Format),
            (layout.head(), RecordKey::Head),
            (layout.cluster(pin), RecordKey::Cluster(pin)),
            (layout.key(pin, 0x2a), RecordKey::Key(pin, 0x2a)),
            (layout.node(pin, "n.1"), RecordKey::Node(pin, "n.1".into())),
        ] {
            assert_eq!(layout.parse(key.as_bytes()), Some(place), "{key}");
        }
        for other in [
            "/x",
            "/x/",
            "/y/head",
            "/x/p/",
            "/x/p/short",
            "/x/p/ENICO1QQ0OEY",
            "/x/p/enico1qq0oey/",
            "/x/p/enico1qq0oey/k/1",
        ] {
            assert_eq!(layout.parse(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn the_keys_of_a_cluster_lie_in_its_range_and_those_of_others_do_not() {
        let layout = Layout::new("/x/");
        let (one, next) = (pin(b"enico1qq0oey"), pin(b"enico1qq0oez"));
        let range = layout.cluster(one)..layout.cluster_end(one);
        for inside in [layout.cluster(one), layout.key(one, u64::MAX), layout.node(one, "zzz")] {
            assert!(range.contains(&inside), "{inside}");
        }
        for outside in [layout.cluster(next), layout.head(), layout.key(next, 0)] {
            assert!(!range.contains(&outside), "{outside}");
        }
    }

    #[test]
    fn records_are_read_as_they_were_written_and_not_when_they_are_cut_short() {
        let record = ClusterRecord { created: Timestamp(1), expires: Timestamp(u64::MAX), next_id: 7 };
        let bytes = record.encode();
        assert_eq!(ClusterRecord::decode(&bytes), Some(record));
        assert_eq!(ClusterRecord::decode(&bytes[..24]), None);
        let key = Key {
            name: "Ü".to_owned(),
            value: "☃".to_owned(),
            created: Timestamp(3),
            modified: Timestamp(4),
        };
        let bytes = encode_key(&key);
        assert_eq!(decode_key(&bytes).as_deref(), Some(&key));
        assert_eq!(decode_key(&bytes[..20]), None);
        assert_eq!(decode_key(&record.encode()), None);
        let node =
            Node { id: "n".into(), report: "{}".into(), class: NodeClass::Sealed, reported: Timestamp(5) };
        let bytes = encode_node(&node);
        assert_eq!(decode_node("n", &bytes).as_deref(), Some(&node));
        assert_eq!(decode_node("n", &bytes[..9]), None);
        let head = encode_head(&[9; 16], &[pin(b"enico1qq0oey")]);
        assert_eq!(decode_head(&head), Some(([9; 16], vec![pin(b"enico1qq0oey")])));
        assert_eq!(decode_head(&head[..20]), None);
    }
}
