//! `backup`, as an admin runs it: beside a service that is written to all the time, without one, and where it cannot
//! be done. The service never refuses a write for it, and what was acknowledged before is in the copy.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use tempfile::TempDir;
use worlds::api::{Api, keys};
use worlds::service::Service;
use worlds::wait::until;
use worlds::{binaries, figures};

const WRITERS: usize = 8;
const BACKUPS: usize = 10;
/// Writes between two backups.
const WRITES: usize = 100;
/// A new pin after so many keys: well below the limit of a pin.
const KEYS_PER_PIN: usize = 100;
/// The file of the store in a data directory.
const STORE: &str = "pairing.redb";

/// What the command came to.
struct Finished(Output);

impl Finished {
    fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.0.stderr).into_owned()
    }

    /// What it says of a backup that it has made.
    #[track_caller]
    fn made(&self) -> String {
        assert!(self.0.status.success(), "{}", self.stderr());
        String::from_utf8_lossy(&self.0.stdout).trim().to_owned()
    }

    /// That it has refused, with which status and words, and with what to do next.
    #[track_caller]
    fn refused(&self, status: i32, says: &str) {
        let stderr = self.stderr();
        assert_eq!(self.0.status.code(), Some(status), "{stderr}");
        assert!(stderr.contains(says) && stderr.contains("\n  next: "), "{stderr}");
    }
}

fn backup(data: &Path, file: &Path) -> Finished {
    let mut command = Command::new(binaries::server());
    command.env_clear().arg("backup").arg("--data-dir").arg(data).arg(file).stdin(Stdio::null());
    Finished(command.output().expect("the service's program can be started"))
}

/// The names in a directory.
fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).expect("it is there").map(|entry| entry.expect("it can be listed"));
    entries.map(|entry| entry.file_name().into_string().expect("names are plain")).collect()
}

/// Puts a backup in place, as the manual says, and starts a service on it.
fn restore(file: &Path) -> (TempDir, Service) {
    let home = TempDir::with_prefix("restored-").expect("a temporary directory can be made");
    let data = home.path().join("data");
    fs::create_dir(&data).expect("a directory can be made");
    fs::copy(file, data.join(STORE)).expect("it can be copied");
    let service = Service::on(&data, &[]);
    (home, service)
}

/// The keys that were acknowledged, pin by pin. A key's value is its name.
type Acknowledged = Vec<(String, usize)>;

/// Creates keys until it is told to stop. Nothing is ever refused.
fn write(api: Api, acknowledged: &Mutex<Acknowledged>, stop: &AtomicBool) {
    while !stop.load(Ordering::SeqCst) {
        let pin = api.new_pin();
        acknowledged.lock().expect("no thread panics").push((pin.clone(), 0));
        for n in 0..KEYS_PER_PIN {
            api.create_key(&pin, &format!("k{n}"), &format!("k{n}"));
            acknowledged.lock().expect("no thread panics").last_mut().expect("pushed above").1 += 1;
            if stop.load(Ordering::SeqCst) {
                return;
            }
        }
    }
}

/// How many keys a service has under a pin, having seen that they are the first ones there were, each with its value.
fn stored(api: Api, pin: &str) -> usize {
    let answer = api.get(&keys(pin));
    assert_eq!(answer.status, 200, "{}", answer.text());
    let listed = answer.json();
    let listed = listed.as_array().expect("keys are a list");
    for (n, entry) in listed.iter().enumerate() {
        assert_eq!((&entry["key"], &entry["value"]), (&format!("k{n}").into(), &format!("k{n}").into()));
    }
    listed.len()
}

#[test]
fn has_every_write_that_was_acknowledged_before_it_began() {
    let service = Service::start();
    let api = service.api();
    let dir = tempfile::tempdir().expect("a temporary directory can be made");
    let writers: Vec<Mutex<Acknowledged>> = (0..WRITERS).map(|_| Mutex::default()).collect();
    let known = || {
        writers.iter().flat_map(|known| known.lock().expect("no thread panics").clone()).collect::<Vec<_>>()
    };
    let count = |known: &Acknowledged| known.iter().map(|(_, keys)| keys).sum::<usize>();
    let stop = AtomicBool::new(false);
    let mut before = Vec::new();
    std::thread::scope(|scope| {
        for acknowledged in &writers {
            scope.spawn(|| write(api, acknowledged, &stop));
        }
        for n in 0..BACKUPS {
            let enough = count(&known()) + WRITES;
            until("enough is written", || (count(&known()) >= enough).then_some(()));
            let known = known();
            let file = dir.path().join(format!("{n}.redb"));
            println!("{}", backup(&service.data_dir(), &file).made());
            before.push((file, known));
        }
        stop.store(true, Ordering::SeqCst);
    });
    let last = count(&known());
    for (file, known) in &before {
        let (_home, restored) = restore(file);
        let api = restored.api();
        for (pin, keys) in known {
            assert!(stored(api, pin) >= *keys, "{}: {pin} has lost keys", file.display());
        }
        // It takes writes, and they last.
        api.create_key(&known[0].0, "new", "1");
    }
    let first = count(&before[0].1);
    figures::show(&format!(
        "{BACKUPS} backups beside {WRITERS} writers, at {first} to {last} acknowledged writes: none missing"
    ));
    assert_eq!(names(dir.path()).len(), BACKUPS, "something was left behind");
}

#[test]
fn copies_a_stopped_service_and_one_that_was_killed() {
    let mut service = Service::start();
    let socket = service.data_dir().join("backup.sock");
    let mode = fs::metadata(&socket).expect("the service listens there").permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);
    let pin = service.api().new_pin();
    service.api().create_key(&pin, "k0", "k0");
    let file = service.data_dir().join("copy.redb");
    let check = |service: &Service, keys: usize| {
        let said = backup(&service.data_dir(), &file).made();
        let begins = format!("wrote {}: pins 1, keys {keys}, nodes 0, as of 20", file.display());
        assert!(said.starts_with(&begins), "{said}");
        assert_eq!(fs::metadata(&file).expect("it was made").permissions().mode() & 0o7777, 0o600);
        let (_home, restored) = restore(&file);
        assert_eq!(stored(restored.api(), &pin), keys);
    };
    assert!(service.stop().success());
    assert!(!socket.exists());
    check(&service, 1);

    service.resume();
    service.api().create_key(&pin, "k1", "k1");
    service.kill();
    assert!(socket.exists(), "what was killed cleans nothing up");
    check(&service, 2);

    // The socket that it left behind does no harm.
    service.resume();
    service.api().create_key(&pin, "k2", "k2");
    check(&service, 3);
}

#[test]
fn says_why_there_is_no_backup_and_leaves_everything_as_it_was() {
    let service = Service::start();
    let pin = service.api().new_pin();
    let dir = tempfile::tempdir().expect("a temporary directory can be made");
    let here = |name: &str| dir.path().join(name);
    let data = service.data_dir();

    backup(&data, &here("none/copy.redb")).refused(74, "none/copy.redb: No such file or directory");
    backup(&here("none"), &here("copy.redb")).refused(66, "there is no store in ");
    assert!(!here("none").exists(), "a data directory was made");
    fs::write(here("letter"), "to a friend").expect("it can be written");
    backup(&data, &here("letter")).refused(73, "letter: it exists and is not an earlier backup");
    backup(&data, &data.join(STORE)).refused(73, "pairing.redb: it exists and is not an earlier backup");

    let foreign = here("foreign");
    fs::create_dir(&foreign).expect("a directory can be made");
    fs::write(foreign.join(STORE), "a letter to a friend".repeat(500)).expect("it can be written");
    backup(&foreign, &here("copy.redb")).refused(74, "the file is not one of this service");

    // The socket was removed, or could not be made.
    fs::remove_file(data.join("backup.sock")).expect("it was there");
    backup(&data, &here("copy.redb")).refused(74, "another process has it open; if the service is just");

    let mut left = names(dir.path());
    left.sort();
    assert_eq!(left, ["foreign", "letter"]);
    assert_eq!(fs::read(here("letter")).expect("it is there"), b"to a friend");
    assert_eq!(service.api().get(&keys(&pin)).status, 200);
}

#[test]
fn says_that_there_is_no_room_and_keeps_the_earlier_copy() {
    let service = Service::start();
    let pin = service.api().new_pin();
    let dir = tempfile::tempdir().expect("a temporary directory can be made");
    let file = dir.path().join("copy.redb");
    backup(&service.data_dir(), &file).made();
    let earlier = fs::read(&file).expect("it was made");
    for n in 0..10 {
        service.api().create_key(&pin, &format!("k{n}"), &"x".repeat(60_000));
    }
    // In a mount namespace of its own.
    let full = "cat /dev/zero >$1/disk/filler 2>/dev/null || true";
    let read_only = "mount -o remount,ro $1/disk";
    for (what_happens, says) in [(full, "No space left on device"), (read_only, "Read-only file system")] {
        let script = format!(
            "mount -t tmpfs -o size=8m none $1/disk
             cp $1/copy.redb $1/disk/
             {what_happens}
             status=0; \"$2\" backup --data-dir \"$3\" $1/disk/copy.redb || status=$?
             ls --ignore=filler $1/disk; cat $1/disk/copy.redb >$1/after
             exit $status"
        );
        fs::create_dir_all(dir.path().join("disk")).expect("a directory can be made");
        let mut command = Command::new("unshare");
        command.args(["--mount", "--map-root-user", "sh", "-ec", &script, "sh"]).arg(dir.path());
        let output = command.arg(binaries::server()).arg(service.data_dir()).output();
        let finished = Finished(output.expect("unshare can be started"));
        finished.refused(74, says);
        assert_eq!(String::from_utf8_lossy(&finished.0.stdout), "copy.redb\n", "something was left behind");
        assert_eq!(fs::read(dir.path().join("after")).expect("it was copied"), earlier);
    }
    assert_eq!(service.api().get("/readyz").status, 200);
}

/// A reader of a backup that stops reading keeps neither writers waiting nor the service from ending.
#[test]
fn is_not_held_up_by_somebody_who_reads_nothing() {
    let mut service = Service::start();
    let api = service.api();
    let pin = api.new_pin();
    for n in 0..16 {
        api.create_key(&pin, &format!("k{n}"), &"x".repeat(60_000));
    }
    let mut idle = UnixStream::connect(service.data_dir().join("backup.sock")).expect("it listens");
    idle.write_all(b"GET /backup HTTP/1.0\r\n\r\n").expect("it listens");
    let mut begun = [0; 15];
    idle.read_exact(&mut begun).expect("it has begun");
    assert_eq!(&begun, b"HTTP/1.0 200 OK");
    for n in 0..100 {
        let pin = api.new_pin();
        api.create_key(&pin, "k0", &n.to_string());
    }
    assert!(service.stop().success());
    service.resume();
    let file: PathBuf = service.data_dir().join("copy.redb");
    let said = backup(&service.data_dir(), &file).made();
    assert!(said.contains(": pins 101, keys 116, nodes 0, as of "), "{said}");
}

#[test]
fn serves_all_the_same_where_the_socket_cannot_be_made() {
    let home = tempfile::tempdir().expect("a temporary directory can be made");
    let socket = home.path().join("backup.sock");
    fs::create_dir(&socket).expect("a directory can be made");
    let mut service = Service::on(home.path(), &[]);
    let pin = service.api().new_pin();
    service.logs("`health` and `backup` cannot ask this service");
    let file = home.path().join("copy.redb");
    backup(home.path(), &file).refused(74, "another process has it open; if the service is just");
    assert!(service.stop().success());
    assert!(backup(home.path(), &file).made().contains(": pins 1, keys 0, nodes 0, as of "));
    let (_home, restored) = restore(&file);
    assert_eq!(stored(restored.api(), &pin), 0);
    assert!(socket.is_dir(), "a directory of another program was removed");
}
