//! What agents report at each step of a boot, and what they keep to themselves.

use serde_json::{Value, json};
use worlds::api::key_path;
use worlds::mock_server::{MockServer, Reply};
use worlds::process::Process;
use worlds::relay;
use worlds::service::Service;
use worlds::wait::until;

use crate::machine::{MASTER, Machine, listed, outside, put, report, state};

/// 32 bytes, in base64url.
const SECRET: &str = "nS3cr3tOfTheCluster_-AAAAAAAAAAAAAAAAAAAAAA";
const OTHER_SECRET: &str = "oS3cr3tOfTheCluster_-AAAAAAAAAAAAAAAAAAAAAA";

#[test]
fn a_cluster_reports_each_step_of_its_boots() {
    let service = Service::start();
    let (api, pin) = (service.api(), service.api().new_pin());
    let mut master = Machine::master(&pin, &service.url(), &[]);
    let slaves = ["n1", "n2"].map(|name| Machine::slave(&pin, &service.url(), name, &[]));
    let waiting: Vec<_> = slaves.iter().map(Machine::start).collect();
    for name in ["n1", "n2"] {
        until("the slave waits", || (state(api, &pin, name) == "waiting").then_some(()));
    }
    let shown = report(api, &pin, "n1").expect("it has reported");
    assert_eq!(
        (&shown["role"], &shown["detail"]),
        (&json!("slave"), &json!("waiting until the master is ready"))
    );

    master.contextualize().expect(0);
    assert_eq!(state(api, &pin, "master"), "joined");
    assert_eq!(report(api, &pin, "master").expect("it has reported")["addresses"][0], MASTER);
    master.is_up().expect(0);
    assert_eq!(state(api, &pin, "master"), "ready");
    for agent in waiting {
        agent.finish().expect(0);
    }
    assert_eq!([state(api, &pin, "n1"), state(api, &pin, "n2")], ["joined", "joined"]);

    // sshd makes its keys during the boot, so the report after it has them.
    slaves[0]
        .guest
        .write("/etc/ssh/ssh_host_ed25519_key.pub", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ5n root@n1\n");
    assert_eq!(report(api, &pin, "n1").expect("it has reported")["ssh_host_keys"], json!([]));
    slaves[0].is_up().expect(0);
    let shown = report(api, &pin, "n1").expect("it has reported");
    assert_eq!(shown["state"], "ready");
    assert_eq!(shown["ssh_host_keys"], json!(["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ5n"]));

    // A reboot: the same entry.
    master.shuts_down();
    let down = report(api, &pin, "master").expect("it has reported");
    assert_eq!(
        (&down["state"], &down["detail"]),
        (&json!("waiting"), &json!("shut down, or about to boot again"))
    );
    master.lay_down();
    master.contextualize().expect(0);
    assert_eq!(state(api, &pin, "master"), "joined");
    let mut slave = slaves.into_iter().next().expect("there are two");
    slave.shuts_down();
    assert_eq!(state(api, &pin, "n1"), "waiting");
    slave.lay_down();
    master.is_up().expect(0);
    slave.contextualize().expect(0);
    assert_eq!(state(api, &pin, "n1"), "joined");
    slave.is_up().expect(0);
    assert_eq!(state(api, &pin, "n1"), "ready");
    assert_eq!(listed(api, &pin).len(), 3);
}

#[test]
fn a_slave_says_why_it_has_failed_and_that_it_has_come_late() {
    let service = Service::start();
    let (api, pin) = (service.api(), service.api().new_pin());
    let slave = Machine::slave(&pin, &service.url(), "n1", &["cvm_cluster_timeout=2"]);
    slave.contextualize().expect(75);
    let failed = report(api, &pin, "n1").expect("it has reported");
    let detail = failed["detail"].as_str().expect("there is a detail");
    assert!(failed["state"] == "failed" && detail.starts_with("the master is not ready yet"), "{failed}");
    // Its boot goes on, and ends.
    slave.is_up().expect(0);
    assert_eq!(state(api, &pin, "n1"), "failed", "a node that has no values is not ready");
    api.create_key(&pin, "master_ip", MASTER);
    api.create_key(&pin, "master_ready", MASTER);
    // systemd starts the unit again a minute later.
    slave.contextualize().expect(0);
    assert_eq!(state(api, &pin, "n1"), "ready", "the boot is over already");
}

#[test]
fn a_master_that_was_replaced_says_so() {
    let service = Service::start();
    let (api, pin) = (service.api(), service.api().new_pin());
    let master = Machine::master(&pin, &service.url(), &[]);
    master.contextualize().expect(0);
    let answer = worlds::http::Request::new("PUT", &key_path(&pin, "master_ip"))
        .json(&json!({"key": "master_ip", "value": "192.0.2.99"}));
    assert_eq!(api.ask(&answer).status, 200);
    master.is_up().expect(76);
    let failed = report(api, &pin, "master").expect("it has reported");
    let detail = failed["detail"].as_str().expect("there is a detail");
    assert!(failed["state"] == "failed" && detail.contains("192.0.2.99"), "{failed}");
}

#[test]
fn what_cannot_be_reported_fails_nothing() {
    let service = Service::start();
    let (api, pin) = (service.api(), service.api().new_pin());
    // The pin is unknown: no service would keep a report.
    let lost = Machine::slave("zzzzzzzzzzzz", &service.url(), "lost", &[]);
    lost.contextualize().expect(77);
    lost.is_up().expect(0);
    // It is switched off.
    let silent = Machine::master(&pin, &service.url(), &["cvm_cluster_nodes=no"]);
    silent.contextualize().expect(0);
    silent.is_up().expect(0);
    assert_eq!(listed(api, &pin), [Value::Null; 0]);
    // Nothing tells it from a clone.
    let unnamed = worlds::guest::Guest::new("unnamed", worlds::fixtures::slave(&pin, &service.url()));
    unnamed.run(&["contextualize"]).expect(0);
    assert_eq!(listed(api, &pin), [Value::Null; 0]);
}

/// The service takes everything but reports: it hangs, or answers nonsense.
#[test]
fn a_service_that_fails_at_reports_holds_no_boot_up() {
    for reply in [
        Reply::Hang,
        Reply::of(500, "text/html", "<h1>Oops</h1>"),
        Reply::Flood(b"HTTP/1.1 200 OK\r\n\r\n".to_vec(), 1 << 20),
    ] {
        let service = Service::start();
        let (api, pin) = (service.api(), service.api().new_pin());
        let front = MockServer::start(move |seen, _| {
            if seen.path.contains("/nodes/") { reply.clone() } else { relay::forward(api, seen.clone()) }
        });
        let master = Machine::master(&pin, &front.url(), &[]);
        master.contextualize().expect(0);
        master.is_up().expect(0);
        assert_eq!(api.value(&pin, "master_ready").as_deref(), Some(MASTER));
        let reports = front.seen().into_iter().filter(|seen| seen.path.contains("/nodes/")).count();
        assert_eq!(reports, 2, "one try in each run");
    }
}

#[test]
fn the_old_service_gets_no_request_that_it_does_not_know() {
    let service = Service::with(&["--max-value-length", "1000"]);
    let (api, pin) = (service.api(), service.api().new_pin());
    let old = relay::old(api);
    let master = Machine::master(&pin, &old.url(), &[]);
    let slave = Machine::slave(&pin, &old.url(), "n1", &["cvm_cluster_timeout=3"]);
    master.contextualize().expect(0);
    slave.contextualize().expect(75);
    master.is_up().expect(0);
    slave.contextualize().expect(0);
    slave.is_up().expect(0);
    slave.shuts_down();
    master.shuts_down();
    let asked = slave.guest.run(&["nodes"]);
    asked.expect(77).says("has no nodes: it is of an earlier release, or the original service");
    slave.guest.run(&["wait", "--nodes", "2"]).expect(77);
    let unknown: Vec<_> = old.seen().into_iter().filter(|seen| seen.path.contains("nodes")).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
    assert_eq!(listed(api, &pin), [Value::Null; 0]);
}

#[test]
fn a_sealed_cluster_shows_its_nodes_to_members_only() {
    let service = Service::start();
    let (api, pin) = (service.api(), service.api().new_pin());
    let secret = format!("cvm_cluster_secret={SECRET}");
    let master = Machine::master(&pin, &service.url(), &[&secret]);
    master.contextualize().expect(0);
    master.is_up().expect(0);
    let nodes = listed(api, &pin);
    assert_eq!(nodes.len(), 1);
    let sealed = nodes[0]["sealed"].as_str().expect("the report is sealed");
    assert!(nodes[0].get("report").is_none() && sealed.starts_with("v1."));
    // The service adds nodes of its own, clear and replayed.
    put(
        api,
        &pin,
        "forged",
        &json!({"name": "forged", "role": "slave", "state": "ready", "addresses": ["192.0.2.66"]}),
    );
    let replay = worlds::http::Request::new("PUT", &format!("/api/v1/clusters/{pin}/nodes/replayed"))
        .body("text/plain", sealed);
    assert_eq!(api.ask(&replay).status, 204);

    let shown = master.guest.run(&["nodes"]);
    shown
        .expect(0)
        .says("1 entry is left out: it is not sealed")
        .says("1 entry is left out: it was not sealed with this secret for this node");
    assert!(shown.stdout.contains("master") && !shown.stdout.contains("forged"), "{}", shown.stdout);
    let hosts = master.guest.run(&["nodes", "--format", "hosts"]);
    assert_eq!(hosts.expect(0).stdout.lines().next(), Some("192.0.2.1 master"));
    assert!(!hosts.stdout.contains("192.0.2.66"), "{}", hosts.stdout);
    // Forged nodes open no barrier.
    let barrier = master.guest.run(&["wait", "--nodes", "2", "--for", "2"]);
    barrier.expect(75).says("1 of 2 nodes are ready").says("missing: 1 that has not reported");
    master.guest.run(&["wait", "--nodes", "1", "--for", "2"]).expect(0);

    let with = |args: &[&str]| -> Process {
        let url = service.url();
        let mut all = vec!["nodes", "--url", &url, "--pin", &pin];
        all.extend(args);
        outside(&all)
    };
    let file = |name: &str, text: &str| {
        master.guest.write(name, text);
        master.guest.path(name).to_str().expect("temporary directories have plain names").to_owned()
    };
    let mut ours = with(&["--secret-file", &file("/secret", SECRET)]);
    assert!(ours.wait().success() && ours.stdout().contains("master"), "{}", ours.stderr());
    for (args, says) in [
        (vec![], "it is sealed; give the secret with --secret-file"),
        (vec!["--secret-file".to_owned(), file("/other", OTHER_SECRET)], "another secret, or forged"),
    ] {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let mut other = with(&args);
        assert!(other.wait().success());
        assert!(
            !other.stdout().contains("master") && other.stderr().contains(says),
            "{}{}",
            other.stdout(),
            other.stderr()
        );
        assert!(!other.stderr().contains(&pin));
    }
}

#[test]
fn nodes_outlive_a_power_cut_of_the_service_and_end_with_their_pin() {
    let mut service = Service::start();
    let (api, pin) = (service.api(), service.api().new_pin());
    for number in 0..50 {
        put(
            api,
            &pin,
            &format!("n{number}"),
            &json!({"name": format!("n{number}"), "role": "slave", "state": "ready"}),
        );
    }
    service.kill();
    service.resume();
    let api = service.api();
    assert_eq!(listed(api, &pin).len(), 50);
    api.delete_pin(&pin);
    assert_eq!(api.get(&crate::machine::nodes(&pin)).status, 404);
    service.kill();
    service.resume();
    assert_eq!(service.api().get(&crate::machine::nodes(&pin)).status, 404);
}
