//! The lab itself: what the other worlds take for granted.

use std::net::Ipv4Addr;

use worlds::boot::debian::{Debian, Release};
use worlds::boot::lab::Lab;
use worlds::boot::nspawn::Machine;
use worlds::together::together;

/// A unit that both machines have, as machines of one kind have all their units.
const UNIT: &str = "[Unit]\nStartLimitIntervalSec=0\n[Service]\nType=oneshot\nExecStart=/bin/true\n";
/// Starts of it in each machine. Where they shared a control group, one in six failed.
const STARTS: u32 = 60;

#[test]
#[ignore = "needs root: boots machines"]
fn machines_that_start_the_same_unit_do_not_get_in_each_others_way() {
    let lab = Lab::new();
    let debian = Debian::root_of(Release::Bookworm);
    let mut machines = [("one", 41), ("two", 42)].map(|(name, number)| {
        let mut machine = Machine::new(&lab, &debian, name, Ipv4Addr::new(10, 77, 0, number));
        machine.root().write("/etc/systemd/system/probe.service", UNIT);
        machine.without_cloud_init();
        machine.boot();
        machine
    });
    for machine in &mut machines {
        machine.wait_until_booted();
    }
    together(&machines, |machine| {
        machine.sh(&format!("for start in $(seq {STARTS}); do systemctl start probe.service; done"));
    });
}
