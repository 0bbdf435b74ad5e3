//! Later boots: cloud-init writes its files again, with their placeholders, and the agent substitutes again, also when the
//! pin has expired or the service is gone.

use std::os::unix::fs::{PermissionsExt, symlink};

use worlds::fixtures;
use worlds::guest::{Finished, Guest};
use worlds::service::Service;

const FIRST: &str = "192.0.2.1";
const SECOND: &str = "192.0.2.2";
const MASTER_IP: &str = "###MASTER_IP_PLACEHOLDER###";
const CLOUD_CONFIG: &str = "#cloud-config\nruncmd:\n- join ###MASTER_IP_PLACEHOLDER###\n";

/// A guest of cloud-init.
struct Instance {
    guest: Guest,
    context: String,
    id: &'static str,
}

impl Instance {
    fn new(context: String, id: &'static str) -> Self {
        let instance =
            Self { guest: Guest::with_files(id, &[("/context", context.as_bytes())]), context, id };
        instance.is_called(id);
        instance
    }

    fn slave(pin: &str, url: &str) -> Self {
        Self::new(
            fixtures::with_settings(&fixtures::slave(pin, url), &["cvm_cluster_timeout=3"]),
            "iid-slave",
        )
    }

    fn master(pin: &str, url: &str, address: &str) -> Self {
        let address = format!("cvm_cluster_master_ip={address}");
        Self::new(fixtures::with_settings(&fixtures::master(pin, url), &[&address]), "iid-master")
    }

    /// What cloud-init does once it has found out which instance this is.
    fn is_called(&self, id: &str) {
        let link = self.guest.path("/var/lib/cloud/instance");
        let _ = std::fs::remove_file(&link);
        self.guest.write(&format!("/var/lib/cloud/instances/{id}/boot-finished"), "");
        symlink(format!("/var/lib/cloud/instances/{id}"), link).expect("a link can be made");
    }

    fn file(&self, name: &str) -> String {
        format!("/var/lib/cloud/instances/{}/{name}", self.id)
    }

    /// What cloud-init does at every boot, and the agent after it.
    fn boot(&self) -> Finished {
        self.guest.write(&self.file("user-data.txt"), &self.context);
        self.guest.write(&self.file("user-data.txt.i"), &self.context);
        self.guest.write(&self.file("cloud-config.txt"), CLOUD_CONFIG);
        self.guest.run(&["contextualize", "--cloud-init"])
    }

    #[track_caller]
    fn joins(&self, address: &str) {
        let config = String::from_utf8(self.guest.read(&self.file("cloud-config.txt"))).expect("it is text");
        assert_eq!(config, CLOUD_CONFIG.replace(MASTER_IP, address));
    }
}

/// A service that knows a master that is ready.
fn ready_cluster() -> (Service, String) {
    let service = Service::start();
    let pin = service.api().new_pin();
    service.api().create_key(&pin, "master_ip", FIRST);
    service.api().create_key(&pin, "master_ready", FIRST);
    (service, pin)
}

#[test]
fn a_slave_boots_again_without_its_service() {
    let (mut service, pin) = ready_cluster();
    let slave = Instance::slave(&pin, &service.url());
    slave.boot().expect(0);
    slave.joins(FIRST);
    let cache = slave.guest.path(&slave.file("cernvm-cluster.json"));
    let mode = cache.metadata().expect("the cache is beside the instance's files").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    service.stop();
    slave.boot().expect(0);
    slave.joins(FIRST);
}

#[test]
fn a_slave_says_that_its_values_are_old_also_when_its_context_has_an_error() {
    let (mut service, pin) = ready_cluster();
    // A blank before the placeholder makes it a comment of YAML.
    let context = format!(
        "#cloud-config\n#[ucernvm-begin]\n#cvm_cluster_pin={pin}\n#cvm_service_url={}\n#cvm_cluster_timeout=3\n\
         #[ucernvm-end]\nruncmd:\n- join {MASTER_IP}\n",
        service.url()
    );
    let slave = Instance::new(context, "iid-slave");
    slave.boot().expect(65).says("the master, 192.0.2.1, is ready");
    service.stop();
    slave.boot().expect(65).says("the values are those of an earlier boot");
    slave.joins(FIRST);
}

#[test]
fn a_slave_boots_again_after_its_pin_has_gone() {
    let (service, pin) = ready_cluster();
    let slave = Instance::slave(&pin, &service.url());
    slave.boot().expect(0);
    service.api().delete_pin(&pin);
    slave.boot().expect(0);
    slave.joins(FIRST);
}

#[test]
fn a_slave_that_boots_again_learns_of_a_new_master_once_that_is_ready() {
    let (service, pin) = ready_cluster();
    let slave = Instance::slave(&pin, &service.url());
    slave.boot().expect(0);
    let master = Instance::master(&pin, &service.url(), SECOND);
    master.boot().expect(0);
    slave.boot().expect(0);
    slave.joins(FIRST);
    master.guest.run(&["master-ready"]).expect(0);
    for _ in 0..2 {
        slave.boot().expect(0);
        slave.joins(SECOND);
    }
    // What it has learned lasts.
    service.api().delete_pin(&pin);
    slave.boot().expect(0);
    slave.joins(SECOND);
}

#[test]
fn a_clone_knows_nothing_of_its_originals_master() {
    let (service, pin) = ready_cluster();
    let mut slave = Instance::slave(&pin, &service.url());
    slave.boot().expect(0);
    service.api().delete_pin(&pin);
    slave.id = "iid-clone";
    slave.is_called(slave.id);
    slave.boot().expect(77);
    slave.joins(MASTER_IP);
}

#[test]
fn what_was_cached_for_another_pin_or_is_damaged_does_not_count() {
    let (mut service, pin) = ready_cluster();
    let mut slave = Instance::slave(&pin, &service.url());
    slave.boot().expect(0);
    let other = service.api().new_pin();
    service.stop();

    let cache = slave.file("cernvm-cluster.json");
    let good = slave.guest.read(&cache);
    for damaged in [&b""[..], b"{}", &good[..good.len() / 2]] {
        slave.guest.write(&cache, damaged);
        slave.boot().expect(69);
        slave.joins(MASTER_IP);
    }
    slave.guest.write(&cache, &good);
    slave.boot().expect(0);
    slave.joins(FIRST);

    slave.context = slave.context.replace(&pin, &other);
    slave.boot().expect(69);
    slave.joins(MASTER_IP);
}

#[test]
fn a_master_boots_again_after_its_pin_has_gone() {
    let service = Service::start();
    let pin = service.api().new_pin();
    let master = Instance::master(&pin, &service.url(), FIRST);
    master.boot().expect(0);
    master.guest.run(&["master-ready"]).expect(0);
    service.api().delete_pin(&pin);
    master.boot().expect(0).says("expired");
    master.guest.run(&["master-ready"]).expect(0).says("expired");

    // One that has never pushed must not be told that all is well.
    Instance::master(&pin, &service.url(), FIRST).boot().expect(77);
}
