//! What every place of records promises, asked of each.

use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use pairing_etcd::Config;
use protocol::Secret;
use tempfile::TempDir;

use super::record::tests::record;
use super::*;

/// A place that can be opened several times, as several launchers do.
trait Shared {
    fn open(&self) -> Records;
}

impl Shared for TempDir {
    fn open(&self) -> Records {
        Records::in_folder(self.path()).unwrap()
    }
}

impl Shared for Memory {
    fn open(&self) -> Records {
        Records(Box::new(self.clone()))
    }
}

/// An etcd of this test's own, which ends with it.
struct Member {
    child: Child,
    url: String,
    _dir: TempDir,
}

impl Member {
    /// `None` where there is no etcd; where tests are not run by hand, there must be one.
    fn start() -> Option<Self> {
        let found = Command::new("etcd").arg("--version").stdout(Stdio::null()).status().is_ok();
        assert!(found || std::env::var_os("CI").is_none(), "etcd-server is not installed");
        if !found {
            eprintln!("left out: etcd-server is not installed");
            return None;
        }
        let port = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let (dir, client, peer) = (tempfile::tempdir().unwrap(), port(), port());
        let (url, peers) = (format!("http://127.0.0.1:{client}"), format!("http://127.0.0.1:{peer}"));
        let mut command = Command::new("etcd");
        command.arg("--data-dir").arg(dir.path()).args(["--log-level", "error"]);
        command.args(["--listen-client-urls", &url, "--advertise-client-urls", &url]);
        command.args(["--listen-peer-urls", &peers, "--initial-advertise-peer-urls", &peers]);
        command.args(["--initial-cluster", &format!("default={peers}")]);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        while TcpStream::connect(("127.0.0.1", client)).is_err() {
            std::thread::yield_now();
        }
        Some(Self { child, url, _dir: dir })
    }

    fn open_with(&self, key: u8) -> Result<Records, RecordsError> {
        let config = Config {
            urls: vec![self.url.clone()],
            tls: None,
            user: None,
            prefix: "/launches/".to_owned(),
            timeout: Duration::from_secs(30),
            lifetime: Duration::from_secs(1),
        };
        Records::in_etcd(&config, &Secret::from_bytes([key; Secret::BYTES]), Path::new("the-key"))
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Shared for Member {
    fn open(&self) -> Records {
        self.open_with(1).unwrap()
    }
}

fn each(promise: impl Fn(&dyn Shared)) {
    promise(&tempfile::tempdir().unwrap());
    promise(&Memory::default());
    if let Some(member) = Member::start() {
        promise(&member);
    }
}

#[test]
fn keeps_finds_and_forgets() {
    each(|place| {
        let records = place.open();
        records.create(&mut record("lab", "b", "2"), None).unwrap();
        let mut first = record("lab", "a", "1");
        records.create(&mut first, None).unwrap();
        first.stack_id = Some("id-1".into());
        first.note("made");
        assert!(matches!(records.save(&mut first).unwrap(), Written::Done(_)));
        assert_eq!(records.all().unwrap().len(), 2);
        let found = |name| place.open().find(name).unwrap().map(|record| record.stack_name);
        assert_eq!(found("lab").as_deref(), Some("lab--b"), "the newest");
        assert_eq!(found("id-1").as_deref(), Some("lab--a"));
        let kept = records.find("lab--a").unwrap().unwrap();
        assert_eq!(kept.paired.unwrap().pin().unwrap().reveal(), "abcdefghijkl");
        assert_eq!(kept.log[0].text, "made");
        let mut abandoned = record("lab", "c", "3");
        abandoned.abandoned = true;
        records.create(&mut abandoned, None).unwrap();
        assert_eq!(found("lab").as_deref(), Some("lab--b"), "one that is abandoned is not there");
        assert!(records.of_stack("lab--c").unwrap().is_some());
        records.remove(&first).unwrap();
        records.remove(&first).unwrap();
        assert_eq!(found("lab--a"), None);
    });
}

#[test]
fn no_change_is_lost_and_what_is_gone_does_not_come_back() {
    each(|place| {
        let (one, other) = (place.open(), place.open());
        let mut mine = record("lab", "a", "1");
        one.create(&mut mine, None).unwrap();
        assert!(matches!(other.create(&mut record("lab", "a", "1"), None), Err(RecordsError::Changed(_))));
        let mut theirs = other.of_stack("lab--a").unwrap().unwrap();
        mine.note("mine");
        assert!(matches!(one.save(&mut mine).unwrap(), Written::Done(_)));
        theirs.note("lost");
        assert_eq!(other.save(&mut theirs).unwrap(), Written::Changed);
        assert!(other.update(&mut theirs, |record| record.note("theirs")).unwrap());
        let texts = |records: &Records| -> Vec<String> {
            let kept = records.of_stack("lab--a").unwrap().unwrap();
            kept.log.into_iter().map(|line| line.text).collect()
        };
        assert_eq!(texts(&one), ["mine", "theirs"]);
        assert!(matches!(other.save(&mut theirs).unwrap(), Written::Done(_)), "it has the revision it made");
        one.remove(&mine).unwrap();
        assert_eq!(other.save(&mut theirs).unwrap(), Written::Gone);
        assert!(!other.update(&mut theirs, |record| record.note("late")).unwrap());
        assert!(one.all().unwrap().is_empty());
    });
}

#[test]
fn many_writers_at_once_lose_nothing() {
    each(|place| {
        let records: Vec<_> = (0..4).map(|_| place.open()).collect();
        records[0].create(&mut record("lab", "a", "1"), None).unwrap();
        std::thread::scope(|scope| {
            for (writer, records) in records.iter().enumerate() {
                scope.spawn(move || {
                    let mut record = records.of_stack("lab--a").unwrap().unwrap();
                    for line in 0..10 {
                        let text = format!("{writer} {line}");
                        assert!(records.update(&mut record, |record| record.note(text.as_str())).unwrap());
                    }
                });
            }
        });
        assert_eq!(records[0].of_stack("lab--a").unwrap().unwrap().log.len(), 40);
    });
}

#[test]
fn a_launch_of_a_name_is_begun_by_one_at_a_time() {
    each(|place| {
        let records: Vec<_> = (0..4).map(|_| place.open()).collect();
        std::thread::scope(|scope| {
            for (number, records) in records.iter().enumerate() {
                scope.spawn(move || {
                    let claim = records.claim("lab").unwrap();
                    if records.find("lab").unwrap().is_none() {
                        let mut new = record("lab", &number.to_string(), "1");
                        records.create(&mut new, Some(&claim)).unwrap();
                    }
                });
            }
        });
        assert_eq!(place.open().all().unwrap().len(), 1);
    });
}

#[test]
fn another_key_opens_nothing_and_is_named() {
    let Some(member) = Member::start() else { return };
    let records = member.open();
    records.create(&mut record("lab", "a", "1"), None).unwrap();
    let refused = member.open_with(2).err().unwrap();
    assert_eq!(
        refused.to_string(),
        "the launches in etcd below /launches/ are sealed with another key than that in the-key"
    );
    assert_eq!(refused.status(), Status::Refused);
    assert_eq!(member.open().all().unwrap().len(), 1);
}
