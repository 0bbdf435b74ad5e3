//! Three servers on three members of etcd, each on a machine of its own, while clients create, update, delete and read through
//! all of them, and clusters of agents come up: what each fault does to them. Nothing that was acknowledged is lost, what
//! every client has seen is linearizable, no slave gets an address that is not ready, and afterwards every server works
//! again by itself. Needs root; clocks are ten minutes apart. RUNS=3 has each fault happen three times.

mod agents;
mod load;
mod start;
mod through;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use agents::{Forming, Slave};
use load::{Load, Outcome};
use nix::sys::signal::Signal;
use worlds::etcd::{Cluster, MEMBERS, can_be_built};
use worlds::wait::until;

/// Acknowledged writes during a fault.
const WRITES: usize = 150;

/// A fault: what it does, given the load that goes on meanwhile, and that it has undone at its end.
type Fault = fn(&mut Cluster, &Load);

const FAULTS: [(&str, Fault); 11] = [
    ("nothing", |_, load| load.go_on(WRITES)),
    ("a follower is killed", |cluster, load| {
        let follower = (cluster.leader() + 1) % MEMBERS;
        cluster.kill_member(follower);
        load.go_on(WRITES);
        cluster.start_member(follower);
    }),
    ("the leader is killed", |cluster, load| {
        let leader = cluster.leader();
        cluster.kill_member(leader);
        load.go_on(WRITES);
        cluster.start_member(leader);
    }),
    ("a server is cut off from etcd", |cluster, load| {
        for member in 0..MEMBERS {
            cluster.network.cut(MEMBERS, member);
        }
        load.until_refused(0);
        load.go_on(WRITES);
        for member in 0..MEMBERS {
            cluster.network.mend(MEMBERS, member);
        }
    }),
    ("the leader is cut off from its followers", |cluster, load| {
        let leader = cluster.leader();
        let followers = || (0..MEMBERS).filter(|member| *member != leader);
        for follower in followers() {
            cluster.network.cut(leader, follower);
        }
        load.go_on(WRITES);
        for follower in followers() {
            cluster.network.mend(leader, follower);
        }
    }),
    ("a server is stopped", |cluster, load| {
        cluster.signal_server(1, Signal::SIGSTOP);
        load.go_on(2 * WRITES);
        cluster.signal_server(1, Signal::SIGCONT);
    }),
    ("the leader is stopped", |cluster, load| {
        let leader = cluster.leader();
        cluster.signal_member(leader, Signal::SIGSTOP);
        load.go_on(2 * WRITES);
        cluster.signal_member(leader, Signal::SIGCONT);
    }),
    ("every server is killed and started, one after the other", |cluster, load| {
        for server in 0..MEMBERS {
            cluster.kill_server(server);
            load.go_on(WRITES / MEMBERS);
            cluster.start_server(server);
        }
    }),
    ("history is compacted under a server that is cut off", |cluster, load| {
        for member in 0..MEMBERS {
            cluster.network.cut(MEMBERS + 2, member);
        }
        load.until_refused(2);
        load.go_on(WRITES);
        let status = cluster.etcdctl(0, &["endpoint", "status", "--write-out", "json"]).expect("it answers");
        let status: serde_json::Value = serde_json::from_str(&status).expect("it is JSON");
        let revision = status[0]["Status"]["header"]["revision"].as_u64().expect("there is one");
        cluster.etcdctl(0, &["compact", &revision.to_string()]).expect("it is compacted");
        for member in 0..MEMBERS {
            cluster.network.mend(MEMBERS + 2, member);
        }
    }),
    ("etcd is out of space", |cluster, load| {
        let junk = "x".repeat(1_000_000);
        let alarm = |cluster: &Cluster| {
            cluster.etcdctl(0, &["alarm", "list"]).is_some_and(|alarms| alarms.contains("NOSPACE"))
        };
        until("etcd is full", || {
            // One argument may have 128 KiB.
            for number in 0..8 {
                let _ = cluster.etcdctl(0, &["put", &format!("/junk/{number}"), &junk[..120_000]]);
            }
            alarm(cluster).then_some(())
        });
        load.until_full();
        cluster.etcdctl(0, &["del", "--prefix", "/junk/"]).expect("it is deleted");
        let status = cluster.etcdctl(0, &["endpoint", "status", "--write-out", "json"]).expect("it answers");
        let status: serde_json::Value = serde_json::from_str(&status).expect("it is JSON");
        let revision = status[0]["Status"]["header"]["revision"].as_u64().expect("there is one");
        cluster.etcdctl(0, &["compact", "--physical", &revision.to_string()]).expect("it is compacted");
        for member in 0..MEMBERS {
            until("it is defragmented", || cluster.etcdctl(member, &["--command-timeout", "60s", "defrag"]));
        }
        cluster.etcdctl(0, &["alarm", "disarm"]).expect("it is disarmed");
    }),
    ("all of etcd is gone", |cluster, load| {
        for member in 0..MEMBERS {
            cluster.kill_member(member);
        }
        for server in 0..MEMBERS {
            load.until_refused(server);
        }
        for member in 0..MEMBERS {
            cluster.start_member(member);
        }
    }),
];

#[test]
fn nothing_is_lost_whatever_fails() {
    if !can_be_built() {
        return;
    }
    let clocks = [Some("+10m"), None, Some("-10m")];
    let mut cluster = Cluster::start(&["--quota-backend-bytes", "33554432"], clocks);
    let runs = std::env::var("RUNS").map_or(1, |runs| runs.parse().expect("it is a number"));
    let mut table: Vec<(&str, usize, Outcome)> = FAULTS.map(|(name, _)| (name, 0, Outcome::default())).into();
    for _ in 0..runs {
        for (row, (name, fault)) in table.iter_mut().zip(FAULTS) {
            let (joined, outcome) = suffer(&mut cluster, fault);
            println!("{name}: {joined} slaves | {outcome}");
            assert!(outcome.is_linearizable(), "{name}: {outcome}");
            row.1 += joined;
            row.2 = std::mem::take(&mut row.2).and(&outcome);
        }
    }
    println!("| fault | {} | slaves with the ready address |", Outcome::HEAD);
    for (name, joined, outcome) in table {
        println!("| {name} | {outcome} | {joined} |");
    }
}

/// Has a fault happen while clients write and clusters form. Gives how many slaves have joined, and what the clients saw.
fn suffer(cluster: &mut Cluster, fault: Fault) -> (usize, Outcome) {
    let servers = [0, 1, 2].map(|server| cluster.server(server));
    let load = Load::start(servers);
    load.go_on(WRITES / 3);
    let (stop, waiting) = (AtomicBool::new(false), Forming::begin(&servers));
    std::thread::scope(|scope| {
        let agents = scope.spawn(|| agents::form(waiting, &servers, &stop));
        let stopping = Stopping(&stop);
        fault(cluster, &load);
        // Each server works again, for reads and for writes.
        for server in 0..MEMBERS {
            load.until_works(server);
        }
        load.go_on(WRITES / 3);
        drop(stopping);
        let joined = agents.join().expect("every slave joins its master");
        (joined, load.finish())
    })
}

/// Says stop at its end, also when a test fails.
struct Stopping<'a>(&'a AtomicBool);

impl Drop for Stopping<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What is done to the first server.
type Loss = fn(&mut Cluster);

#[test]
fn a_slave_is_woken_through_another_server_when_its_own_is_lost() {
    if !can_be_built() {
        return;
    }
    let cut_off: Loss = |cluster| (0..MEMBERS).for_each(|member| cluster.network.cut(MEMBERS, member));
    let losses: [Loss; 3] =
        [|cluster| cluster.kill_server(0), |cluster| cluster.signal_server(0, Signal::SIGSTOP), cut_off];
    for lose in losses {
        let mut cluster = Cluster::start(&[], [None; MEMBERS]);
        let servers = [0, 1, 2].map(|server| cluster.server(server));
        let mut waiting = Forming::begin(&servers);
        lose(&mut cluster);
        // This one waits at the first server.
        waiting.slaves[0].agent.wait_until_it_says("asking the next service");
        assert_eq!(waiting.finish(), servers.len());
    }
}

#[test]
fn a_pin_is_unknown_only_when_every_server_has_said_so() {
    if !can_be_built() {
        return;
    }
    let cluster = Cluster::start(&[], [None; MEMBERS]);
    let servers = [0, 1, 2].map(|server| format!("http://{}", cluster.server(server))).join(",");
    let boot = |timeout| Slave::start("enico1qq0oey", &servers, timeout).agent.finish();
    for member in 0..MEMBERS {
        cluster.network.cut(MEMBERS + 1, member);
    }
    let finished = boot("cvm_cluster_timeout=8");
    assert_ne!(finished.status, 77, "{}", finished.stderr);
    assert!(!finished.stderr.contains("no service of the context knows the pin"), "{}", finished.stderr);
    finished.says("does not know the pin; passing it over");
    for member in 0..MEMBERS {
        cluster.network.mend(MEMBERS + 1, member);
    }
    let works = || load::ask(cluster.server(1), "GET", "/api/v1/clusters/enico1qq0oey", None).ok();
    until("the server knows that there is no such pin", || works().filter(|(status, _)| *status == 404));
    boot("cvm_cluster_timeout=90").expect(77).says("no service of the context knows the pin");
}

#[test]
fn waits_are_woken_by_any_server_and_sent_away_by_one_that_is_cut_off() {
    if !can_be_built() {
        return;
    }
    let cluster = Cluster::start(&[], [None; MEMBERS]);
    let servers = [0, 1, 2].map(|server| cluster.server(server));
    let pin = load::new_pin(&servers);
    let path = format!("/api/v1/clusters/{pin}/keys/master_ready");
    std::thread::scope(|scope| {
        let (path, pin) = (&path, &pin);
        let waits: Vec<_> =
            servers[1..].iter().map(|server| scope.spawn(move || load::wait(*server, path))).collect();
        until("both wait", || {
            let waiting = |server| load::ask(server, "GET", &format!("/api/v1/clusters/{pin}"), None).is_ok();
            servers[1..].iter().all(|server| waiting(*server)).then_some(())
        });
        let lone = scope.spawn(move || load::wait(servers[2], &format!("/api/v1/clusters/{pin}/keys/never")));
        let body = r#"{"key":"master_ready","value":"10.0.0.1"}"#;
        let keys = format!("/api/v1/clusters/{pin}/keys");
        assert_eq!(load::ask(servers[0], "POST", &keys, Some(body)).expect("it answers").0, 201);
        for wait in waits {
            assert_eq!(wait.join().expect("it waits").0, 200);
        }
        for member in 0..MEMBERS {
            cluster.network.cut(MEMBERS + 2, member);
        }
        let begun = Instant::now();
        let (status, head) = lone.join().expect("it waits");
        assert_eq!(status, 503, "{head}");
        assert!(head.to_ascii_lowercase().contains("retry-after: "), "{head}");
        println!("a wait was sent away {:?} after its server was cut off", begun.elapsed());
        assert!(begun.elapsed() < Duration::from_secs(50), "the wait had ended anyway");
    });
}
