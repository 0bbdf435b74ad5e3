//! Masters and slaves of clusters that come up while something fails: real agents, which know all servers.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};

use worlds::fixtures;
use worlds::guest::{Agent, Guest, USER_DATA};

use crate::load::new_pin;

/// Longer than every fault, shorter than a test is patient.
const TIMEOUT: &str = "cvm_cluster_timeout=110";
const PLACEHOLDER: &str = "###MASTER_IP_PLACEHOLDER###";

/// A slave that boots.
pub(super) struct Slave {
    guest: Guest,
    before: String,
    pub(super) agent: Agent,
}

impl Slave {
    pub(super) fn start(pin: &str, urls: &str, timeout: &str) -> Self {
        let before = fixtures::with_settings(&fixtures::slave(pin, urls), &[timeout]);
        let guest = Guest::new("slave", &before);
        let agent = guest.start(&["contextualize"]);
        Self { guest, before, agent }
    }

    /// Waits until it has this address, and has put it where the placeholder was.
    #[track_caller]
    fn joins(self, address: &str) {
        self.agent.finish().expect(0);
        assert_eq!(self.guest.context(), self.before.replace(PLACEHOLDER, address));
    }
}

/// A cluster whose slaves wait for its master: each asks another server first.
pub(super) struct Forming {
    pin: String,
    urls: String,
    master: Guest,
    pub(super) slaves: Vec<Slave>,
}

impl Forming {
    /// The master has pushed an address at which it never becomes ready.
    pub(super) fn begin(servers: &[SocketAddr]) -> Self {
        let pin = new_pin(servers);
        let from = |first: usize| {
            let all = servers.iter().cycle().skip(first).take(servers.len());
            all.map(|server| format!("http://{server}")).collect::<Vec<_>>().join(",")
        };
        let urls = from(0);
        let cluster = Self { master: Guest::new("master", "x"), slaves: Vec::new(), pin, urls };
        cluster.boot_master(1, "192.0.2.1");
        let slave = |first| {
            let mut slave = Slave::start(&cluster.pin, &from(first), TIMEOUT);
            slave.agent.wait_until_it_says("waiting until the master is ready");
            slave
        };
        let slaves = (0..servers.len()).map(slave).collect();
        Self { slaves, ..cluster }
    }

    fn boot_master(&self, boot: u32, address: &str) {
        let settings = [&format!("cvm_cluster_master_ip={address}")[..], TIMEOUT];
        let context = fixtures::with_settings(&fixtures::master(&self.pin, &self.urls), &settings);
        self.master.write(USER_DATA, context);
        self.master.write("/proc/sys/kernel/random/boot_id", format!("boot-{boot}\n"));
        self.master.run(&["contextualize"]).expect(0);
    }

    /// The master boots at another address, and is ready there: that is the one which every slave gets. Gives how many
    /// slaves there were.
    pub(super) fn finish(mut self) -> usize {
        self.boot_master(2, "192.0.2.2");
        for slave in &mut self.slaves {
            assert!(slave.agent.is_running(), "a slave goes on with an address that is not ready");
        }
        self.master.run(&["master-ready"]).expect(0);
        let slaves = self.slaves.len();
        for slave in self.slaves {
            slave.joins("192.0.2.2");
        }
        slaves
    }
}

/// Forms this cluster and further ones until `stop`, and gives how many slaves have joined.
pub(super) fn form(first: Forming, servers: &[SocketAddr], stop: &AtomicBool) -> usize {
    let mut joined = first.finish();
    while !stop.load(Ordering::Relaxed) {
        joined += Forming::begin(servers).finish();
    }
    joined
}
