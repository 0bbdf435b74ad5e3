//! Every way in which a guest is contextualized, with a service that forges.

use std::os::unix::fs::{PermissionsExt as _, symlink};

use worlds::guest::Guest;

use crate::cluster::{Cluster, MOVED_TO, PIN, SECRET, TOKEN};
use crate::service::{Attack, Hostile, answer, honest, last};

const INSTANCE: &str = "/var/lib/cloud/instances/iid-slave";
const CONFIG: &str =
    "#cloud-config\nruncmd:\n- join ###MASTER_IP_PLACEHOLDER### ###K3S_TOKEN_PLACEHOLDER###\n";
const PART: &str = "#!/bin/sh\njoin ###MASTER_IP_PLACEHOLDER### ###K3S_TOKEN_PLACEHOLDER###\n";
const UUID: &str = "4c4c4544-0032-4d10-8052-b4c04f564231";

/// One way.
struct Phase {
    name: &'static str,
    args: &'static [&'static str],
    /// Where the user-data lies.
    user_data: String,
    /// What else lies there before the boot.
    files: Vec<(String, &'static str)>,
    /// The file with the placeholders of the address and of a token.
    target: String,
    /// What a refusal leaves beside the context and what lay there before.
    leaves: &'static [&'static str],
}

impl Phase {
    fn all() -> [Self; 3] {
        let of_instance = |name: &str| format!("{INSTANCE}/{name}");
        [
            Self {
                name: "cloud-init",
                args: &["contextualize", "--cloud-init"],
                user_data: of_instance("user-data.txt.i"),
                files: vec![(of_instance("cloud-config.txt"), CONFIG)],
                target: of_instance("cloud-config.txt"),
                leaves: &[
                    "/run/cernvm-cluster/boot-id",
                    "/var/lib/cloud/instances/iid-slave/cernvm-cluster-status.json",
                ],
            },
            Self {
                name: "early",
                args: &["contextualize", "--early", "/part"],
                user_data: of_instance("user-data.txt.i"),
                files: vec![
                    ("/part".to_owned(), PART),
                    ("/proc/net/route".to_owned(), "Iface\tDestination\neth0\t00000000\n"),
                ],
                target: "/part".to_owned(),
                leaves: &[],
            },
            Self {
                name: "boot loader",
                args: &["contextualize", "--bootloader"],
                user_data: "/user-data".to_owned(),
                files: vec![
                    ("/sys/class/dmi/id/product_uuid".to_owned(), UUID),
                    ("/root.rw/.keep".to_owned(), ""),
                ],
                target: "/user-data".to_owned(),
                leaves: &[
                    "/ami-contextualized",
                    "/root.rw/context/cernvm-cluster-machine",
                    "/root.rw/context/cernvm-cluster-status.json",
                    "/root.rw/context/cernvm-cluster-user-data",
                ],
            },
        ]
    }

    fn guest(&self, cluster: &Cluster) -> Guest {
        let guest = Guest::with_files(self.name, &[]);
        self.lay_down(&guest, cluster);
        let _ = symlink(INSTANCE, guest.path("/var/lib/cloud/instance"));
        guest
    }

    /// What a boot finds.
    fn lay_down(&self, guest: &Guest, cluster: &Cluster) {
        let context = cluster.sealed(&cluster.clear_slave_context());
        let context = context.replace("[ucernvm-end]", "cvm_cluster_early=yes\n[ucernvm-end]");
        std::fs::create_dir_all(guest.path("/var/lib/cloud")).expect("a directory can be made");
        guest.write(&self.user_data, &context);
        // As cloud-init keeps it, and as the agent makes it in the boot loader.
        let private = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(guest.path(&self.user_data), private).expect("it is ours");
        for (path, content) in &self.files {
            guest.write(path, content);
        }
    }

    fn target(&self, guest: &Guest) -> String {
        String::from_utf8(guest.read(&self.target)).expect("it is text")
    }
}

/// Every file of a guest, with its content and mode.
fn everything(guest: &Guest) -> Vec<(String, Vec<u8>, u32)> {
    let mut found = Vec::new();
    let mut dirs = vec![guest.root().to_path_buf()];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir).expect("it can be read") {
            let path = entry.expect("it can be read").path();
            let meta = path.symlink_metadata().expect("it is there");
            if meta.is_dir() {
                dirs.push(path);
            } else if meta.is_file() {
                let name = path.strip_prefix(guest.root()).expect("it is below the root");
                let content = std::fs::read(&path).expect("it can be read");
                found.push((format!("/{}", name.display()), content, meta.permissions().mode() & 0o777));
            }
        }
    }
    found.sort();
    found
}

/// What a service may do to one of three values, each of which is read at another moment.
const ATTACKS: [Attack; 3] = [
    |_, _, key| answer(key, "203.0.113.66"),
    |kept, pin, key| match key {
        "master_ip" => answer(key, "203.0.113.66"),
        _ => honest(kept, pin, key),
    },
    |kept, pin, key| match key {
        "k3s_token" => answer(key, &last(kept, pin, "master_ip").unwrap_or_default()),
        _ => honest(kept, pin, key),
    },
];

#[test]
fn no_phase_changes_a_byte_when_a_value_does_not_open() {
    let service = Hostile::start();
    let cluster = Cluster::that_has_moved(&service);
    for phase in Phase::all() {
        for attack in ATTACKS {
            service.play(attack);
            let guest = phase.guest(&cluster);
            let before = everything(&guest);
            guest.run(phase.args).expect(77);
            let mut after = everything(&guest);
            let mut left: Vec<_> = after.iter().map(|(path, ..)| path.clone()).collect();
            left.retain(|path| !before.iter().any(|(there, ..)| there == path));
            assert_eq!(left, phase.leaves, "{}", phase.name);
            after.retain(|(path, ..)| !phase.leaves.contains(&path.as_str()));
            assert!(after == before, "{}: a file has changed", phase.name);
        }
        service.play(honest);
        let guest = phase.guest(&cluster);
        guest.run(phase.args).expect(0);
        let target = phase.target(&guest);
        assert!(target.contains(MOVED_TO) && target.contains(TOKEN), "{}: {target}", phase.name);
    }
}

/// A reboot: the cache holds the values as they were opened, and what the service forges by then changes nothing.
#[test]
fn a_reboot_goes_on_with_what_opened_before() {
    let service = Hostile::start();
    let cluster = Cluster::that_has_moved(&service);
    for phase in Phase::all() {
        service.play(honest);
        let guest = phase.guest(&cluster);
        guest.run(phase.args).expect(0);
        let contextualized = phase.target(&guest);
        for attack in ATTACKS {
            service.play(attack);
            phase.lay_down(&guest, &cluster);
            guest.run(phase.args).expect(0).says("the values are those of an earlier boot");
            assert_eq!(phase.target(&guest), contextualized, "{}", phase.name);
        }
        service.play(honest);
        phase.lay_down(&guest, &cluster);
        guest.run(phase.args).expect(0).says(&format!("the master is still {MOVED_TO}"));
    }
}

/// A first boot that was refused lost what cloud-init runs once; the next one repairs it where the section says so.
#[test]
fn a_boot_after_a_refused_one_gets_the_values_and_repairs_the_rest() {
    let service = Hostile::start();
    let cluster = Cluster::that_has_moved(&service);
    for phase in Phase::all() {
        let guest = phase.guest(&cluster);
        service.play(ATTACKS[1]);
        guest.run(phase.args).expect(77);
        service.play(honest);
        phase.lay_down(&guest, &cluster);
        guest.run(phase.args).expect(0);
        assert!(phase.target(&guest).contains(MOVED_TO), "{}", phase.name);
    }
    let [phase, ..] = Phase::all();
    let guest = phase.guest(&cluster);
    let semaphore = format!("{INSTANCE}/sem/config_runcmd");
    service.play(ATTACKS[1]);
    guest.run(phase.args).expect(77);
    guest.write(&semaphore, "");
    let boots = |setting: &str| {
        std::fs::remove_dir_all(guest.path("/run")).expect("it is empty at the next boot");
        phase.lay_down(&guest, &cluster);
        let context = String::from_utf8(guest.read(&phase.user_data)).expect("it is text");
        guest.write(&phase.user_data, context.replace("[ucernvm-end]", &format!("{setting}\n[ucernvm-end]")));
        guest.run(phase.args)
    };
    service.play(honest);
    boots("").expect(78).says("runcmd of cloud-init ran with literal placeholders");
    boots("cvm_cluster_repair=yes").expect(0).says("cloud-init runs runcmd again");
    assert!(!guest.path(&semaphore).exists());
}

/// A master's commands, and what they leave.
#[test]
fn what_a_master_says_and_leaves_shows_no_secret() {
    let service = Hostile::start();
    let cluster = Cluster::at(&service, PIN);
    let guest = Guest::with_files("master", &[]);
    let user_data = format!("{INSTANCE}/user-data.txt");
    guest.write(&user_data, cluster.master_context(MOVED_TO));
    guest.write("/secret", SECRET);
    symlink(INSTANCE, guest.path("/var/lib/cloud/instance")).expect("a link can be made");
    let check = guest.path(&user_data);
    for args in [
        &["contextualize", "--cloud-init"][..],
        &["publish", "k3s_token", TOKEN],
        &["publish", "--secret-file", "/secret", "k3s_token", TOKEN],
        &["master-ready"],
        &["get", "k3s_token"],
        &["doctor"],
        &["doctor", "--json"],
        &["check", check.to_str().expect("it is text")],
        &["master-ready", "--withdraw"],
    ] {
        let finished = guest.run(&[&["--verbose"], args].concat());
        assert!(!format!("{finished:?}").contains(SECRET), "{args:?}");
    }
    for (path, content, mode) in everything(&guest) {
        let has_secret = String::from_utf8_lossy(&content).contains(SECRET);
        assert!(!has_secret || path == user_data || path == "/secret", "{path} has the secret");
        let is_of_agent = path.contains("cernvm-cluster");
        assert!(!is_of_agent || mode & 0o077 == 0, "others can read {path}");
    }
    assert!(!service.everything_seen().contains(SECRET));
}

/// The values in the clear, and the secret, are where the context brought them and in the cache, which is root's alone.
#[test]
fn what_a_run_leaves_shows_no_secret() {
    let service = Hostile::start();
    let cluster = Cluster::that_has_moved(&service);
    for phase in Phase::all() {
        for attack in [honest as Attack, ATTACKS[0]] {
            service.play(attack);
            let guest = phase.guest(&cluster);
            let finished = guest.run(&[&["--verbose"], phase.args].concat());
            assert!(!format!("{finished:?}").contains(SECRET), "{}", phase.name);
            let brought = [phase.user_data.as_str(), &phase.target];
            for (path, content, mode) in everything(&guest) {
                let content = String::from_utf8_lossy(&content).into_owned();
                let is_private = mode == 0o600;
                if !brought.contains(&path.as_str()) && (content.contains(SECRET) || content.contains(TOKEN))
                {
                    assert!(is_private, "{}: others can read {path}", phase.name);
                    let is_copy = path == "/root.rw/context/cernvm-cluster-user-data";
                    assert!(is_copy || !content.contains(SECRET), "{}: {path} has the secret", phase.name);
                }
            }
        }
    }
    let seen = service.everything_seen();
    assert!(seen.contains(PIN));
    for kept_back in [SECRET, TOKEN, MOVED_TO, "other\""] {
        assert!(!seen.contains(kept_back), "the service has seen {kept_back}");
    }
}
