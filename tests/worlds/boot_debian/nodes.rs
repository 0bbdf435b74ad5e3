//! What a cluster's machines report of their boots, and what its master makes of that: names and host keys for ssh.

use std::net::Ipv4Addr;

use serde_json::Value;
use worlds::boot::debian::{Debian, Release};
use worlds::boot::lab::Lab;
use worlds::boot::nspawn::Machine;
use worlds::boot::service::LabService;
use worlds::wait::until;

use crate::{MASTER, SHORT, SLAVE, machine, section};

const HASTY_SLAVE: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 24);

/// What the master is for. It is active once its file is there; not part of the boot, or the boot would wait for it.
const SERVER: &str = "late-server.service";
const SERVER_UNIT: &str = "[Service]\nType=oneshot\nRemainAfterExit=yes\n\
    ExecStart=/bin/sh -c 'until [ -e /run/go ]; do sleep 0.2; done'\n";

/// Host keys are made by cloud-init with ssh-keygen, as in a cloud.
const CLOUD_CONFIG: &str = "#cloud-config\nlocale: false\nssh_genkeytypes: [ed25519, ecdsa]\n";
/// What a slave does with its master.
const JOINS: &str = "runcmd:\n- echo '###MASTER_IP_PLACEHOLDER###' >/root/joined\n";

#[test]
#[ignore = "needs root: boots machines"]
fn nodes_report_their_boots_and_the_master_waits_for_its_unit_on_debian_12() {
    nodes_report_their_boots_and_the_master_waits_for_its_unit(Release::Bookworm);
}

#[test]
#[ignore = "needs root: boots machines"]
fn nodes_report_their_boots_and_the_master_waits_for_its_unit_on_debian_13() {
    nodes_report_their_boots_and_the_master_waits_for_its_unit(Release::Trixie);
}

fn nodes_report_their_boots_and_the_master_waits_for_its_unit(release: Release) {
    let debian = Debian::root_of(release);
    let lab = Lab::new();
    let service = LabService::up(&lab);
    let pin = service.new_pin();
    let nodes = Nodes { service: &service, pin: &pin };
    let context = |more: &str, joins: &str| {
        let section: String =
            section(&service.url(), &pin, more).lines().map(|line| format!("#{line}\n")).collect();
        format!("{CLOUD_CONFIG}{joins}{section}")
    };
    // Before there is a master: one slave waits, the other gives up, and its boot ends all the same.
    let mut slave = machine(&lab, &debian, "slave", SLAVE);
    slave.seed("i-slave", context("", JOINS));
    slave.boot();
    nodes.await_state("slave", "waiting", "waiting until the master is ready");
    let mut hasty = machine(&lab, &debian, "hasty", HASTY_SLAVE);
    hasty.seed("i-hasty", context(&format!("cvm_cluster_timeout={SHORT}"), JOINS));
    hasty.boot();
    nodes.await_state("hasty", "failed", "the master is not ready yet");
    hasty.wait_until_booted();
    hasty.power_off();

    let mut master = machine(&lab, &debian, "master", MASTER);
    master.root().write(&format!("/etc/systemd/system/{SERVER}"), SERVER_UNIT);
    let masters = format!("cvm_cluster_master=yes\ncvm_master_ready_when=unit:{SERVER}");
    master.seed("i-master", context(&masters, ""));
    master.boot();
    nodes.await_state("master", "joined", "");
    becomes_ready_with_its_server(&mut master, &nodes);
    slave.wait_until_booted();
    nodes.await_state("slave", "ready", "");
    nodes.await_state("master", "ready", "");

    assert_eq!(slave.root().read("/root/joined"), Some(format!("{MASTER}\n")));

    // Their keys are those that ssh-keygen has made, and with their names the master can reach a slave unasked.
    for machine in [&master, &slave] {
        let name = machine.root().read("/etc/hostname").expect("it has one");
        assert_eq!(nodes.host_keys(name.trim()), made_host_keys(machine));
    }
    writes_names_and_keys(&master);
    let public =
        master.sh("ssh-keygen -q -N '' -t ed25519 -f /root/.ssh/id_ed25519 && cat /root/.ssh/id_ed25519.pub");
    slave.sh(&format!("mkdir -p -m 700 /root/.ssh && echo '{}' >/root/.ssh/authorized_keys", public.trim()));
    let seen =
        master.sh("HOME=/root ssh -o BatchMode=yes -o StrictHostKeyChecking=yes root@slave hostname 2>&1");
    assert_eq!(seen.trim(), "slave");

    // They boot again, under the same entries.
    slave.power_off();
    nodes.await_state("slave", "waiting", "shut down, or about to boot again");
    master.power_off();
    nodes.await_state("master", "waiting", "shut down, or about to boot again");
    slave.boot();
    nodes.await_state("slave", "waiting", "waiting until the master is ready");
    master.boot();
    becomes_ready_with_its_server(&mut master, &nodes);
    slave.wait_until_booted();
    nodes.await_state("slave", "ready", "");
    nodes.await_state("master", "ready", "");
    assert_eq!(nodes.listed().len(), 3, "a node that boots again keeps its entry");
}

/// Waits until a booted master waits for its server, starts that, and waits until the master is ready.
fn becomes_ready_with_its_server(master: &mut Machine<'_>, nodes: &Nodes<'_>) {
    master.wait_until_console_says(&format!("waiting for unit:{SERVER} before this master is ready"));
    let ready = || nodes.service.ask(|api| api.value(nodes.pin, "master_ready"));
    nodes.await_state("master", "waiting", &format!("waiting for unit:{SERVER}"));
    assert_eq!(ready(), None);
    master.sh(&format!("systemctl start --no-block {SERVER}"));
    let state = master.sh(&format!("systemctl show --property=ActiveState --value {SERVER}"));
    assert_eq!((state.trim(), ready()), ("activating", None), "a unit that still starts is not there");
    master.sh("touch /run/go");
    master.wait_until_booted();
    assert_eq!(ready(), Some(MASTER.to_string()));
}

/// The blocks in `/etc/hosts` and `ssh_known_hosts`; a second run changes no byte of either.
fn writes_names_and_keys(master: &Machine<'_>) {
    let files = [("hosts", "/etc/hosts"), ("known_hosts", "/etc/ssh/ssh_known_hosts")];
    let write = |format: &str, file: &str| {
        master.sh(&format!("cernvm-cluster-agent nodes --format {format} --write {file} 2>&1"))
    };
    for (format, file) in files {
        let said = write(format, file);
        let once = master.root().read(file).expect("it was written");
        assert!(said.contains("now has"), "{said}");
        let said = write(format, file);
        assert!(said.contains("has already"), "{said}");
        assert_eq!(master.root().read(file).as_ref(), Some(&once));
    }
    let hosts = master.root().read("/etc/hosts").expect("it was written");
    assert!(hosts.contains(&format!("\n{SLAVE} slave\n")) && !hosts.contains("hasty"), "{hosts}");
}

/// The public host keys that are on a machine's disk, without their comments, in order.
fn made_host_keys(machine: &Machine<'_>) -> Vec<String> {
    let mut keys: Vec<String> =
        machine.sh("cut -d ' ' -f 1,2 /etc/ssh/ssh_host_*_key.pub").lines().map(str::to_owned).collect();
    keys.sort();
    assert!(keys.len() >= 2, "{keys:?}");
    keys
}

/// The nodes of a pin.
struct Nodes<'a> {
    service: &'a LabService<'a>,
    pin: &'a str,
}

impl Nodes<'_> {
    fn listed(&self) -> Vec<Value> {
        let answer = self.service.ask(|api| api.get(&format!("/api/v1/clusters/{}/nodes", self.pin)));
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()["nodes"].as_array().expect("there is a list").clone()
    }

    fn report(&self, name: &str) -> Value {
        self.listed()
            .into_iter()
            .map(|node| node["report"].clone())
            .find(|report| report["name"] == name)
            .unwrap_or_default()
    }

    /// The state and the detail of a node; empty where there is none.
    fn state(&self, name: &str) -> (String, String) {
        let report = self.report(name);
        let member = |member: &str| report[member].as_str().unwrap_or_default().to_owned();
        (member("state"), member("detail"))
    }

    fn await_state(&self, name: &str, state: &str, detail: &str) {
        until(&format!("{name} is reported as {state}: {detail}"), || {
            let now = self.state(name);
            (now.0 == state && now.1.starts_with(detail)).then_some(())
        });
    }

    /// In order.
    fn host_keys(&self, name: &str) -> Vec<String> {
        let report = self.report(name);
        let keys = report["ssh_host_keys"].as_array().expect("there is a list");
        let mut keys: Vec<String> =
            keys.iter().map(|key| key.as_str().expect("a key is a text").to_owned()).collect();
        keys.sort();
        keys
    }
}
