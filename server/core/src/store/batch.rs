//! The batch in which writes become durable together: what each does to a cluster and its keys.
//!
//! A batch evaluates one operation after the other against the state and what it has itself changed so far. No reader
//! sees any of that before [`Batch::publish`]; a batch that is dropped has not happened. An operation that is refused
//! changes nothing, except that it removes a cluster which it found to be expired. Evaluating takes nothing from the
//! operation, so one can be evaluated again when another process was faster.

mod expiry;
mod nodes;

use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use protocol::Pin;

use super::changes::Changes;
use super::operation::{Operation, Outcome};
use super::pins::{self, PinKey};
use super::record::Record;
use super::shared::Shared;
use super::state::{CLUSTER_BYTES, Entry, KEY_BYTES, Lookup, NumberedKey, WriterState};
use super::{Change, Charge, Cluster, Key, Update};
use crate::Refused;
use crate::clock::Timestamp;

/// Longest name and value together of a key that may grow where the store is full, in bytes: an address, a token.
const SHORT_KEY: usize = 512;
/// Which part of the memory for the store such keys may take beyond it.
const RESERVED_PART: usize = 64;
#[cfg(test)]
pub(super) use expiry::DOUBTED;

/// A batch in the making. While there is one, there is no other.
pub(super) struct Batch<'a> {
    shared: &'a Shared,
    writer: MutexGuard<'a, WriterState>,
    now: Timestamp,
    /// How many clusters there will be.
    population: usize,
    /// What they will take in memory.
    memory: usize,
    /// How many clusters it has removed that no operation deletes.
    removed: usize,
    changes: Changes,
}

impl<'a> Batch<'a> {
    /// Begins a batch of operations that have all been asked for by now, so one look at the clock does for all.
    pub(super) fn begin(shared: &'a Shared) -> Self {
        let writer = shared.state.writer();
        if writer.expiring.is_empty() {
            shared.clock.catch_up();
        }
        let changes = Changes { next_id: writer.next_id, ..Changes::default() };
        let (now, memory) = (shared.clock.now(), shared.state.memory());
        Self { now, population: writer.expiring.len(), memory, removed: 0, shared, writer, changes }
    }

    /// Shows readers what the batch has changed, and tells the observer.
    pub(super) fn publish(mut self) {
        self.shared.publish(self.changes, &mut self.writer);
    }

    /// Gives up the right to write, and keeps what the batch would change.
    pub(super) fn into_changes(self) -> Changes {
        self.changes
    }

    /// Does one operation.
    ///
    /// # Errors
    /// It is refused.
    pub(super) fn evaluate(&mut self, operation: &Operation) -> Result<Outcome, Refused> {
        match operation {
            Operation::CreateCluster => self.create_cluster().map(Outcome::Cluster),
            Operation::DeleteCluster(pin) => self.delete_cluster(pin).map(|()| Outcome::Done),
            Operation::CreateKey { pin, name, value, charge } => {
                self.create_key(pin, name, value, charge.as_ref()).map(Outcome::Key)
            }
            Operation::UpdateKey { pin, name, update, charge } => {
                self.update_key(pin, name, update, charge.as_ref()).map(Outcome::Key)
            }
            Operation::DeleteKey { pin, name } => self.delete_key(pin, name).map(|()| Outcome::Done),
            Operation::PutNode { pin, id, report, class, charge } => {
                self.put_node(pin, id, report, *class, charge.as_ref()).map(|()| Outcome::Done)
            }
            Operation::DeleteNode { pin, id } => self.delete_node(pin, id).map(|()| Outcome::Done),
            Operation::Sweep => Ok(Outcome::Next(self.sweep())),
            Operation::RemoveExpired(pin) => {
                self.remove_if_expired(pin);
                Ok(Outcome::Done)
            }
            Operation::Probe => {
                self.changes.probe = true;
                Ok(Outcome::Done)
            }
            Operation::Backdate(pin, by) => self.backdate(pin, *by).map(|()| Outcome::Done),
        }
    }

    fn create_cluster(&mut self) -> Result<Cluster, Refused> {
        let limits = self.shared.limits;
        if self.population >= limits.pins || self.check_memory(CLUSTER_BYTES).is_err() {
            self.remove_expired();
        }
        if self.population > limits.pins / 2 || self.memory > limits.bytes / 2 {
            self.remove_unused();
        }
        if self.population >= limits.pins {
            return Err(Refused::TooManyPins);
        }
        self.check_memory(CLUSTER_BYTES)?;
        let pin = self.unused_pin()?;
        let id = self.changes.next_id;
        self.changes.next_id += 1;
        let created = self.now;
        let expires = created.after(limits.lifetime);
        let entry = Entry { id, created, expires, keys: Vec::new() };
        let cluster = entry.cluster(pin);
        self.changes.records.insert(id, Some(Record::Cluster { pin, created, expires }));
        self.changes.clusters.insert(pin, Some(entry));
        self.population += 1;
        self.memory += CLUSTER_BYTES;
        Ok(cluster)
    }

    fn delete_cluster(&mut self, pin: &Pin) -> Result<(), Refused> {
        self.live(pin)?;
        self.remove(pin, Change::Deleted);
        Ok(())
    }

    fn create_key(
        &mut self,
        pin: &Pin,
        name: &str,
        value: &str,
        charge: Option<&Charge>,
    ) -> Result<Arc<Key>, Refused> {
        let owner = PinKey::of(pin).ok_or(Refused::UnknownPin)?;
        let (now, limits) = (self.now, self.shared.limits);
        let id = self.changes.next_id;
        let entry = self.live(pin)?;
        if entry.position(name).is_some() {
            return Err(Refused::KeyExists);
        }
        if entry.keys.len() >= limits.keys_per_pin {
            return Err(Refused::TooManyKeys);
        }
        if entry.bytes() + name.len() + value.len() > limits.bytes_per_pin {
            return Err(Refused::TooManyBytes);
        }
        let memory = KEY_BYTES + name.len() + value.len();
        self.check_memory(memory)?;
        self.memory += memory;
        let entry = self.live(pin)?;
        let key =
            Arc::new(Key { name: name.to_owned(), value: value.to_owned(), created: now, modified: now });
        entry.push(NumberedKey { id, key: key.clone(), charge: charge.cloned() });
        self.changes.next_id += 1;
        self.changes.records.insert(id, Some(Record::Key { pin: owner, key: key.clone() }));
        self.changes.events.push((pin.clone(), Change::KeySet(key.clone())));
        Ok(key)
    }

    fn update_key(
        &mut self,
        pin: &Pin,
        name: &str,
        update: &Update,
        charge: Option<&Charge>,
    ) -> Result<Arc<Key>, Refused> {
        let owner = PinKey::of(pin).ok_or(Refused::UnknownPin)?;
        let (now, limits) = (self.now, self.shared.limits);
        let entry = self.live(pin)?;
        let at = entry.position(name).ok_or(Refused::UnknownKey)?;
        let before = entry.keys[at].key.clone();
        if *update == Update::default() {
            return Ok(before);
        }
        let renamed = update.name.as_ref().is_some_and(|new| new != name);
        let key = Key {
            name: update.name.as_ref().unwrap_or(&before.name).clone(),
            value: update.value.as_ref().unwrap_or(&before.value).clone(),
            created: before.created,
            modified: now,
        };
        if renamed && entry.position(&key.name).is_some() {
            return Err(Refused::KeyExists);
        }
        let others = entry.bytes() - before.name.len() - before.value.len();
        if others + key.name.len() + key.value.len() > limits.bytes_per_pin {
            return Err(Refused::TooManyBytes);
        }
        let (old, new) = (before.name.len() + before.value.len(), key.name.len() + key.value.len());
        if new > old {
            self.check_growth(new - old, new)?;
        }
        self.memory = self.memory + new - old;
        let numbered = &mut self.live(pin)?.keys[at];
        let id = numbered.id;
        let key = Arc::new(key);
        numbered.key = key.clone();
        if update.value.is_some() {
            numbered.charge = charge.cloned();
        }
        self.changes.records.insert(id, Some(Record::Key { pin: owner, key: key.clone() }));
        let event = if renamed {
            Change::KeyRenamed { from: name.to_owned(), key: key.clone() }
        } else {
            Change::KeySet(key.clone())
        };
        self.changes.events.push((pin.clone(), event));
        Ok(key)
    }

    fn delete_key(&mut self, pin: &Pin, name: &str) -> Result<(), Refused> {
        let owner = PinKey::of(pin).ok_or(Refused::UnknownPin)?;
        let entry = self.live(pin)?;
        let at = entry.position(name).ok_or(Refused::UnknownKey)?;
        let NumberedKey { id, key, .. } = entry.keys.remove(at);
        self.memory -= KEY_BYTES + key.name.len() + key.value.len();
        self.changes.records.insert(id, None);
        self.changes.deleted_keys.push((owner, id));
        self.changes.events.push((pin.clone(), Change::KeyDeleted(key)));
        Ok(())
    }

    fn backdate(&mut self, pin: &Pin, by: Duration) -> Result<(), Refused> {
        let key = PinKey::of(pin).ok_or(Refused::UnknownPin)?;
        let entry = self.live(pin)?;
        entry.created = entry.created.before(by);
        entry.expires = entry.expires.before(by);
        let record = Record::Cluster { pin: key, created: entry.created, expires: entry.expires };
        let id = entry.id;
        self.changes.records.insert(id, Some(record));
        Ok(())
    }

    /// The cluster as the batch has left it, live or expired.
    fn cluster(&mut self, pin: &Pin) -> Option<&mut Entry> {
        let key = PinKey::of(pin)?;
        self.changes.clusters.entry(key).or_insert_with(|| self.shared.state.copy(key)).as_mut()
    }

    /// The cluster as the batch has left it, if it is live. One that has expired is removed: the answer will say that
    /// it is gone, so gone it must be.
    fn live(&mut self, pin: &Pin) -> Result<&mut Entry, Refused> {
        self.remove_if_expired(pin);
        self.cluster(pin).ok_or(Refused::UnknownPin)
    }

    /// As [`Batch::live`], without a copy of a cluster that is only to be there.
    fn live_pin(&mut self, pin: &Pin) -> Result<PinKey, Refused> {
        let key = PinKey::of(pin).ok_or(Refused::UnknownPin)?;
        let known = self.changes.clusters.contains_key(&key);
        if known || !matches!(self.shared.state.read(key, self.now, |_| ()), Lookup::Live(())) {
            self.live(pin)?;
        }
        Ok(key)
    }

    /// Removes a cluster with its keys and nodes.
    fn remove(&mut self, pin: &Pin, why: Change) {
        let Some(key) = PinKey::of(pin) else { return };
        let Some(entry) = self.changes.clusters.insert(key, None).flatten() else { return };
        self.changes.records.insert(entry.id, None);
        self.changes.records.extend(entry.keys.iter().map(|numbered| (numbered.id, None)));
        let nodes = self.node_changes(key).size.memory();
        let changed = self.changes.nodes.remove(&key).unwrap_or_default().set;
        let changed = changed.values().flatten().map(|numbered| (numbered.record, None));
        self.changes.records.extend(changed);
        self.shared.state.read_nodes(key, |nodes| {
            self.changes.records.extend(nodes.records().map(|record| (record, None)));
        });
        self.changes.events.push((pin.clone(), why));
        self.population -= 1;
        self.memory -= entry.memory() + nodes;
    }

    /// Whether there is room for so many bytes more.
    fn check_memory(&self, more: usize) -> Result<(), Refused> {
        if self.memory + more > self.shared.limits.bytes { Err(Refused::OutOfMemory) } else { Ok(()) }
    }

    /// Whether a key may grow by so many bytes to this length. One that stays short may take a little more than there is:
    /// a master that changes its address is not refused since others have filled the rest to the last byte.
    fn check_growth(&self, more: usize, length: usize) -> Result<(), Refused> {
        let bytes = self.shared.limits.bytes;
        let reserved = if length <= SHORT_KEY { bytes / RESERVED_PART } else { 0 };
        if self.memory + more > bytes.saturating_add(reserved) { Err(Refused::OutOfMemory) } else { Ok(()) }
    }

    fn unused_pin(&self) -> Result<PinKey, Refused> {
        loop {
            let pin = pins::draw().map_err(|err| Refused::Failed(format!("no random numbers: {err}")))?;
            if !self.shared.state.contains(pin) && !self.changes.clusters.contains_key(&pin) {
                return Ok(pin);
            }
        }
    }
}
