//! `make boot-times`: what the contextualization adds to the boot of a slave whose data is there.
//!
//! The same machine boots with our units and without, in turn. How long the unit itself took comes from systemd.

use std::net::Ipv4Addr;
use std::time::Duration;

use worlds::binaries;
use worlds::boot::debian::{Debian, RELEASES};
use worlds::boot::lab::Lab;
use worlds::boot::nspawn::Machine;
use worlds::boot::service::LabService;

const MASTER: &str = "10.77.0.11";
const SLAVE: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 21);
/// An odd number, so that there is one in the middle.
const BOOTS: usize = 5;
const UNITS: &str = "cernvm-cluster-contextualization cernvm-cluster-master-ready";
/// Where the machine leaves what systemd says of the unit.
const REPORT: &str = "/var/lib/unit-times";
const REPORTING: &str = "\
[Service]
ExecStartPre=/bin/sh -c 'systemctl show cernvm-cluster-contextualization \
    -p ExecMainStartTimestampMonotonic -p ExecMainExitTimestampMonotonic >/var/lib/unit-times'
";

fn main() {
    for release in RELEASES {
        let debian = Debian::root_of(release);
        let lab = Lab::new();
        let service = LabService::up(&lab);
        let pin = service.new_pin();
        service.ask(|api| {
            api.create_key(&pin, "master_ip", MASTER);
            api.create_key(&pin, "master_ready", MASTER);
        });
        let mut slave = Machine::new(&lab, &debian, "slave", SLAVE);
        slave.root().install("agent", &binaries::static_agent());
        slave.root().write("/etc/systemd/system/machine-has-booted.service.d/times.conf", REPORTING);
        slave.seed(
            "i-slave",
            format!(
                "#cloud-config\n#[ucernvm-begin]\n#cvm_cluster_pin={pin}\n#cvm_service_url={}\n#[ucernvm-end]\n\
                 locale: false\nruncmd:\n- [ echo, \"###MASTER_IP_PLACEHOLDER###\" ]\n",
                service.url()
            ),
        );
        let mut boot = |units: &str| {
            slave.root().sh(&format!("systemctl --quiet {units} {UNITS}"));
            slave.boot();
            let took = slave.wait_until_booted();
            slave.power_off();
            let report = slave.root().read(REPORT).expect("the machine has left it");
            (took, unit_time(&report))
        };
        // The first boot makes the instance.
        let (_, first) = boot("enable");
        let (mut with, mut without, mut unit) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..BOOTS {
            let (took, unit_took) = boot("enable");
            with.push(took);
            unit.push(unit_took);
            without.push(boot("disable").0);
        }
        println!(
            "\n== {release:?}: median of {BOOTS} boots with our units {:.3} s, without {:.3} s; \
             the unit itself {:.3} s, at the first boot {:.3} s\n",
            median(with),
            median(without),
            median(unit),
            first.as_secs_f64()
        );
    }
}

fn unit_time(report: &str) -> Duration {
    let stamp = |name: &str| -> u64 {
        let value = report.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        value.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {name} in {report}"))
    };
    let began = stamp("ExecMainStartTimestampMonotonic");
    Duration::from_micros(stamp("ExecMainExitTimestampMonotonic").saturating_sub(began))
}

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort();
    times[times.len() / 2].as_secs_f64()
}
