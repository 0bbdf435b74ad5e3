//! `make boot-full`: the Debian roots as full virtual machines with kernels of their own, a master and a slave at once,
//! and the time line of each.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use worlds::boot::debian::{Debian, RELEASES};
use worlds::boot::full::FullVm;
use worlds::boot::lab::Lab;
use worlds::boot::service::LabService;

const MASTER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 11);
const SLAVE: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 21);
/// Under an emulated processor, beside another machine: a boot takes about a minute where nothing else runs.
const PATIENCE: Duration = Duration::from_secs(600);
const PAUSE: Duration = Duration::from_millis(50);

/// What to look for on a console, in the order in which a boot says it.
const STEPS: [&str; 8] = [
    "Welcome to",
    "Cluster contextualization...",
    "the slaves can learn this master's address",
    "waiting until the master is ready",
    "10.77.0.11, is ready",
    "Cloud-init: Config Stage",
    "the runcmd has 10.77.0.11",
    "this VM is a slave: nothing to do",
];
/// The same for a master, whose last step is that it is ready.
const MASTERS_STEPS: [&str; 5] = [
    "Welcome to",
    "Cluster contextualization...",
    "the slaves can learn this master's address",
    "Cluster master is ready...",
    "this master is ready",
];

fn main() {
    for release in RELEASES {
        let debian = Debian::root_of(release);
        let lab = Lab::new();
        let service = LabService::up(&lab);
        let pin = service.new_pin();
        let context = |more: &str, runcmd: &str| {
            format!(
                "#cloud-config\n#[ucernvm-begin]\n#cvm_cluster_pin={pin}\n#cvm_service_url={}\n#{more}\n\
                 #[ucernvm-end]\nlocale: false\nruncmd:\n- {runcmd}\n",
                service.url()
            )
        };
        let say = "echo \"the runcmd has ###MASTER_IP_PLACEHOLDER###\" >/dev/console";
        let mut slave = FullVm::boot(&lab, &debian, "slave", SLAVE, &context("", say));
        let mut master =
            FullVm::boot(&lab, &debian, "master", MASTER, &context("cvm_cluster_master=yes", "true"));
        let began = Instant::now();
        loop {
            let (slave_done, master_done) = (slave.look_for(&STEPS), master.look_for(&MASTERS_STEPS));
            if slave_done && master_done {
                break;
            }
            assert!(began.elapsed() < PATIENCE, "gave up waiting for {release:?}");
            std::thread::sleep(PAUSE);
        }
        println!("\n== {release:?}\n{}\n{}\n", master.time_line(), slave.time_line());
    }
}
