//! The agent's units in the boot order of the systems that they are for: systemd itself verifies them and looks for
//! cycles, in Debian's roots as they are and with cloud-init's units as its templates render them for the EL family.

use std::path::Path;

use worlds::boot::debian::{Debian, EVERY_RELEASE, RELEASES, Release};
use worlds::boot::lab::Lab;
use worlds::boot::root::Root;

/// The systems whose units cloud-init's templates make: Debian's are in its root already.
const SYSTEMS: [&str; 3] = ["debian", "rhel", "almalinux"];
/// Where Debian keeps its units, and our installation puts ours.
const UNITS: &str = "/usr/lib/systemd/system";
/// What systemd says of a cycle; the job that it names next is the one that never runs.
const CYCLE: &str = "Found ordering cycle";

/// No cycle, no directive or value that the release does not know, nothing else to say of our units.
#[test]
#[ignore = "needs root: makes Debian roots"]
fn no_system_warns_of_the_units() {
    for release in EVERY_RELEASE {
        let debian = Debian::root_of(release);
        // cloud-init's units for the EL family are there for the stable releases.
        for system in SYSTEMS.iter().filter(|system| **system == "debian" || RELEASES.contains(&release)) {
            let said = verify(&debian, system, |unit| unit.to_owned());
            assert!(!said.contains("cycle") && !said.contains("cernvm"), "{system} on {release:?}:\n{said}");
        }
    }
}

/// What the test before would see: a directive of a later release, in each of these.
#[test]
#[ignore = "needs root: makes Debian roots"]
fn a_directive_of_a_later_release_is_found_out() {
    let later = |unit: &str| unit.replace("[Service]", "[Service]\nProtectEverything=yes");
    for release in EVERY_RELEASE {
        let said = verify(&Debian::root_of(release), "debian", later);
        assert!(said.contains("ProtectEverything") && said.contains("cernvm"), "{release:?}:\n{said}");
    }
}

/// Variant A: a unit that does not take cloud-final's order after multi-user.target into account.
#[test]
#[ignore = "needs root: makes Debian roots"]
fn a_unit_after_cloud_final_only_is_found_out() {
    let naive = |unit: &str| unit.replace("After=multi-user.target cloud-final", "After=cloud-final");
    for release in RELEASES {
        assert_cycle(&verify(&Debian::root_of(release), "debian", naive));
    }
    // Up to 24.2 the EL family had no such order, since then it has.
    assert_cycle(&verify(&Debian::root_of(Release::Trixie), "almalinux", naive));
    let old = verify(&Debian::root_of(Release::Bookworm), "almalinux", naive);
    assert!(!old.contains(CYCLE), "{old}");
}

/// Variant E: what the comment in cloud-init.target advises.
#[test]
#[ignore = "needs root: makes Debian roots"]
fn a_unit_after_cloud_init_target_is_found_out() {
    let advised =
        |unit: &str| unit.replace("After=multi-user.target cloud-final.service", "After=cloud-init.target");
    for release in RELEASES {
        let debian = Debian::root_of(release);
        for system in SYSTEMS {
            assert_cycle(&verify(&debian, system, advised));
        }
    }
}

#[track_caller]
fn assert_cycle(said: &str) {
    assert!(
        said.contains(CYCLE) && said.contains("cernvm-cluster-master-ready.service"),
        "no cycle found:\n{said}"
    );
}

/// What `systemd-analyze verify` says of a boot in which cloud-init has found its data and our units are enabled,
/// after a change to `cernvm-cluster-master-ready.service`.
fn verify(debian: &Debian, system: &str, change: impl Fn(&str) -> String) -> String {
    let lab = Lab::new();
    let root = Root::new(&lab, debian, "root");
    if system != "debian" {
        replace_cloud_init_units(&root, &debian.units_for(system));
    }
    // The generator's link: cloud-init's target is pulled in only where a data source was found.
    root.sh(&format!(
        "mkdir -p /etc/systemd/system/multi-user.target.wants
        ln -s {UNITS}/cloud-init.target /etc/systemd/system/multi-user.target.wants/"
    ));

    // Any program will do, since none is run.
    root.install("agent", Path::new("/bin/true"));
    root.sh("systemctl --quiet enable cernvm-cluster-contextualization cernvm-cluster-master-ready");
    let path = format!("{UNITS}/cernvm-cluster-master-ready.service");
    let unit = root.read(&path).expect("it was installed");
    root.write(&path, change(&unit));

    // systemd 247 wants to know its control group.
    root.sh("mount -t proc proc /proc
        mount -t tmpfs tmpfs /sys && mkdir -p /sys/fs/cgroup
        mount -t tmpfs tmpfs /sys/fs/cgroup && mkdir /sys/fs/cgroup/systemd
        mount -t cgroup -o none,name=systemd cgroup /sys/fs/cgroup/systemd || mount -t cgroup2 cgroup2 /sys/fs/cgroup
        systemd-analyze verify --man=no multi-user.target cernvm-cluster-contextualization.service \
            cernvm-cluster-master-ready.service 2>&1 || echo \"exit status $?\"")
}

/// Takes Debian's units of cloud-init away, and the links that enabled them, and puts others in their place, enabled.
fn replace_cloud_init_units(root: &Root<'_>, units: &Path) {
    root.sh(&format!(
        "rm -rf {UNITS}/cloud-* /etc/systemd/system/cloud-* /etc/systemd/system/*.wants/cloud-*"
    ));
    let mut services = Vec::new();
    for entry in std::fs::read_dir(units).unwrap_or_else(|e| panic!("{}: {e}", units.display())) {
        let entry = entry.expect("a directory can be listed");
        let name = entry.file_name().into_string().expect("units have plain names");
        root.write(&format!("{UNITS}/{name}"), std::fs::read(entry.path()).expect("a unit can be read"));
        if name.ends_with(".service") {
            services.push(name);
        }
    }
    root.sh(&format!("systemctl --quiet enable {}", services.join(" ")));
}
