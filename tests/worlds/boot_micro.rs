//! A cluster of µCernVM machines: the boot loader as its builder puts it together, with our scripts between stand-ins
//! for their neighbours, in virtual machines with a kernel of their own.

use std::net::Ipv4Addr;

use worlds::binaries;
use worlds::boot::debian::{Debian, Release};
use worlds::boot::lab::Lab;
use worlds::boot::microvm::{Image, MicroVm};
use worlds::boot::service::LabService;

const MASTER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 11);
const SLAVE: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 21);
const INJECTED_SLAVE: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 22);
const OTHER_MASTER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 12);

/// What the boot loader leaves for the system that it boots, on the machine's disk.
const USER_DATA: &str = "context/user-data";
/// Where amiconfig looks first, below the system's root, which is this directory of the disk.
const AMICONFIG: &str = "persistent/var/lib/amiconfig/2007-12-15/user-data";
/// The boot loader's log, as the booted system sees it.
const LOG: &str = "persistent/var/log/context.log";
/// Has the boot loader ask the cloud for user-data at every boot, as some releases do.
const ASK_ALWAYS: &str = "datasource=always";
/// For those that boot without a service.
const TIMEOUT: &str = "cvm_cluster_timeout=4";

fn section(lines: &[&str]) -> String {
    format!("[ucernvm-begin]\n{}\n[ucernvm-end]\n", lines.join("\n"))
}

/// A slave's context: what it does with its master's address is for the stand-in of the booted system to read.
fn slave_context(section: &str) -> String {
    format!("[amiconfig]\nplugins=cernvm\n{section}\nmy_master_ip=###MASTER_IP_PLACEHOLDER###\n")
}

#[track_caller]
fn assert_knows(slave: &MicroVm<'_>, master: Ipv4Addr) {
    for path in [USER_DATA, AMICONFIG] {
        let content = slave.read(path).unwrap_or_else(|| panic!("there is no {path}"));
        assert!(content.contains(&format!("my_master_ip={master}\n")), "{path}:\n{content}");
        assert!(!content.contains("PLACEHOLDER"), "{path}:\n{content}");
    }
}

#[test]
#[ignore = "needs root: boots machines"]
fn a_cluster_boots_and_boots_again_without_a_service() {
    let lab = Lab::new();
    let image = Image::build(&lab, &Debian::root_of(Release::Bookworm), &binaries::static_agent());
    let mut service = LabService::up(&lab);
    let pin = service.new_pin();
    let url_line = format!("cvm_service_url={}", service.url());
    let pin_line = format!("cvm_cluster_pin={pin}");

    let mut slave = MicroVm::new(&lab, &image, "slave", SLAVE);
    slave.seed(slave_context(&section(&[&pin_line, &url_line])));
    // This one's user-data is that of all VMs; what makes it a slave of this cluster was injected into its disk.
    let mut injected = MicroVm::new(&lab, &image, "injected", INJECTED_SLAVE);
    injected.seed(slave_context(""));
    injected.inject(section(&[&pin_line, &url_line]));
    slave.boot("");
    injected.boot("");
    slave.wait_until_console_says("waiting until the master is ready");
    injected.wait_until_console_says("waiting until the master is ready");

    let mut master = MicroVm::new(&lab, &image, "master", MASTER);
    master.seed(section(&[&pin_line, &url_line, "cvm_cluster_master=yes"]));
    master.boot("");
    for machine in [&mut slave, &mut injected] {
        let console = machine.boot_ends();
        // It has fetched this from the master's address.
        assert!(console.contains("greetings from the master"), "{console}");
        assert!(console.contains("check"), "{console}");
        assert!(!console.contains(&pin), "the console shows the pin");
        assert_knows(machine, MASTER);
        for secret in [AMICONFIG, USER_DATA, "context/ucontext", "context/cernvm-cluster-user-data"] {
            assert_eq!(machine.mode(secret), 0o600, "{secret}");
        }
        let log = machine.read(LOG).expect("the boot loader has a log");
        assert!(log.contains("the master, 10.77.0.11, is ready"), "{log}");
    }

    assert_eq!(injected.mode("context/extra-ucontext"), 0o600);

    // Again without a service, with the cloud's user-data and without: there is no pin in it for the second slave.
    service.stop();
    for words in ["", ASK_ALWAYS] {
        for machine in [&mut slave, &mut injected] {
            machine.boot(words);
            let console = machine.boot_ends();
            assert!(console.contains("the values are those of an earlier boot"), "{words:?}:\n{console}");
            assert!(console.contains("greetings from the master"), "{words:?}:\n{console}");
            assert_knows(machine, MASTER);
        }
    }
}

#[test]
#[ignore = "needs root: boots machines"]
fn a_reboot_finds_a_replaced_master_and_a_clone_does_not_inherit() {
    let lab = Lab::new();
    let image = Image::build(&lab, &Debian::root_of(Release::Bookworm), &binaries::static_agent());
    let mut service = LabService::up(&lab);
    let pin = service.new_pin();
    let lines = [format!("cvm_cluster_pin={pin}"), format!("cvm_service_url={}", service.url())];
    let become_ready = |address: Ipv4Addr, service: &LabService<'_>| {
        service.ask(|api| {
            for key in ["master_ip", "master_ready"] {
                let _ = api.delete(&worlds::api::key_path(&pin, key));
                api.create_key(&pin, key, &address.to_string());
            }
        });
    };
    become_ready(MASTER, &service);
    let mut slave = MicroVm::new(&lab, &image, "slave", SLAVE);
    slave.seed(slave_context(&section(&[&lines[0], &lines[1], TIMEOUT])));
    slave.boot("");
    slave.boot_ends();
    assert_knows(&slave, MASTER);

    become_ready(OTHER_MASTER, &service);
    slave.boot("");
    let console = slave.boot_ends();
    assert!(console.contains("the master is now 10.77.0.12"), "{console}");
    assert_knows(&slave, OTHER_MASTER);

    // The same disk in another machine, which fetches no user-data: the original's master is not its own.
    service.stop();
    slave.become_a_clone();
    slave.boot("");
    let console = slave.boot_ends();
    assert!(console.contains("cannot reach the pairing service"), "{console}");
    assert!(console.contains("failed"), "{console}");
    let user_data = slave.read(USER_DATA).expect("it was there at the first boot");
    assert!(user_data.contains("my_master_ip=###MASTER_IP_PLACEHOLDER###"), "{user_data}");

    // Given user-data of no cluster it has nothing left of one, at a boot that fetches none either.
    slave.seed("[amiconfig]\nplugins=cernvm\n");
    for words in [ASK_ALWAYS, ""] {
        slave.boot(words);
        slave.boot_ends();
        let user_data = slave.read(USER_DATA).expect("the boot loader keeps it");
        assert_eq!(user_data, "[amiconfig]\nplugins=cernvm\n", "{words:?}");
        for file in [AMICONFIG, "context/cernvm-cluster-user-data", "context/cernvm-cluster.json"] {
            assert_eq!(slave.read(file), None, "{words:?}");
        }
    }
}

#[test]
#[ignore = "needs root: boots machines"]
fn a_clone_with_user_data_of_its_own_does_not_obey_what_was_injected_into_its_original() {
    let lab = Lab::new();
    let image = Image::build(&lab, &Debian::root_of(Release::Bookworm), &binaries::static_agent());
    let service = LabService::up(&lab);
    let (old, new) = (service.new_pin(), service.new_pin());
    let url_line = format!("cvm_service_url={}", service.url());
    let section_of = |pin: &str| section(&[&format!("cvm_cluster_pin={pin}"), &url_line]);
    service.ask(|api| {
        for (pin, master) in [(&old, MASTER), (&new, OTHER_MASTER)] {
            for key in ["master_ip", "master_ready"] {
                api.create_key(pin, key, &master.to_string());
            }
        }
    });
    let mut machine = MicroVm::new(&lab, &image, "slave", SLAVE);
    machine.seed(slave_context(""));
    machine.inject(section_of(&old));
    machine.boot("");
    machine.boot_ends();
    assert_knows(&machine, MASTER);

    machine.become_a_clone();
    machine.seed(slave_context(&section_of(&new)));
    machine.boot(ASK_ALWAYS);
    machine.boot_ends();
    assert_knows(&machine, OTHER_MASTER);
    let kept = machine.read("context/extra-ucontext").expect("the file itself is the boot loader's");
    assert!(!kept.contains("CVM_CLUSTER"), "{kept}");
}

#[test]
#[ignore = "needs root: boots machines"]
fn a_machine_of_no_cluster_boots_as_ever() {
    let lab = Lab::new();
    let image = Image::build(&lab, &Debian::root_of(Release::Trixie), &binaries::static_agent());
    let mut machine = MicroVm::new(&lab, &image, "single", SLAVE);
    machine.seed(slave_context(""));
    machine.boot("");
    let console = machine.boot_ends();
    assert!(console.contains("there is no ucernvm section: nothing to do"), "{console}");
    assert_eq!(machine.read("context/cernvm-cluster-user-data"), None);
    assert_eq!(machine.read(AMICONFIG), None, "its user-data stays where the cloud has it");
    assert!(machine.read("context/ami-contextualized").is_some());
}
