//! Backups without the processes around them: what is in them, and what is refused.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::sync::Arc;

use protocol::Pin;
use tempfile::TempDir;

use super::socket::AdminSocket;
use super::*;
use crate::admin::AdminServer;
use crate::hub::Hub;
use crate::listen;
use crate::store::{FILE_NAME, Limits, Store};

/// A data directory, and one for backups.
struct BackupFixture {
    data: TempDir,
    backups: TempDir,
}

impl BackupFixture {
    fn new() -> Self {
        Self { data: tempfile::tempdir().unwrap(), backups: tempfile::tempdir().unwrap() }
    }

    fn open(&self) -> Arc<Store> {
        Arc::new(open(self.data.path()))
    }

    fn backup(&self) -> PathBuf {
        self.backups.path().join("copy.redb")
    }

    fn write(&self) -> Result<BackupReport, Error> {
        write(self.data.path(), &self.backup())
    }

    /// What is in the directory for backups.
    fn names(&self) -> Vec<String> {
        let names = fs::read_dir(self.backups.path()).unwrap();
        names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    /// Puts the backup into a data directory of its own, and opens it as a service does.
    fn restore(&self) -> (TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        fs::copy(self.backup(), dir.path().join(FILE_NAME)).unwrap();
        let store = open(dir.path());
        (dir, store)
    }
}

fn open(dir: &Path) -> Store {
    Store::open(dir, Limits::default(), Arc::new(SystemClock), Arc::new(())).unwrap()
}

async fn fill(store: &Store, value: &str) -> Pin {
    let pin = store.create_cluster().await.unwrap().pin;
    for name in ["a", "b", "c"] {
        store.create_key(&pin, name, value).await.unwrap();
    }
    store.delete_key(&pin, "b").await.unwrap();
    pin
}

#[tokio::test]
async fn a_stopped_store_is_copied_whole() {
    let world = BackupFixture::new();
    let store = world.open();
    let pin = fill(&store, "1").await;
    let (cluster, keys) = (store.cluster(&pin).await, store.keys(&pin).await);
    drop(store);
    let made = world.write().unwrap();
    assert_eq!(made.held, Contents { pins: 1, keys: 2, nodes: 0 });
    let said = format!("wrote {}: pins 1, keys 2, nodes 0, as of {}", world.backup().display(), made.taken);
    assert_eq!(made.to_string(), said);
    let mode = world.backup().metadata().unwrap().permissions().mode();
    assert_eq!((world.names(), mode & 0o7777), (vec!["copy.redb".to_owned()], 0o600));
    let (_dir, restored) = world.restore();
    assert_eq!((restored.cluster(&pin).await, restored.keys(&pin).await), (cluster, keys));
    // What is written next has a number of its own.
    restored.create_key(&pin, "d", "4").await.unwrap();
    assert_eq!(restored.keys(&pin).await.unwrap().len(), 3);
}

#[tokio::test]
async fn an_empty_store_and_one_of_many_batches_are_copied() {
    let world = BackupFixture::new();
    drop(world.open());
    assert_eq!(world.write().unwrap().held, Contents { pins: 0, keys: 0, nodes: 0 });
    world.restore().1.create_cluster().await.unwrap();

    let store = world.open();
    let mut pins = Vec::new();
    for _ in 0..60 {
        pins.push(fill(&store, &"v".repeat(60_000)).await);
    }
    drop(store);
    // An earlier backup makes room.
    assert_eq!(world.write().unwrap().held, Contents { pins: 60, keys: 120, nodes: 0 });
    let (_dir, restored) = world.restore();
    for pin in &pins {
        assert_eq!(restored.key(pin, "c").await.unwrap().value.len(), 60_000);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_store_hands_over_what_it_has_at_that_moment() {
    let world = BackupFixture::new();
    let store = world.open();
    let pin = fill(&store, &"v".repeat(60_000)).await;
    let (snapshot, _) = store.snapshot().await.unwrap();
    let socket = AdminSocket::open(world.data.path()).unwrap();
    let path = world.data.path().join(SOCKET);
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o7777, 0o600);
    let listener = socket.listener().unwrap();
    let server = AdminServer::new(
        Arc::new(crate::service::Service::with_test_limits(store.clone(), Hub::new(1).0)),
        None,
    )
    .with_backups();
    let serving = tokio::spawn(async move { listen::accept(&listener, &server).await });

    let world = tokio::task::spawn_blocking(move || {
        assert_eq!(world.write().unwrap().held, Contents { pins: 1, keys: 2, nodes: 0 });
        world
    })
    .await
    .unwrap();
    // Many commits later, the older look still sees what it saw.
    for _ in 0..50 {
        fill(&store, &"w".repeat(60_000)).await;
    }
    let mut seen = Vec::new();
    snapshot
        .each(|id, bytes| {
            seen.push((id, bytes.len()));
            Ok(())
        })
        .unwrap();
    assert_eq!(seen.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [0, 1, 3]);
    assert!(seen[2].1 > 60_000);
    assert!(world.restore().1.key(&pin, "a").await.is_ok());

    serving.abort();
    drop(socket);
    assert!(!path.exists());
}

#[tokio::test]
async fn the_socket_of_a_service_that_was_killed_is_replaced_and_other_files_are_left_alone() {
    let world = BackupFixture::new();
    let _store = world.open();
    let path = world.data.path().join(SOCKET);
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    UnixStream::connect(&path).unwrap_err();
    let socket = AdminSocket::open(world.data.path()).unwrap();
    UnixStream::connect(&path).unwrap();
    drop(socket);
    fs::write(&path, "a letter").unwrap();
    assert!(AdminSocket::open(world.data.path()).is_err());
    assert_eq!(fs::read(&path).unwrap(), b"a letter");
}

#[test]
fn says_what_it_does_not_find() {
    let world = BackupFixture::new();
    let refused = world.write().unwrap_err();
    assert_eq!(refused.to_string(), format!("there is no store in {}", world.data.path().display()));
    assert_eq!((refused.exit_code(), world.names().len()), (66, 0));
    // Looking for it has made none.
    assert_eq!(fs::read_dir(world.data.path()).unwrap().count(), 0);

    let nowhere = world.backups.path().join("none/copy.redb");
    let refused = write(world.data.path(), &nowhere).unwrap_err();
    let says = format!("cannot write {}: No such file or directory (os error 2)", nowhere.display());
    assert_eq!((refused.to_string(), refused.exit_code()), (says, 74));

    let store = world.open();
    let refused = world.write().unwrap_err();
    assert!(refused.to_string().contains("another process has it open; if the service is just"), "{refused}");
    assert_eq!((refused.exit_code(), world.names().len()), (74, 0));
    drop(store);
}

#[test]
fn takes_the_place_of_nothing_but_an_earlier_backup() {
    let world = BackupFixture::new();
    drop(world.open());
    let check = |path: &Path| {
        let refused = write(world.data.path(), path).unwrap_err();
        assert!(matches!(refused, Error::Taken { .. }), "{refused}");
        assert_eq!(refused.exit_code(), 73);
    };
    fs::write(world.backup(), "a letter to a friend").unwrap();
    check(&world.backup());
    assert_eq!(fs::read(world.backup()).unwrap(), b"a letter to a friend");
    fs::remove_file(world.backup()).unwrap();
    symlink("elsewhere", world.backup()).unwrap();
    check(&world.backup());
    check(&world.data.path().join(FILE_NAME));
    check(world.backups.path());
    check(Path::new("/dev/null"));
    fs::remove_file(world.backup()).unwrap();
    fs::write(world.backup(), "").unwrap();
    world.write().unwrap();
    world.write().unwrap();
}

#[test]
fn copies_no_file_that_is_not_the_services_own_and_none_that_is_damaged() {
    let world = BackupFixture::new();
    let path = world.data.path().join(FILE_NAME);
    fs::write(&path, "a letter to a friend".repeat(500)).unwrap();
    let refused = world.write().unwrap_err();
    assert!(refused.to_string().contains("the file is not one of this service"), "{refused}");
    assert_eq!((refused.exit_code(), world.names().len()), (74, 0));
    assert_eq!(fs::metadata(&path).unwrap().len(), 10_000);
}

/// Answers one request with these bytes as far as they are taken.
fn answer(listener: &std::os::unix::net::UnixListener, bytes: &[u8]) {
    let (mut stream, _) = listener.accept().unwrap();
    stream.read_exact(&mut [0; b"GET /backup HTTP/1.0\r\n\r\n".len()]).unwrap();
    let _ = stream.write_all(&[b"HTTP/1.0 200 OK\r\n\r\n", bytes].concat());
}

#[test]
fn says_that_a_service_is_of_another_release_or_busy() {
    let world = BackupFixture::new();
    let store = world.open();
    let listener = std::os::unix::net::UnixListener::bind(world.data.path().join(SOCKET)).unwrap();
    for (sent, says) in [
        (&b"pairing\n\x02\0\0\0\0\0\0\0"[..], "it is of another release"),
        (b"HTTP/1.0 503 Service Unavailable\r\nx: y\r\n\r\nanother backup is being made\n", "another backup"),
    ] {
        std::thread::scope(|scope| {
            scope.spawn(|| listener.accept().unwrap().0.write_all(sent).unwrap());
            let refused = world.write().unwrap_err();
            assert!(refused.to_string().contains(says), "{refused}");
        });
    }
    drop(store);
}

/// A store that a service has open is no earlier backup.
#[test]
fn never_replaces_a_store_that_is_open() {
    let (world, other) = (BackupFixture::new(), BackupFixture::new());
    drop(world.open());
    let store = other.open();
    let refused = write(world.data.path(), &other.data.path().join(FILE_NAME)).unwrap_err();
    assert!(matches!(refused, Error::InUse { .. }), "{refused}");
    assert_eq!(refused.exit_code(), 73);
    drop(store);
}

#[test]
fn keeps_nothing_of_a_copy_that_broke_off() {
    let world = BackupFixture::new();
    let store = world.open();
    let listener = std::os::unix::net::UnixListener::bind(world.data.path().join(SOCKET)).unwrap();
    for (rest, says) in [
        (Vec::new(), "it ended in the middle"),
        (b"{\"error\":\"the disk is gone\"}\n".to_vec(), "the disk is gone"),
        (b"{\"kind\":9}\n".to_vec(), "no pairing service of this release"),
    ] {
        fs::write(world.backup(), "").unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut bytes = lines::head(SystemClock.now());
                lines::record(&mut bytes, 0, b"\x01enico1qq0oey0123456701234567");
                bytes.extend(&rest);
                answer(&listener, &bytes);
            });
            let refused = world.write().unwrap_err();
            assert!(refused.to_string().contains(says), "{refused}");
            assert_eq!(refused.exit_code(), 69);
        });
        assert_eq!((world.names().len(), world.backup().metadata().unwrap().len()), (1, 0));
    }
    // Records that are none, and a key without its cluster.
    for record in [&b"\x09"[..], b"\x02enico1qq0oey0123456701234567\x01\0nv"] {
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut bytes = lines::head(SystemClock.now());
                lines::record(&mut bytes, 0, record);
                lines::end(&mut bytes, 1);
                answer(&listener, &bytes);
            });
            let refused = world.write().unwrap_err();
            assert!(matches!(refused, Error::Copy(_)), "{refused}");
        });
        assert_eq!(world.backup().metadata().unwrap().len(), 0);
    }
    drop(store);
}
