//! Clusters of Debian machines with real systemd and real cloud-init: a master and its slaves, slaves first, with
//! everything in the slaves' contexts that can hold a placeholder.

mod consumers;
mod follow;
mod nodes;

use std::io::Write as _;
use std::net::Ipv4Addr;

use consumers::Outcome::{self, Nothing, Placeholder, Right};
use flate2::Compression;
use flate2::write::GzEncoder;
use worlds::binaries;
use worlds::boot::debian::{Debian, RELEASES, Release};
use worlds::boot::lab::Lab;
use worlds::boot::nspawn::Machine;
use worlds::boot::service::LabService;

/// What the master publishes besides its address.
const TOKEN: &str = "K10c0ffee::server:abc=";
/// How long the machines that boot without a service look for it, in seconds.
const SHORT: u64 = 4;

const MASTER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 11);
const OTHER_MASTER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 12);
const SLAVE: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 21);
const COMPRESSED_SLAVE: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 22);
const NEW_SLAVE: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 23);

/// What comes of a slave's first boot, in the order of the consumers: all is right but for what cloud-init has done
/// before its network stage is over, and for what its YAML parser has taken for a comment.
const FIRST_BOOT: [Outcome; 19] = [
    Placeholder,
    Placeholder,
    Placeholder,
    Placeholder, // bootcmd, boothook, part-handler, its payload
    Right,
    Right,
    Right,
    Right, // write_files
    Right,
    Right,
    Nothing,
    Right, // runcmd, the third unquoted
    Right,
    Right,
    Right,
    Right,
    Right, // scripts
    Right,
    Right, // per boot, per instance
];
/// What comes of early mode: all is right.
const EARLY: [Outcome; 19] = [Right; 19];

/// Later boots: what cloud-init does at every boot.
fn later_boot(first: [Outcome; 19]) -> [Outcome; 19] {
    let mut expected = [Nothing; 19];
    for (row, consumer) in consumers::CONSUMERS.iter().enumerate() {
        if ["bootcmd", "boothook", "script_per_boot"].contains(consumer) {
            expected[row] = first[row];
        }
    }
    expected
}

/// A section of a context.
fn section(url: &str, pin: &str, more: &str) -> String {
    format!("[ucernvm-begin]\ncvm_cluster_pin={pin}\ncvm_service_url={url}\n{more}\n[ucernvm-end]\n")
}

/// A machine with the agent, which has never booted.
fn machine<'lab>(lab: &'lab Lab, debian: &Debian, name: &str, address: Ipv4Addr) -> Machine<'lab> {
    let machine = Machine::new(lab, debian, name, address);
    machine.root().install("agent", &binaries::static_agent());
    machine
        .root()
        .sh("systemctl --quiet enable cernvm-cluster-contextualization cernvm-cluster-master-ready");
    machine
}

fn compressed(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text.as_bytes()).expect("memory takes all");
    encoder.finish().expect("memory takes all")
}

fn outcomes(slave: &Machine<'_>, master: Ipv4Addr) -> Vec<Outcome> {
    consumers::outcomes(slave.root(), &master.to_string(), TOKEN)
}

#[test]
#[ignore = "needs root: boots machines"]
fn a_cluster_boots_and_boots_again_on_debian_12() {
    a_cluster_boots_and_boots_again(Release::Bookworm);
}

#[test]
#[ignore = "needs root: boots machines"]
fn a_cluster_boots_and_boots_again_on_debian_13() {
    a_cluster_boots_and_boots_again(Release::Trixie);
}

fn a_cluster_boots_and_boots_again(release: Release) {
    let debian = Debian::root_of(release);
    let lab = Lab::new();
    let mut service = LabService::up(&lab);
    let pin = service.new_pin();
    service.stop();

    // The slaves come first, and find no service.
    let slaves_section = section(&service.url(), &pin, "");
    let context = consumers::slave(&slaves_section);
    let mut slave = machine(&lab, &debian, "slave", SLAVE);
    slave.seed("i-slave", &context);
    let mut compressed_slave = machine(&lab, &debian, "zslave", COMPRESSED_SLAVE);
    compressed_slave.seed("i-zslave", compressed(&context));
    slave.boot();
    compressed_slave.boot();
    service.wait_until_refused();
    service.start();
    slave.wait_until_console_says("waiting until the master is ready");

    let mut master = machine(&lab, &debian, "master", MASTER);
    let masters = format!("cvm_cluster_master=yes\ncvm_cluster_timeout={SHORT}");
    master.seed("i-master", consumers::master(&section(&service.url(), &pin, &masters), TOKEN));
    master.boot();
    master.wait_until_booted();
    slave.wait_until_booted();
    compressed_slave.wait_until_booted();

    let first = outcomes(&slave, MASTER);
    let compressed_first = outcomes(&compressed_slave, MASTER);
    assert!(consumers::is_contextualized(slave.root(), &MASTER.to_string()));
    let ready = || service.ask(|api| api.value(&pin, "master_ready"));
    assert_eq!(ready(), Some(MASTER.to_string()));
    for machine in [&mut slave, &mut compressed_slave, &mut master] {
        machine.power_off();
        assert!(!machine.console().contains(&pin), "a console shows the pin");
    }

    assert_eq!(ready(), None, "a master that is shut down is not ready");

    // All of it again, and no service any more.
    service.stop();
    consumers::forget(slave.root());
    slave.boot();
    master.boot();
    slave.wait_until_booted();
    let second = outcomes(&slave, MASTER);
    assert!(consumers::is_contextualized(slave.root(), &MASTER.to_string()));
    // One of its placeholders is not quoted: that is said at every boot, in the words of `check`.
    let comment = "YAML takes ###MASTER_IP_PLACEHOLDER### for a comment here";
    slave.wait_until_console_says(comment);
    master.wait_until_booted();
    master.wait_until_console_says("cannot reach the pairing service");
    slave.power_off();
    master.power_off();

    println!(
        "{}",
        consumers::table(
            &format!("{release:?}"),
            &[("first boot", &first), ("compressed", &compressed_first), ("reboot", &second)]
        )
    );
    assert_eq!(first, FIRST_BOOT);
    assert_eq!(compressed_first, FIRST_BOOT);
    assert_eq!(second, later_boot(FIRST_BOOT));
}

#[test]
#[ignore = "needs root: boots machines"]
fn early_mode_reaches_everything() {
    for release in RELEASES {
        let debian = Debian::root_of(release);
        let lab = Lab::new();
        let mut service = LabService::up(&lab);
        let pin = service.new_pin();
        let mut slave = machine(&lab, &debian, "early", SLAVE);
        slave.seed("i-early", consumers::slave(&section(&service.url(), &pin, "cvm_cluster_early=yes")));
        slave.boot();
        slave.wait_until_console_says("waiting until the master is ready");
        become_ready(&service, &pin, MASTER);
        slave.wait_until_booted();
        let first = outcomes(&slave, MASTER);
        assert!(consumers::is_contextualized(slave.root(), &MASTER.to_string()));
        slave.power_off();

        service.stop();
        consumers::forget(slave.root());
        slave.boot();
        slave.wait_until_booted();
        let second = outcomes(&slave, MASTER);
        slave.power_off();

        let columns: [(&str, &[Outcome]); 2] = [("first boot", &first), ("reboot", &second)];
        println!("{}", consumers::table(&format!("{release:?}, early mode"), &columns));
        assert_eq!(first, EARLY);
        assert_eq!(second, later_boot(EARLY));
    }
}

/// What a master tells the service, without a machine.
fn become_ready(service: &LabService<'_>, pin: &str, master: Ipv4Addr) {
    service.ask(|api| {
        api.create_key(pin, "join_token", TOKEN);
        api.create_key(pin, "master_ip", &master.to_string());
        api.create_key(pin, "master_ready", &master.to_string());
    });
}

#[test]
#[ignore = "needs root: boots machines"]
fn a_replaced_master_is_found_by_new_slaves_and_rebooted_ones() {
    for release in RELEASES {
        let debian = Debian::root_of(release);
        let lab = Lab::new();
        let service = LabService::up(&lab);
        let pin = service.new_pin();
        let context = consumers::slave(&section(&service.url(), &pin, ""));
        become_ready(&service, &pin, MASTER);
        let mut slave = machine(&lab, &debian, "slave", SLAVE);
        slave.seed("i-slave", &context);
        slave.boot();
        slave.wait_until_booted();
        slave.power_off();
        assert_eq!(outcomes(&slave, MASTER), FIRST_BOOT);

        let mut other = machine(&lab, &debian, "master2", OTHER_MASTER);
        let section = section(&service.url(), &pin, "cvm_cluster_master=yes");
        other.seed("i-other", consumers::master(&section, TOKEN));
        let mut new_slave = machine(&lab, &debian, "slave2", NEW_SLAVE);
        new_slave.seed("i-new", &context);
        other.boot();
        other.wait_until_booted();
        other.wait_until_console_says("takes its place");
        slave.boot();
        new_slave.boot();
        slave.wait_until_booted();
        new_slave.wait_until_booted();

        assert_eq!(outcomes(&new_slave, OTHER_MASTER), FIRST_BOOT);
        for machine in [&slave, &new_slave] {
            assert!(consumers::is_contextualized(machine.root(), &OTHER_MASTER.to_string()));
        }
        // What cloud-init does once an instance stays as it was done; what it does at every boot has the new address.
        for (consumer, (old, new)) in consumers::CONSUMERS
            .iter()
            .zip(outcomes(&slave, MASTER).iter().zip(outcomes(&slave, OTHER_MASTER)))
        {
            match *consumer {
                "script_per_boot" => assert_eq!(new, Right),
                "runcmd" | "script" | "write_files" | "script_per_instance" => {
                    assert_eq!(*old, Right, "{consumer}");
                }
                _ => {}
            }
        }
    }
}

#[test]
#[ignore = "needs root: boots machines"]
fn a_clone_does_not_inherit_the_master() {
    for release in RELEASES {
        let debian = Debian::root_of(release);
        let lab = Lab::new();
        let mut service = LabService::up(&lab);
        let pin = service.new_pin();
        let context =
            consumers::slave(&section(&service.url(), &pin, &format!("cvm_cluster_timeout={SHORT}")));
        become_ready(&service, &pin, MASTER);
        let mut slave = machine(&lab, &debian, "slave", SLAVE);
        slave.seed("i-original", &context);
        slave.boot();
        slave.wait_until_booted();
        slave.power_off();
        assert!(consumers::is_contextualized(slave.root(), &MASTER.to_string()));

        service.stop();
        slave.seed("i-clone", &context);
        slave.boot();
        slave.wait_until_booted();
        assert!(consumers::is_bare(slave.root()));
        slave.wait_until_console_says("cannot reach the pairing service");
    }
}

#[test]
#[ignore = "needs root: boots machines"]
fn a_pin_that_nobody_knows_does_not_stop_a_boot() {
    for release in RELEASES {
        let debian = Debian::root_of(release);
        let lab = Lab::new();
        let service = LabService::up(&lab);
        let mut slave = machine(&lab, &debian, "slave", SLAVE);
        slave.seed("i-slave", consumers::slave(&section(&service.url(), "nobodyknows1", "")));
        slave.boot();
        slave.wait_until_booted();
        slave.wait_until_console_says("does not know the pin nobo…");
        slave.wait_until_console_says("make a new pin");
        // Everything ran, with what was there.
        let mut expected = FIRST_BOOT.map(|outcome| if outcome == Right { Placeholder } else { outcome });
        expected
            [consumers::CONSUMERS.iter().position(|name| *name == "runcmd_other_key").expect("it is one")] =
            Outcome::Wrong;
        assert_eq!(outcomes(&slave, MASTER), expected);
    }
}
