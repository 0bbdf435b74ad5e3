//! The whole store at one revision, page by page.

use std::sync::Arc;
use std::time::Duration;

use etcd_client::{GetOptions, KeyValue};
use pairing_core::store::{Entry, Foreign, Node, NumberedKey, PinKey};
use tokio::time::Instant;

use crate::error::{Error, Failure};
use crate::layout::{ClusterRecord, Layout, RecordKey, decode_key, decode_node};
use crate::members::Members;

/// Keys of the first page. For each page etcd counts all keys that are left, so pages grow while they are small.
const PAGE: i64 = 2000;
/// Bytes of a page up to which the next is twice as large, and beyond which it is half as large.
const PAGE_BYTES: std::ops::Range<usize> = 4 << 20..32 << 20;
/// How long a page may take.
const PAGE_TIME: Duration = Duration::from_secs(10);

/// What is known of a cluster in etcd, besides what the store keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ClusterVersion {
    /// The revision of its record.
    pub(crate) revision: i64,
    /// The lease of its records; 0: none.
    pub(crate) lease: i64,
}

/// A cluster as it was loaded.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) pin: PinKey,
    pub(crate) version: ClusterVersion,
    pub(crate) record: ClusterRecord,
    pub(crate) keys: Vec<NumberedKey>,
    pub(crate) nodes: Vec<Arc<Node>>,
}

impl Loaded {
    /// What the store takes in.
    pub(crate) fn into_foreign(self) -> [Foreign; 3] {
        let ClusterRecord { created, expires, next_id } = self.record;
        // The store gives it a number of its own.
        let entry = Some(Entry { id: 0, created, expires, keys: self.keys });
        [
            Foreign::NextId(next_id),
            Foreign::Cluster { pin: self.pin, entry, expired: false },
            Foreign::Nodes { pin: self.pin, nodes: self.nodes },
        ]
    }
}

/// Why the store cannot be loaded.
#[derive(Debug)]
pub(crate) enum LoadError {
    /// etcd does not give it.
    Etcd(Failure),
    /// It is damaged.
    Store(Error),
}

impl From<Failure> for LoadError {
    fn from(failure: Failure) -> Self {
        Self::Etcd(failure)
    }
}

/// The store as it is at one revision, page by page.
pub(crate) struct Pages<'a> {
    members: &'a Members,
    layout: &'a Layout,
    /// Keys of the next page.
    limit: i64,
    /// Where the next page begins; `None`: there is none.
    from: Option<String>,
    revision: i64,
    /// The cluster whose records may go on in the next page.
    cluster: Option<Loaded>,
}

impl<'a> Pages<'a> {
    /// All clusters as they are now.
    pub(crate) fn new(members: &'a Members, layout: &'a Layout) -> Self {
        Self { members, layout, limit: PAGE, from: Some(layout.clusters().0), revision: 0, cluster: None }
    }

    /// The revision, once there was a page.
    pub(crate) fn revision(&self) -> i64 {
        self.revision
    }

    /// The next clusters; `None`: these were all.
    ///
    /// # Errors
    /// See [`LoadError`].
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<Loaded>>, LoadError> {
        let Some(from) = self.from.take() else { return Ok(None) };
        let options = GetOptions::new()
            .with_range(self.layout.clusters().1)
            .with_limit(self.limit)
            .with_revision(self.revision);
        let mut page = self.members.get(Instant::now() + PAGE_TIME, &from, Some(options)).await?;
        if self.revision == 0 {
            self.revision = page.header().map_or(0, etcd_client::ResponseHeader::revision);
        }
        let more = page.more();
        let mut whole = Vec::new();
        let records = page.take_kvs();
        let bytes: usize = records.iter().map(|record| record.key().len() + record.value().len()).sum();
        match bytes {
            small if small < PAGE_BYTES.start => self.limit *= 2,
            large if large > PAGE_BYTES.end => self.limit = (self.limit / 2).max(1),
            _ => {}
        }
        for record in &records {
            self.add(record, &mut whole).ok_or_else(|| damaged(self.layout, record.key()))?;
        }
        match records.last().filter(|_| more) {
            Some(last) => {
                let last = last.key_str().map_err(|_| damaged(self.layout, last.key()))?;
                self.from = Some(format!("{last}\0"));
            }
            None => whole.extend(self.cluster.take()),
        }
        Ok(Some(whole))
    }

    /// Adds a record, which comes in the order of the keys, to its cluster; `None`: it cannot be read.
    fn add(&mut self, record: &KeyValue, whole: &mut Vec<Loaded>) -> Option<()> {
        match self.layout.parse(record.key())? {
            RecordKey::Cluster(pin) => {
                let version = ClusterVersion { revision: record.mod_revision(), lease: record.lease() };
                let (decoded, keys, nodes) = (ClusterRecord::decode(record.value())?, Vec::new(), Vec::new());
                whole.extend(self.cluster.replace(Loaded { pin, version, record: decoded, keys, nodes }));
            }
            RecordKey::Key(pin, id) => {
                let key = decode_key(record.value())?;
                self.open(pin)?.keys.push(NumberedKey { id, key, charge: None });
            }
            RecordKey::Node(pin, id) => {
                let node = decode_node(&id, record.value())?;
                self.open(pin)?.nodes.push(node);
            }
            RecordKey::Format | RecordKey::Head => return None,
        }
        Some(())
    }

    fn open(&mut self, pin: PinKey) -> Option<&mut Loaded> {
        self.cluster.as_mut().filter(|cluster| cluster.pin == pin)
    }
}

fn damaged(layout: &Layout, key: &[u8]) -> LoadError {
    LoadError::Store(Error::Damaged { key: layout.shown(key) })
}
