//! A store file in the making, out of the records of another one: what a service opens like its own.

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::sync::Arc;

use redb::Durability;
use redb::backends::FileBackend;

use super::database::Records;
use super::device::Device;
use super::journal::CommitError;
use super::layout::guarded;
use super::pins::PinKey;
use super::record::Record;
use super::types::Id;
use super::{Key, Node};
use crate::Refused;
use crate::clock::Timestamp;

/// Bytes of records that are committed together: a transaction is held in memory, and a sync costs milliseconds.
const BATCH_BYTES: usize = 4 << 20;

/// A cluster with all that it has, on its way from one store to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WholeCluster {
    /// Its pin.
    pub pin: PinKey,
    /// When it was created.
    pub created: Timestamp,
    /// From this moment on it is gone.
    pub expires: Timestamp,
    /// In the order of their creation.
    pub keys: Vec<Arc<Key>>,
    /// In the order of their identifiers.
    pub nodes: Vec<Arc<Node>>,
}

/// The file while records are added.
pub struct StoreCopy {
    name: String,
    file: File,
    records: Records,
    batch: BTreeMap<Id, Option<Record>>,
    batch_bytes: usize,
    next_id: Id,
}

/// What a store file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Contents {
    /// Pins, among them those that have expired and were not swept yet.
    pub pins: usize,
    /// Their keys.
    pub keys: usize,
    /// Their nodes.
    pub nodes: usize,
}

impl StoreCopy {
    /// Begins in an empty file, which is called `name` in messages.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn begin(file: File, name: String) -> Result<Self, Refused> {
        let records = open(&file, &name)?;
        Ok(Self { name, file, records, batch: BTreeMap::new(), batch_bytes: 0, next_id: 0 })
    }

    /// Adds a cluster, under the numbers that come next.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn add_cluster(&mut self, cluster: &WholeCluster) -> Result<(), Refused> {
        let WholeCluster { pin, created, expires, keys, nodes } = cluster;
        self.push(Record::Cluster { pin: *pin, created: *created, expires: *expires });
        for key in keys {
            self.push(Record::Key { pin: *pin, key: key.clone() });
        }
        for node in nodes {
            self.push(Record::Node { pin: *pin, node: node.clone() });
        }
        if self.batch_bytes >= BATCH_BYTES { self.commit() } else { Ok(()) }
    }

    fn push(&mut self, record: Record) {
        self.batch_bytes += record.encode().len();
        self.batch.insert(self.next_id, Some(record));
        self.next_id += 1;
    }

    /// Adds a record under its number.
    ///
    /// # Errors
    /// It is none, or the file cannot be written.
    pub fn add(&mut self, id: Id, bytes: &[u8]) -> Result<(), Refused> {
        let record = Record::decode(bytes)
            .map_err(|err| Refused::Failed(format!("{}: record {id} is damaged: {err}", self.name)))?;
        self.batch.insert(id, Some(record));
        self.batch_bytes += bytes.len();
        if self.batch_bytes >= BATCH_BYTES { self.commit() } else { Ok(()) }
    }

    /// Closes the file, and looks through it as a service does that opens it. Everything is on the disk then.
    ///
    /// # Errors
    /// The file cannot be written, or is not what it should be.
    pub fn finish(mut self) -> Result<Contents, Refused> {
        self.commit()?;
        drop(self.records);
        let held = guarded(&self.name, || count(&open(&self.file, &self.name)?))?;
        self.file.sync_all().map_err(|err| failed(&self.name, &err))?;
        Ok(held)
    }

    fn commit(&mut self) -> Result<(), Refused> {
        self.batch_bytes = 0;
        self.records.commit(&std::mem::take(&mut self.batch), None).map_err(|err| match err {
            CommitError::Undone(err) | CommitError::InDoubt(err) => err,
            CommitError::Outdated(_) => {
                Refused::Failed(format!("{}: another process writes to it", self.name))
            }
        })
    }
}

fn open(file: &File, name: &str) -> Result<Records, Refused> {
    let file = file.try_clone().map_err(|err| failed(name, &err))?;
    let disk = FileBackend::new(file).map_err(|err| Refused::Failed(format!("{name}: {err}")))?;
    Records::open(name.to_owned(), Device::new(disk), Durability::Immediate)
}

fn count(records: &Records) -> Result<Contents, Refused> {
    let mut pins = HashSet::new();
    let (mut keys, mut nodes) = (0, 0);
    records.load(&BTreeMap::new(), |_, record| {
        match record {
            Record::Cluster { pin, .. } => drop(pins.insert(pin)),
            Record::Key { pin, .. } if pins.contains(&pin) => keys += 1,
            Record::Node { pin, .. } if pins.contains(&pin) => nodes += 1,
            Record::Key { .. } | Record::Node { .. } => return Err("its cluster is missing".to_owned()),
        }
        Ok(())
    })?;
    Ok(Contents { pins: pins.len(), keys, nodes })
}

fn failed(name: &str, err: &std::io::Error) -> Refused {
    Refused::Failed(format!("{name}: {err}"))
}
