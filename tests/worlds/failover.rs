//! Several services in one context: one that dies, stops or is cut off while a slave waits gives its turn to the next, and
//! what one of them says is not taken for what all say.
//!
//! The services share a pin as those of one store do: each has a copy of one data directory, and the test writes to each.

use std::path::Path;
use std::process::Command;

use nix::sys::signal::Signal;
use tempfile::TempDir;
use worlds::fixtures;
use worlds::guest::{Agent, Finished, Guest};
use worlds::mock_server::MockServer;
use worlds::relay;
use worlds::service::Service;
use worlds::wait::until;

const OLD: &str = "192.0.2.1";
const NEW: &str = "192.0.2.2";
const INSTANCE: &str = "/var/lib/cloud/instance";
/// Far less than a test is patient, and more than a turn takes.
const TIMEOUT: &str = "cvm_cluster_timeout=90";

/// Services that know one pin.
struct Services {
    pin: String,
    all: Vec<Service>,
    _store: TempDir,
}

impl Services {
    fn start(number: usize) -> Self {
        let store = TempDir::with_prefix("store-").expect("a temporary directory can be made");
        let data = |index: usize| store.path().join(index.to_string());
        let mut first = Service::on(&data(0), &[]);
        let pin = first.api().new_pin();
        first.stop();
        for index in 1..number {
            copy(&data(0), &data(index));
        }
        first.resume();
        let others = (1..number).map(|index| Service::on(&data(index), &[]));
        Self { pin, all: std::iter::once(first).chain(others).collect(), _store: store }
    }

    fn urls(&self) -> String {
        join(self.all.iter().map(Service::url))
    }

    /// Changes a key in each of these that runs, as their common store would.
    fn put(&self, among: &[usize], key: &str, value: &str) {
        for index in among {
            let api = self.all[*index].api();
            let _ = api.delete(&worlds::api::key_path(&self.pin, key));
            api.create_key(&self.pin, key, value);
        }
    }

    fn become_ready(&self, among: &[usize], address: &str) {
        self.put(among, "master_ip", address);
        self.put(among, "master_ready", address);
    }
}

fn copy(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-a").arg(from).arg(to).status().expect("cp starts");
    assert!(status.success(), "cp {}: {status}", from.display());
}

fn join(urls: impl IntoIterator<Item = String>) -> String {
    urls.into_iter().collect::<Vec<_>>().join(",")
}

/// A slave of cloud-init.
struct Slave(Guest);

impl Slave {
    fn new(pin: &str, urls: &str, timeout: &str) -> Self {
        let slave = Self(Guest::with_files("slave", &[]));
        let context = fixtures::with_settings(&fixtures::slave(pin, urls), &[timeout]);
        slave.0.write(&format!("{INSTANCE}/user-data.txt.i"), &context);
        slave
    }

    /// What cloud-init does at every boot, and the agent after it.
    fn begin_boot(&self) -> Agent {
        let config = "#cloud-config\nruncmd:\n- join ###MASTER_IP_PLACEHOLDER###\n";
        self.0.write(&format!("{INSTANCE}/cloud-config.txt"), config);
        self.0.start(&["contextualize", "--cloud-init"])
    }

    fn boot(&self) -> Finished {
        self.begin_boot().finish()
    }

    #[track_caller]
    fn joins(&self, address: &str) {
        let config = self.0.read(&format!("{INSTANCE}/cloud-config.txt"));
        assert_eq!(String::from_utf8_lossy(&config), format!("#cloud-config\nruncmd:\n- join {address}\n"));
    }
}

/// Waits until a slave has asked for `master_ready` there, and is held.
fn wait_until_asked(relay: &MockServer) {
    until("the next service is asked", || {
        relay.seen().iter().any(|seen| seen.path.ends_with("/master_ready")).then_some(())
    });
}

#[test]
fn a_slave_is_woken_through_another_service_when_its_own_is_killed() {
    let mut services = Services::start(2);
    // Between the two stands one that does not know the pin: it is passed over.
    let stranger = Service::start();
    let next = relay::recorded(services.all[1].api());
    let urls = join([services.all[0].url(), stranger.url(), next.url()]);
    let slave = Slave::new(&services.pin, &urls, TIMEOUT);
    let mut agent = slave.begin_boot();
    agent.wait_until_it_says("waiting until the master is ready");
    services.all[0].kill();
    wait_until_asked(&next);
    services.become_ready(&[1], NEW);
    agent.finish().expect(0).says("asking the next service");
    slave.joins(NEW);
}

#[test]
fn a_slave_that_polls_old_services_goes_on_at_another_when_its_own_is_killed() {
    let mut services = Services::start(2);
    let [first, next] = [0, 1].map(|index| relay::old(services.all[index].api()));
    let slave = Slave::new(&services.pin, &join([first.url(), next.url()]), TIMEOUT);
    let mut agent = slave.begin_boot();
    agent.wait_until_it_says("waiting until the master is ready");
    services.all[0].kill();
    wait_until_asked(&next);
    services.become_ready(&[1], NEW);
    agent.finish().expect(0).says("asking the next service");
    slave.joins(NEW);
}

#[test]
fn a_slave_is_woken_through_another_service_when_its_own_stops_answering() {
    let services = Services::start(2);
    let next = relay::recorded(services.all[1].api());
    let urls = join([services.all[0].url(), next.url()]);
    let slave = Slave::new(&services.pin, &urls, TIMEOUT);
    let mut agent = slave.begin_boot();
    agent.wait_until_it_says("waiting until the master is ready");
    // Its system goes on taking connections, so nothing but the missing answer tells.
    services.all[0].signal(Signal::SIGSTOP);
    wait_until_asked(&next);
    services.become_ready(&[1], NEW);
    agent.finish().expect(0).says("asking the next service");
    slave.joins(NEW);
}

#[test]
fn a_service_that_was_left_gets_its_turn_again() {
    let mut services = Services::start(2);
    let slave = Slave::new(&services.pin, &services.urls(), TIMEOUT);
    let mut agent = slave.begin_boot();
    agent.wait_until_it_says("waiting until the master is ready");
    services.all[0].kill();
    let left = format!("{} cannot be used", services.all[0].url());
    agent.wait_until_it_says(&left);
    agent.wait_until_it_says("asking the next service");
    services.all[1].kill();
    services.all[0].resume();
    services.become_ready(&[0], NEW);
    agent.finish().expect(0);
    slave.joins(NEW);
}

#[test]
fn a_pin_is_unknown_only_when_every_service_has_said_so() {
    let mut services = Services::start(1);
    let stranger = Service::start();
    let both = |first: &str, second: &str| join([first.to_owned(), second.to_owned()]);
    let (known, unknown) = (services.all[0].url(), stranger.url());
    services.all[0].kill();
    for urls in [both(&known, &unknown), both(&unknown, &known)] {
        let slave = Slave::new(&services.pin, &urls, "cvm_cluster_timeout=4");
        let finished = slave.boot();
        finished
            .expect(69)
            .says("does not know the pin; passing it over")
            .says("cannot reach the pairing service");
        assert!(!finished.stderr.contains("mistyped, expired or deleted"), "{}", finished.stderr);
    }
    let other = Service::start();
    let slave = Slave::new(&services.pin, &both(&unknown, &other.url()), TIMEOUT);
    slave.boot().expect(77).says("no service of the context knows the pin");
}

#[test]
fn a_slave_that_boots_again_during_a_replacement_waits_for_the_new_address() {
    let mut services = Services::start(3);
    let next = relay::recorded(services.all[2].api());
    let urls = join([services.all[0].url(), services.all[1].url(), next.url()]);
    services.become_ready(&[0, 1, 2], OLD);
    let slave = Slave::new(&services.pin, &urls, TIMEOUT);
    slave.boot().expect(0);
    slave.joins(OLD);

    // One is dead, one does not answer, and the third says otherwise than the cache.
    services.all[0].kill();
    services.all[1].signal(Signal::SIGSTOP);
    let path = worlds::api::key_path(&services.pin, "master_ready");
    let _ = services.all[2].api().delete(&path);
    services.put(&[2], "master_ip", NEW);
    let mut agent = slave.begin_boot();
    agent.wait_until_it_says("does not confirm that the master is still 192.0.2.1");
    assert!(agent.is_running());
    services.put(&[2], "master_ready", NEW);
    agent.finish().expect(0).says("192.0.2.2");
    slave.joins(NEW);
}

#[test]
fn a_slave_that_boots_again_among_silent_services_goes_on_with_its_cache() {
    let mut services = Services::start(2);
    services.become_ready(&[0, 1], OLD);
    let slave = Slave::new(&services.pin, &services.urls(), TIMEOUT);
    slave.boot().expect(0);
    services.all[0].signal(Signal::SIGSTOP);
    services.all[1].signal(Signal::SIGSTOP);
    slave.boot().expect(0).says("the values are those of an earlier boot");
    slave.joins(OLD);
    services.all[0].kill();
    services.all[1].kill();
    slave.boot().expect(0).says("the values are those of an earlier boot");
    slave.joins(OLD);
}

#[test]
fn a_service_that_forgets_the_pin_does_not_end_the_wait_at_another() {
    let services = Services::start(2);
    let next = relay::recorded(services.all[1].api());
    let urls = join([services.all[0].url(), next.url()]);
    let slave = Slave::new(&services.pin, &urls, TIMEOUT);
    let mut agent = slave.begin_boot();
    agent.wait_until_it_says("waiting until the master is ready");
    services.all[0].api().delete_pin(&services.pin);
    wait_until_asked(&next);
    services.become_ready(&[1], NEW);
    agent.finish().expect(0);
    slave.joins(NEW);
}
