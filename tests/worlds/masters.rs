//! Masters and slaves over several boots: a new address, a master that was replaced, a service that goes away.

use worlds::fixtures;
use worlds::guest::{Finished, Guest};
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
        self.boots += 1;
        self.guest.write("/proc/sys/kernel/random/boot_id", format!("boot-{}\n", self.boots));
        let settings = [&format!("cvm_cluster_master_ip={address}")[..], "cvm_cluster_timeout=20"];
        let context = fixtures::with_settings(&fixtures::master(&self.pin, &self.urls), &settings);
        for name in ["user-data.txt", "user-data.txt.i"] {
            self.guest.write(&format!("{INSTANCE}/{name}"), &context);
        }
        self.guest.run(&["contextualize", "--cloud-init"])
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
