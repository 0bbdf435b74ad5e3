//! `doctor` in booted Debian machines, beside the real systemd and the real cloud-init: what it says in each situation
//! of a slave, and that it sees what the unit sees.

use std::net::Ipv4Addr;

use worlds::binaries;
use worlds::boot::debian::{Debian, Release};
use worlds::boot::lab::Lab;
use worlds::boot::nspawn::Machine;
use worlds::boot::service::LabService;

const MASTER: &str = "10.77.0.11";
const SLAVE: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 21);
/// What the context's script leaves.
const SEEN: &str = "/root/seen";
/// Nothing listens there.
const CLOSED: &str = "http://10.77.0.1:9";
const UNIT: &str = "cernvm-cluster-contextualization.service";

fn context(url: &str, pin: &str, more: &str) -> String {
    format!(
        "#cloud-config\n# [ucernvm-begin]\n# cvm_cluster_pin={pin}\n# cvm_service_url={url}\n\
         # cvm_cluster_timeout=3\n{more}# [ucernvm-end]\nlocale: false\nssh_genkeytypes: [ed25519]\n\
         runcmd:\n- echo '###MASTER_IP_PLACEHOLDER###' >> {SEEN}\n"
    )
}

fn slave<'lab>(lab: &'lab Lab, debian: &Debian, context: &str) -> Machine<'lab> {
    let machine = Machine::new(lab, debian, "slave", SLAVE);
    machine.root().install("agent", &binaries::static_agent());
    machine
        .root()
        .sh("systemctl --quiet enable cernvm-cluster-contextualization cernvm-cluster-master-ready");
    machine.seed("i-slave", context);
    machine
}

fn become_ready(service: &LabService<'_>, pin: &str) {
    service.ask(|api| {
        api.create_key(pin, "master_ip", MASTER);
        api.create_key(pin, "master_ready", MASTER);
    });
}

/// What the doctor prints, and its exit status in the last line.
#[track_caller]
fn doctor(machine: &Machine<'_>, status: u8, says: &[&str]) -> String {
    let said = machine.sh("cernvm-cluster-agent doctor || echo \"exit status $?\"");
    println!("{said}");
    let expected = format!("exit status {status}");
    assert_eq!(said.contains("exit status"), status != 0, "{said}");
    assert!(status == 0 || said.contains(&expected), "not {expected}:\n{said}");
    for words in says {
        assert!(said.contains(words), "it does not say {words:?}, but:\n{said}");
    }
    said
}

fn unit(machine: &Machine<'_>, property: &str) -> String {
    machine.sh(&format!("systemctl show --property={property} --value {UNIT}")).trim().to_owned()
}

/// Debian 11 has systemd 247, older than some directives of the sandbox. From 258 on systemd refuses to boot in a
/// container on a host with the legacy control groups, so the newest only reads the units, in `boot_units`.
#[test]
#[ignore = "needs root: boots machines"]
fn the_units_work_on_an_old_and_a_new_release() {
    for release in [Release::Bullseye, Release::Trixie] {
        let lab = Lab::new();
        let service = LabService::up(&lab);
        let pin = service.new_pin();
        become_ready(&service, &pin);
        let mut slave = slave(&lab, &Debian::root_of(release), &context(&service.url(), &pin, ""));
        slave.boot();
        slave.wait_until_booted();
        assert_eq!(slave.root().read(SEEN).as_deref(), Some("10.77.0.11\n"), "{release:?}");
        assert_eq!(unit(&slave, "ActiveState"), "active", "{release:?}");
        // The status is that of the end, not of the wait.
        let status = unit(&slave, "StatusText");
        assert!(status.contains("10.77.0.11, is ready; replaced"), "{release:?}: {status}");
        let warned = slave.sh("systemctl daemon-reload; journalctl --boot --no-pager _PID=1 | grep -i -e 'unknown' -e 'failed to parse' -e invalid || true");
        assert!(!warned.contains("cernvm"), "{release:?}: {warned}");
        let console = slave.console();
        assert!(!console.contains("Unknown key"), "{release:?}: {console}");
        let said =
            doctor(&slave, 0, &["ok    this VM is contextualized", "ok    the master, 10.77.0.11, is ready"]);
        assert!(!said.contains("note") && !said.contains("!!"), "{release:?}: {said}");
        slave.power_off();
    }
}

/// A release that does not know a group of system calls, nor a directive, warns and runs the agent all the same.
#[test]
#[ignore = "needs root: boots machines"]
fn a_sandbox_that_systemd_does_not_understand_does_not_kill_the_agent() {
    let lab = Lab::new();
    let service = LabService::up(&lab);
    let pin = service.new_pin();
    become_ready(&service, &pin);
    let mut slave = slave(&lab, &Debian::root_of(Release::Bookworm), &context(&service.url(), &pin, ""));
    let dropin = format!("/usr/lib/systemd/system/{UNIT}.d/sandbox.conf");
    let sandbox = slave.root().read(&dropin).expect("it is installed");
    assert!(sandbox.contains("SystemCallFilter=~@clock"), "{sandbox}");
    let later = sandbox.replace(" @", " @of-a-later-release-").replace("~@", "~@of-a-later-release-");
    slave.root().write(&dropin, later.replace("Protect", "ProtectLater"));
    slave.boot();
    slave.wait_until_booted();
    assert_eq!(slave.root().read(SEEN).as_deref(), Some("10.77.0.11\n"));
    assert_eq!(unit(&slave, "ActiveState"), "active");
    let warned = slave.sh(
        "systemctl daemon-reload; journalctl --boot --no-pager _PID=1 | grep -c of-a-later-release || true",
    );
    assert_ne!(warned.trim(), "0", "the change has no effect");
    slave.power_off();
}

#[test]
#[ignore = "needs root: boots machines"]
fn a_slave_that_missed_its_master_says_what_is_lost_and_the_setting_repairs_it() {
    let lab = Lab::new();
    let service = LabService::up(&lab);
    let pin = service.new_pin();
    let debian = Debian::root_of(Release::Bookworm);
    let mut slave = slave(&lab, &debian, &context(&service.url(), &pin, ""));
    slave.boot();
    slave.wait_until_booted();
    let literal = "###MASTER_IP_PLACEHOLDER###\n";
    assert_eq!(slave.root().read(SEEN).as_deref(), Some(literal));
    let lost = "runcmd, scripts_user of cloud-init ran with literal placeholders";
    doctor(
        &slave,
        78,
        &["!!    this VM is not contextualized as it should be: the master is not ready yet", lost],
    );
    slave.power_off();

    // The second boot has the values, and runcmd does not run again.
    become_ready(&service, &pin);
    slave.boot();
    slave.wait_until_booted();
    assert_eq!(slave.root().read(SEEN).as_deref(), Some(literal));
    assert_eq!(unit(&slave, "ExecMainStatus"), "78");
    doctor(&slave, 78, &[lost, "a reboot does not run them again: `cloud-init clean --reboot`"]);
    slave.power_off();

    // With the setting it does. cloud-init keeps the user-data of the instance, so the seed alone changes nothing.
    slave
        .root()
        .sh("sed -i 's/# cvm_cluster_timeout=3/# cvm_cluster_timeout=3\\n# cvm_cluster_repair=yes/' \
        /var/lib/cloud/seed/nocloud/user-data && rm /var/lib/cloud/instance/obj.pkl");
    slave.boot();
    slave.wait_until_booted();
    assert_eq!(slave.root().read(SEEN), Some(format!("{literal}10.77.0.11\n")), "it runs once more");
    assert_eq!(unit(&slave, "ActiveState"), "active");
    doctor(&slave, 0, &["ok    this VM is contextualized: the master's address 10.77.0.11 is in place"]);
    slave.power_off();
}

#[test]
#[ignore = "needs root: boots machines"]
fn doctor_sees_the_units_proxy_a_pin_that_expired_and_one_bad_url_of_two() {
    let lab = Lab::new();
    let service = LabService::up(&lab);
    let pin = service.new_pin();
    become_ready(&service, &pin);
    let urls = format!("{CLOSED},{}", service.url());
    let mut slave = slave(&lab, &Debian::root_of(Release::Trixie), &context(&urls, &pin, ""));
    slave.boot();
    slave.wait_until_booted();
    doctor(
        &slave,
        0,
        &["ok    this VM is contextualized", "note  cannot reach the pairing service http://10.77.0.1:9"],
    );

    // The shell's proxy is not the unit's, and the unit's is.
    slave.sh("export http_proxy=http://127.0.0.1:9; cernvm-cluster-agent doctor");
    slave.sh(&format!(
        "mkdir -p /etc/systemd/system/{UNIT}.d
        printf '[Service]\\nEnvironment=http_proxy=http://127.0.0.1:9\\n' > /etc/systemd/system/{UNIT}.d/proxy.conf
        systemctl daemon-reload"
    ));
    doctor(&slave, 0, &["note  cannot reach the pairing service http://10.77.0.1:8000"]);
    slave.sh(&format!("rm /etc/systemd/system/{UNIT}.d/proxy.conf && systemctl daemon-reload"));

    service.ask(|api| api.delete_pin(&pin));
    doctor(&slave, 0, &["ok    this VM is contextualized", "note  ", "new slaves cannot join"]);

    slave.sh("systemctl --quiet disable cernvm-cluster-contextualization");
    doctor(&slave, 0, &["note  cernvm-cluster-contextualization.service is not enabled"]);
    slave.power_off();
}
