//! A cluster from contexts, such as `contexts --template` makes: its machines, as a user launches them.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use crate::binaries;
use crate::boot::debian::Debian;
use crate::boot::lab::Lab;
use crate::boot::nspawn::Machine;
use crate::boot::service::LabService;

/// The packages are in the root already and there is no mirror to reach: cloud-init's apt-get finds nothing to do.
const NO_MIRROR: &str = "apt: {preserve_sources_list: true}\n";

/// The addresses of the machines.
const MASTER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 11);
const SLAVES: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 77, 0, 21), Ipv4Addr::new(10, 77, 0, 22)];

/// A master, `master`, and two slaves, `n1` and `n2`, that have not booted yet.
#[derive(Debug)]
pub struct WorkedCluster<'lab> {
    /// The pin.
    pub pin: String,
    /// The master.
    pub master: Machine<'lab>,
    /// The slaves.
    pub slaves: Vec<Machine<'lab>>,
}

impl<'lab> WorkedCluster<'lab> {
    /// Makes the contexts of a template, sealed as they are by default, and machines with them.
    ///
    /// # Panics
    /// When that fails.
    #[must_use]
    pub fn new(lab: &'lab Lab, debian: &Debian, service: &LabService<'_>, template: &str) -> Self {
        let context = |role: &str| lab.dir().join(format!("{role}-context"));
        let made = lab
            .command(binaries::server())
            .args(["contexts", "--template", template, "--url", &service.url()])
            .arg("--master")
            .arg(context("master"))
            .arg("--slave")
            .arg(context("slave"))
            .output()
            .expect("nsenter starts");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let read = |path: PathBuf| std::fs::read_to_string(path).expect("contexts has written it");
        Self::of_contexts(lab, debian, &read(context("master")), &read(context("slave")))
    }

    /// Machines with these contexts, which are sealed.
    ///
    /// # Panics
    /// When that fails.
    #[must_use]
    pub fn of_contexts(lab: &'lab Lab, debian: &Debian, for_master: &str, for_slaves: &str) -> Self {
        let (_, pin) = for_slaves.split_once("cvm_cluster_pin=").expect("it has a pin");
        let pin = pin.lines().next().expect("it has a pin").to_owned();
        assert!(for_slaves.contains("cvm_cluster_secret="), "a cluster is sealed by default");

        let machine = |name, address, context: &str| {
            let machine = Machine::new(lab, debian, name, address);
            machine.root().install("agent", &binaries::static_agent());
            machine
                .root()
                .sh("systemctl --quiet enable cernvm-cluster-contextualization cernvm-cluster-master-ready");
            machine.root().write("/etc/cloud/cloud.cfg.d/90-no-mirror.cfg", NO_MIRROR);
            machine.root().write("/etc/apt/sources.list", "");
            machine.seed(&format!("i-{name}"), context);
            machine
        };
        let master = machine("master", MASTER, for_master);
        let slaves = [("n1", SLAVES[0]), ("n2", SLAVES[1])];
        let slaves = slaves.map(|(name, address)| machine(name, address, for_slaves)).into();
        Self { pin, master, slaves }
    }

    /// Boots all of it, slaves first.
    ///
    /// # Panics
    /// When one does not come up.
    pub fn boot(&mut self) {
        for slave in &mut self.slaves {
            slave.boot();
        }
        self.master.boot();
        self.master.wait_until_booted();
        for slave in &mut self.slaves {
            slave.wait_until_booted();
        }
    }

    /// The addresses of the machines, the master's first.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        std::iter::once(&self.master).chain(&self.slaves).map(|machine| machine.address().into())
    }
}
