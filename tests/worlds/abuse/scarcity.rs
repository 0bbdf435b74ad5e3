//! Exhausted resources: file descriptors and disk.

use std::path::{Path, PathBuf};
use std::process::Command;

use worlds::api::key_path;
use worlds::http::Request;
use worlds::service::Service;
use worlds::wait::until;

use crate::honest::Honest;
use crate::raw::{Raw, statuses};

pub(crate) fn run(program: &str, arguments: &[&str]) {
    let status = Command::new(program).args(arguments).status();
    assert!(
        status.as_ref().is_ok_and(std::process::ExitStatus::success),
        "{program} {arguments:?}: {status:?}"
    );
}

fn limit_files(service: &Service, files: &str) {
    run("prlimit", &["--pid", &service.pid().to_string(), &format!("--nofile={files}")]);
}

/// The number that the next file gets.
fn next_file(service: &Service) -> u32 {
    let files = std::fs::read_dir(format!("/proc/{}/fd", service.pid())).expect("the service runs");
    let open: Vec<u32> = files.filter_map(|file| file.ok()?.file_name().to_str()?.parse().ok()).collect();
    (0..).find(|number| !open.contains(number)).expect("it has not all of them open")
}

#[test]
fn tells_of_it_when_descriptors_run_out_and_recovers() {
    let mut service = Service::start();
    let api = service.api();
    let pin = api.new_pin();
    api.create_key(&pin, "a", "1");
    let mut inside = Raw::connect(service.address());
    let ask = format!("GET {} HTTP/1.1\r\nHost: x\r\n\r\n", key_path(&pin, "a"));
    inside.send(ask.as_bytes());
    assert!(inside.up_to("a: 1").contains("200"));

    // No more than are open now, of which those that are just being closed come free.
    limit_files(&service, &format!("{}:4096", next_file(&service)));
    let mut others = Vec::new();
    let refused = (0..10).find_map(|_| {
        let mut connection = Raw::connect(service.address());
        connection.send(ask.as_bytes());
        let head = connection.head();
        others.push(connection);
        (!head.contains("200 OK")).then_some(head)
    });
    let refused = refused.expect("there is room for no more");
    assert!(refused.contains("503 ") && refused.contains("retry-after: 10\r\n"), "{refused}");
    // Who is in is served, also with what goes to the disk.
    inside.send(ask.as_bytes());
    assert!(inside.up_to("a: 1").contains("200"));
    let body = r#"{"key":"b","value":"2"}"#;
    let post =
        format!("POST /api/v1/clusters/{pin}/keys HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n");
    inside.send(format!("{post}Content-Length: {}\r\n\r\n{body}", body.len()).as_bytes());
    assert!(inside.head().contains("201"));

    limit_files(&service, "4096:4096");
    until("it accepts again", || {
        let answer = api.send(&Request::new("GET", "/readyz"));
        answer.is_ok_and(|answer| answer.status == 200).then_some(())
    });
    assert_eq!(api.value(&pin, "b").as_deref(), Some("2"));
    service.logs("cannot accept connections");
    assert!(service.stop().success());
}

#[test]
fn turns_people_away_before_descriptors_run_out() {
    // 128 are kept for other things and for those who are turned away.
    let service = Service::limited_to(200, &[]);
    let mut connections: Vec<Raw> = (0..72).map(|_| Raw::connect(service.address())).collect();
    // One address may have three quarters of all: those that said nothing for longest make room for the others. They are
    // seen to go before anything is asked, for a connection that has its answer may have to make room too.
    let inside = connections.split_off(72 - 54);
    for mut silent in connections {
        assert_eq!(silent.head(), "");
    }
    for mut connection in inside {
        connection.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
        assert_eq!(statuses(&connection.head()), [200]);
    }
    assert!(!service.log().contains("cannot accept"), "{}", service.log());
}

/// A file system of a few megabytes, which goes with the value.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn below(dir: &Path) -> Self {
        let path = dir.join("disk");
        std::fs::create_dir(&path).expect("a directory can be made");
        run("mount", &["-t", "tmpfs", "-o", "size=8m", "tmpfs", &path.display().to_string()]);
        Self(path)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

/// Needs root, for the file system; elsewhere the store's own tests play the same on a disk of theirs.
#[test]
fn keeps_what_it_has_when_the_disk_is_full_and_recovers() {
    if !nix::unistd::geteuid().is_root() {
        println!("not root, so there is no small disk: the store's tests of full disks must do");
        return;
    }
    let home = tempfile::tempdir().expect("a temporary directory can be made");
    let disk = SmallDisk::below(home.path());
    let mut service = Service::on(&disk.0.join("data"), &[]);
    let api = service.api();
    let pin = api.new_pin();
    let ballast = disk.0.join("ballast");
    api.create_key(&pin, "before", "1");
    api.create_key(&pin, "doomed", "1");

    // Fill what is left, then write until that is noticed.
    let _ = std::fs::write(&ballast, vec![0; 8 << 20]);
    let value = "x".repeat(60_000);
    let mut kept = Vec::new();
    let refused = (0..).find_map(|n| {
        // A new pin now and then: one holds a megabyte.
        let pin = if n % 10 == 0 { None } else { kept.last().map(|(pin, _): &(String, String)| pin.clone()) };
        let made = pin.map_or_else(
            || api.ask(&Request::new("POST", "/api/v1/clusters")),
            |pin| {
                let key = format!("k{n}");
                let answer = api.post_key(&pin, &key, &value).expect("it answers");
                if answer.status == 201 {
                    kept.push((pin, key));
                }
                answer
            },
        );
        if made.status == 201 && made.json().get("pin").is_some() {
            kept.push((made.json()["pin"].as_str().expect("a pin").to_owned(), String::new()));
        }
        (made.status != 201).then_some(made)
    });
    let refused = refused.expect("the disk is full some time");
    assert_eq!(refused.status, 507, "{}", refused.text());
    assert!(refused.text().contains("no room left on its disk"), "{}", refused.text());
    assert_eq!(refused.headers.get("Retry-After").as_deref(), Some("60"));
    assert_eq!(api.get("/readyz").status, 507);
    assert_eq!(api.get("/healthz").status, 200);
    assert_eq!(api.value(&pin, "before").as_deref(), Some("1"));

    // What makes room goes through, though there is none.
    let full = |answer: &worlds::http::Response| answer.status == 507;
    assert!(full(&api.ask(&Request::new("POST", "/api/v1/clusters"))));
    assert_eq!(api.ask(&Request::new("DELETE", &key_path(&pin, "doomed"))).status, 204);
    assert_eq!(api.value(&pin, "doomed"), None);
    service.logs("what deletes uses the reserve");

    std::fs::remove_file(&ballast).expect("what was written can be removed");
    until("it takes writes again", || (api.get("/readyz").status == 200).then_some(()));
    let honest = Honest::beside(api);
    honest.is_served(20);
    honest.stop();
    assert!(service.stop().success());
    service.resume();
    for (pin, key) in kept.iter().filter(|(_, key)| !key.is_empty()) {
        assert_eq!(service.api().value(pin, key).as_deref(), Some(value.as_str()), "{key}");
    }
    assert_eq!(service.api().value(&pin, "before").as_deref(), Some("1"));
    drop(service);
}
