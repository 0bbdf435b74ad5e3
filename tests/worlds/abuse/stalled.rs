//! Clients that subscribe to events and stop reading.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;
use worlds::api::{Api, key_path};
use worlds::figures::show;
use worlds::http::Request;
use worlds::service::Service;
use worlds::wait::until;

/// Those who stop.
const STALLED: usize = 40;
/// The only value that is shown to those who watch, as large as a value may be.
const LARGE: usize = 60_000;
/// What one of them may hold of the service's memory: a change that is half sent, one that is next, and some to spare.
const HELD_KIB: usize = 256;
/// So many changes that no socket's buffers hold them all: Linux lets those of a sender grow to 4 MiB.
const CHANGES: usize = 150;

/// One who watches a pin, and has been told its state.
struct Watcher(BufReader<TcpStream>);

impl Watcher {
    fn of(api: Api, pin: &str) -> Self {
        let mut stream = TcpStream::connect(api.0).expect("the service accepts");
        write!(stream, "GET /api/v1/clusters/{pin}/events HTTP/1.1\r\nHost: x\r\n\r\n").expect("it reads");
        let mut watcher = Self(BufReader::new(stream));
        while !watcher.line().is_some_and(|line| line.starts_with("event: state")) {}
        watcher
    }

    /// What comes up to the end of a line; `None` at the end of all.
    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let read = self.0.read_line(&mut line);
        read.is_ok_and(|count| count > 0).then_some(line)
    }

    /// The number of the next change; `None` at the end of all.
    fn change(&mut self) -> Option<usize> {
        loop {
            let line = self.line()?;
            if line.starts_with("data: {\"change\"") {
                return Some(
                    line.trim_end().trim_end_matches("\"}").rsplit('-').next()?.parse().expect("a number"),
                );
            }
        }
    }
}

/// Resident memory, in KiB.
pub(crate) fn memory(service: &Service) -> usize {
    let status =
        std::fs::read_to_string(format!("/proc/{}/status", service.pid())).expect("the service runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok()).expect("the kernel says so")
}

/// A crowd that stops reading, and one who reads on and is told everything.
fn stall(api: Api, pin: &str) -> (Vec<Watcher>, Watcher) {
    let stalled: Vec<Watcher> = (0..STALLED).map(|_| Watcher::of(api, pin)).collect();
    let mut reading = Watcher::of(api, pin);
    let told = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            for number in 0..CHANGES {
                assert_eq!(reading.change(), Some(number));
                told.store(number + 1, Ordering::SeqCst);
            }
        });
        for number in 0..CHANGES {
            let value = json!({ "value": format!("{}-{number}", "x".repeat(LARGE)) });
            let answer = api.ask(&Request::new("PATCH", &key_path(pin, "master_ip")).json(&value));
            assert_eq!(answer.status, 200);
            until("the one who reads is told", || {
                assert!(!reader.is_finished() || told.load(Ordering::SeqCst) == CHANGES);
                (told.load(Ordering::SeqCst) > number).then_some(())
            });
        }
    });
    (stalled, reading)
}

#[test]
fn cuts_off_those_who_watch_and_do_not_read_and_tells_the_others_everything() {
    let mut service = Service::with(&["--in-memory", "--metrics-listen", "127.0.0.1:0"]);
    let metrics =
        service.line_after("metrics on http://").trim_end_matches("/metrics").parse().expect("an address");
    let watching = || {
        let shown = Request::new("GET", "/metrics").send(metrics).expect("it answers").text();
        let line = shown.lines().find_map(|line| line.strip_prefix("cernvm_pairing_waiters "));
        line.and_then(|count| count.parse::<usize>().ok()).expect("it is shown")
    };
    let api = service.api();
    let pin = api.new_pin();
    api.create_key(&pin, "master_ip", "-");
    let before = memory(&service);
    let (mut stalled, reading) = stall(api, &pin);
    let held = memory(&service).saturating_sub(before);
    // One of them reads again: what the buffers held, and then it ends, since it has missed the rest.
    let mut late = stalled.pop().expect("there are some");
    let was_told_all = std::iter::from_fn(|| late.change()).any(|change| change == CHANGES - 1);
    assert!(!was_told_all, "it was kept waiting for");
    // The watch on connections sees to those who never read.
    until("they are cut off", || (watching() == 1).then_some(()));
    // With the last who watches goes what is kept for those who are behind.
    drop(reading);
    until("no stream is open", || (watching() == 0).then_some(()));
    // An allocator may keep what it is given back, but the next crowd finds it.
    let next = stall(api, &pin);
    let again = memory(&service).saturating_sub(before);
    show(&format!(
        "{STALLED} who do not read hold {held} KiB of the service's memory; with the next as many it is {again}"
    ));
    assert!(held < STALLED * HELD_KIB && again < held * 3 / 2, "{held} {again}");
    drop((stalled, next));
}
