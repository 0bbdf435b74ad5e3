//! Three servers on three members of etcd, each on a machine of its own, while clients create, update, delete and read through
//! all of them: what each fault does to them. Nothing that was acknowledged is lost, what every client has seen is
//! linearizable, and afterwards every server works again by itself. Needs root; clocks are ten minutes apart.

mod load;
mod start;

use std::time::{Duration, Instant};

use load::Load;
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
    let mut table = Vec::new();
    for (name, fault) in FAULTS {
        let servers = [0, 1, 2].map(|server| cluster.server(server));
        let load = Load::start(servers);
        load.go_on(WRITES / 3);
        fault(&mut cluster, &load);
        // Each server works again, for reads and for writes.
        for server in 0..MEMBERS {
            load.until_works(server);
        }
        load.go_on(WRITES / 3);
        let result = load.finish();
        println!("{name}: {result}");
        table.push(format!("| {name} | {result} |"));
        assert!(result.is_linearizable(), "{name}: {result}");
    }
    println!(
        "| fault | acknowledged writes | of unknown outcome | refused | longest time without an acknowledged write | longest answer | keys that are linearizable |"
    );
    println!("|---|---|---|---|---|---|---|\n{}", table.join("\n"));
}

#[test]
fn waits_are_woken_by_any_server_and_sent_away_by_one_that_is_cut_off() {
    if !can_be_built() {
        return;
    }
    let cluster = Cluster::start(&[], [None; MEMBERS]);
    let servers = [0, 1, 2].map(|server| cluster.server(server));
    let pin = load::new_pin(servers[0]);
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
