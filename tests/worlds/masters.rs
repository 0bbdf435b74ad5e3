//! Masters and slaves over several boots: a new address, a master that was replaced, a service that goes away.

use std::process::Command;
use std::time::Duration;

use worlds::fixtures;
use worlds::guest::{Finished, Guest};
use worlds::mock_server::MockServer;
use worlds::relay;
use worlds::service::Service;

const FIRST: &str = "203.0.113.1";
const SECOND: &str = "203.0.113.2";
const INSTANCE: &str = "/var/lib/cloud/instance";

/// A master of cloud-init, whose context is the same at every boot but for its address.
struct Master {
    guest: Guest,
    pin: String,
    urls: String,
    boots: usize,
}

impl Master {
    fn new(pin: &str, urls: &str) -> Self {
        let guest = Guest::with_files("master", &[("/context", b"")]);
        Self { guest, pin: pin.to_owned(), urls: urls.to_owned(), boots: 0 }
    }

    fn boot_at(&mut self, address: &str) -> Finished {
        self.lay_down(address);
        self.guest.run(&["contextualize", "--cloud-init"])
    }

    /// The same under `strace` with these options.
    fn boot_traced_at(&mut self, address: &str, options: &[&str]) -> Finished {
        self.lay_down(address);
        let trace = self.guest.path("/trace");
        let trace = trace.to_str().expect("temporary directories have plain names");
        let command = [&["strace", "-f", "-qq", "-o", trace], options].concat();
        self.guest.run_under(&command, &["contextualize", "--cloud-init"])
    }

    /// What cloud-init does at every boot.
    fn lay_down(&mut self, address: &str) {
        self.boots += 1;
        self.guest.write("/proc/sys/kernel/random/boot_id", format!("boot-{}\n", self.boots));
        let settings = [&format!("cvm_cluster_master_ip={address}")[..], "cvm_cluster_timeout=20"];
        let context = fixtures::with_settings(&fixtures::master(&self.pin, &self.urls), &settings);
        for name in ["user-data.txt", "user-data.txt.i"] {
            self.guest.write(&format!("{INSTANCE}/{name}"), &context);
        }
    }

    fn ready(&self) -> Finished {
        self.guest.run(&["master-ready"])
    }
}

#[test]
fn a_master_with_a_new_address_knows_its_own_old_one_after_the_service_was_away() {
    let mut service = Service::start();
    let pin = service.api().new_pin();
    let mut master = Master::new(&pin, &service.url());
    master.boot_at(FIRST).expect(0);
    master.ready().expect(0);
    service.stop();
    master.boot_at(SECOND).expect(69);
    service.resume();
    master.ready().expect(0);
    for key in ["master_ip", "master_ready"] {
        assert_eq!(service.api().value(&pin, key).as_deref(), Some(SECOND), "{key}");
    }
}

#[test]
fn a_master_that_was_replaced_stays_away_until_it_is_told_otherwise() {
    let service = Service::start();
    let pin = service.api().new_pin();
    let mut old = Master::new(&pin, &service.url());
    old.boot_at(FIRST).expect(0);
    old.ready().expect(0);
    let mut new = Master::new(&pin, &service.url());
    new.boot_at(SECOND).expect(0);
    new.ready().expect(0);
    old.boot_at(FIRST).expect(76).says("has replaced this one");
    old.ready().expect(76).says("--force");
    assert_eq!(service.api().value(&pin, "master_ip").as_deref(), Some(SECOND));
    assert_eq!(service.api().value(&pin, "master_ready").as_deref(), Some(SECOND));
    old.guest.run(&["master-ready", "--force"]).expect(0);
    assert_eq!(service.api().value(&pin, "master_ready").as_deref(), Some(FIRST));
}

#[test]
fn readiness_ends_with_the_boot() {
    let service = Service::start();
    let pin = service.api().new_pin();
    let mut master = Master::new(&pin, &service.url());
    master.boot_at(FIRST).expect(0);
    master.ready().expect(0);
    // A power cut: nothing was withdrawn.
    master.boot_at(FIRST).expect(0);
    assert_eq!(service.api().value(&pin, "master_ready"), None);
    master.ready().expect(0);
    master.guest.run(&["master-ready", "--withdraw"]).expect(0);
    assert_eq!(service.api().value(&pin, "master_ready"), None);
}

#[test]
fn a_master_is_not_ready_before_what_it_publishes() {
    let service = Service::start();
    let pin = service.api().new_pin();
    let mut master = Master::new(&pin, &service.url());
    master.boot_at(FIRST).expect(0);
    master.guest.run(&["publish", "k3s_token", "not`safe"]).expect(65);
    master.ready().expect(75).says("k3s_token");
    assert_eq!(service.api().value(&pin, "master_ready"), None);
    master.guest.run(&["publish", "k3s_token", "safe"]).expect(0);
    master.ready().expect(0);
    master.guest.run(&["publish", "K3S_TOKEN", "safe"]).expect(65).says("'k3s_token'");
}

/// A master whose machine has run for two minutes, at a service whose values were set an hour ago.
fn at_a_service_of_an_hour_ago(ready: &str) -> (Service, MockServer, String, Finished) {
    let service = Service::start();
    let pin = service.api().new_pin();
    service.api().create_key(&pin, "master_ip", FIRST);
    service.api().create_key(&pin, "master_ready", ready);
    let aged = relay::aged(service.api(), Duration::from_secs(3600));
    let mut master = Master::new(&pin, &aged.url());
    master.guest.write("/proc/uptime", "120.00 0.00\n");
    let finished = master.boot_at(FIRST);
    (service, aged, pin, finished)
}

#[test]
fn a_master_withdraws_a_master_ready_that_is_older_than_its_boot() {
    // It is a new machine, which remembers nothing, with the address of the one before.
    let (service, _aged, pin, finished) = at_a_service_of_an_hour_ago(FIRST);
    finished.expect(0).says("withdrew the master_ready of an earlier boot");
    assert_eq!(service.api().value(&pin, "master_ready"), None);
    // What the original's unit has set, it would not set again.
    let (service, _aged, pin, finished) = at_a_service_of_an_hour_ago("yes");
    finished.expect(0);
    assert_eq!(service.api().value(&pin, "master_ready").as_deref(), Some("yes"));
}

#[test]
fn a_master_ready_of_this_boot_is_not_withdrawn() {
    let service = Service::start();
    let pin = service.api().new_pin();
    let guest = Guest::new("master", fixtures::master(&pin, &service.url()));
    guest.write("/proc/uptime", "120.00 0.00\n");
    // Its user-data is a file, so it keeps nothing from run to run.
    for _ in 0..2 {
        guest.run(&["contextualize"]).expect(0);
        guest.run(&["master-ready"]).expect(0);
    }
    guest.run(&["contextualize"]).expect(0);
    assert!(service.api().value(&pin, "master_ready").is_some());
}

#[test]
fn a_slave_and_doctor_say_for_how_long_the_master_has_been_ready() {
    let service = Service::start();
    let pin = service.api().new_pin();
    service.api().create_key(&pin, "master_ip", FIRST);
    service.api().create_key(&pin, "master_ready", FIRST);
    let aged = relay::aged(service.api(), Duration::from_secs(3 * 3600 + 600));
    let slave = Guest::new("slave", fixtures::slave(&pin, &aged.url()));
    slave.run(&["contextualize"]).expect(0).says("the master has been ready for 3 h");
    let said = slave.run(&["doctor"]).stdout;
    assert!(said.contains("the master, 203.0.113.1, is ready, as it said 3 h ago"), "{said}");
    // An old service does not tell.
    let old = relay::old(service.api());
    let slave = Guest::new("slave", fixtures::slave(&pin, &old.url()));
    let finished = slave.run(&["contextualize"]);
    assert!(!finished.expect(0).stderr.contains("has been ready for"), "{}", finished.stderr);
}

/// The system calls that change something on the disk or at the service.
const CHANGES: [&str; 9] =
    ["mkdirat", "write", "fchmod", "fsync", "renameat", "unlinkat", "connect", "sendto", "recvfrom"];
/// SIGKILL, as a shell says it.
const KILLED: i32 = 137;

/// How often a boot makes each of these calls.
fn system_calls(master: &mut Master, address: &str) -> Vec<(&'static str, usize)> {
    master.boot_traced_at(address, &[]).expect(0);
    let trace = String::from_utf8_lossy(&master.guest.read("/trace")).into_owned();
    let times = |name: &str| {
        let begins = format!(" {name}(");
        trace.lines().filter(|line| line.contains(&begins)).count()
    };
    CHANGES.map(|name| (name, times(name))).into()
}

#[test]
fn a_master_that_loses_power_at_any_moment_knows_its_own_address_at_the_next_boot() {
    if Command::new("strace").arg("-V").output().is_err() {
        eprintln!(
            "left out, since there is no strace: boots of a master that are killed at each system call"
        );
        return;
    }
    let service = Service::start();
    let pin = service.api().new_pin();
    let mut master = Master::new(&pin, &service.url());
    // A new address at each boot, so that a boot which takes the one before for another master's is seen.
    let mut addresses = (1..=250).cycle().map(|last| format!("203.0.113.{last}"));
    let mut next = || addresses.next().expect("they go round");
    master.boot_at(&next()).expect(0);
    let mut killed = 0;
    for (name, times) in system_calls(&mut master, &next()) {
        for number in 1..=times {
            let inject = format!("inject={name}:signal=KILL:when={number}");
            let options = ["-e", &format!("trace={name}"), "-e", &inject];
            let cut = master.boot_traced_at(&next(), &options);
            // How often the network is asked differs from run to run.
            if cut.status != KILLED {
                continue;
            }
            killed += 1;
            let address = next();
            let place = format!("killed at {name} {number}");
            let finished = master.boot_at(&address);
            assert_eq!(finished.status, 0, "{place}: {}", finished.stderr);
            assert_eq!(service.api().value(&pin, "master_ip"), Some(address), "{place}");
        }
    }
    println!("{killed} boots of a master killed");
    assert!(killed > 20, "{killed}");
    // Another master's address is told from its own all the same.
    let mut other = Master::new(&pin, &service.url());
    other.boot_at("203.0.113.254").expect(0);
    master.boot_at(&next()).expect(76).says("has replaced this one");
}
