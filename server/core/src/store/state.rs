//! What the store holds in memory: every cluster with its keys, and the order in which they expire.
//!
//! It answers every read, so a read never touches the disk. It knows nothing of disks: who publishes a change has made
//! it durable.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher as _, BuildHasherDefault, Hasher};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::nodes::{NodeListing, Nodes, NumberedNode};
use super::pins::PinKey;
use super::types::{Charge, Cluster, Id, Key};
use crate::clock::Timestamp;

/// A cluster and its keys.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Its number.
    pub id: Id,
    /// When it was created.
    pub created: Timestamp,
    /// From this moment on it is gone.
    pub expires: Timestamp,
    /// In the order of their creation, which is that of their numbers.
    pub keys: Vec<NumberedKey>,
}

/// A key and its number.
#[derive(Debug, Clone)]
pub struct NumberedKey {
    /// Its number.
    pub id: Id,
    /// Itself.
    pub key: Arc<Key>,
    /// What it costs its creator.
    pub charge: Option<Charge>,
}

/// What a cluster takes in memory besides its keys: its places in the maps, and some room to grow that they keep.
pub(super) const CLUSTER_BYTES: usize = 250;
/// What a key takes besides name and value: itself, its counters, and what the allocator rounds up.
pub(super) const KEY_BYTES: usize = 150;

impl Entry {
    pub(super) fn cluster(&self, pin: PinKey) -> Cluster {
        Cluster { pin: pin.pin(), created: self.created, expires: self.expires }
    }

    pub(super) fn key(&self, name: &str) -> Option<&Arc<Key>> {
        self.position(name).map(|at| &self.keys[at].key)
    }

    /// Its place in the order in which clusters expire.
    fn expiry(&self) -> (Timestamp, Id) {
        (self.expires, self.id)
    }

    /// Where in `keys` a name is. There are few keys and most clusters have two, so looking through them costs less
    /// than an index would.
    pub(super) fn position(&self, name: &str) -> Option<usize> {
        self.keys.iter().position(|numbered| numbered.key.name == name)
    }

    /// Adds the youngest key.
    pub(super) fn push(&mut self, key: NumberedKey) {
        // Most clusters have two keys and there may be millions: no room to spare.
        self.keys.reserve_exact(1);
        self.keys.push(key);
    }

    /// What it takes in memory.
    pub(super) fn memory(&self) -> usize {
        CLUSTER_BYTES + self.keys.len() * KEY_BYTES + self.bytes()
    }

    /// Bytes of names and values together.
    pub(super) fn bytes(&self) -> usize {
        self.keys.iter().map(|numbered| numbered.key.name.len() + numbered.key.value.len()).sum()
    }
}

/// What was found under a pin.
pub(super) enum Lookup<T> {
    /// A live cluster, and what was read from it.
    Live(T),
    /// A cluster that expired at this moment and is not removed yet.
    Expired(Timestamp),
    /// Nothing.
    Unknown,
}

/// A map that grows rehashes all its entries at once. Pins are spread over this many, so that the write during which one of
/// them does so is held up by a fraction of a millisecond, also with millions of pins.
const SHARDS: usize = 256;

/// By pins that the service chose, or of which there are few.
pub(super) type ByPin<T> = HashMap<PinKey, T, BuildHasherDefault<PinHasher>>;

/// Some of the clusters, and the nodes of those that have any.
#[derive(Default)]
struct Shard {
    clusters: ByPin<Entry>,
    nodes: ByPin<Nodes>,
}

/// Spreads pins. They are random, and only the service chooses those in the state, so it takes no more than to
/// bring their bytes together.
#[derive(Default)]
pub(super) struct PinHasher(u64);

impl Hasher for PinHasher {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    fn write_u64(&mut self, word: u64) {
        /// Odd, with ones all over: the golden ratio's digits (Knuth, volume 3, section 6.4).
        const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
        self.0 = (self.0.rotate_left(23) ^ word).wrapping_mul(SPREAD);
    }

    fn write_u32(&mut self, word: u32) {
        self.write_u64(u64::from(word));
    }

    fn finish(&self) -> u64 {
        // What the multiplication has stirred most is at the top, and the map looks at both ends.
        self.0.rotate_left(26)
    }
}

/// The clusters, for readers; and what only the one writer needs.
pub(super) struct State {
    shards: Box<[RwLock<Shard>]>,
    writer: Mutex<WriterState>,
    pins: AtomicUsize,
    keys: AtomicUsize,
    nodes: AtomicUsize,
    memory: AtomicUsize,
    /// The version that the last change of a node made.
    node_version: AtomicU64,
    /// Tells these versions from those of another process, or of this store when it was open before.
    pub(super) instance: u64,
}

/// What only the writer needs. Who has it locked is the writer.
#[derive(Default)]
pub(super) struct WriterState {
    /// Every cluster by the moment at which it expires. Those of one moment are in the order of their numbers, in
    /// which their records lie together.
    pub(super) expiring: BTreeMap<(Timestamp, Id), PinKey>,
    /// The next number to give.
    pub(super) next_id: Id,
    /// Where in `expiring` the next look for unused clusters begins; `None`: at the oldest.
    pub(super) unused_from: Option<(Timestamp, Id)>,
    /// The records of clusters that had expired when the store was opened, and are not in the state.
    pub(super) unloaded: Vec<Id>,
}

impl WriterState {
    /// A number that nothing has had.
    pub(super) fn give_id(&mut self) -> Id {
        self.next_id += 1;
        self.next_id - 1
    }
}

impl State {
    pub(super) fn new() -> Self {
        Self {
            // Without random numbers no pin can be drawn either, which is what the caller will hear of.
            instance: getrandom::u64().unwrap_or_default(),
            shards: (0..SHARDS).map(|_| RwLock::default()).collect(),
            writer: Mutex::default(),
            pins: AtomicUsize::new(0),
            keys: AtomicUsize::new(0),
            nodes: AtomicUsize::new(0),
            memory: AtomicUsize::new(0),
            node_version: AtomicU64::new(0),
        }
    }

    /// Reads a cluster that is live at `now`.
    pub(super) fn read<T>(&self, pin: PinKey, now: Timestamp, read: impl FnOnce(&Entry) -> T) -> Lookup<T> {
        match self.shard(pin).clusters.get(&pin) {
            Some(entry) if now < entry.expires => Lookup::Live(read(entry)),
            Some(entry) => Lookup::Expired(entry.expires),
            None => Lookup::Unknown,
        }
    }

    /// A copy of a cluster, whether it is live or has expired.
    pub(super) fn copy(&self, pin: PinKey) -> Option<Entry> {
        self.shard(pin).clusters.get(&pin).cloned()
    }

    pub(super) fn contains(&self, pin: PinKey) -> bool {
        self.shard(pin).clusters.contains_key(&pin)
    }

    /// The clusters that have a key of this name, live or not.
    pub(super) fn pins_with_key(&self, name: &str) -> Vec<PinKey> {
        let in_shard = |shard: &RwLock<Shard>| {
            let shard = shard.read().unwrap_or_else(PoisonError::into_inner);
            let found = shard.clusters.iter().filter(|(_, entry)| entry.position(name).is_some());
            found.map(|(pin, _)| *pin).collect::<Vec<_>>()
        };
        self.shards.iter().flat_map(in_shard).collect()
    }

    /// How many clusters, keys and nodes there are.
    pub(super) fn population(&self) -> (usize, usize, usize) {
        let read = |counter: &AtomicUsize| counter.load(Ordering::Relaxed);
        (read(&self.pins), read(&self.keys), read(&self.nodes))
    }

    /// The nodes of a cluster that is live at `now`: those that have reported after a version, or all.
    pub(super) fn list_nodes(&self, pin: PinKey, now: Timestamp, after: Option<u64>) -> Lookup<NodeListing> {
        let shard = self.shard(pin);
        match shard.clusters.get(&pin) {
            Some(entry) if now < entry.expires => {
                let none = || NodeListing { whole: true, ..NodeListing::default() };
                Lookup::Live(shard.nodes.get(&pin).map_or_else(none, |nodes| nodes.list(after)))
            }
            Some(entry) => Lookup::Expired(entry.expires),
            None => Lookup::Unknown,
        }
    }

    /// Reads from the nodes of a cluster, if it has any.
    pub(super) fn read_nodes<T>(&self, pin: PinKey, read: impl FnOnce(&Nodes) -> T) -> Option<T> {
        self.shard(pin).nodes.get(&pin).map(read)
    }

    /// What all clusters take in memory, in bytes.
    pub(super) fn memory(&self) -> usize {
        self.memory.load(Ordering::Relaxed)
    }

    /// Makes this process's one writer.
    pub(super) fn writer(&self) -> MutexGuard<'_, WriterState> {
        // An observer that panicked did so after the state was whole.
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Shows readers what has become of a cluster; `None`: it is gone. Holding the writer's state proves the right to
    /// it.
    pub(super) fn publish(&self, writer: &mut WriterState, pin: PinKey, entry: Option<Entry>) {
        let expiry = entry.as_ref().map(Entry::expiry);
        let keys = |entry: &Option<Entry>| entry.as_ref().map_or(0, |entry| entry.keys.len());
        let memory = |entry: &Option<Entry>| entry.as_ref().map_or(0, Entry::memory);
        let (more_pins, more_keys, more_memory) =
            (usize::from(entry.is_some()), keys(&entry), memory(&entry));
        let mut shard = self.shard_mut(pin);
        let (before, nodes) = match entry {
            Some(entry) => (shard.clusters.insert(pin, entry), None),
            None => (shard.clusters.remove(&pin), shard.nodes.remove(&pin)),
        };
        // What was there is freed after readers may go on.
        drop(shard);
        // There is one writer, and what goes has come before, so neither falls below zero.
        self.pins.fetch_add(more_pins, Ordering::Relaxed);
        self.pins.fetch_sub(usize::from(before.is_some()), Ordering::Relaxed);
        self.keys.fetch_add(more_keys, Ordering::Relaxed);
        self.keys.fetch_sub(keys(&before), Ordering::Relaxed);
        self.memory.fetch_add(more_memory, Ordering::Relaxed);
        self.memory.fetch_sub(memory(&before), Ordering::Relaxed);
        if let Some(nodes) = nodes {
            self.nodes.fetch_sub(nodes.size().counts.total(), Ordering::Relaxed);
            self.memory.fetch_sub(nodes.size().memory(), Ordering::Relaxed);
        }
        let before = before.map(|before| before.expiry());
        if before != expiry {
            before.map(|before| writer.expiring.remove(&before));
            expiry.map(|expiry| writer.expiring.insert(expiry, pin));
        }
    }

    /// Shows readers what has become of a node; `None`: it is gone. False if its cluster is not there.
    pub(super) fn publish_node(
        &self,
        _: &mut WriterState,
        pin: PinKey,
        id: &str,
        node: Option<NumberedNode>,
    ) -> bool {
        let version = self.node_version.fetch_add(1, Ordering::Relaxed) + 1;
        let mut shard = self.shard_mut(pin);
        if !shard.clusters.contains_key(&pin) {
            return false;
        }
        let nodes = shard.nodes.entry(pin).or_default();
        let before = nodes.size();
        nodes.set(id, node, version);
        let after = nodes.size();
        drop(shard);
        self.nodes.fetch_add(after.counts.total(), Ordering::Relaxed);
        self.nodes.fetch_sub(before.counts.total(), Ordering::Relaxed);
        self.memory.fetch_add(after.memory(), Ordering::Relaxed);
        self.memory.fetch_sub(before.memory(), Ordering::Relaxed);
        true
    }

    /// Adds a key that was kept. False if its cluster is not there.
    pub(super) fn restore(&self, _: &mut WriterState, pin: PinKey, key: NumberedKey) -> bool {
        let mut shard = self.shard_mut(pin);
        let Some(entry) = shard.clusters.get_mut(&pin) else { return false };
        let memory = KEY_BYTES + key.key.name.len() + key.key.value.len();
        entry.push(key);
        self.keys.fetch_add(1, Ordering::Relaxed);
        self.memory.fetch_add(memory, Ordering::Relaxed);
        true
    }

    fn shard(&self, pin: PinKey) -> RwLockReadGuard<'_, Shard> {
        self.shards[shard_of(pin)].read().unwrap_or_else(PoisonError::into_inner)
    }

    fn shard_mut(&self, pin: PinKey) -> RwLockWriteGuard<'_, Shard> {
        self.shards[shard_of(pin)].write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// From bits of the hash that the shard's map does not look at.
fn shard_of(pin: PinKey) -> usize {
    let [.., shard, _] = hash_of(pin).to_le_bytes();
    usize::from(shard) % SHARDS
}

fn hash_of(pin: PinKey) -> u64 {
    BuildHasherDefault::<PinHasher>::default().hash_one(pin)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::pins;

    fn entry(id: Id, expires: u64) -> Entry {
        Entry { id, created: Timestamp(0), expires: Timestamp(expires), keys: Vec::new() }
    }

    #[test]
    fn spreads_pins_over_all_shards() {
        let mut filled = [0; SHARDS];
        for _ in 0..SHARDS * 100 {
            filled[shard_of(pins::draw().unwrap())] += 1;
        }
        assert!(filled.iter().all(|pins| (20..200).contains(pins)), "{filled:?}");
    }

    #[test]
    fn spreads_pins_over_the_places_of_a_map() {
        const PLACES: usize = 1024;
        let hashes: Vec<u64> = (0..PLACES * 16).map(|_| hash_of(pins::draw().unwrap())).collect();
        for place in [|hash: u64| hash % 1024, |hash: u64| hash >> 54] {
            let mut filled = [0; PLACES];
            for &hash in &hashes {
                filled[usize::try_from(place(hash)).unwrap()] += 1;
            }
            assert!(filled.iter().all(|pins| (1..60).contains(pins)), "{filled:?}");
        }
    }

    #[test]
    fn the_order_of_expiry_follows_every_change() {
        let state = State::new();
        let mut writer = state.writer();
        let (one, other) = (pins::draw().unwrap(), pins::draw().unwrap());
        state.publish(&mut writer, one, Some(entry(1, 10)));
        state.publish(&mut writer, other, Some(entry(0, 20)));
        state.publish(&mut writer, one, Some(entry(1, 30)));
        state.publish(&mut writer, other, Some(entry(0, 20)));
        assert_eq!(writer.expiring, BTreeMap::from([((Timestamp(20), 0), other), ((Timestamp(30), 1), one)]));
        state.publish(&mut writer, one, None);
        state.publish(&mut writer, other, None);
        state.publish(&mut writer, other, None);
        assert!(writer.expiring.is_empty());
    }
}
