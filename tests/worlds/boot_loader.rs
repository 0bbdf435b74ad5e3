//! The boot loader's phase over several boots of one disk, in its own machine and in clones: what is kept counts for the
//! machine that kept it, and no longer than its user-data do.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use worlds::guest::{Finished, Guest};
use worlds::service::Service;

const FIRST: &str = "192.0.2.1";
const SECOND: &str = "192.0.2.2";
const OURS: &str = "7b1c3c53-0000-4000-8000-000000000001";
const CLONES: &str = "7b1c3c53-0000-4000-8000-000000000002";

/// Where the initramfs has the read-write area, and where the booted system has it.
const RW: &str = "/root.rw";
const BOOTED_RW: &str = "/mnt/.rw";

/// A disk, in whichever machine it is, and what the boot loader's other scripts do with it.
struct Disk {
    guest: Guest,
}

impl Disk {
    fn new() -> Self {
        let disk = Self { guest: Guest::with_files("disk", &[("/root.rw/context/source", b"EC2\n")]) };
        disk.is_in(OURS);
        disk
    }

    fn is_in(&self, machine: &str) {
        self.guest.write("/sys/class/dmi/id/product_uuid", format!("{}\n", machine.to_uppercase()));
    }

    /// A boot with the user-data that `06context` fetches and `07extracontext` finds.
    fn boot(&self, fetched: Option<&str>, injected: Option<&str>) -> Finished {
        for (path, content) in [("/user-data", fetched), ("/extra-user-data", injected)] {
            let _ = fs::remove_file(self.guest.path(path));
            if let Some(content) = content {
                self.guest.write(path, content);
                self.guest.write(&path.replace("user-data", "ucontext"), ucontext(content));
            }
        }
        let finished = self.guest.run(&["contextualize", "--bootloader"]);
        self.epilog();
        finished
    }

    /// `13context_epilog`.
    fn epilog(&self) {
        let copy = |from: &str, to: &str| {
            let from = self.guest.path(from);
            if from.exists() {
                let to = self.guest.path(to);
                let is_new = !to.exists();
                fs::write(&to, fs::read(&from).expect("the disk is there")).expect("the disk is there");
                if is_new {
                    fs::set_permissions(&to, from.metadata().expect("the disk is there").permissions())
                        .expect("the disk is there");
                }
            }
        };
        copy("/user-data", "/root.rw/context/user-data");
        for name in ["ucontext", "extra-ucontext"] {
            copy(&format!("/{name}"), &format!("/root.rw/context/{name}"));
            let _ = fs::remove_file(self.guest.path(name));
        }
    }

    /// Runs the agent in the booted system.
    fn run_booted(&self, command: &str) -> Finished {
        let (rw, booted) = (self.guest.path(RW), self.guest.path(BOOTED_RW));
        fs::create_dir_all(booted.parent().expect("the disk is there")).expect("the disk is there");
        fs::rename(&rw, &booted).expect("the disk is there");
        let finished = self.guest.run(&[command]);
        fs::rename(&booted, &rw).expect("the disk is there");
        finished
    }

    fn kept(&self, name: &str) -> Option<String> {
        let path = self.guest.path(&format!("/root.rw/context/{name}"));
        path.exists().then(|| {
            String::from_utf8(fs::read(&path).expect("the disk is there")).expect("the disk is there")
        })
    }

    /// What the booted system gets.
    fn user_data(&self) -> String {
        self.kept("user-data").expect("the boot loader has copied it")
    }
}

/// What `parse_user_data` makes of it.
fn ucontext(user_data: &str) -> String {
    let lines = user_data.lines().skip_while(|line| *line != "[ucernvm-begin]").skip(1);
    let settings = lines.take_while(|line| *line != "[ucernvm-end]").filter_map(|line| line.split_once('='));
    settings.map(|(key, value)| format!("_UCONTEXT_{}={value}\n", key.to_uppercase())).collect()
}

fn section(pin: &str, service: &Service, more: &[&str]) -> String {
    let pin = format!("cvm_cluster_pin={pin}");
    let url = format!("cvm_service_url={}", service.url());
    let lines = [&[&pin[..], &url, "cvm_cluster_timeout=3"], more].concat();
    format!("[ucernvm-begin]\n{}\n[ucernvm-end]\n", lines.join("\n"))
}

fn slave(section: &str) -> String {
    format!("[amiconfig]\nplugins=cernvm\n{section}\nmaster=###MASTER_IP_PLACEHOLDER###\n")
}

fn ready_cluster(service: &Service, address: &str) -> String {
    let pin = service.api().new_pin();
    service.api().create_key(&pin, "master_ip", address);
    service.api().create_key(&pin, "master_ready", address);
    pin
}

const MASTER: [&str; 2] = ["cvm_cluster_master=yes", "cvm_cluster_master_ip=192.0.2.9"];
const OTHER: &str = "[amiconfig]\nplugins=cernvm\nmaster=none\n";

#[test]
fn a_clone_with_user_data_of_its_own_obeys_nothing_that_its_original_kept() {
    let service = Service::start();
    let (old, new) = (service.api().new_pin(), ready_cluster(&service, SECOND));
    let injected = section(&old, &service, &MASTER);
    let original = Disk::new();
    original.boot(Some(&slave("")), Some(&injected)).expect(0);
    assert_eq!(service.api().value(&old, "master_ip").as_deref(), Some("192.0.2.9"));
    let _ = service.api().delete(&worlds::api::key_path(&old, "master_ip"));

    // The pin of a cluster, then none at all.
    original.is_in(CLONES);
    original.boot(Some(&slave(&section(&new, &service, &[]))), None).expect(0).says("removed");
    assert!(original.user_data().contains("master=192.0.2.2"), "{}", original.user_data());
    original.run_booted("master-ready").expect(0).says("slave");
    assert_eq!(service.api().value(&old, "master_ip"), None, "the clone became the old cluster's master");
    let extra = original.kept("extra-ucontext").expect("the file itself is the boot loader's");
    assert!(!extra.contains("CVM_CLUSTER_PIN"), "{extra}");
}

#[test]
fn a_clone_of_no_cluster_keeps_nothing_of_its_originals() {
    let service = Service::start();
    let pin = ready_cluster(&service, FIRST);
    let disk = Disk::new();
    let extra = section(&pin, &service, &["cvmfs_http_proxy=http://squid:3128"]);
    disk.boot(Some(&slave("")), Some(&extra)).expect(0);
    disk.is_in(CLONES);
    disk.boot(Some(OTHER), None).expect(0).says("nothing to do");
    let kept = disk.kept("extra-ucontext").expect("the file itself is the boot loader's");
    assert_eq!(kept, "_UCONTEXT_CVMFS_HTTP_PROXY=http://squid:3128\n");
    for file in ["cernvm-cluster-user-data", "cernvm-cluster.json", "cernvm-cluster-status.json"] {
        assert_eq!(disk.kept(file), None, "{file}");
    }
    // A boot that fetches nothing goes on with what the clone was given, not with its original's.
    disk.boot(None, None).expect(0);
    assert_eq!(disk.user_data(), OTHER);
}

#[test]
fn newer_user_data_of_no_cluster_is_not_replaced_by_what_was_kept_before() {
    let service = Service::start();
    let pin = ready_cluster(&service, FIRST);
    // A section that cannot be read is no reason to go on with the old one either.
    for (newer, status) in [(OTHER, 0), ("[ucernvm-begin]\ncvm_cluster_pin=?\n[ucernvm-end]\n", 65)] {
        let disk = Disk::new();
        disk.boot(Some(&slave(&section(&pin, &service, &[]))), None).expect(0);
        disk.boot(Some(newer), None).expect(status);
        disk.boot(None, None).expect(0);
        assert_eq!(disk.user_data(), newer);
        assert_eq!(disk.kept("cernvm-cluster-user-data"), None);
        assert_eq!(disk.kept("cernvm-cluster.json"), None);
    }
}

#[test]
fn what_was_injected_goes_on_counting_in_its_own_machine() {
    let mut service = Service::start();
    let pin = ready_cluster(&service, FIRST);
    let disk = Disk::new();
    disk.boot(Some(&slave("")), Some(&section(&pin, &service, &[]))).expect(0);
    disk.run_booted("master-ready").expect(0).says("slave");
    service.stop();
    for fetched in [Some(slave("")), None] {
        disk.boot(fetched.as_deref(), None).expect(0).says("an earlier boot");
        assert!(disk.user_data().contains("master=192.0.2.1"), "{}", disk.user_data());
    }
}

#[test]
fn a_clone_that_was_given_nothing_asks_anew_and_does_not_replace_its_original() {
    let service = Service::start();
    let pin = service.api().new_pin();
    let master = |address: &str| {
        let address = format!("cvm_cluster_master_ip={address}");
        section(&pin, &service, &["cvm_cluster_master=yes", &address])
    };
    let disk = Disk::new();
    disk.boot(Some(&master(FIRST)), None).expect(0);
    // In the clone, the same file names another address, as another network would.
    disk.is_in(CLONES);
    disk.guest.write("/root.rw/context/cernvm-cluster-user-data", master(SECOND));
    for _ in 0..2 {
        disk.boot(None, None).expect(76).says("is a clone of a master");
        disk.run_booted("master-ready").expect(76).says("--force");
        assert_eq!(service.api().value(&pin, "master_ip").as_deref(), Some(FIRST));
    }
    // One that was launched with the master's user-data is meant to replace it.
    let replacement = Disk::new();
    replacement.boot(Some(&master(FIRST)), None).expect(0);
    replacement.is_in(CLONES);
    replacement.boot(Some(&master(SECOND)), None).expect(0);
    assert_eq!(service.api().value(&pin, "master_ip").as_deref(), Some(SECOND));
}

#[test]
fn only_root_reads_what_holds_the_pin() {
    let service = Service::start();
    let pin = ready_cluster(&service, FIRST);
    let disk = Disk::new();
    let user_data = slave(&section(&pin, &service, &[]));
    // As an earlier release has left it.
    disk.guest.write("/root.rw/context/user-data", "");
    disk.boot(Some(&user_data), Some("[ucernvm-begin]\nx=y\n[ucernvm-end]\n")).expect(0);
    let names =
        ["user-data", "ucontext", "extra-ucontext", "cernvm-cluster-user-data", "cernvm-cluster.json"];
    for name in names {
        let path = disk.guest.path(&format!("/root.rw/context/{name}"));
        assert_eq!(path.metadata().expect("the file is there").permissions().mode() & 0o777, 0o600, "{name}");
    }
}
