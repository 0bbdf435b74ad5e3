//! The embedded journal: a redb database in a file of the data directory, and a log beside it.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, StatxFlags, makedev, statx};

use super::changes::Changes;
use super::file;
use super::journal::{CommitError, Foreign, Journal};
use super::layout::guarded;
use super::logged::Logged;
use super::nodes::NumberedNode;
use super::record::Record;
use super::reserve::{RESERVE_NAME, Reserve};
use super::shared::Shared;
use super::snapshot::Snapshot;
use super::state::{Entry, NumberedKey};
use crate::Refused;
use crate::clock::Timestamp;

/// The store's file in the data directory.
pub const FILE_NAME: &str = "pairing.redb";
/// The log beside it.
pub const LOG_NAME: &str = "pairing.log";

/// Records between two times that the observer hears how many were read.
const LOADED_STEP: u64 = 1024;

/// The open database.
pub(super) struct Embedded {
    name: String,
    records: Logged,
    /// `None` of a disk that is no file.
    files: Option<Files>,
}

/// The files of the data directory.
struct Files {
    /// The store's file and its log, with the device and inode of what is open.
    open: Vec<(PathBuf, (u64, u64))>,
    reserve: Option<Reserve>,
}

impl Embedded {
    /// Opens the file in the data directory `dir`, for this process alone.
    ///
    /// # Errors
    /// As for [`super::Store::open`].
    pub(super) fn open(dir: &Path) -> Result<Self, Refused> {
        let path = dir.join(FILE_NAME);
        let name = path.display().to_string();
        let file = file::open(dir, &path, "stop that one first, or use another data directory")?;
        let records = Logged::open(&path, file, true)?;
        let log = records.has_log().then(|| file::log_of(&path));
        let identity = |path: PathBuf| identity(&path).map(|found| (path, found));
        let open = [Some(path), log].into_iter().flatten().map(identity).collect::<Result<_, _>>();
        let open = open.map_err(|err| Refused::Failed(format!("{name}: {err}")))?;
        let reserve = Reserve::open(dir)
            .inspect_err(|err| log::warn!("{}: {err}", dir.join(RESERVE_NAME).display()))
            .ok();
        Ok(Self { name, records, files: Some(Files { open, reserve }) })
    }

    /// A journal on disks that are no files, called `name` in messages.
    #[cfg(test)]
    pub(super) fn on(name: &str, records: Logged) -> Self {
        Self { name: name.to_owned(), records, files: None }
    }

    /// The high-water mark of expiry.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(super) fn mark(&self) -> Result<Timestamp, Refused> {
        guarded(&self.name, || self.records.mark())
    }

    /// Reads the records of all clusters that have not expired into the state.
    ///
    /// # Errors
    /// The file is damaged.
    pub(super) fn load(&self, shared: &Shared) -> Result<(), Refused> {
        let now = shared.clock.now();
        let mut writer = shared.state.writer();
        let mut expired = HashSet::new();
        let mut read = 0;
        let take = |id, record| {
            writer.next_id = id + 1;
            read += 1;
            if read % LOADED_STEP == 0 {
                shared.observer.loading(read);
            }
            match record {
                Record::Cluster { pin, expires, .. } if expires <= now => {
                    expired.insert(pin);
                    writer.unloaded.push(id);
                }
                Record::Cluster { pin, created, expires } => {
                    let entry = Entry { id, created, expires, keys: Vec::new() };
                    shared.state.publish(&mut writer, pin, Some(entry));
                }
                Record::Key { pin, .. } | Record::Node { pin, .. } if expired.contains(&pin) => {
                    writer.unloaded.push(id);
                }
                Record::Node { pin, node } => {
                    let numbered = NumberedNode { record: id, node: node.clone(), charge: None };
                    if !shared.state.publish_node(&mut writer, pin, &node.id, Some(numbered)) {
                        return Err("its cluster is missing".to_owned());
                    }
                }
                Record::Key { pin, key } => {
                    if !shared.state.restore(&mut writer, pin, NumberedKey { id, key, charge: None }) {
                        return Err("its cluster is missing".to_owned());
                    }
                }
            }
            Ok(())
        };
        guarded(&self.name, || self.records.load(take))
    }
}

impl Files {
    /// The file that is open and is not the one that the next start will find, if there is such.
    fn misplaced(&self) -> Option<&Path> {
        let misplaced =
            self.open.iter().find(|(path, open)| !identity(path).is_ok_and(|found| found == *open));
        misplaced.map(|(path, _)| path.as_path())
    }
}

/// Device and inode of a file, without its times: a file system with multigrain timestamps (Linux 6.13) notes that they
/// were asked for, and gives the next write a time of its own, which a sync may have to wait for.
fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let found = statx(CWD, path, AtFlags::empty(), StatxFlags::INO)?;
    Ok((makedev(found.stx_dev_major, found.stx_dev_minor), found.stx_ino))
}

/// It blocks; the writer's thread is there for that.
impl Journal for Embedded {
    async fn commit(&mut self, changes: &Changes) -> Result<Vec<Foreign>, CommitError> {
        if let Some(path) = self.files.as_ref().and_then(Files::misplaced) {
            return Err(CommitError::Undone(Refused::Failed(format!(
                "{}: the file that is open has no longer this name: it was removed or replaced; restart the service",
                path.display()
            ))));
        }
        let committed = self.records.commit(changes.records(), changes.mark());
        let Some(reserve) = self.files.as_mut().and_then(|files| files.reserve.as_mut()) else {
            return committed.map(|()| Vec::new());
        };
        match committed {
            Err(CommitError::Undone(Refused::NoSpace(_))) if changes.frees() && reserve.release() => {
                log::warn!("{}: the disk is full; what deletes uses the reserve", self.name);
                self.records.commit(changes.records(), changes.mark())?;
            }
            committed => {
                committed?;
                // What was deleted makes room in the file, once the database has it.
                if changes.frees() && self.records.is_stuck() && reserve.release() {
                    log::warn!("{}: the disk is full; what deletes uses the reserve", self.name);
                    self.records.unstick();
                }
                reserve.refill();
            }
        }
        Ok(Vec::new())
    }

    async fn resolve(&mut self, changes: &Changes) -> Result<bool, Refused> {
        self.records.resolve(changes.records(), changes.mark())
    }

    fn snapshot(&self) -> Result<Snapshot, Refused> {
        self.records.snapshot()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use redb::ReadableDatabase as _;
    use tokio::task::JoinSet;

    use super::super::layout::{FORMAT, META, WITHOUT_NODES};
    use super::{FILE_NAME, LOADED_STEP};
    use crate::Refused;
    use crate::clock::{Clock, ManualClock, Timestamp};
    use crate::store::batch::DOUBTED;
    use crate::store::{Change, Cluster, Limits, NodeClass, Observer, Stats, Store, suite};
    use protocol::Pin;
    use protocol::node::{NodeRole, NodeState};

    struct Directory(tempfile::TempDir);

    impl Default for Directory {
        fn default() -> Self {
            Self(tempfile::tempdir().unwrap())
        }
    }

    impl suite::Backend for Directory {
        const LASTS: bool = true;

        fn open(&self, limits: Limits, clock: Arc<dyn Clock>, observer: Arc<dyn Observer>) -> Store {
            Store::open(self.0.path(), limits, clock, observer).unwrap()
        }
    }

    suite::run!(Directory);

    /// A start with millions of records takes long, and an operator wants to know that it goes on.
    #[tokio::test]
    async fn says_how_far_the_load_has_come() {
        #[derive(Default)]
        struct Loading(Mutex<Vec<u64>>);
        impl Observer for Loading {
            fn changed(&self, _: &Pin, _: &Change) {}
            fn loading(&self, records: u64) {
                self.0.lock().unwrap().push(records);
            }
        }
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::at(Timestamp(1)));
        let open = |observer| Store::open(dir.path(), Limits::default(), clock.clone(), observer).unwrap();
        let empty = Arc::new(Loading::default());
        let store = Arc::new(open(empty.clone()));
        let mut making = JoinSet::new();
        for _ in 0..2 * LOADED_STEP + 10 {
            let store = store.clone();
            making.spawn(async move { store.create_cluster().await.unwrap() });
        }
        making.join_all().await;
        drop(store);
        assert_eq!(*empty.0.lock().unwrap(), [0; 0]);
        let full = Arc::new(Loading::default());
        drop(open(full.clone()));
        assert_eq!(*full.0.lock().unwrap(), [LOADED_STEP, 2 * LOADED_STEP]);
    }

    #[test]
    fn loads_nothing_that_has_expired_and_deletes_it_once_the_clock_is_believed() {
        let mut fixture = suite::Fixture::<Directory>::new(Limits::default());
        let pin = fixture.pin();
        suite::wait(fixture.store().create_key(&pin, "a", &"v".repeat(1000))).unwrap();
        let begun = fixture.clock.now();
        // A wrong clock at the start hides the cluster.
        fixture.clock.set(begun.after(3 * suite::LIFETIME));
        fixture.reopen();
        let empty = Stats::default();
        assert_eq!(Stats { commits: 0, ..fixture.store().stats() }, empty);
        assert_eq!(suite::wait(fixture.store().sweep()), Ok(None));
        fixture.clock.set(begun);
        fixture.reopen();
        assert!(suite::wait(fixture.store().cluster(&pin)).is_ok());
        // A right one has it deleted in the end.
        fixture.clock.set(begun.after(3 * suite::LIFETIME));
        fixture.reopen();
        fixture.clock.advance(DOUBTED);
        assert_eq!(suite::wait(fixture.store().sweep()), Ok(None));
        fixture.clock.set(begun);
        fixture.reopen();
        assert_eq!(suite::wait(fixture.store().cluster(&pin)), Err(Refused::UnknownPin));
    }

    /// A data directory with a file of `fixtures/`.
    fn unpacked(packed: &[u8]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let mut file = std::fs::File::create(dir.path().join(FILE_NAME)).unwrap();
        std::io::copy(&mut flate2::read::GzDecoder::new(packed), &mut file).unwrap();
        dir
    }

    /// A file that release 0.1.0 has written: `fixtures/format-1.redb.gz`, with one cluster deleted, one whose key was
    /// renamed, and one with three keys.
    #[test]
    fn opens_a_file_of_an_earlier_release_with_all_that_is_in_it() {
        let dir = unpacked(include_bytes!("../../fixtures/format-1.redb.gz"));
        let clock = Arc::new(ManualClock::at(Timestamp(1_795_699_804_700_000)));
        let open = || Store::open(dir.path(), Limits::default(), clock.clone(), Arc::new(())).unwrap();
        let pin = |text| protocol::Pin::parse(text).unwrap();
        for _ in 0..2 {
            let store = open();
            assert_eq!((store.stats().pins, store.stats().keys), (2, 5));
            assert_eq!(suite::wait(store.cluster(&pin("hc2bjeinbvq4"))), Err(Refused::UnknownPin));
            for (pin, created, keys) in [
                (pin("u3ow2pbq4v4n"), "2026-11-26T13:30:04.636047Z", &["renamed", "Ünïcode"][..]),
                (pin("5hpjzfp6lpo8"), "2026-11-26T13:30:04.641997Z", &["master_ip", "Ünïcode", "long"]),
            ] {
                let cluster = suite::wait(store.cluster(&pin)).unwrap();
                assert_eq!(cluster.created.to_string(), created);
                assert_eq!(cluster.expires, cluster.created.after(suite::LIFETIME));
                let found = suite::wait(store.keys(&pin)).unwrap();
                assert_eq!(found.iter().map(|key| key.name.as_str()).collect::<Vec<_>>(), keys);
                for key in found {
                    let value = match key.name.as_str() {
                        "renamed" => "10.77.0.1".to_owned(),
                        "master_ip" => "10.77.0.2".to_owned(),
                        "long" => "v".repeat(5000),
                        // The API has taken the blanks off its ends.
                        _ => "☃ \n x".to_owned(),
                    };
                    assert_eq!(key.value, value, "{}", key.name);
                }
            }
        }
    }

    /// `fixtures/format-2.redb.gz`: one cluster with two nodes and one that was deleted, one with a sealed value, a sealed node
    /// and a renamed key, and one that was deleted.
    #[test]
    fn opens_a_file_with_nodes_and_sealed_values_with_all_that_is_in_it() {
        let dir = unpacked(include_bytes!("../../fixtures/format-2.redb.gz"));
        let clock = Arc::new(ManualClock::at(Timestamp(1_795_730_000_000_000)));
        let [clear, sealed, deleted] =
            ["y3npjcodn5st", "l21a1tlga6l9", "oqjwxs0y1y6a"].map(|pin| protocol::Pin::parse(pin).unwrap());
        let secret = format!("v1.{}", "Ab3_".repeat(20));
        for _ in 0..2 {
            let store = Store::open(dir.path(), Limits::default(), clock.clone(), Arc::new(())).unwrap();
            let Stats { pins, keys, nodes, .. } = store.stats();
            assert_eq!((pins, keys, nodes), (2, 3, 3));
            assert_eq!(suite::wait(store.cluster(&deleted)), Err(Refused::UnknownPin));
            assert_eq!(
                suite::wait(store.cluster(&sealed)).unwrap().created.to_string(),
                "2026-11-26T21:52:28.791742Z"
            );
            let value = |pin, name| suite::wait(store.key(pin, name)).map(|key| key.value.clone());
            assert_eq!(value(&clear, "master_ip").as_deref(), Ok("10.77.0.1"));
            assert_eq!(value(&sealed, "master_ip").as_deref(), Ok(secret.as_str()));
            assert_eq!(value(&sealed, "new").as_deref(), Ok("2"));
            let nodes = |pin| {
                let listing = suite::wait(store.nodes(pin, None)).unwrap();
                let nodes = listing.nodes.iter();
                nodes
                    .map(|node| (node.id.to_string(), node.class, node.report.to_string()))
                    .collect::<Vec<_>>()
            };
            let of_clear = nodes(&clear);
            let classes = [
                ("n1", NodeClass::Clear(NodeRole::Master, NodeState::Ready), "10.77.0.1"),
                ("n2", NodeClass::Clear(NodeRole::Slave, NodeState::Failed), "no disk"),
            ];
            assert_eq!(of_clear.len(), classes.len());
            for ((id, class, report), (its_id, its_class, says)) in of_clear.iter().zip(classes) {
                assert_eq!((id.as_str(), *class), (its_id, its_class));
                assert!(report.contains(says), "{report}");
            }
            assert_eq!(nodes(&sealed), [("a.b".to_owned(), NodeClass::Sealed, secret.clone())]);
        }
    }

    /// An earlier release opens the file until the first node has reported; then it says by the format why it does not.
    #[test]
    fn a_file_has_the_later_format_from_its_first_node_on() {
        let mut fixture = suite::Fixture::<Directory>::new(Limits::default());
        let format = |fixture: &mut suite::Fixture<Directory>| {
            fixture.close();
            let file = redb::Database::open(fixture.place.0.path().join(FILE_NAME)).unwrap();
            let table = file.begin_read().unwrap().open_table(META).unwrap();
            let format = table.get("format").unwrap().unwrap().value();
            drop((table, file));
            fixture.reopen();
            format
        };
        let pin = fixture.pin();
        suite::wait(fixture.store().create_key(&pin, "a", "1")).unwrap();
        assert_eq!(format(&mut fixture), WITHOUT_NODES);
        let report = "v1.x".to_owned();
        suite::wait(fixture.store().put_node(&pin, "n", report, NodeClass::Sealed, None)).unwrap();
        assert_eq!(format(&mut fixture), FORMAT);
        suite::wait(fixture.store().delete_cluster(&pin)).unwrap();
        suite::wait(fixture.store().ready()).unwrap();
        assert_eq!(format(&mut fixture), FORMAT);
    }

    #[test]
    fn a_cluster_that_was_backdated_expires_so_much_sooner() {
        let mut fixture = suite::Fixture::<Directory>::new(Limits::default());
        let pin = fixture.pin();
        let made = suite::wait(fixture.store().cluster(&pin)).unwrap();
        let by = suite::LIFETIME - Duration::from_micros(1);
        suite::wait(fixture.store().backdate(&pin, by)).unwrap();
        let expected = Cluster { created: made.created.before(by), expires: made.expires.before(by), ..made };
        for _ in 0..2 {
            assert_eq!(suite::wait(fixture.store().cluster(&pin)), Ok(expected.clone()));
            fixture.reopen();
        }
        fixture.clock.advance(Duration::from_micros(1));
        assert_eq!(suite::wait(fixture.store().sweep()), Ok(None));
        assert_eq!(fixture.log.take(), [(pin, Change::Expired)]);
    }
}
