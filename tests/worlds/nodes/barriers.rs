//! Barriers: agents that wait for nodes, few and many.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use worlds::figures;
use worlds::process::Process;
use worlds::service::Service;
use worlds::together::together;
use worlds::wait::until;

use crate::machine::{Machine, nodes, outside, put};

#[test]
fn a_barrier_opens_with_the_last_node_and_says_who_is_there() {
    let service = Service::start();
    let pin = service.api().new_pin();
    let master = Machine::master(&pin, &service.url(), &[]);
    let slaves = ["n1", "n2"].map(|name| Machine::slave(&pin, &service.url(), name, &[]));
    let url = service.url();
    let mut ready = outside(&["wait", "--nodes", "2", "--role", "slave", "--url", &url, "--pin", &pin]);
    let mut joined = outside(&["wait", "--nodes", "3", "--state", "joined", "--url", &url, "--pin", &pin]);
    asks(&ready);
    asks(&joined);
    let agents: Vec<_> = slaves.iter().map(Machine::start).collect();
    master.contextualize().expect(0);
    master.is_up().expect(0);
    for agent in agents {
        agent.finish().expect(0);
    }
    assert!(joined.wait().success(), "{}", joined.stderr());
    for name in ["master", "n1", "n2"] {
        assert!(joined.stdout().contains(name), "{}", joined.stdout());
    }
    slaves[0].is_up().expect(0);
    assert!(!ready.has_ended());
    slaves[1].is_up().expect(0);
    assert!(ready.wait().success(), "{}", ready.stderr());
}

/// Waits until an agent is about to ask.
fn asks(barrier: &Process) {
    until("the barrier asks", || barrier.stderr().contains("waiting until").then_some(()));
}

#[test]
fn a_barrier_that_is_not_met_says_who_is_missing() {
    let service = Service::start();
    let (api, pin) = (service.api(), service.api().new_pin());
    let slave = Machine::slave(&pin, &service.url(), "n1", &[]);
    put(api, &pin, "a", &json!({"name": "n1.example", "role": "slave", "state": "ready"}));
    put(
        api,
        &pin,
        "b",
        &json!({"name": "n2", "role": "slave", "state": "failed", "detail": "the master is not ready yet"}),
    );
    slave.guest.write("/names", "n1\nn2\nn3 # the third\n");
    let run = |args: &[&str]| slave.guest.run(args);
    run(&["wait", "--nodes", "4", "--for", "1"]).expect(75).says(
        "1 of 4 nodes are ready after 1 s; missing: n2 (failed: the master is not ready yet), 2 that have not reported",
    );
    run(&["wait", "--expect", "/names", "--for", "1"]).expect(75).says(
        "1 of 3 nodes are ready after 1 s; missing: n2 (failed: the master is not ready yet), n3 (no report)",
    );
    let enough = run(&["wait", "--nodes", "4", "--at-least", "1", "--for", "1"]);
    assert!(enough.expect(0).stdout.contains("n1.example"));
    run(&["wait", "--nodes", "4", "--at-least", "2", "--for", "1"]).expect(75);
}

#[test]
fn a_barrier_survives_the_restart_of_its_service() {
    let mut service = Service::start();
    let pin = service.api().new_pin();
    put(service.api(), &pin, "a", &json!({"role": "slave", "state": "ready"}));
    let url = service.url();
    let mut barrier = outside(&["wait", "--nodes", "2", "--url", &url, "--pin", &pin]);
    asks(&barrier);
    service.kill();
    service.resume();
    put(service.api(), &pin, "b", &json!({"role": "slave", "state": "ready"}));
    assert!(barrier.wait().success(), "{}", barrier.stderr());
}

/// Two thousand nodes report, each twice, while fifty barriers wait for all of them.
#[test]
fn two_thousand_nodes_open_fifty_barriers() {
    const NODES: usize = 2000;
    const BARRIERS: usize = 50;
    let service = Service::start();
    let (api, pin) = (service.api(), service.api().new_pin());
    let opened = Mutex::new(Vec::with_capacity(BARRIERS));
    let waiting_now = AtomicUsize::new(0);
    let (pin, path) = (&pin, &format!("{}?at-least={NODES}&state=ready", nodes(&pin)));
    let (began, last) = std::thread::scope(|scope| {
        for _ in 0..BARRIERS {
            scope.spawn(|| {
                let head = format!("GET {path} HTTP/1.1\r\nHost: x\r\nPrefer: wait=50\r\n\r\n");
                loop {
                    let mut stream = TcpStream::connect(api.0).expect("the service listens");
                    stream.write_all(head.as_bytes()).expect("it reads");
                    waiting_now.fetch_add(1, Ordering::SeqCst);
                    let (began, mut answer) = (Instant::now(), [0; 4096]);
                    let read = stream.read(&mut answer).expect("it answers");
                    let now = Instant::now();
                    assert!(answer[..read].starts_with(b"HTTP/1.1 200 "));
                    // On a slow machine a wait may be over before the last node has reported.
                    if now.duration_since(began) < Duration::from_secs(49) {
                        break opened.lock().expect("no one panics").push(now);
                    }
                }
            });
        }
        until("all barriers ask", || (waiting_now.load(Ordering::SeqCst) >= BARRIERS).then_some(()));
        let began = Instant::now();
        for state in ["joined", "ready"] {
            let report = |number: usize| {
                let key = "A".repeat(68);
                json!({
                    "name": format!("n{number}"), "role": "slave", "state": state, "detail": "",
                    "addresses": [format!("10.0.{}.{}", number / 250, number % 250)],
                    "ssh_host_keys": [format!("ssh-ed25519 {key}")],
                })
            };
            // The last one comes alone, so that it is known which it is.
            let together_until = if state == "ready" { NODES - 1 } else { NODES };
            together(0..32, |part| {
                for number in (part..together_until).step_by(32) {
                    put(api, pin, &format!("n{number}"), &report(number));
                }
            });
            if state == "ready" {
                assert!(opened.lock().expect("no one panics").is_empty(), "not before the last");
                put(api, pin, &format!("n{}", NODES - 1), &report(NODES - 1));
            }
        }
        (began, Instant::now())
    });
    let mut late: Vec<Duration> = opened
        .into_inner()
        .expect("no one panics")
        .iter()
        .map(|at| at.saturating_duration_since(last))
        .collect();
    assert_eq!(late.len(), BARRIERS);
    late.sort();
    let rate = 2 * NODES as u128 * 1000 / last.duration_since(began).as_millis().max(1);
    figures::show(&format!(
        "{NODES} nodes, each twice, over connections of their own: {rate} reports a second; {BARRIERS} barriers opened \
         p50 {} ms, p99 {} ms after the last report was answered",
        late[BARRIERS / 2].as_millis(),
        late[BARRIERS * 99 / 100].as_millis(),
    ));
}
