//! Power cuts: what was acknowledged before one is there after it, and so is what a reader or the observer was shown.
//!
//! The same test is run with durability switched off, in the store and in the disk, to see that it would notice.

use std::collections::{BTreeMap, HashSet};
use std::future::{Future, ready};
use std::pin::Pin as Pinned;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use protocol::Pin;
use redb::Durability;

use super::suite::{START, wait};
use super::testdisk::{Disk, Trouble};
use super::{Change, Limits, Observer, Store, Update};
use crate::Refused;
use crate::clock::ManualClock;

/// Cuts of one disk: few enough that it stays small and each opening takes a few milliseconds.
const CUTS: usize = 12;

/// The keys of a cluster; `None` once it is deleted.
type Keys = Option<BTreeMap<String, String>>;

/// A cluster as its owner knows it. At most one write to it is under way at a time.
struct KnownCluster {
    pin: Pin,
    keys: Keys,
    /// What a write that was not acknowledged would have made of it: it may be either.
    perhaps: Option<Keys>,
}

/// The pins that the store has reported as changed since the last look.
#[derive(Default)]
struct ChangedPins(Mutex<HashSet<Pin>>);

impl Observer for ChangedPins {
    fn changed(&self, pin: &Pin, _: &Change) {
        self.0.lock().unwrap().insert(pin.clone());
    }
}

/// What came of a number of cuts.
#[derive(Debug, Default)]
struct Tally {
    acknowledged: usize,
    /// Clusters that were found after a cut as they should not be.
    lost: usize,
    /// How often the disk was struck while writes were under way.
    struck: usize,
    /// Openings that the next cut came into the middle of.
    interrupted: usize,
    /// Openings that failed although nothing disturbed them.
    unreadable: usize,
}

struct Owner {
    disk: Disk,
    durability: Durability,
    half: Option<u64>,
    told: Arc<ChangedPins>,
    random: fastrand::Rng,
    known: Vec<KnownCluster>,
    outcome: Tally,
}

impl Owner {
    /// Opens the store after a cut; now and then another cut comes in between.
    fn reopen(&mut self) -> Store {
        loop {
            self.disk.restart();
            if self.random.u8(..4) == 0 {
                self.disk.plan(self.random.u32(..20), Trouble::PowerCut);
            }
            match open(&self.disk, self.durability, self.half, self.told.clone()) {
                Ok(store) => {
                    self.disk.heal();
                    return store;
                }
                Err(_) if self.disk.has_no_power() => self.outcome.interrupted += 1,
                Err(_) => {
                    self.outcome.unreadable += 1;
                    self.disk.replace(Vec::new());
                    self.disk.log().replace(Vec::new());
                }
            }
        }
    }

    /// Writes until what is planned for the disk has begun. A store that does not write to it cannot wait for that.
    fn work(&mut self, store: &Store) {
        for _ in 0..100 {
            self.round(store);
            if self.disk.is_struck() {
                self.outcome.struck += 1;
                return;
            }
        }
    }

    /// Has a few writes under way at once.
    fn round(&mut self, store: &Store) {
        let Self { random, known, told, outcome, .. } = self;
        told.0.lock().unwrap().clear();
        random.shuffle(known);
        let created = begin(store.create_cluster());
        let mut begun = Vec::new();
        for cluster in known.iter_mut().filter(|cluster| cluster.perhaps.is_none()).take(random.usize(..8)) {
            let Some(keys) = &cluster.keys else { continue };
            let (write, after) = write(store, &cluster.pin, keys, random);
            begun.push((cluster.pin.clone(), begin(write)));
            cluster.perhaps = Some(after);
        }
        let shown: Vec<_> = begun.iter().map(|(pin, _)| read(store, pin)).collect();
        for ((pin, write), shown) in begun.into_iter().zip(shown) {
            let answer = wait(write);
            let cluster = known.iter_mut().find(|cluster| cluster.pin == pin).unwrap();
            match &answer {
                Ok(()) => outcome.acknowledged += 1,
                Err(Refused::Failed(_)) => {}
                Err(refused) => panic!("{refused}"),
            }
            let certain = answer.is_ok() || Some(&shown) == cluster.perhaps.as_ref();
            if certain || told.0.lock().unwrap().contains(&pin) {
                cluster.keys = cluster.perhaps.take().unwrap();
            }
        }
        if let Ok(cluster) = wait(created) {
            outcome.acknowledged += 1;
            known.push(KnownCluster { pin: cluster.pin, keys: Some(BTreeMap::new()), perhaps: None });
        }
    }

    /// Compares everything that is known with what is there, and takes what is there for granted from then on.
    fn check(&mut self, store: &Store) {
        for cluster in &mut self.known {
            let found = read(store, &cluster.pin);
            if found != cluster.keys && Some(&found) != cluster.perhaps.as_ref() {
                self.outcome.lost += 1;
            }
            (cluster.keys, cluster.perhaps) = (found, None);
        }
        // A bounded number keeps the test quick; what is deleted is watched for some time like the rest.
        let surplus = self.known.len().saturating_sub(60);
        self.known.drain(..surplus);
    }
}

fn open(
    disk: &Disk,
    durability: Durability,
    half: Option<u64>,
    observer: Arc<dyn Observer>,
) -> Result<Store, Refused> {
    let journal = disk.journal(durability, half)?;
    // The store would leave a disk that failed alone for a while; these cuts come faster.
    let pause = Duration::ZERO;
    Store::with_embedded(journal, pause, Limits::default(), Arc::new(ManualClock::at(START)), observer)
}

/// The keys of a pin as the store shows them.
fn read(store: &Store, pin: &Pin) -> Keys {
    match wait(store.keys(pin)) {
        Ok(keys) => Some(keys.iter().map(|key| (key.name.clone(), key.value.clone())).collect()),
        Err(Refused::UnknownPin) => None,
        Err(err) => panic!("{err}"),
    }
}

type Begun<'a, T> = Pinned<Box<dyn Future<Output = T> + 'a>>;

/// Sets a write under way.
fn begin<'a, T: 'a>(write: impl Future<Output = T> + 'a) -> Begun<'a, T> {
    let mut write = Box::pin(write);
    match write.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => Box::pin(ready(answer)),
        Poll::Pending => write,
    }
}

/// A random write to a cluster, and what it will have made of it.
fn write<'a>(
    store: &'a Store,
    pin: &Pin,
    keys: &BTreeMap<String, String>,
    random: &mut fastrand::Rng,
) -> (Begun<'a, Result<(), Refused>>, Keys) {
    let pin = pin.clone();
    let mut after = keys.clone();
    let name = ["a", "b", "c", "d"][random.usize(..4)].to_owned();
    // Long ones take pages of their own.
    let value = "v".repeat([random.usize(..20), random.usize(..9000)][random.usize(..2)])
        + &random.u64(..).to_string();
    if !keys.contains_key(&name) {
        after.insert(name.clone(), value.clone());
        return (
            Box::pin(async move { store.create_key(&pin, &name, &value).await.map(|_| ()) }),
            Some(after),
        );
    }
    match random.u8(..8) {
        0 => (Box::pin(async move { store.delete_cluster(&pin).await }), None),
        1 | 2 => {
            after.remove(&name);
            (Box::pin(async move { store.delete_key(&pin, &name).await }), Some(after))
        }
        _ => {
            let to = random.u64(..).to_string();
            after.remove(&name);
            after.insert(to.clone(), value.clone());
            let update = Update { name: Some(to), value: Some(value) };
            (Box::pin(async move { store.update_key(&pin, &name, update).await.map(|_| ()) }), Some(after))
        }
    }
}

/// Works and cuts the power some times on each of some disks.
fn cut(disks: u64, new_disk: fn(u64) -> Disk, durability: Durability, half: Option<u64>) -> Tally {
    let mut outcome = Tally::default();
    for seed in 0..disks {
        let random = fastrand::Rng::with_seed(seed);
        let (disk, told, known) = (new_disk(seed), Arc::default(), Vec::new());
        let mut owner = Owner { disk, durability, half, told, random, known, outcome };
        for _ in 0..CUTS {
            let store = owner.reopen();
            owner.check(&store);
            // A write or sync that fails may come first, and leave the file in a state of its own.
            let troubles = [Trouble::PowerCut, Trouble::PowerCut, Trouble::Write, Trouble::Sync];
            let trouble = troubles[owner.random.usize(..troubles.len())];
            owner.disk.plan(owner.random.u32(..200), trouble);
            owner.work(&store);
            if trouble == Trouble::Write {
                // Such a disk is in order again, and so is the store.
                owner.disk.plan(owner.random.u32(..50), Trouble::PowerCut);
                owner.work(&store);
            }
        }
        let store = owner.reopen();
        owner.check(&store);
        outcome = owner.outcome;
    }
    outcome
}

/// Halves of the log: none, one that many values do not fit into, one that is full after some, and one that is seldom full.
const HALVES: [Option<u64>; 4] = [None, Some(1 << 12), Some(1 << 15), Some(1 << 20)];

#[test]
fn a_power_cut_loses_nothing_that_was_acknowledged_or_shown() {
    for half in HALVES {
        let outcome = cut(12, Disk::new, Durability::Immediate, half);
        assert_eq!((outcome.lost, outcome.unreadable), (0, 0), "{half:?}: {outcome:?}");
        let struck = outcome.struck > 90 && outcome.interrupted > 5;
        assert!(outcome.acknowledged > 1500 && struck, "{half:?}: {outcome:?}");
    }
}

#[test]
fn a_power_cut_while_the_file_is_made_leaves_one_that_opens() {
    for half in [None, Some(1 << 15)] {
        let mut interrupted = 0;
        for (changes, seed) in (0..20).flat_map(|changes| (0..8).map(move |seed| (changes, seed))) {
            let disk = Disk::new(seed);
            disk.plan(changes, Trouble::PowerCut);
            interrupted += usize::from(open(&disk, Durability::Immediate, half, Arc::new(())).is_err());
            disk.restart();
            let store = open(&disk, Durability::Immediate, half, Arc::new(())).unwrap();
            wait(store.create_cluster()).unwrap();
        }
        assert!(interrupted > 40, "{interrupted}");
    }
}

#[test]
fn the_same_cuts_lose_writes_when_the_store_does_not_sync() {
    for half in HALVES {
        let outcome = cut(2, Disk::new, Durability::None, half);
        assert!(outcome.acknowledged > 0 && outcome.lost > 0, "{half:?}: {outcome:?}");
    }
}

#[test]
fn the_same_cuts_lose_writes_when_the_disk_does_not_sync() {
    for half in HALVES {
        let outcome = cut(2, Disk::lying, Durability::Immediate, half);
        assert!(outcome.acknowledged > 0 && outcome.lost + outcome.unreadable > 0, "{half:?}: {outcome:?}");
    }
}
