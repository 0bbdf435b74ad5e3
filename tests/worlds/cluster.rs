//! Clusters that come up: masters and slaves in several orders, with one key or several, for the first time, again, and
//! with another master.

use worlds::api::Api;
use worlds::fixtures;
use worlds::guest::{Agent, Guest};
use worlds::mock_server::MockServer;
use worlds::relay;
use worlds::service::Service;
use worlds::wait::until;

const MASTER_IP: &str = "###MASTER_IP_PLACEHOLDER###";
const TOKEN: &str = "###K3S_TOKEN_PLACEHOLDER###";
/// Addresses of documentation (RFC 5737 and 3849).
const FIRST: &str = "192.0.2.1";
const SECOND: &str = "192.0.2.2";
const SIXTH: &str = "2001:db8::6";

/// A service, what went over the wire to it, and a pin.
struct World {
    service: Service,
    wire: MockServer,
    pin: String,
}

impl World {
    fn new() -> Self {
        let service = Service::with(&["--access-log", "--log", "debug"]);
        let wire = relay::recorded(service.api());
        let pin = service.api().new_pin();
        Self { service, wire, pin }
    }

    fn api(&self) -> Api {
        self.service.api()
    }

    fn value(&self, key: &str) -> Option<String> {
        self.api().value(&self.pin, key)
    }

    fn master(&self, address: &str) -> Guest {
        let context = fixtures::master(&self.pin, &self.wire.url());
        Guest::new(
            "master",
            fixtures::with_settings(&context, &[&format!("cvm_cluster_master_ip={address}")]),
        )
    }

    fn slave(&self) -> Guest {
        Guest::new("slave", fixtures::slave(&self.pin, &self.wire.url()))
    }

    fn k3s_node(&self) -> Guest {
        Guest::new("k3s-node", fixtures::cloud_config(&self.pin, &self.wire.url()))
    }

    /// Starts an agent, and waits until it waits for a key.
    fn start_waiting_for(&self, guest: &Guest, key: &str) -> Agent {
        let before = self.waits_for(key);
        let agent = guest.start(&["contextualize"]);
        until("the slave waits", || (self.waits_for(key) > before).then_some(()));
        agent
    }

    fn waits_for(&self, key: &str) -> usize {
        let path = format!("/api/v1/clusters/{}/keys/{key}", self.pin);
        let waits =
            |seen: &&worlds::mock_server::Seen| seen.path == path && seen.headers.get("Prefer").is_some();
        self.wire.seen().iter().filter(waits).count()
    }

    /// The writes that went over the wire, as method and key.
    fn writes(&self) -> Vec<String> {
        let keys = format!("/api/v1/clusters/{}/keys", self.pin);
        let line = |seen: &worlds::mock_server::Seen| {
            let body: serde_json::Value = serde_json::from_slice(&seen.body).unwrap_or_default();
            let named = seen.path.strip_prefix(&keys)?.trim_start_matches('/');
            let key = if named.is_empty() { body["key"].as_str().unwrap_or_default() } else { named };
            (seen.method != "GET").then(|| format!("{} {key}", seen.method))
        };
        self.wire.seen().iter().filter_map(line).collect()
    }
}

/// Whatever a test does, the service must not log the pin (the agents are held to that in `Agent::finish`).
impl Drop for World {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.service.logs("/api/v1/clusters");
            let log = self.service.log();
            assert!(!log.contains(&self.pin), "the service's log:\n{log}");
        }
    }
}

#[test]
fn a_slave_that_boots_first_gets_the_address_once_the_master_is_ready() {
    let world = World::new();
    let (master, slave) = (world.master(FIRST), world.slave());
    let before = slave.context();
    let mut waiting = world.start_waiting_for(&slave, "master_ready");

    master.run(&["contextualize"]).expect(0);
    assert_eq!(world.value("master_ip").as_deref(), Some(FIRST));
    assert!(waiting.is_running() && slave.context() == before, "not before the master is ready");

    master.run(&["master-ready"]).expect(0);
    assert_eq!(world.value("master_ready").as_deref(), Some(FIRST));
    waiting.finish().expect(0).says(FIRST);
    assert_eq!(slave.context(), before.replace(MASTER_IP, FIRST));
    // Before it says that it is ready, it makes sure that its address is there.
    assert_eq!(world.writes(), ["POST master_ip", "POST master_ip", "POST master_ready"]);
}

#[test]
fn slaves_that_boot_after_the_master_do_not_wait() {
    let world = World::new();
    let master = world.master(SIXTH);
    master.run(&["contextualize"]).expect(0);
    master.run(&["master-ready"]).expect(0);
    for _ in 0..4 {
        let slave = world.slave();
        let before = slave.context();
        slave.run(&["contextualize"]).expect(0);
        assert_eq!(slave.context(), before.replace(MASTER_IP, SIXTH));
    }
}

#[test]
fn many_slaves_come_up_together() {
    let world = World::new();
    let slaves: Vec<_> = (0..16).map(|_| world.slave()).collect();
    let waiting: Vec<_> = slaves.iter().map(|slave| slave.start(&["contextualize"])).collect();
    until("all of them wait", || (world.waits_for("master_ready") >= slaves.len()).then_some(()));
    let master = world.master(FIRST);
    master.run(&["contextualize"]).expect(0);
    master.run(&["master-ready"]).expect(0);
    for agent in waiting {
        agent.finish().expect(0);
    }
    for slave in slaves {
        assert!(slave.context().contains(&format!("my_master_ip={FIRST}\n")));
    }
    assert_eq!(world.waits_for("master_ready"), 16, "one wait for each");
}

#[test]
fn a_slave_waits_for_every_key_that_it_has_a_placeholder_for() {
    let world = World::new();
    let (master, node) = (world.master(FIRST), world.k3s_node());
    let before = node.context();
    master.run(&["contextualize"]).expect(0);
    master.run(&["master-ready"]).expect(0);
    let mut waiting = world.start_waiting_for(&node, "k3s_token");
    assert!(waiting.is_running());
    master.run_with_input(&["publish", "k3s_token", "-"], b"K10f00dfeed::server:0123\n").expect(0);
    let finished = waiting.finish();
    finished.expect(0);
    assert!(!finished.stderr.contains("K10f00dfeed"), "a value is logged:\n{}", finished.stderr);
    let after = before.replace(MASTER_IP, FIRST).replace(TOKEN, "K10f00dfeed::server:0123");
    assert_eq!(node.context(), after);
}

#[test]
fn a_master_substitutes_its_own_address_and_leaves_the_rest() {
    let world = World::new();
    let context =
        fixtures::made_out("cloud-config.mime", &world.pin, &[&fixtures::service(&world.wire.url())]);
    let settings = ["cvm_cluster_master=YES", &format!("cvm_cluster_master_ip={FIRST}")];
    let before = fixtures::with_settings(&context, &settings);
    let master = Guest::new("master", &before);
    master.run(&["contextualize"]).expect(0);
    assert_eq!(master.context(), before.replace(MASTER_IP, FIRST));
}

#[test]
fn a_master_that_boots_again_changes_nothing_and_stays_ready() {
    let world = World::new();
    let master = world.master(FIRST);
    for command in ["contextualize", "master-ready", "contextualize", "master-ready"] {
        master.run(&[command]).expect(0);
        assert_eq!(world.value("master_ip").as_deref(), Some(FIRST));
    }
    assert_eq!(world.value("master_ready").as_deref(), Some(FIRST));
    assert!(!world.writes().iter().any(|write| write == "DELETE master_ready"), "{:?}", world.writes());
}

#[test]
fn a_replaced_master_is_not_taken_for_ready_before_it_is() {
    let world = World::new();
    let (first, second) = (world.master(FIRST), world.master(SECOND));
    first.run(&["contextualize"]).expect(0);
    first.run(&["master-ready"]).expect(0);

    second.run(&["contextualize"]).expect(0);
    assert_eq!((world.value("master_ready"), world.value("master_ip").as_deref()), (None, Some(SECOND)));
    let writes = world.writes();
    let last: Vec<_> = writes.iter().rev().take(2).rev().map(String::as_str).collect();
    assert_eq!(last, ["DELETE master_ready", "PUT master_ip"]);

    let slave = world.slave();
    let waiting = world.start_waiting_for(&slave, "master_ready");
    second.run(&["master-ready"]).expect(0);
    waiting.finish().expect(0);
    assert!(slave.context().contains(&format!("my_master_ip={SECOND}\n")));
}

#[test]
fn a_master_that_finds_another_address_when_it_is_ready_overwrites_nothing() {
    let world = World::new();
    let (first, second) = (world.master(FIRST), world.master(SECOND));
    first.run(&["contextualize"]).expect(0);
    first.run(&["master-ready"]).expect(0);
    second.run(&["master-ready"]).expect(76).says(FIRST).says(SECOND);
    assert_eq!(world.value("master_ip").as_deref(), Some(FIRST));
    assert_eq!(world.value("master_ready").as_deref(), Some(FIRST));
}

#[test]
fn a_master_that_could_not_push_at_boot_does_it_when_it_is_ready() {
    let world = World::new();
    world.master(FIRST).run(&["master-ready"]).expect(0);
    assert_eq!(world.writes(), ["POST master_ip", "POST master_ready"]);
    let slave = world.slave();
    slave.run(&["contextualize"]).expect(0);
    assert!(slave.context().contains(&format!("my_master_ip={FIRST}\n")));
}

#[test]
fn master_ready_does_nothing_on_a_slave() {
    let world = World::new();
    world.slave().run(&["master-ready"]).expect(0);
    assert_eq!(world.wire.lines(), [""; 0]);
}

#[test]
fn any_key_is_published_and_got() {
    let world = World::new();
    let master = world.master(FIRST);
    master.run(&["publish", "rack", "7"]).expect(0);
    master.write("/key.b64", "bXVuZ2U=\n");
    master.run(&["publish", "munge", "@/key.b64"]).expect(0);
    master.run_with_input(&["publish", "rack", "-"], b"8").expect(0);
    let slave = world.slave();
    for (key, value) in [("rack", "8"), ("munge", "bXVuZ2U=")] {
        let got = slave.run(&["get", key]);
        got.expect(0);
        assert_eq!(got.stdout.trim_end_matches('\n'), value);
    }
    slave.run(&["get", "absent"]).expect(75);
    let waiting = {
        let agent = slave.start(&["get", "late", "--wait"]);
        until("it waits", || (world.waits_for("late") > 0).then_some(()));
        agent
    };
    master.run(&["publish", "late", "but there"]).expect(0);
    let got = waiting.finish();
    got.expect(0);
    assert_eq!(got.stdout.trim_end_matches('\n'), "but there");
}

#[test]
fn a_service_that_restarts_while_slaves_wait_is_found_again() {
    let mut world = World::new();
    let slave = world.slave();
    let waiting = world.start_waiting_for(&slave, "master_ready");
    world.service.kill();
    world.service.resume();
    let master = world.master(FIRST);
    master.run(&["contextualize"]).expect(0);
    master.run(&["master-ready"]).expect(0);
    waiting.finish().expect(0);
    assert!(slave.context().contains(&format!("my_master_ip={FIRST}\n")));
}

#[test]
fn without_waiting_a_slave_looks_once() {
    let world = World::new();
    let slave = world.slave();
    let before = slave.context();
    slave.run(&["contextualize", "--no-wait"]).expect(75);
    assert_eq!(slave.context(), before);
    assert_eq!(world.waits_for("master_ready"), 0);
}
