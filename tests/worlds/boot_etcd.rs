//! Three Debian machines, each with a member of etcd and a server under its unit, set up by the commands of
//! docs/operations.md as they stand there.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;

use worlds::api::Api;
use worlds::binaries;
use worlds::boot::debian::{Debian, Release};
use worlds::boot::lab::Lab;
use worlds::boot::nspawn::Machine;
use worlds::http::Request;
use worlds::wait::until;

const NAMES: [&str; 3] = ["pairing1", "pairing2", "pairing3"];
/// Where the person who sets the machines up has put the files.
const DESK: &str = "/root/desk";

fn address(machine: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 0, 41 + u8::try_from(machine).expect("there are three"))
}

/// The indented blocks of the section, each of which must begin with these words.
fn documented() -> [String; 7] {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/operations.md");
    let text = std::fs::read_to_string(file).expect("the documentation is there");
    let (_, section) = text.split_once("## Several servers on one etcd\n").expect("there is the section");
    let section = section.split("\n## ").next().expect("it has a text");
    let mut blocks: Vec<String> = vec![String::new()];
    for line in section.lines() {
        match line.strip_prefix("    ") {
            Some(line) => blocks.last_mut().expect("there is one").push_str(&format!("{line}\n")),
            None if blocks.last().is_some_and(|block| !block.is_empty()) => blocks.push(String::new()),
            None => {}
        }
    }
    blocks.truncate(7);
    let blocks: [String; 7] = blocks.try_into().expect("there are so many");
    let begin =
        ["umask", "apt-get install", "ETCD_NAME", "export", "groupadd", "[Service]", "CERNVM_PAIRING_ETCD="];
    for (block, begin) in blocks.iter().zip(begin) {
        assert!(block.starts_with(begin), "{block}");
    }
    blocks
}

/// A block with a machine's own name, except where all are named.
fn on(name: &str, block: &str) -> String {
    let own = |line: &str| match line.contains("pairing3") {
        true => format!("{line}\n"),
        false => format!("{}\n", line.replace("pairing1", name)),
    };
    block.lines().map(own).collect()
}

/// A machine with both packages, whose services have started as they do when they are installed.
fn booted<'lab>(lab: &'lab Lab, debian: &Debian, packages: &Path, number: usize) -> Machine<'lab> {
    let mut machine = Machine::new(lab, debian, NAMES[number], address(number));
    let root = machine.root();
    root.install("server", &binaries::static_server());
    for package in std::fs::read_dir(packages).expect("it was made").flatten() {
        let name = package.file_name();
        let content = std::fs::read(package.path()).expect("it can be read");
        root.write(&format!("/root/packages/{}", name.to_str().expect("a plain name")), content);
    }
    root.sh("dpkg --install /root/packages/*.deb");
    root.sh("systemctl --quiet enable cernvm-pairing-server.service");
    let hosts =
        NAMES.iter().enumerate().map(|(number, name)| format!("{} {name}.example.org\n", address(number)));
    root.write("/etc/hosts", format!("127.0.0.1 localhost\n{}", hosts.collect::<String>()));
    machine.without_cloud_init();
    machine.boot();
    machine
}

#[test]
#[ignore = "needs root: boots machines"]
fn three_machines_are_set_up_as_documented_and_share_a_store() {
    let [make, install, etcd, users, files, unit, server] = documented();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/etcd-packages");
    let output = Command::new(script).arg(Release::Bookworm.suite()).output().expect("it can be started");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let packages = String::from_utf8(output.stdout).expect("a path in UTF-8");
    let (lab, debian) = (Lab::new(), Debian::root_of(Release::Bookworm));
    let mut machines = [0, 1, 2].map(|number| booted(&lab, &debian, Path::new(packages.trim_end()), number));
    for machine in &mut machines {
        machine.wait_until_booted();
    }

    let at_desk = |machine: &Machine<'_>, script: &str| machine.sh(&format!("cd {DESK}\n{script}"));
    machines[0].sh(&format!("mkdir --parents {DESK}"));
    at_desk(&machines[0], &make);
    for (machine, name) in machines.iter().zip(NAMES) {
        for file in ["ca.crt", &format!("{name}.crt"), &format!("{name}.key"), "password"] {
            let path = format!("{DESK}/{file}");
            machine.root().write(&path, machines[0].root().read(&path).expect("it was made"));
        }
        // The packages are installed: there is no network.
        let installed = on(name, &install).replace("apt-get install", "dpkg --status");
        at_desk(machine, &installed);
        machine.root().write("/etc/default/etcd", on(name, &etcd));
        at_desk(machine, &on(name, &files));
        machine.root().write("/etc/systemd/system/cernvm-pairing-server.service.d/override.conf", &unit);
        // Of the two only the first is not as documented: the test wants to see a start that fails.
        let settings = format!("CERNVM_PAIRING_ETCD_TIMEOUT=1s\n{}", on(name, &server));
        machine.root().write("/etc/default/cernvm-pairing-server", settings);
        machine.sh("systemctl daemon-reload; systemctl --no-block restart cernvm-pairing-server");
    }
    let restarts = |machine: &Machine<'_>| {
        let show = "systemctl show --value --property=NRestarts cernvm-pairing-server.service";
        machine.sh(show).trim().parse::<u32>().expect("a number")
    };
    until("a server was started again", || (restarts(&machines[0]) > 0).then_some(()));
    let log = machines[0].sh("journalctl --unit cernvm-pairing-server");
    assert!(log.contains("no answer from etcd in 1 s"), "{log}");

    for machine in &machines {
        machine.sh("systemctl --no-block restart etcd");
    }
    until("etcd has a majority", || {
        machines
            .iter()
            .all(|machine| machine.sh("systemctl is-active etcd || :").trim() == "active")
            .then_some(())
    });
    at_desk(&machines[0], &users);
    let api = |number: usize| Api(SocketAddr::new(IpAddr::V4(address(number)), 8000));
    let is_ready = |number: usize| {
        let ready = lab.connected(|| api(number).send(&Request::new("GET", "/readyz")));
        ready.is_ok_and(|answer| answer.status == 200).then_some(())
    };
    for (number, machine) in machines.iter().enumerate() {
        until("a server is ready", || is_ready(number));
        machine.sh("cernvm-pairing-server health --data-dir /var/lib/cernvm-pairing-server");
    }
    let pin = lab.connected(|| api(0).new_pin());
    lab.connected(|| api(1).create_key(&pin, "master_ip", "10.0.0.1"));
    assert_eq!(lab.connected(|| api(2).value(&pin, "master_ip")).as_deref(), Some("10.0.0.1"));

    // One member less, and one server less.
    machines[0].sh("systemctl stop etcd cernvm-pairing-server");
    for number in 1..3 {
        until("a server is ready", || is_ready(number));
    }
    lab.connected(|| api(1).create_key(&pin, "master_ready", "10.0.0.1"));
    assert_eq!(lab.connected(|| api(2).value(&pin, "master_ready")).as_deref(), Some("10.0.0.1"));
}
