//! A disk that hangs: a real file system on a loop device, frozen as for a snapshot. What does not need it goes on, and
//! writes are refused in words.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use worlds::api::key_path;
use worlds::http::Request;
use worlds::service::Service;
use worlds::wait::until;

use crate::raw::Raw;
use crate::scarcity::run;

/// What is queued, in bytes.
const QUEUED: &str = "cernvm_pairing_held_bytes{purpose=\"writes\"}";

/// A mounted file system, which goes with the value.
struct Disk(PathBuf);

impl Disk {
    fn below(dir: &Path) -> Self {
        let (image, path) = (dir.join("image"), dir.join("disk"));
        let file = std::fs::File::create(&image).expect("a file can be made");
        file.set_len(64 << 20).expect("it can grow");
        std::fs::create_dir(&path).expect("a directory can be made");
        run("mkfs.ext4", &["-q", &image.display().to_string()]);
        run("mount", &["-o", "loop", &image.display().to_string(), &path.display().to_string()]);
        Self(path)
    }

    fn freeze(&self) -> Frozen<'_> {
        // A process that writes to a frozen file system cannot even be killed. So it thaws also when this test is killed,
        // which closes the pipe, and when it takes too long.
        let watchdog = Command::new("sh")
            .args(["-c", "timeout 100 cat > /dev/null; fsfreeze --unfreeze \"$0\" 2> /dev/null"])
            .arg(&self.0)
            .stdin(Stdio::piped())
            .spawn()
            .expect("there is a shell");
        run("fsfreeze", &["--freeze", &self.0.display().to_string()]);
        Frozen { disk: self, watchdog }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

/// A file system that is frozen until this is dropped.
struct Frozen<'a> {
    disk: &'a Disk,
    watchdog: Child,
}

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        let _ = Command::new("fsfreeze").arg("--unfreeze").arg(&self.disk.0).status();
        drop(self.watchdog.stdin.take());
        let _ = self.watchdog.wait();
    }
}

fn metric(admin: SocketAddr, name: &str) -> u64 {
    let shown = Request::new("GET", "/metrics").send(admin).expect("it answers").text();
    let value = shown.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    value.unwrap_or_else(|| panic!("no {name} in {shown}"))
}

/// Sends the creation of a key, and does not wait for the answer.
fn create(service: &Service, pin: &str, key: &str, value: &str) -> Raw {
    let body = format!("{{\"key\":\"{key}\",\"value\":\"{value}\"}}");
    let mut connection = Raw::connect(service.address());
    connection.send(
        format!(
            "POST /api/v1/clusters/{pin}/keys HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n\
             Accept: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .as_bytes(),
    );
    connection
}

/// Needs root, for the file system; elsewhere the store's own tests play the same with a journal that hangs.
#[test]
fn answers_probes_and_reads_while_the_disk_hangs_and_recovers() {
    if !nix::unistd::geteuid().is_root() {
        println!("not root, so there is no disk to freeze: the store's tests of a hanging journal must do");
        return;
    }
    let home = tempfile::tempdir().expect("a temporary directory can be made");
    let disk = Disk::below(home.path());
    let mut service = Service::on(&disk.0.join("data"), &["--metrics-listen", "127.0.0.1:0"]);
    let admin =
        service.line_after("metrics on http://").trim_end_matches("/metrics").parse().expect("an address");
    let api = service.api();
    let pin = api.new_pin();
    api.create_key(&pin, "a", "1");
    let waits = |key: &str| {
        let mut waiter = Raw::connect(service.address());
        let path = key_path(&pin, key);
        waiter.send(format!("GET {path} HTTP/1.1\r\nHost: x\r\nPrefer: wait=50\r\n\r\n").as_bytes());
        waiter
    };
    let mut waited_before = waits("first");

    let frozen = disk.freeze();
    // One write is on its way to the disk, and others are queued behind it.
    let mut first = create(&service, &pin, "first", "1");
    until("the disk is noticed", || (api.get("/readyz").status != 200).then_some(()));
    let value = "x".repeat(20_000);
    let mut others: Vec<Raw> =
        (0..8).map(|number| create(&service, &pin, &format!("k{number}"), &value)).collect();
    until("the writes are queued", || (metric(admin, QUEUED) > 100_000).then_some(()));

    // All that needs no disk is answered.
    let ready = api.get("/readyz");
    assert_eq!(ready.status, 503, "{}", ready.text());
    assert_eq!(Request::new("GET", "/readyz").send(admin).expect("it answers").status, 503);
    assert_eq!(api.get("/healthz").status, 200);
    assert_eq!(metric(admin, "cernvm_pairing_ready"), 0);
    assert_eq!(api.value(&pin, "a").as_deref(), Some("1"));
    assert_eq!(api.value(&pin, "first"), None);
    let mut waits_meanwhile = waits("last");

    // Writes get an answer in words, first those that wait, then the others without a wait.
    for write in [&mut first].into_iter().chain(&mut others) {
        let head = write.head();
        assert!(head.contains(" 503 ") && head.contains("retry-after: 1\r\n"), "{head}");
        assert!(write.up_to("}").contains("cannot reach its store"));
    }
    for request in [
        Request::new("POST", "/api/v1/clusters"),
        Request::new("DELETE", &key_path(&pin, "a")),
        Request::new("DELETE", &format!("/api/v1/clusters/{pin}")),
    ] {
        assert_eq!(api.ask(&request).status, 503);
    }
    assert!(metric(admin, "cernvm_pairing_refusals_total{cause=\"store\"}") >= 12);
    let said = Request::new("GET", "/readyz").send(admin).expect("it answers").text();
    assert!(said.contains("a commit has been running for"), "{said}");

    drop(frozen);
    until("it is ready again", || (api.get("/readyz").status == 200).then_some(()));
    assert_eq!(metric(admin, QUEUED), 0);
    // What had been begun was done, and of the rest, for which no client waited any more, nothing.
    assert!(waited_before.head().contains(" 200 "));
    assert_eq!(api.value(&pin, "k0"), None);
    assert_eq!(api.value(&pin, "a").as_deref(), Some("1"));
    api.create_key(&pin, "last", "2");
    assert!(waits_meanwhile.head().contains(" 200 "));
    assert!(service.stop().success());
    service.resume();
    for (key, value) in [("first", "1"), ("last", "2")] {
        assert_eq!(service.api().value(&pin, key).as_deref(), Some(value), "{key}");
    }
    drop(service);
}
