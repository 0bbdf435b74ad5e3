//! The Debian packages on Debian machines that have booted, through apt and a repository of files: installed, upgraded
//! under a waiter, removed and purged.
//!
//! The packages are those of `packaging/packages`, which `tests/scripts/boot` makes of the programs under test.

mod obstacles;

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use worlds::api::{Api, key_path};
use worlds::boot::debian::{Debian, Release};
use worlds::boot::lab::Lab;
use worlds::boot::nspawn::Machine;
use worlds::boot::root::Root;
use worlds::http::Request;
use worlds::process::Process;
use worlds::wait::until;

const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 41);
const SERVICE: SocketAddr = SocketAddr::new(IpAddr::V4(ADDRESS), 8000);
/// Where a container of the lab listens.
const CONTAINER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8000);
/// Where the machine finds its repository.
const REPOSITORY: &str = "/srv/packages";
/// What the machine's apt knows: the repository and nothing else, since the machine has no way out.
const SOURCES: &str = "deb [trusted=yes] file:/srv/packages ./\n";
/// A version above the one under test.
const NEWER: &str = "999.0.0-1";

#[test]
#[ignore = "needs root: boots machines"]
fn packages_come_and_go_on_debian_12() {
    packages_come_and_go(Release::Bookworm);
}

#[test]
#[ignore = "needs root: boots machines"]
fn packages_come_and_go_on_debian_13() {
    packages_come_and_go(Release::Trixie);
}

/// The image as a container: an ordinary user, a root that cannot be written, and a volume for the data.
#[test]
#[ignore = "needs root: runs a container"]
fn the_image_runs_with_a_read_only_root_and_keeps_its_data_in_its_volume() {
    let lab = Lab::new();
    let bundle = lab.dir().join("bundle");
    let image = built(|name| name.contains("-oci-amd64.tar"));
    let volume = lab.dir().join("volume");
    let script = "skopeo --insecure-policy copy --quiet oci-archive:\"$1\":latest oci:\"$2/image\":latest
        umoci unpack --image \"$2/image:latest\" \"$2/bundle\"
        mkdir \"$3\"
        chown 65532:65532 \"$3\"";
    lab.sh(script, &[image.as_os_str(), lab.dir().as_os_str(), volume.as_os_str()]);
    make_it_run_here(&bundle.join("config.json"), &volume);

    let pin = {
        let _container = Container::start(&lab, &bundle);
        let pin = lab.connected(|| Api(CONTAINER).new_pin());
        lab.connected(|| Api(CONTAINER).create_key(&pin, "a", "1"));
        pin
    };
    let _container = Container::start(&lab, &bundle);
    lab.sh("runc exec image /cernvm-pairing-server health", &[]);
    let kept = lab.connected(|| Api(CONTAINER).value(&pin, "a"));
    assert_eq!(kept.as_deref(), Some("1"), "another container on the same volume has the data");
}

/// Takes the runtime configuration of an image, and lets it run on the lab's network with a volume.
fn make_it_run_here(config: &Path, volume: &Path) {
    let text = std::fs::read_to_string(config).expect("umoci wrote a configuration");
    let mut config_json: Value = serde_json::from_str(&text).expect("it is JSON");
    assert_eq!(config_json["process"]["user"]["uid"], 65532, "the image runs as root");
    config_json["process"]["terminal"] = json!(false);
    config_json["root"]["readonly"] = json!(true);
    let namespaces = config_json["linux"]["namespaces"].as_array_mut().expect("a list");
    namespaces.retain(|namespace| namespace["type"] != "network");
    let mounts = config_json["mounts"].as_array_mut().expect("a list");
    let data = mounts.iter_mut().find(|mount| mount["destination"] == "/data");
    *data.expect("the image has a volume") =
        json!({ "destination": "/data", "type": "bind", "source": volume, "options": ["bind", "rw"] });
    std::fs::write(config, config_json.to_string()).expect("the configuration can be written");
}

/// A container that runs the image's own command until it is dropped.
struct Container<'lab> {
    lab: &'lab Lab,
    process: Process,
}

impl<'lab> Container<'lab> {
    fn start(lab: &'lab Lab, bundle: &Path) -> Self {
        let mut command = lab.command("runc");
        command.args(["run", "--bundle"]).arg(bundle).arg("image");
        let mut process = Process::start("container", &mut command);
        let _ = process.line_after("listening on ");
        Self { lab, process }
    }
}

impl Drop for Container<'_> {
    fn drop(&mut self) {
        self.lab.sh("runc kill image TERM", &[]);
        self.process.wait();
    }
}

/// The .rpm as rpm reads it, and installed into an empty root with a database of its own.
#[test]
#[ignore = "needs root: installs into a root"]
fn the_rpms_hold_what_they_should() {
    let root = tempfile::tempdir().expect("a temporary directory can be made");
    for (name, unit) in [
        ("cernvm-cluster-agent", "cernvm-cluster-contextualization.service"),
        ("cernvm-pairing-server", "cernvm-pairing-server.service"),
        ("cernvm-cluster-launcher", "cernvm-cluster-launcher.service"),
    ] {
        let package = built(|file| file.contains(&format!("/{name}-")) && file.ends_with(".x86_64.rpm"));
        let asked = |what: &[&str]| {
            printed(Command::new("rpm").args(["--query", "--package"]).args(what).arg(&package))
        };
        let files = asked(&["--list"]);
        for file in [format!("/usr/bin/{name}"), format!("/usr/lib/systemd/system/{unit}")] {
            assert!(files.lines().any(|line| line == file), "{name} has no {file}:\n{files}");
        }
        assert!(asked(&["--scripts"]).contains(unit), "no scriptlet enables {unit}");
        let needs = asked(&["--requires"]);
        assert!(
            needs
                .lines()
                .all(|line| line.starts_with("rpmlib(") || line.starts_with("config(") || line == "/bin/sh"),
            "{name} needs more than a shell:\n{needs}"
        );
        run(Command::new("rpm")
            .arg("--root")
            .arg(root.path())
            .args(["--install", "--nodeps", "--noscripts"])
            .arg(&package));
        let version = printed(Command::new(root.path().join("usr/bin").join(name)).arg("--version"));
        assert!(version.starts_with(name), "{version}");
    }
    let installed = printed(Command::new("rpm").arg("--root").arg(root.path()).args(["--query", "--all"]));
    assert_eq!(installed.lines().count(), 3, "{installed}");
}

/// The .rpm installed, upgraded and removed with its scriptlets, in a root that has a shell and systemctl.
#[test]
#[ignore = "needs root: installs into a root"]
fn the_rpms_keep_settings_over_an_upgrade() {
    let lab = Lab::new();
    let root = Root::new(&lab, &Debian::root_of(Release::Trixie), "rpm");
    let rpm = |what: &[&str], package: &OsStr| {
        let mut command = lab.command("rpm");
        command.arg("--root").arg(root.path()).arg("--nodeps").args(what).arg(package);
        run(&mut command);
    };
    for (part, name, unit) in [
        ("agent", "cernvm-cluster-agent", "cernvm-cluster-contextualization.service"),
        ("server", "cernvm-pairing-server", "cernvm-pairing-server.service"),
    ] {
        let package = built(|file| file.contains(&format!("/{name}-")) && file.ends_with(".x86_64.rpm"));
        rpm(&["--install"], package.as_os_str());
        assert_eq!(root.sh(&format!("systemctl is-enabled {unit}")).trim(), "enabled");
        root.sh("test ! -e /etc/default/cernvm-pairing-server ||
            echo CERNVM_PAIRING_ACCESS_LOG=true >>/etc/default/cernvm-pairing-server");

        let newer = lab.dir().join(format!("{name}-999.rpm"));
        run(Command::new(".cache/packaging-tools/bin/cargo-generate-rpm")
            .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
            .args(["generate-rpm", "--package", part, "--target", "x86_64-unknown-linux-musl"])
            .args(["--payload-compress", "none", "--auto-req", "disabled"])
            .args(["--set-metadata", "version = \"999.0.0\"", "--output"])
            .arg(lab.outside(&newer)));
        rpm(&["--upgrade"], newer.as_os_str());
        assert_eq!(root.sh(&format!("systemctl is-enabled {unit}")).trim(), "enabled");
        if part == "server" {
            let settings = root.read("/etc/default/cernvm-pairing-server").expect("the settings are there");
            assert!(settings.ends_with("\nCERNVM_PAIRING_ACCESS_LOG=true\n"), "the upgrade lost a setting");
        }

        rpm(&["--erase"], name.as_ref());
        root.sh(&format!(
            "test ! -e /usr/bin/{name} && test ! -L /etc/systemd/system/multi-user.target.wants/{unit}"
        ));
    }
}

fn printed(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn packages_come_and_go(release: Release) {
    let lab = Lab::new();
    let mut machine = Machine::new(&lab, &Debian::root_of(release), "packages", ADDRESS);
    machine.without_cloud_init();
    machine.root().write("/etc/apt/sources.list", SOURCES);
    machine.root().sh("rm -f /etc/apt/sources.list.d/*");
    let packages = built_packages();
    publish(&machine, &packages);
    machine.boot();
    machine.wait_until_booted();
    machine.sh("apt-get --quiet=2 update");

    let before = files_of_ours(&machine);
    assert_eq!(before, "", "there are files of ours before the installation");
    the_service_is_installed_upgraded_and_purged(&lab, &machine, &packages);
    the_agent_is_enabled_and_not_started(&machine);
    the_launcher_runs_once_it_has_its_secret(&machine);
    assert_eq!(files_of_ours(&machine), "", "files are left after the purge");
    the_tarballs_are_installed_and_removed(&machine);
    assert_eq!(files_of_ours(&machine), "", "files are left after the removal");
}

/// The tarballs' own script, on the same machine: with a package in the way, on a full disk, and as it should be.
fn the_tarballs_are_installed_and_removed(machine: &Machine<'_>) {
    for name in ["cernvm-cluster-agent", "cernvm-pairing-server"] {
        let tarball =
            built(|file| file.contains(&format!("/{name}-")) && file.ends_with("-linux-amd64.tar.gz"));
        let bytes = std::fs::read(&tarball).unwrap_or_else(|e| panic!("{}: {e}", tarball.display()));
        machine.root().write(&format!("/srv/{name}.tar.gz"), bytes);
        machine.sh(&format!("mkdir /srv/{name}; tar -xzf /srv/{name}.tar.gz -C /srv/{name}"));
        let install = machine.sh(&format!("ls /srv/{name}/*/install.sh")).trim().to_owned();

        apt(machine, &format!("install {name}"));
        let refused = machine.sh(&format!("{install} 2>&1 || echo \"status $?\""));
        assert!(
            refused.contains("belongs to an installed package") && refused.contains("status 1"),
            "{refused}"
        );
        apt(machine, &format!("purge {name}"));

        machine.sh("mkdir -p /srv/small/usr; mount -t tmpfs -o size=64k tmpfs /srv/small/usr");
        let full = machine.sh(&format!("DESTDIR=/srv/small {install} 2>&1 || echo \"status $?\""));
        assert!(full.contains("Next: make room") && full.contains("status 1"), "{full}");
        let left = machine.sh("find /srv/small ! -type d; umount /srv/small/usr; rm -r /srv/small");
        assert_eq!(left, "", "a refused installation left files");

        machine.sh(&format!("mkdir -p /usr/local/bin; cp /bin/true /usr/local/bin/{name}"));
        let installed = machine.sh(&format!("{install} 2>&1; rm /usr/local/bin/{name}"));
        assert!(installed.contains("comes first in PATH"), "{installed}");
        machine.sh(&format!("{name} --version"));
    }
    machine.sh("systemctl enable --now cernvm-pairing-server.service");
    machine
        .sh("systemctl enable cernvm-cluster-contextualization.service cernvm-cluster-master-ready.service");
    for name in ["cernvm-cluster-agent", "cernvm-pairing-server"] {
        machine.sh(&format!("/srv/{name}/*/install.sh remove"));
    }
    machine.sh("rm -r /etc/default/cernvm-pairing-server /var/lib/private/cernvm-pairing-server \
                /var/lib/cernvm-pairing-server");
}

fn the_service_is_installed_upgraded_and_purged(lab: &Lab, machine: &Machine<'_>, packages: &[PathBuf]) {
    apt(machine, "install cernvm-pairing-server");
    until("the service is ready", || {
        let ready =
            lab.connected(|| Api(SERVICE).send(&Request::new("GET", "/readyz")).ok().map(|a| a.status));
        (ready == Some(200)).then_some(())
    });
    assert_eq!(machine.sh("systemctl is-enabled cernvm-pairing-server.service").trim(), "enabled");
    let pin = lab.connected(|| Api(SERVICE).new_pin());
    lab.connected(|| Api(SERVICE).create_key(&pin, "a", "1"));
    machine.sh("sed -i 's/^#CERNVM_PAIRING_ACCESS_LOG=.*/CERNVM_PAIRING_ACCESS_LOG=true/' \
                /etc/default/cernvm-pairing-server");

    // A slave waits while the package is upgraded: it is told to come again, and finds its pin.
    let main_pid = "systemctl show --value --property=MainPID cernvm-pairing-server.service";
    let first = machine.sh(main_pid);
    for package in packages {
        publish(machine, &[newer(package, lab.dir())]);
    }
    machine.sh("apt-get --quiet=2 update");
    let answered = std::thread::scope(|scope| {
        let wait = scope.spawn(|| {
            lab.connected(|| {
                let wait = Request::new("GET", &key_path(&pin, "late")).header("Prefer", "wait=50");
                Api(SERVICE).send(&wait).map(|answer| answer.status)
            })
        });
        until("the service holds a wait", || (lab.connected(|| held_waits(&pin)) == Some(1)).then_some(()));
        apt(machine, "install cernvm-pairing-server");
        wait.join().expect("the waiter does not panic")
    });
    assert_eq!(answered.expect("the waiter is answered"), 503);
    assert_eq!(version(machine, "cernvm-pairing-server"), NEWER);
    assert_ne!(machine.sh(main_pid), first, "the upgrade did not restart the service");
    let kept = lab.connected(|| Api(SERVICE).value(&pin, "a"));
    assert_eq!(kept.as_deref(), Some("1"), "the upgrade lost a key");
    let settings = machine.sh("cat /etc/default/cernvm-pairing-server");
    assert!(settings.contains("\nCERNVM_PAIRING_ACCESS_LOG=true\n"), "the upgrade lost a setting");

    apt(machine, "remove cernvm-pairing-server");
    assert_eq!(machine.sh("systemctl is-active cernvm-pairing-server.service || :").trim(), "inactive");
    machine.sh("test -e /var/lib/private/cernvm-pairing-server/pairing.redb");
    machine.sh("test -e /etc/default/cernvm-pairing-server");
    apt(machine, "install cernvm-pairing-server");
    until("the service is back with its data", || {
        let kept = lab.connected(|| {
            let get = Request::new("GET", &key_path(&pin, "a"));
            Api(SERVICE).send(&get).ok().map(|answer| answer.status)
        });
        (kept == Some(200)).then_some(())
    });
    apt(machine, "purge cernvm-pairing-server");
}

fn the_agent_is_enabled_and_not_started(machine: &Machine<'_>) {
    apt(machine, "install cernvm-cluster-agent");
    let units = machine.sh("systemctl list-unit-files --no-legend 'cernvm-*' | awk '{ print $1, $2 }'");
    for unit in units.lines() {
        // Following is for those who ask for it.
        let enabled = !unit.ends_with(" disabled");
        assert_eq!(enabled, !unit.starts_with("cernvm-cluster-follow."), "{unit}");
        let name = unit.split(' ').next().expect("a line has a name");
        let state = machine.sh(&format!("systemctl is-active {name} || :"));
        assert_eq!(state.trim(), "inactive", "{name}");
    }
    assert!(units.contains("cernvm-cluster-contextualization.service"), "{units}");
    machine.sh("cernvm-cluster-agent --version");
    apt(machine, "purge cernvm-cluster-agent");
}

/// With the shipped types as its catalogue; no cloud is asked for them.
fn the_launcher_runs_once_it_has_its_secret(machine: &Machine<'_>) {
    apt(machine, "install cernvm-cluster-launcher");
    let enabled = machine.sh("systemctl is-enabled cernvm-cluster-launcher.service || :");
    assert_eq!(enabled.trim(), "disabled");
    machine.sh("install -d /etc/cernvm-cluster-launcher
        # The root leaves documentation out.
        dpkg-deb --extract /srv/packages/cernvm-cluster-launcher_0.1.0_*.deb /srv/launcher
        cp -r /srv/launcher/usr/share/doc/cernvm-cluster-launcher/examples/cluster-types \
            /etc/cernvm-cluster-launcher/cluster-types-enabled
        echo JWT_SECRET=0123456789abcdef0123456789abcdef >>/etc/default/cernvm-cluster-launcher
        systemctl enable --now cernvm-cluster-launcher.service");
    let types = machine.sh("cernvm-cluster-launcher types --types /etc/cernvm-cluster-launcher");
    for kind in ["workers", "slurm", "k3s"] {
        assert!(types.contains(kind), "{types}");
    }
    until("the launcher answers", || {
        let get = "curl --silent --max-time 10 http://127.0.0.1:42378/cluster-types/ || :";
        machine.sh(get).contains("\"slurm\"").then_some(())
    });
    apt(machine, "purge cernvm-cluster-launcher");
    machine.sh("rm -r /etc/cernvm-cluster-launcher");
}

/// How many waits the service holds on a pin: the first event of the pin's stream says so.
fn held_waits(pin: &str) -> Option<u64> {
    let mut stream = TcpStream::connect(SERVICE).ok()?;
    write!(stream, "GET /api/v1/clusters/{pin}/events HTTP/1.1\r\nHost: pairing\r\n\r\n").ok()?;
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    let state = lines.find_map(|line| line.strip_prefix("data: ").map(str::to_owned))?;
    let state: Value = serde_json::from_str(&state).expect("the state is JSON");
    state["waiting"].as_u64()
}

fn apt(machine: &Machine<'_>, what: &str) {
    machine.sh(&format!("DEBIAN_FRONTEND=noninteractive apt-get --quiet=2 --yes {what} 2>&1"));
}

fn version(machine: &Machine<'_>, package: &str) -> String {
    machine.sh(&format!("dpkg-query --show --showformat='${{Version}}' {package}"))
}

/// Every file outside the repository that bears our name.
fn files_of_ours(machine: &Machine<'_>) -> String {
    machine.sh("find / -xdev -name '*cernvm*' ! -path '/srv/*' ! -path '/var/lib/apt/*' ! -path '/proc/*' \
                ! -path '/sys/*' ! -path '/run/*' ! -path '/var/log/*' | sort")
}

/// The file of `packaging/packages` whose name fits.
fn built(fits: impl Fn(&str) -> bool) -> PathBuf {
    let file = everything_built().into_iter().find(|path| fits(&path.to_string_lossy()));
    file.expect("packaging/packages makes it")
}

/// The packages of the programs for this machine's architecture.
fn built_packages() -> Vec<PathBuf> {
    let mut packages = everything_built();
    packages.retain(|path| path.to_string_lossy().ends_with("_amd64.deb"));
    assert_eq!(packages.len(), 3, "{packages:?}");
    packages
}

/// What `packaging/packages` made, sorted.
fn everything_built() -> Vec<PathBuf> {
    let out = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/packages/out");
    let listed = std::fs::read_dir(&out)
        .unwrap_or_else(|e| panic!("{}: {e}; run packaging/packages first", out.display()));
    let mut files: Vec<PathBuf> =
        listed.map(|entry| entry.expect("the directory can be read").path()).collect();
    files.sort();
    files
}

/// The same package with a newer version.
fn newer(package: &Path, dir: &Path) -> PathBuf {
    let name = package.file_name().expect("a package has a name").to_string_lossy().replace("0.1.0", "999");
    let path = dir.join(name);
    let script = "rm -rf \"$2.d\"; dpkg-deb -R \"$1\" \"$2.d\"
        sed -i \"s/^Version: .*/Version: $3/\" \"$2.d/DEBIAN/control\"
        dpkg-deb -Zgzip -z1 --root-owner-group --build \"$2.d\" \"$2\" >/dev/null";
    run(Command::new("sh").args(["-e", "-c", script, "sh"]).arg(package).arg(&path).arg(NEWER));
    path
}

/// Puts packages into the machine's repository and writes its index.
fn publish(machine: &Machine<'_>, packages: &[PathBuf]) {
    for package in packages {
        let name = package.file_name().expect("a package has a name").to_string_lossy();
        let bytes = std::fs::read(package).unwrap_or_else(|e| panic!("{}: {e}", package.display()));
        machine.root().write(&format!("{REPOSITORY}/{name}"), bytes);
    }
    machine.root().sh("cd /srv/packages
        : >Packages
        for package in *.deb; do
            dpkg-deb --field \"$package\" | sed /^$/d
            echo \"Filename: ./$package\"
            echo \"Size: $(stat --format=%s \"$package\")\"
            echo \"SHA256: $(sha256sum \"$package\" | cut -d ' ' -f 1)\"
            echo
        done >Packages");
}

fn run(command: &mut Command) {
    let status = command.status().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    assert!(status.success(), "{command:?}: {status}");
}
