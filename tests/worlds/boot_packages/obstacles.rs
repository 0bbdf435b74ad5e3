//! What may be in the way of the packages: it is said in words, and nothing is half installed.

use redb::{Database, TableDefinition};
use worlds::boot::debian::{Debian, Release};
use worlds::boot::lab::Lab;
use worlds::boot::nspawn::Machine;
use worlds::boot::root::Root;

use crate::{ADDRESS, built, built_packages, files_of_ours};

const NAMES: [&str; 2] = ["cernvm-cluster-agent", "cernvm-pairing-server"];
/// Where the service of the package keeps its store.
const STORE: &str = "/var/lib/private/cernvm-pairing-server/pairing.redb";

/// Puts the .deb packages into a root, as `/srv/NAME.deb`.
fn copy_packages(root: &Root<'_>) {
    for package in built_packages() {
        let bytes = std::fs::read(&package).unwrap_or_else(|e| panic!("{}: {e}", package.display()));
        let name = package.file_name().expect("a package has a name").to_string_lossy();
        let (name, _) = name.split_once('_').expect("it begins with the package's name");
        root.write(&format!("/srv/{name}.deb"), bytes);
    }
}

/// No package is there, whole or in part.
fn nothing_is_half_installed(root: &Root<'_>) {
    assert_eq!(root.sh("dpkg --audit"), "");
}

#[test]
#[ignore = "needs root: installs into a root"]
fn the_packages_say_that_there_is_no_systemd_and_no_cloud_init() {
    let lab = Lab::new();
    let root = Root::new(&lab, &Debian::root_of(Release::Trixie), "bare");
    copy_packages(&root);

    root.sh("mv /usr/bin/cloud-init /srv");
    let said = root.sh("dpkg --install /srv/cernvm-cluster-agent.deb 2>&1");
    assert!(said.contains("note: there is no cloud-init here"), "{said}");
    root.sh("dpkg --purge cernvm-cluster-agent 2>&1");

    root.sh("mv /usr/bin/systemctl /usr/bin/deb-systemd-helper /usr/bin/deb-systemd-invoke /srv");
    for name in NAMES {
        let said = root.sh(&format!("dpkg --install /srv/{name}.deb 2>&1"));
        assert!(said.contains(&format!("{name}: note: there is no systemd here")), "{said}");
        root.sh(&format!("{name} --version"));
        nothing_is_half_installed(&root);
        root.sh(&format!("dpkg --purge {name} 2>&1"));
        assert_eq!(
            root.sh(&format!("find /usr /etc /var/lib -xdev -name '*{name}*' ! -path '/var/lib/apt/*'")),
            ""
        );
    }
}

/// dpkg and the tarball's script, each on a disk that is full once a part of the files is there.
#[test]
#[ignore = "needs root: installs into a root"]
fn a_disk_that_fills_up_in_the_middle_leaves_nothing() {
    let lab = Lab::new();
    let root = Root::new(&lab, &Debian::root_of(Release::Trixie), "full");
    copy_packages(&root);
    for name in NAMES {
        let said = root.sh(&format!(
            "mkdir -p /small
            mount -t tmpfs -o size=3m tmpfs /small
            mkdir -p /small/bin /small/var/lib/dpkg/info /small/var/lib/dpkg/updates
            touch /small/var/lib/dpkg/status
            cp /bin/busybox /small/bin/sh
            dpkg --root=/small --force-depends --install /srv/{name}.deb 2>&1 || echo \"status $?\""
        ));
        assert!(said.contains("No space left on device") && said.contains("status 1"), "{said}");
        let left = root.sh("find /small/usr /small/etc ! -type d 2>/dev/null || :");
        let listed = root.sh("dpkg --root=/small --list 2>/dev/null | grep '^[hi]' || :");
        root.sh("umount /small");
        assert_eq!((left.as_str(), listed.as_str()), ("", ""), "{said}");

        // There is room for all of it, but not where the manual pages go, which come after the program.
        let tarball =
            built(|file| file.contains(&format!("/{name}-")) && file.ends_with("-linux-amd64.tar.gz"));
        root.write(
            &format!("/srv/{name}.tar.gz"),
            std::fs::read(&tarball).unwrap_or_else(|e| panic!("{}: {e}", tarball.display())),
        );
        let said = root.sh(&format!(
            "mkdir -p /srv/{name} /small/usr/share/man
            mount -t tmpfs -o nr_inodes=1 tmpfs /small/usr/share/man
            tar -xzf /srv/{name}.tar.gz -C /srv/{name}
            DESTDIR=/small /srv/{name}/*/install.sh 2>&1 || echo \"status $?\""
        ));
        assert!(said.contains("No space left on device") && said.contains("status 1"), "{said}");
        let left = root.sh("find /small ! -type d; umount /small/usr/share/man; rm -r /small");
        assert_eq!(left, "", "{said}");
    }
}

#[test]
#[ignore = "needs root: boots a machine"]
fn the_administrators_own_files_stay_and_are_named() {
    let lab = Lab::new();
    let mut machine = Machine::new(&lab, &Debian::root_of(Release::Trixie), "own", ADDRESS);
    machine.without_cloud_init();
    copy_packages(machine.root());
    machine.boot();
    machine.wait_until_booted();

    let service = "/etc/systemd/system/cernvm-pairing-server.service";
    machine.sh(&format!(
        "mkdir -p /usr/local/bin {service}.d
        echo '[Service]\nEnvironment=CERNVM_PAIRING_LISTEN=127.0.0.1:8001' >{service}.d/override.conf"
    ));
    for name in NAMES {
        machine.sh(&format!("cp /bin/true /usr/local/bin/{name}"));
        let said = machine.sh(&format!("dpkg --install /srv/{name}.deb 2>&1"));
        assert!(said.contains(&format!("note: /usr/local/bin/{name} stays")), "{said}");
        machine.sh(&format!("rm /usr/local/bin/{name}"));
    }
    // The override is obeyed, now and after the package has come again.
    let obeyed = "systemctl is-active cernvm-pairing-server.service
        curl --silent --fail http://127.0.0.1:8001/healthz >/dev/null && echo obeyed";
    assert!(machine.sh(obeyed).ends_with("obeyed\n"));
    machine.sh("dpkg --install /srv/cernvm-pairing-server.deb 2>&1");
    machine.sh(&format!("test -e {service}.d/override.conf"));
    assert!(machine.sh(obeyed).ends_with("obeyed\n"));

    a_store_of_a_newer_release_is_refused_in_words(&lab, &machine);

    // A whole unit of the administrator's.
    machine.sh(&format!("rm -r {service}.d; echo '[Service]\nExecStart=/bin/true' >{service}"));
    let said = machine.sh("dpkg --install /srv/cernvm-pairing-server.deb 2>&1");
    assert!(said.contains(&format!("note: {service} stays, and takes precedence")), "{said}");
    for name in NAMES {
        machine.sh(&format!("dpkg --purge {name} 2>&1"));
    }
    assert_eq!(files_of_ours(&machine), format!("{service}\n"), "the administrator's unit alone is left");
}

/// A downgrade: the package goes in, and the service says by the store's format why it does not start.
fn a_store_of_a_newer_release_is_refused_in_words(lab: &Lab, machine: &Machine<'_>) {
    let newer = lab.outside(&lab.dir().join("newer.redb"));
    {
        let meta = TableDefinition::<&str, u64>::new("meta");
        let store = Database::create(&newer).expect("a file can be made");
        let write = store.begin_write().expect("it can be written");
        write.open_table(meta).expect("it has a table").insert("format", 999).expect("it can be written");
        write.commit().expect("it can be written");
    }
    machine.sh("systemctl stop cernvm-pairing-server.service");
    machine.root().write("/srv/newer.redb", std::fs::read(&newer).expect("it was written"));
    // The directory's owner is a user that exists only while the service runs; systemd gives it the file.
    machine.sh(&format!("cp /srv/newer.redb {STORE}; dpkg --install /srv/cernvm-pairing-server.deb 2>&1"));
    machine.sh("systemctl stop cernvm-pairing-server.service");
    let said = machine.sh("journalctl --no-pager --unit cernvm-pairing-server.service");
    assert!(said.contains("the file has format 999, this release reads formats up to"), "{said}");
    assert!(said.contains("run the release that wrote it"), "{said}");
    assert!(!said.contains("look at the data directory"), "{said}");
    nothing_is_half_installed(machine.root());
    machine.sh(&format!("test -s {STORE}; rm {STORE}"));
}
