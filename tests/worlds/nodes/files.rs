//! Nodes in the files of other programs.

use std::process::Command;

use serde_json::json;
use worlds::service::Service;

use crate::machine::{Machine, put};

/// Runs a real program.
fn run(program: &str, args: &[&str]) -> (bool, String) {
    let output = Command::new(program).args(args).output().unwrap_or_else(|e| panic!("{program}: {e}"));
    (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn known_hosts_has_the_keys_that_ssh_has_made() {
    let service = Service::start();
    let (api, pin) = (service.api(), service.api().new_pin());
    let master = Machine::master(&pin, &service.url(), &[]);
    master.guest.write("/etc/ssh/moduli", "");
    let mut fingerprints = Vec::new();
    for kind in ["ed25519", "ecdsa", "rsa"] {
        let key = master.guest.path(&format!("/etc/ssh/ssh_host_{kind}_key"));
        let key = key.to_str().expect("temporary directories have plain names");
        assert!(run("ssh-keygen", &["-q", "-N", "", "-C", "root@master", "-t", kind, "-f", key]).0);
        let (_, line) = run("ssh-keygen", &["-l", "-f", &format!("{key}.pub")]);
        fingerprints.push(line.split(' ').nth(1).expect("a fingerprint").to_owned());
    }
    master.contextualize().expect(0);
    master.is_up().expect(0);

    let known = "/etc/ssh/ssh_known_hosts";
    master.guest.write(known, "other ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ5n");
    let args = ["nodes", "--format", "known_hosts", "--write", known];
    master.guest.run(&args).expect(0).says("now has 3 lines");
    let once = master.guest.read(known);
    master.guest.run(&args).expect(0).says("has already 3 lines");
    assert_eq!(master.guest.read(known), once);
    let file = master.guest.path(known);
    let file = file.to_str().expect("temporary directories have plain names");
    for host in ["master", "192.0.2.1"] {
        let (found, lines) = run("ssh-keygen", &["-l", "-F", host, "-f", file]);
        assert!(found && fingerprints.iter().all(|wanted| lines.contains(wanted)), "{host}: {lines}");
    }
    assert!(run("ssh-keygen", &["-F", "other", "-f", file]).0, "the line that was there is there");

    // A node that goes takes its lines along.
    let nodes = api.get(&crate::machine::nodes(&pin)).json();
    let id = nodes["nodes"][0]["id"].as_str().expect("it has an identifier");
    assert_eq!(api.delete(&format!("{}/{id}", crate::machine::nodes(&pin))).status, 204);
    master.guest.run(&args).expect(0).says("now has 0 lines");
    assert!(!run("ssh-keygen", &["-F", "master", "-f", file]).0);
}

#[test]
fn hosts_gets_a_block_and_keeps_what_is_around_it() {
    let service = Service::start();
    let (api, pin) = (service.api(), service.api().new_pin());
    let master = Machine::master(&pin, &service.url(), &[]);
    master.contextualize().expect(0);
    put(
        api,
        &pin,
        "x",
        &json!({"name": "n1.example", "role": "slave", "state": "joined", "addresses": ["192.0.2.7"]}),
    );
    put(
        api,
        &pin,
        "y",
        &json!({"name": "localhost", "role": "slave", "state": "ready", "addresses": ["192.0.2.66"]}),
    );
    put(
        api,
        &pin,
        "z",
        &json!({"name": "n2", "role": "slave", "state": "failed", "addresses": ["192.0.2.8"]}),
    );
    master.guest.write("/etc/hosts", "127.0.0.1 localhost\n");
    let args = ["nodes", "--format", "hosts", "--write", "/etc/hosts"];
    master.guest.run(&args).expect(0).says("localhost is left out");
    let text = String::from_utf8(master.guest.read("/etc/hosts")).expect("it is text");
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines[0], "127.0.0.1 localhost");
    assert!(lines[1].starts_with("# BEGIN cernvm-cluster nodes"));
    assert_eq!(lines[2], "192.0.2.1 master");
    assert!(
        lines.contains(&"192.0.2.7 n1.example n1") && !text.contains("192.0.2.66") && !text.contains("n2")
    );
    assert_eq!(lines.last(), Some(&"# END cernvm-cluster nodes"));
    master.guest.run(&args).expect(0).says("has already");
    let hostfile = master.guest.run(&["nodes", "--format", "hostfile"]);
    assert_eq!(hostfile.expect(0).stdout, "master\nn1.example");
}
