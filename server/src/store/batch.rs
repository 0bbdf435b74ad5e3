//! Writes: what each does to a cluster, and the batch in which they become durable together.
//!
//! A batch evaluates one operation after the other against the state and what it has itself changed so far. Nothing of
//! that is seen by a reader until [`Batch::publish`]; a batch that is dropped has not happened. An operation that is
//! refused changes nothing, except that it buries a cluster which it found to be due.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use protocol::Pin;

use super::pins::{self, PinKey};
use super::record::Record;
use super::state::{Entry, Id, Ledger, Numbered, State};
use super::{Change, Cluster, Key, Limits, Observer, StoreError, Update};
use crate::clock::{Clock, Timestamp};

/// Most clusters that one sweep buries. Each costs 4 µs of the writer's time, so one sweep takes less than a
/// millisecond, which the writes that share its commit hardly notice beside the sync.
pub(super) const SWEPT_AT_ONCE: usize = 200;

/// What every store on this machine has: the state, and what it was made with.
pub(super) struct Core {
    pub(super) state: State,
    pub(super) limits: Limits,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) observer: Arc<dyn Observer>,
    /// Batches that became durable.
    pub(super) commits: AtomicU64,
}

impl Core {
    pub(super) fn new(limits: Limits, clock: Arc<dyn Clock>, observer: Arc<dyn Observer>) -> Self {
        Self { state: State::new(), limits, clock, observer, commits: AtomicU64::new(0) }
    }
}

/// What a batch has changed.
#[derive(Default)]
pub(super) struct Draft {
    /// What each cluster that the batch looked at has become; `None`: there is none.
    clusters: HashMap<PinKey, Option<Entry>>,
    /// What each record has become; `None`: it is deleted. Sorted, since neighbours are cheaper to write.
    records: BTreeMap<Id, Option<Record>>,
    changes: Vec<(Pin, Change)>,
    next_id: Id,
    /// Somebody wants to know whether a commit goes through.
    probe: bool,
}

impl Draft {
    /// Whether it may be published without a commit: every operation was refused.
    pub(super) fn writes_nothing(&self) -> bool {
        self.records.is_empty() && !self.probe
    }

    /// What has to become durable.
    pub(super) fn records(&self) -> &BTreeMap<Id, Option<Record>> {
        &self.records
    }

    /// Shows readers what the batch has changed, and then tells the observer.
    pub(super) fn publish(self, core: &Core, ledger: &mut Ledger) {
        ledger.next_id = self.next_id;
        for (pin, entry) in self.clusters {
            core.state.publish(ledger, pin, entry);
        }
        for (pin, change) in &self.changes {
            core.observer.changed(pin, change);
        }
    }
}

/// A batch in the making. While there is one, there is no other.
pub(super) struct Batch<'a> {
    core: &'a Core,
    ledger: MutexGuard<'a, Ledger>,
    now: Timestamp,
    /// How many clusters there will be.
    population: usize,
    draft: Draft,
}

impl<'a> Batch<'a> {
    /// Begins a batch of operations that have all been asked for by now, so one look at the clock does for all.
    pub(super) fn begin(core: &'a Core) -> Self {
        let ledger = core.state.ledger();
        let draft = Draft { next_id: ledger.next_id, ..Draft::default() };
        Self { now: core.clock.now(), population: ledger.due.len(), core, ledger, draft }
    }

    /// What has to become durable before this batch may be published.
    pub(super) fn draft(&self) -> &Draft {
        &self.draft
    }

    /// Shows readers what the batch has changed, and tells the observer.
    pub(super) fn publish(mut self) {
        self.draft.publish(self.core, &mut self.ledger);
    }

    /// Gives up the batch, but keeps what it would have changed.
    pub(super) fn into_draft(self) -> Draft {
        self.draft
    }

    pub(super) fn create_cluster(&mut self) -> Result<Cluster, StoreError> {
        if self.population >= self.core.limits.pins {
            self.bury_due();
        }
        if self.population >= self.core.limits.pins {
            return Err(StoreError::TooManyPins);
        }
        let pin = self.unused_pin()?;
        let id = self.number();
        let created = self.now;
        let expires = created.after(self.core.limits.lifetime);
        let entry = Entry { id, created, expires, keys: Vec::new() };
        let cluster = entry.cluster(pin);
        self.draft.records.insert(id, Some(Record::Cluster { pin, created, expires }));
        self.draft.clusters.insert(pin, Some(entry));
        self.population += 1;
        Ok(cluster)
    }

    pub(super) fn delete_cluster(&mut self, pin: &Pin) -> Result<(), StoreError> {
        self.live(pin)?;
        self.bury(pin, Change::Deleted);
        Ok(())
    }

    pub(super) fn create_key(
        &mut self,
        pin: &Pin,
        name: String,
        value: String,
    ) -> Result<Arc<Key>, StoreError> {
        let owner = PinKey::of(pin).ok_or(StoreError::UnknownPin)?;
        let (now, limits) = (self.now, self.core.limits);
        let id = self.draft.next_id;
        let entry = self.live(pin)?;
        if entry.position(&name).is_some() {
            return Err(StoreError::KeyExists);
        }
        if entry.keys.len() >= limits.keys_per_pin {
            return Err(StoreError::TooManyKeys);
        }
        if entry.bytes() + name.len() + value.len() > limits.bytes_per_pin {
            return Err(StoreError::TooManyBytes);
        }
        let key = Arc::new(Key { name, value, created: now, modified: now });
        entry.push(Numbered { id, key: key.clone() });
        self.draft.next_id += 1;
        self.draft.records.insert(id, Some(Record::Key { pin: owner, key: key.clone() }));
        self.draft.changes.push((pin.clone(), Change::KeySet(key.clone())));
        Ok(key)
    }

    pub(super) fn update_key(
        &mut self,
        pin: &Pin,
        name: &str,
        update: Update,
    ) -> Result<Arc<Key>, StoreError> {
        let owner = PinKey::of(pin).ok_or(StoreError::UnknownPin)?;
        let (now, limits) = (self.now, self.core.limits);
        let entry = self.live(pin)?;
        let at = entry.position(name).ok_or(StoreError::UnknownKey)?;
        let before = entry.keys[at].key.clone();
        if update == Update::default() {
            return Ok(before);
        }
        let renamed = update.name.as_ref().is_some_and(|new| new != name);
        let key = Key {
            name: update.name.unwrap_or_else(|| before.name.clone()),
            value: update.value.unwrap_or_else(|| before.value.clone()),
            created: before.created,
            modified: now,
        };
        if renamed && entry.position(&key.name).is_some() {
            return Err(StoreError::KeyExists);
        }
        let others = entry.bytes() - before.name.len() - before.value.len();
        if others + key.name.len() + key.value.len() > limits.bytes_per_pin {
            return Err(StoreError::TooManyBytes);
        }
        let id = entry.keys[at].id;
        let key = Arc::new(key);
        entry.keys[at].key = key.clone();
        self.draft.records.insert(id, Some(Record::Key { pin: owner, key: key.clone() }));
        let change = if renamed {
            Change::KeyRenamed { from: name.to_owned(), key: key.clone() }
        } else {
            Change::KeySet(key.clone())
        };
        self.draft.changes.push((pin.clone(), change));
        Ok(key)
    }

    pub(super) fn delete_key(&mut self, pin: &Pin, name: &str) -> Result<(), StoreError> {
        let entry = self.live(pin)?;
        let at = entry.position(name).ok_or(StoreError::UnknownKey)?;
        let Numbered { id, key } = entry.keys.remove(at);
        self.draft.records.insert(id, None);
        self.draft.changes.push((pin.clone(), Change::KeyDeleted(key)));
        Ok(())
    }

    /// Buries a cluster that a reader found to be due at `seen`, whatever the clock says by now.
    pub(super) fn bury_seen(&mut self, pin: &Pin, seen: Timestamp) {
        if self.cluster(pin).is_some_and(|entry| entry.expires <= seen) {
            self.bury(pin, Change::Expired);
        }
    }

    /// Buries a bounded number of clusters that are due, and says when the next one is.
    pub(super) fn sweep(&mut self) -> Option<Timestamp> {
        self.bury_due();
        let stays = |pin: &PinKey| !matches!(self.draft.clusters.get(pin), Some(None));
        let old = self.ledger.due.iter().find(|(_, pin)| stays(pin)).map(|((expires, _), _)| *expires);
        let new = self.draft.clusters.values().flatten().map(|entry| entry.expires).min();
        old.into_iter().chain(new).min()
    }

    /// Sees to it that there is a commit.
    pub(super) fn probe(&mut self) {
        self.draft.probe = true;
    }

    /// Makes a cluster older than it is.
    pub(super) fn backdate(&mut self, pin: &Pin, by: Duration) -> Result<(), StoreError> {
        let key = PinKey::of(pin).ok_or(StoreError::UnknownPin)?;
        let entry = self.live(pin)?;
        entry.created = entry.created.before(by);
        entry.expires = entry.expires.before(by);
        let record = Record::Cluster { pin: key, created: entry.created, expires: entry.expires };
        let id = entry.id;
        self.draft.records.insert(id, Some(record));
        Ok(())
    }

    /// The cluster as the batch has left it, live or due.
    fn cluster(&mut self, pin: &Pin) -> Option<&mut Entry> {
        let key = PinKey::of(pin)?;
        self.draft.clusters.entry(key).or_insert_with(|| self.core.state.copy(key)).as_mut()
    }

    /// The cluster as the batch has left it, if it is live. One that is due is buried: its asker is about to be told
    /// that it is gone, so gone it must be.
    fn live(&mut self, pin: &Pin) -> Result<&mut Entry, StoreError> {
        self.bury_seen(pin, self.now);
        self.cluster(pin).ok_or(StoreError::UnknownPin)
    }

    fn bury_due(&mut self) {
        let due: Vec<PinKey> = self
            .ledger
            .due
            .iter()
            .take_while(|((expires, _), _)| *expires <= self.now)
            .map(|(_, pin)| *pin)
            .filter(|pin| !matches!(self.draft.clusters.get(pin), Some(None)))
            .take(SWEPT_AT_ONCE)
            .collect();
        for pin in due {
            self.bury_seen(&pin.pin(), self.now);
        }
    }

    /// Forgets a cluster and its keys.
    fn bury(&mut self, pin: &Pin, why: Change) {
        let Some(key) = PinKey::of(pin) else { return };
        let Some(entry) = self.draft.clusters.insert(key, None).flatten() else { return };
        self.draft.records.insert(entry.id, None);
        self.draft.records.extend(entry.keys.iter().map(|numbered| (numbered.id, None)));
        self.draft.changes.push((pin.clone(), why));
        self.population -= 1;
    }

    fn unused_pin(&self) -> Result<PinKey, StoreError> {
        loop {
            let pin = pins::draw().map_err(|err| StoreError::Failed(format!("no random numbers: {err}")))?;
            if !self.core.state.contains(pin) && !self.draft.clusters.contains_key(&pin) {
                return Ok(pin);
            }
        }
    }

    fn number(&mut self) -> Id {
        let id = self.draft.next_id;
        self.draft.next_id += 1;
        id
    }
}
