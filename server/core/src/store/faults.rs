//! Disks that fail: what the store answers, and that it is whole afterwards.

use std::sync::Arc;
use std::time::Duration;

use protocol::Pin;
use redb::Durability;

use super::suite::{Log, START, wait};
use super::testdisk::{Disk, Trouble};
use super::{Change, Limits, Store};
use crate::Refused;
use crate::clock::ManualClock;

/// A store on a disk that has held one key for some time.
struct Fixture {
    disk: Disk,
    half: Option<u64>,
    log: Arc<Log>,
    store: Store,
    pin: Pin,
}

/// Of a log: none, and one that holds two values.
const HALVES: [Option<u64>; 2] = [None, Some(64 << 10)];

fn open(disk: &Disk, half: Option<u64>, log: &Arc<Log>) -> Result<Store, Refused> {
    let journal = disk.journal(Durability::Immediate, half)?;
    // The store would leave a disk that failed alone for a while.
    let pause = Duration::ZERO;
    Store::with_embedded(journal, pause, Limits::default(), Arc::new(ManualClock::at(START)), log.clone())
}

impl Fixture {
    fn new(seed: u64) -> Self {
        Self::with_log(seed, None)
    }

    fn with_log(seed: u64, half: Option<u64>) -> Self {
        let (disk, log) = (Disk::new(seed), Arc::new(Log::default()));
        let store = open(&disk, half, &log).unwrap();
        let pin = wait(store.create_cluster()).unwrap().pin;
        let fixture = Self { disk, half, log, store, pin };
        fixture.create("old").unwrap();
        fixture.log.take();
        fixture
    }

    /// Creates a key whose value takes pages of its own.
    fn create(&self, name: &str) -> Result<(), Refused> {
        wait(self.store.create_key(&self.pin, name, &"v".repeat(50_000))).map(|_| ())
    }

    fn names(&self) -> Vec<String> {
        wait(self.store.keys(&self.pin)).unwrap().iter().map(|key| key.name.clone()).collect()
    }

    /// Closes the store, cuts the power, and opens it again.
    fn restart(mut self) -> Self {
        drop(self.store);
        self.disk.restart();
        self.store = open(&self.disk, self.half, &self.log).unwrap();
        self
    }
}

/// Writes to a disk that gets into trouble after some changes, until a write is refused, and sees to it that what was
/// answered is so: before and after the disk is in order again, and after a power cut.
fn check(trouble: Trouble, changes: u32, half: Option<u64>, is_expected: fn(&Refused) -> bool) {
    let fixture = Fixture::with_log(u64::from(changes), half);
    fixture.disk.plan(changes, trouble);
    let mut names = vec!["old".to_owned()];
    let refused = ('a'..='z')
        .map(String::from)
        .find_map(|name| fixture.create(&name).map(|()| names.push(name)).err())
        .expect("the trouble never came");
    assert!(is_expected(&refused), "{refused} after {changes} changes");
    assert!(refused.to_string().contains("/data/pairing."), "{refused}");
    assert_eq!(fixture.names(), names);
    assert_eq!(fixture.log.take().len(), names.len() - 1);

    fixture.disk.heal();
    fixture.create("new").unwrap();
    names.push("new".to_owned());
    assert_eq!(fixture.names(), names);
    assert_eq!(fixture.log.take().len(), 1);
    assert_eq!(wait(fixture.store.ready()), Ok(()));
    assert_eq!(fixture.restart().names(), names);
}

#[test]
fn a_full_disk_changes_nothing_and_writes_go_on_when_there_is_room() {
    for changes in 0..40 {
        for half in HALVES {
            check(Trouble::Full, changes, half, |refused| matches!(refused, Refused::NoSpace(_)));
        }
    }
}

#[test]
fn a_disk_without_room_for_any_write_leaves_it_open_whether_the_first_one_happened() {
    for changes in 0..40 {
        check(Trouble::FullForAll, changes, None, |refused| matches!(refused, Refused::Failed(_)));
    }
    let fixture = Fixture::new(0);
    fixture.disk.plan(0, Trouble::FullForAll);
    fixture.create("first").unwrap_err();
    let no_room = |answer| matches!(answer, Err(Refused::NoSpace(_)));
    assert!(no_room(fixture.create("second")));
    assert!(no_room(wait(fixture.store.ready())));
    assert_eq!(fixture.names(), ["old"]);
}

/// What deletes needs no room while the log has some.
#[test]
fn a_full_disk_takes_deletions_and_writes_go_on_when_there_is_room() {
    for changes in 0..10 {
        let fixture = Fixture::with_log(u64::from(changes), Some(128 << 10));
        let mut names: Vec<_> = ('a'..='f').map(String::from).collect();
        names.iter().for_each(|name| fixture.create(name).unwrap());
        fixture.disk.plan(changes, Trouble::Full);
        let no_room = (0..).find_map(|number| {
            let name = format!("more{number}");
            fixture.create(&name).map(|()| names.push(name)).err()
        });
        assert!(matches!(no_room, Some(Refused::NoSpace(_))), "{no_room:?}");
        assert!(matches!(wait(fixture.store.ready()), Err(Refused::NoSpace(_))));
        for name in names.drain(..names.len() - 2) {
            wait(fixture.store.delete_key(&fixture.pin, &name)).unwrap();
        }
        fixture.disk.heal();
        fixture.create("new").unwrap();
        let fixture = fixture.restart();
        let found = fixture.names();
        assert_eq!(found.first().map(String::as_str), Some("old"));
        assert_eq!(found[1..found.len() - 1], names);
        assert_eq!(found.last().map(String::as_str), Some("new"));
    }
}

#[test]
fn the_store_goes_on_after_a_write_that_failed() {
    let mut refused = 0;
    for (changes, half) in (0..40).flat_map(|changes| HALVES.map(|half| (changes, half))) {
        let fixture = Fixture::with_log(u64::from(changes), half);
        fixture.disk.plan(changes, Trouble::Write);
        let mut names = vec!["old".to_owned()];
        for name in ('a'..='j').map(String::from) {
            match fixture.create(&name) {
                Ok(()) => names.push(name),
                Err(Refused::Failed(_)) => refused += 1,
                Err(err) => panic!("{err}"),
            }
        }
        assert!(fixture.disk.is_struck());
        assert_eq!(fixture.names(), names);
        assert_eq!(fixture.log.take().len(), names.len() - 1);
        assert_eq!(fixture.restart().names(), names);
    }
    // Not each of them, since some writes of redb's may fail without harm, and so may those behind the log.
    assert!((20..=80).contains(&refused), "{refused}");
}

/// A store that has much to delete, and so will have room to give back to the disk; the youngest comes first.
fn fixture_with_much() -> (Fixture, Vec<Pin>) {
    let mut fixture = Fixture::new(0);
    let first = fixture.pin.clone();
    let much = (0..8).map(|_| {
        fixture.pin = wait(fixture.store.create_cluster()).unwrap().pin;
        for name in ('a'..='t').map(String::from) {
            fixture.create(&name).unwrap();
        }
        fixture.pin.clone()
    });
    let much = much.collect::<Vec<_>>().into_iter().rev().collect();
    fixture.pin = first;
    fixture.log.take();
    (fixture, much)
}

#[test]
fn a_write_counts_that_was_durable_before_the_disk_failed() {
    let (fixture, much) = fixture_with_much();
    fixture.disk.plan(0, Trouble::Shorten);
    for pin in &much {
        wait(fixture.store.delete_cluster(pin)).unwrap();
        assert_eq!(fixture.log.take(), [(pin.clone(), Change::Deleted)]);
    }
    assert!(fixture.disk.is_in_order(), "the trouble never came");
    let fixture = fixture.restart();
    for pin in &much {
        assert_eq!(wait(fixture.store.cluster(pin)), Err(Refused::UnknownPin));
    }
}

#[test]
fn a_write_that_turns_out_to_be_durable_is_shown_before_the_next_one() {
    let (fixture, much) = fixture_with_much();
    fixture.disk.plan(0, Trouble::ShortenAndCut);
    let failed = much.iter().find(|pin| wait(fixture.store.delete_cluster(pin)).is_err());
    let failed = failed.expect("the trouble never came");
    assert!(wait(fixture.store.cluster(failed)).is_ok());
    fixture.log.take();
    fixture.disk.heal();
    fixture.create("next").unwrap();
    let next = wait(fixture.store.key(&fixture.pin, "next")).unwrap();
    let told = [(failed.clone(), Change::Deleted), (fixture.pin.clone(), Change::KeySet(next))];
    assert_eq!(fixture.log.take(), told);
    assert_eq!(wait(fixture.store.cluster(failed)), Err(Refused::UnknownPin));
    let fixture = fixture.restart();
    assert_eq!(wait(fixture.store.cluster(failed)), Err(Refused::UnknownPin));
    assert_eq!(fixture.names(), ["old", "next"]);
}

#[test]
fn is_ready_only_if_a_write_would_go_through() {
    HALVES.into_iter().for_each(is_ready_only_if_it_writes);
}

fn is_ready_only_if_it_writes(half: Option<u64>) {
    let fixture = Fixture::with_log(0, half);
    for trouble in [Trouble::FullForAll, Trouble::PowerCut] {
        assert_eq!(wait(fixture.store.ready()), Ok(()));
        fixture.disk.plan(0, trouble);
        assert!(wait(fixture.store.ready()).is_err());
        fixture.disk.heal();
    }
    assert_eq!(fixture.names(), ["old"]);
    assert_eq!(fixture.log.take(), []);
}

#[test]
fn nothing_is_written_any_more_after_a_sync_that_failed() {
    [None, Some(1 << 20)].into_iter().for_each(nothing_is_written_after_a_failed_sync);
}

fn nothing_is_written_after_a_failed_sync(half: Option<u64>) {
    let fixture = Fixture::with_log(0, half);
    fixture.disk.plan(0, Trouble::Sync);
    for name in ["first", "second"] {
        let Err(Refused::Failed(why)) = fixture.create(name) else { panic!("{name} was written") };
        assert!(why.starts_with("/data/pairing.redb: the disk could not sync"), "{why}");
        assert!(matches!(wait(fixture.store.ready()), Err(Refused::Failed(_))));
        // What was safe before can still be read.
        assert_eq!(fixture.names(), ["old"]);
    }
    assert_eq!(fixture.log.take(), []);
    let fixture = fixture.restart();
    fixture.create("third").unwrap();
    assert_eq!(fixture.restart().names().last().unwrap(), "third");
}

#[test]
fn damage_to_the_file_is_refused_or_does_no_harm() {
    let Fixture { disk, half, log, store, pin } = Fixture::new(0);
    for name in 0..100 {
        wait(store.create_key(&pin, &name.to_string(), "v")).unwrap();
    }
    let kept = wait(store.keys(&pin)).unwrap();
    drop(store);
    let whole = disk.contents();
    let check = |contents: Vec<u8>| {
        disk.replace(contents);
        match open(&disk, half, &log) {
            Ok(store) => {
                assert_eq!(wait(store.keys(&pin)), Ok(kept.clone()));
                true
            }
            Err(why) => {
                assert!(why.to_string().contains("/data/pairing.redb: "), "{why}");
                false
            }
        }
    };
    let mut random = fastrand::Rng::with_seed(1);
    // Most of the file is zeros that nothing uses.
    let used: Vec<usize> = (0..whole.len()).filter(|at| whole[*at] != 0).collect();
    let refused = (0..300).filter(|_| {
        let mut contents = whole.clone();
        let at = used[random.usize(..used.len())];
        let end = contents.len().min(at + [1, 100, 2000][random.usize(..3)]);
        random.fill(&mut contents[at..end]);
        !check(contents)
    });
    let refused = refused.count();
    assert!(refused > 30, "{refused}");
    for length in [1, 100, 512, 5000, whole.len() / 2, whole.len() - 1] {
        assert!(!check(whole[..length].to_vec()), "{length}");
    }
    assert!(check(whole));
}

#[test]
fn a_snapshot_has_what_is_in_the_log() {
    let fixture = Fixture::with_log(0, Some(64 << 10));
    for name in ('a'..='j').map(String::from) {
        fixture.create(&name).unwrap();
        wait(fixture.store.delete_key(&fixture.pin, "old")).ok();
        let (snapshot, _) = wait(fixture.store.snapshot()).unwrap();
        let mut count = 0;
        let whole = snapshot.each(|_, _| {
            count += 1;
            Ok(())
        });
        assert_eq!((whole, count), (Ok(()), 1 + fixture.names().len()));
    }
}

#[test]
fn a_snapshot_is_void_once_the_file_was_opened_anew() {
    let fixture = Fixture::new(0);
    let records = |store: &Store| {
        let (snapshot, _) = wait(store.snapshot())?;
        let mut count = 0;
        let whole = snapshot.each(|_, _| {
            count += 1;
            Ok(())
        });
        whole.map(|()| count)
    };
    assert_eq!(records(&fixture.store), Ok(2));
    let (before, _) = wait(fixture.store.snapshot()).unwrap();
    fixture.disk.plan(0, Trouble::Full);
    while fixture.create("new").is_ok() {
        fixture.disk.plan(0, Trouble::Full);
        wait(fixture.store.delete_key(&fixture.pin, "new")).ok();
    }
    let Err(Refused::Failed(why)) = before.each(|_, _| Ok(())) else { panic!("it still counts") };
    assert!(why.contains("opened anew meanwhile"), "{why}");
    // It takes no room on the disk to look.
    assert_eq!(records(&fixture.store), Ok(2));
    fixture.disk.heal();
    fixture.create("newer").unwrap();
    assert_eq!(records(&fixture.store), Ok(3));
}
