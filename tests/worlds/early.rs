//! The early mode: cloud-init's part-handler, under every Python at hand, with the real agent.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use worlds::binaries;
use worlds::guest::Guest;
use worlds::service::Service;

const DIRECTORY: &str = "/var/lib/cloud/instances/iid-early";
const PART: &str = "#!/bin/sh\necho ###MASTER_IP_PLACEHOLDER### >/run/x";

/// Python 3, and Python 2.7 where there is one.
fn pythons() -> Vec<PathBuf> {
    let home = std::env::var("PYENV_ROOT").map_or_else(|_| "/root/.pyenv".into(), PathBuf::from);
    let pyenv = std::fs::read_dir(home.join("versions")).into_iter().flatten().flatten();
    let old = pyenv.map(|entry| entry.path().join("bin/python2.7"));
    let candidates = ["python3".into(), "python2.7".into()].into_iter().chain(old);
    let works = |python: &PathBuf| {
        Command::new(python).args(["-c", ""]).output().is_ok_and(|output| output.status.success())
    };
    candidates.filter(works).collect()
}

/// What cloud-init's handlers get in the place of [`PART`] when the section says this.
fn handed(python: &Path, setting: &str) -> String {
    let (handed, _) = handed_as(python, setting, &["/part"]);
    handed.into_iter().next().expect("there is one part")
}

/// The same for several such parts with these names; also what is said meanwhile.
fn handed_as(python: &Path, setting: &str, names: &[&str]) -> (Vec<String>, String) {
    let service = Service::start();
    let pin = service.api().new_pin();
    for key in ["master_ip", "master_ready"] {
        service.api().create_key(&pin, key, "192.0.2.1");
    }
    let section = format!(
        "[ucernvm-begin]\ncvm_cluster_pin={pin}\ncvm_service_url={}\ncvm_cluster_timeout=60\n{setting}\n[ucernvm-end]\n",
        service.url()
    );
    let guest = Guest::with_files("slave", &[("/section", section.as_bytes())]);
    for (number, name) in names.iter().enumerate() {
        guest.write(name, format!("{PART}{number}"));
    }
    guest.write(&format!("{DIRECTORY}/user-data.txt"), &section);
    guest.write("/proc/net/route", "Iface\tDestination\neth0\t00000000\n");
    symlink(DIRECTORY, guest.path("/var/lib/cloud/instance")).expect("a link can be made");
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let output = Command::new(python)
        .arg(repository.join("tests/fixtures/early/drive.py"))
        .arg(repository.join("cloud-init/early/cernvm_cluster_early.py"))
        .arg(binaries::agent())
        .args([guest.path("/"), guest.path("/section")])
        .args(names.iter().map(|name| guest.path(name)))
        .output()
        .expect("Python starts");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{}: {said}", python.display());
    let handed = String::from_utf8(output.stdout).expect("it is text");
    let parts = handed.strip_prefix(&format!("{section}\n")).expect("the section stays as it is");
    (parts.split('\n').collect::<Vec<_>>().chunks(2).map(|part| part.join("\n")).collect(), said)
}

#[test]
fn the_parts_get_the_values_where_the_section_says_so() {
    for python in pythons() {
        for setting in [
            "cvm_cluster_early=yes",
            "cvm_cluster_early=\"yes\"",
            "cvm_cluster_early=no\ncvm_cluster_early=1",
        ] {
            let expected = PART.replace("###MASTER_IP_PLACEHOLDER###", "192.0.2.1") + "0";
            assert_eq!(handed(&python, setting), expected, "{} {setting}", python.display());
        }
    }
}

#[test]
fn the_parts_stay_where_a_comment_or_a_later_line_switches_it_off() {
    for python in pythons() {
        for setting in [
            "#cvm_cluster_early=yes",
            "cvm_cluster_early=yes\ncvm_cluster_early=no",
            "[ucernvm-end]\ncvm_cluster_early=yes",
        ] {
            assert_eq!(handed(&python, setting), format!("{PART}0"), "{} {setting}", python.display());
        }
    }
}

#[test]
fn what_is_said_names_the_parts_as_the_context_does() {
    for python in pythons() {
        let names = ["/a/setup.sh", "/b/join node.sh"];
        let (handed, said) = handed_as(&python, "cvm_cluster_early=yes", &names);
        let expected = PART.replace("###MASTER_IP_PLACEHOLDER###", "192.0.2.1");
        assert_eq!(handed, [0, 1].map(|number| format!("{expected}{number}")));
        for part in ["setup.sh", "join_node.sh"] {
            assert!(said.contains(&format!(": {part}: replaced ###MASTER_IP_PLACEHOLDER###")), "{said}");
        }
        assert!(!said.contains("/run/"), "{said}");
        // Names that two parts have do not make one part of them, nor do odd ones.
        let names = ["/a/setup.sh", "/b/setup.sh", "/c/.hidden", "/d/-x", "/e/0-setup.sh"];
        let (handed, said) = handed_as(&python, "cvm_cluster_early=yes", &names);
        assert_eq!(handed, [0, 1, 2, 3, 4].map(|number| format!("{expected}{number}")));
        for part in ["1-setup.sh", "2-setup.sh", "3-part-003", "4-part-004", "5-0-setup.sh"] {
            assert!(said.contains(&format!(": {part}: replaced")), "{part}: {said}");
        }
    }
}
