use std::path::{Path, PathBuf};
use std::sync::Arc;

use protocol::Pin;
use redb::ReadableDatabase as _;
use tempfile::TempDir;

use crate::Refused;
use crate::clock::ManualClock;
use crate::store::layout::{FORMAT, LOGGED, META, WITHOUT_NODES};
use crate::store::suite::{START, wait};
use crate::store::{AtRest, FILE_NAME, LOG_NAME, Limits, Store};

fn open(dir: &Path) -> Result<Store, Refused> {
    let limits = Limits { bytes_per_pin: 64 << 20, ..Limits::default() };
    Store::open(dir, limits, Arc::new(ManualClock::at(START)), Arc::new(()))
}

/// A store with a pin that has some keys.
fn with_keys(dir: &Path, names: &[&str]) -> (Store, Pin) {
    let store = open(dir).unwrap();
    let pin = wait(store.create_cluster()).unwrap().pin;
    for name in names {
        wait(store.create_key(&pin, name, name)).unwrap();
    }
    (store, pin)
}

fn names(store: &Store, pin: &Pin) -> Vec<String> {
    wait(store.keys(pin)).unwrap().iter().map(|key| key.name.clone()).collect()
}

/// What a kill would leave of the store in a directory.
fn killed(dir: &Path) -> TempDir {
    let left = tempfile::tempdir().unwrap();
    for name in [FILE_NAME, LOG_NAME] {
        std::fs::copy(dir.join(name), left.path().join(name)).unwrap();
    }
    left
}

/// The version that an earlier release looks at.
fn version(dir: &Path) -> u64 {
    let copy = tempfile::tempdir().unwrap();
    let path = copy.path().join(FILE_NAME);
    std::fs::copy(dir.join(FILE_NAME), &path).unwrap();
    let file = redb::Database::create(path).unwrap();
    let table = file.begin_read().unwrap().open_table(META).unwrap();
    table.get("format").unwrap().unwrap().value()
}

#[test]
fn a_killed_store_has_its_writes_in_the_log_and_a_closed_one_in_the_database() {
    let dir = tempfile::tempdir().unwrap();
    let (store, pin) = with_keys(dir.path(), &["a", "b"]);
    let left_by_kill = killed(dir.path());
    assert_eq!(version(left_by_kill.path()), LOGGED);
    wait(store.create_key(&pin, "later", "1")).unwrap();
    drop(store);
    assert_eq!(version(dir.path()), WITHOUT_NODES);
    let store = open(left_by_kill.path()).unwrap();
    assert_eq!(names(&store, &pin), ["a", "b"]);
    wait(store.delete_key(&pin, "a")).unwrap();
    // Killed again, right after the first half of the log was taken in.
    let again = killed(left_by_kill.path());
    assert_eq!(names(&open(again.path()).unwrap(), &pin), ["b"]);
    assert_eq!(names(&open(dir.path()).unwrap(), &pin), ["a", "b", "later"]);
}

#[test]
fn the_database_takes_in_one_half_after_the_other() {
    let dir = tempfile::tempdir().unwrap();
    let (store, pin) = with_keys(dir.path(), &["first"]);
    let value = |number: u32| format!("{number} {}", "v".repeat(50_000));
    // Six halves, and a value that does not fit into one at the end of it.
    let long = "l".repeat(usize::try_from(super::HALF_BYTES).unwrap());
    for number in 0..120_u32 {
        let update = |text: String| crate::store::Update { name: None, value: Some(text) };
        wait(store.update_key(&pin, "first", update(value(number)))).unwrap();
        wait(store.create_key(&pin, &number.to_string(), "v")).unwrap();
        if number % 50 == 49 {
            wait(store.update_key(&pin, "first", update(long.clone()))).unwrap();
        }
        if number % 17 == 0 || number % 50 == 49 {
            let found = open(killed(dir.path()).path()).unwrap();
            assert_eq!(wait(found.keys(&pin)), wait(store.keys(&pin)), "{number}");
        }
    }
    assert!(names(&store, &pin).len() > 100);
}

#[test]
fn a_store_of_a_service_that_was_killed_is_read_at_rest() {
    let dir = tempfile::tempdir().unwrap();
    let (_store, pin) = with_keys(dir.path(), &["a", "b"]);
    let left_by_kill = killed(dir.path());
    let clusters = AtRest::open(left_by_kill.path()).unwrap().clusters().unwrap();
    assert_eq!((clusters.len(), clusters[0].keys.len()), (1, 2));
    assert_eq!(version(left_by_kill.path()), WITHOUT_NODES);
    assert_eq!(names(&open(left_by_kill.path()).unwrap(), &pin), ["a", "b"]);
}

#[test]
fn a_file_without_its_log_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (_store, _) = with_keys(dir.path(), &["a"]);
    let left_by_kill = killed(dir.path());
    let log = left_by_kill.path().join(LOG_NAME);
    std::fs::remove_file(&log).unwrap();
    let Err(Refused::Failed(why)) = open(left_by_kill.path()) else { panic!("it was opened") };
    assert!(why.starts_with(&format!("{}: it is missing", log.display())), "{why}");
    assert!(why.contains("put it back beside that file, or restore a backup"), "{why}");
    // One of nothing is as good as none.
    std::fs::write(&log, "").unwrap();
    assert!(open(left_by_kill.path()).is_err());
}

#[test]
fn a_damaged_log_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (_store, _) = with_keys(dir.path(), &["a", "b"]);
    let left_by_kill = killed(dir.path());
    let log = left_by_kill.path().join(LOG_NAME);
    let mut contents = std::fs::read(&log).unwrap();
    contents[30] ^= 1;
    std::fs::write(&log, contents).unwrap();
    let Err(Refused::Failed(why)) = open(left_by_kill.path()) else { panic!("it was opened") };
    assert!(why.starts_with(&format!("{}: frame 1 of the log is damaged", log.display())), "{why}");
    assert!(why.contains("restore the file from a backup"), "{why}");
}

/// Who puts a backup in the place of a store that was killed keeps the log for the one that was moved away.
#[test]
fn a_log_of_another_store_is_kept_under_another_name() {
    let dir = tempfile::tempdir().unwrap();
    let (_store, pin) = with_keys(dir.path(), &["a"]);
    let (left_by_kill, moved) = (killed(dir.path()), tempfile::tempdir().unwrap());
    let at = |dir: &Path, name: &str| -> PathBuf { dir.join(name) };
    std::fs::rename(at(left_by_kill.path(), FILE_NAME), at(moved.path(), FILE_NAME)).unwrap();
    for _ in 0..2 {
        let (store, other) = with_keys(left_by_kill.path(), &["other"]);
        let restored = killed(left_by_kill.path());
        assert_eq!(names(&open(restored.path()).unwrap(), &other), ["other"]);
        drop(store);
    }
    std::fs::rename(at(left_by_kill.path(), "pairing.log.old"), at(moved.path(), LOG_NAME)).unwrap();
    assert_eq!(names(&open(moved.path()).unwrap(), &pin), ["a"]);
}

#[test]
fn a_file_with_nodes_says_so_once_it_is_closed() {
    let dir = tempfile::tempdir().unwrap();
    let (store, pin) = with_keys(dir.path(), &["a"]);
    let report = "v1.x".to_owned();
    wait(store.put_node(&pin, "n", report, crate::store::NodeClass::Sealed, None)).unwrap();
    assert_eq!(version(dir.path()), LOGGED);
    let left_by_kill = killed(dir.path());
    drop(store);
    assert_eq!(version(dir.path()), FORMAT);
    drop(open(left_by_kill.path()).unwrap());
    assert_eq!(version(left_by_kill.path()), FORMAT);
}

#[test]
fn notices_that_a_file_has_lost_its_name() {
    for (replaced, name) in
        [false, true].into_iter().flat_map(|replaced| [(replaced, FILE_NAME), (replaced, LOG_NAME)])
    {
        let dir = tempfile::tempdir().unwrap();
        let (store, pin) = with_keys(dir.path(), &["a"]);
        let path = dir.path().join(name);
        std::fs::rename(&path, path.with_extension("moved")).unwrap();
        if replaced {
            std::fs::write(&path, "").unwrap();
        }
        let Err(Refused::Failed(why)) = wait(store.create_key(&pin, "b", "1")) else {
            panic!("it was written")
        };
        assert!(
            why.starts_with(&path.display().to_string()) && why.contains("was removed or replaced"),
            "{why}"
        );
        assert!(wait(store.ready()).is_err());
        assert_eq!(names(&store, &pin), ["a"]);
    }
}
