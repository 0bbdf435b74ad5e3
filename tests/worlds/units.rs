//! The units as an old systemd reads them: no directive, value or system-call group that it does not know.
//!
//! Real releases read them in `boot_units`; for the others the man pages say when a directive appeared.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use protocol::error::Status;

/// The oldest systemd that the agent's units are for: that of EL 7.
const OLDEST: u32 = 219;
/// Every release from the oldest to the newest that the fixture knows.
const RELEASES: std::ops::RangeInclusive<u32> = OLDEST..=262;
/// Values that appeared later than their directives (systemd's NEWS).
const VALUES: [(&str, &str, u32); 5] = [
    ("ProtectSystem", "strict", 232),
    ("SystemCallFilter", "@system-service", 239),
    ("SystemCallFilter", "@resources", 239),
    ("SystemCallFilter", "@swap", 233),
    ("SystemCallFilter", "@reboot", 233),
];
/// The exit statuses after which a run may go better without anything having been changed.
const HEALING: [Status; 2] = [Status::Unreachable, Status::TimedOut];
/// The release that knows groups of system calls at all.
const GROUPS: u32 = 231;

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The units that start the agent.
fn agent_units() -> Vec<String> {
    let files =
        std::fs::read_dir(top().join("systemd")).expect("it is there").flatten().map(|file| file.path());
    let starts_agent = |path: &PathBuf| {
        path.is_file()
            && read(path).lines().any(|line| line.starts_with("ExecStart=/usr/bin/cernvm-cluster-agent "))
    };
    let name = |path: PathBuf| path.file_name().expect("it has one").to_string_lossy().into_owned();
    let units: Vec<_> = files.filter(starts_agent).map(name).collect();
    assert!(units.len() >= 3, "{units:?}");
    units
}

/// In which release each directive appeared.
fn directives() -> BTreeMap<String, u32> {
    let fixture = read(&top().join("tests/fixtures/systemd/directives.txt"));
    let known = fixture.lines().filter(|line| !line.starts_with('#')).map(|line| {
        let (name, release) = line.split_once(' ').expect("a name and a release");
        (name.to_owned(), release.parse().expect("a number"))
    });
    known.collect()
}

/// The settings of a unit file.
fn settings(unit: &str) -> Vec<(&str, &str)> {
    unit.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once('=')).collect()
}

/// What systemd of this release would warn of.
fn unknown<'u>(unit: &'u str, release: u32, directives: &BTreeMap<String, u32>) -> Vec<&'u str> {
    let warned = settings(unit).into_iter().filter(|(name, value)| {
        let appeared = directives.get(*name).unwrap_or_else(|| panic!("no release is known for {name}="));
        let late = VALUES.iter().any(|(of, part, appeared)| {
            of == name && value.split([' ', '~']).any(|word| word == *part) && *appeared > release
        });
        *appeared > release
            || late
            || (*name == "SystemCallFilter" && value.contains('@') && release < GROUPS)
    });
    warned.map(|(name, _)| name).collect()
}

/// The agent's units as installed for a release, each with its drop-in.
fn installed_for(release: u32) -> BTreeMap<String, String> {
    let destination = tempfile::tempdir().expect("a directory can be made");
    install(destination.path(), release);
    let units = destination.path().join("usr/lib/systemd/system");
    let whole = |unit: String| {
        let dropin = units.join(format!("{unit}.d/sandbox.conf"));
        let text = read(&units.join(&unit)) + &read(&dropin);
        (unit, text)
    };
    agent_units().into_iter().map(whole).collect()
}

fn install(destination: &Path, release: u32) {
    let installed = Command::new(top().join("packaging/install.sh"))
        .args(["agent", "/bin/true"])
        .env("DESTDIR", destination)
        .env("SYSTEMD_VERSION", release.to_string())
        .status();
    assert!(installed.expect("the script starts").success());
}

/// The rpm lists directories one by one.
#[test]
fn the_rpm_has_the_sandbox_of_every_unit() {
    let manifest = read(&top().join("agent/Cargo.toml"));
    for unit in agent_units() {
        let directory = format!("dest = \"/usr/lib/systemd/system/{unit}.d/\"");
        assert!(manifest.contains(&directory), "agent/Cargo.toml has no asset with {directory}");
    }
}

#[test]
fn no_release_gets_a_directive_that_it_does_not_know() {
    let directives = directives();
    for release in RELEASES {
        for (unit, text) in installed_for(release) {
            assert_eq!(unknown(&text, release, &directives), [""; 0], "{unit} for {release}");
        }
    }
}

#[test]
fn the_newest_release_gets_the_whole_sandbox_and_the_oldest_none_of_what_it_would_not_know() {
    for unit in agent_units() {
        let unit = unit.as_str();
        let sandbox = read(&top().join("systemd/sandbox").join(unit.replace(".service", ".conf")));
        let newest = &installed_for(*RELEASES.end())[unit];
        let oldest = &installed_for(OLDEST)[unit];
        let base = read(&top().join("systemd").join(unit));
        for (name, value) in settings(&sandbox) {
            assert!(settings(newest).contains(&(name, value)), "{unit}: {name}");
            let in_base = settings(&base).contains(&(name, value));
            assert_eq!(settings(oldest).contains(&(name, value)), in_base, "{unit}: {name}");
        }
    }
}

/// A list of allowed calls kills the agent on a release that knows none of its groups; one of denied calls does nothing.
#[test]
fn a_filter_of_system_calls_that_a_release_does_not_know_denies_nothing() {
    for (unit, text) in installed_for(*RELEASES.end()) {
        let filters: Vec<_> =
            settings(&text).into_iter().filter(|(name, _)| *name == "SystemCallFilter").collect();
        assert!(!filters.is_empty(), "{unit}");
        assert!(filters.iter().all(|(_, value)| value.starts_with('~')), "{unit}: {filters:?}");
    }
}

/// systemd before 244 refuses a oneshot unit that is to be restarted.
#[test]
fn a_unit_that_is_restarted_is_no_oneshot() {
    for (unit, text) in installed_for(OLDEST) {
        let settings = settings(&text);
        assert!(settings.contains(&("Restart", "on-failure")), "{unit}");
        assert!(settings.contains(&("Type", "notify")), "{unit}");
        let final_ones = settings.iter().find(|(name, _)| *name == "RestartPreventExitStatus");
        let (_, final_ones) = final_ones.expect("some exit statuses do not heal");
        // All but those that heal by waiting: the service or the master was late.
        let lasting = Status::ALL.into_iter().filter(|status| !HEALING.contains(status));
        let lasting: Vec<_> = lasting.map(|status| status.code().to_string()).collect();
        assert_eq!(*final_ones, lasting.join(" "), "{unit}");
    }
}

#[test]
fn both_names_of_the_masters_unit_are_one() {
    let destination = tempfile::tempdir().expect("a directory can be made");
    install(destination.path(), OLDEST);
    let units = destination.path().join("usr/lib/systemd/system");
    let alias = std::fs::read_link(units.join("cernvm-master-ready.service")).expect("it is a link");
    assert_eq!(alias, Path::new("cernvm-cluster-master-ready.service"));
}

/// The original's units and scripts, as cernvm-config lays them down, with an administrator's copy in /etc.
#[test]
fn the_original_half_is_replaced_as_a_whole() {
    let destination = tempfile::tempdir().expect("a directory can be made");
    let path = |name: &str| destination.path().join(name);
    let write = |name: &str, text: &str| {
        let path = path(name);
        std::fs::create_dir_all(path.parent().expect("it has one")).expect("it can be made");
        std::fs::write(path, text).expect("it can be written");
    };
    let old = "[Service]\nExecStart=/etc/cernvm/service.d/cernvm-cluster-master-ready\n";
    for unit in ["cernvm-contextualization", "cernvm-master-ready", "cernvm-cluster-master-ready"] {
        write(&format!("usr/lib/systemd/system/{unit}.service"), old);
    }
    write("etc/systemd/system/cernvm-cluster-master-ready.service", old);
    let own = "etc/systemd/system/cernvm-cluster-contextualization.service";
    write(own, "[Service]\nExecStart=/usr/bin/cernvm-cluster-agent --verbose contextualize --cloud-init\n");
    write("etc/cernvm/service.d/cernvm-cluster-master-ready", "#!/bin/sh\n");
    let wants = "etc/systemd/system/multi-user.target.wants";
    write(&format!("{wants}/cernvm-contextualization.service"), old);
    write(&format!("{wants}/cernvm-cluster-contextualization.service"), old);
    install(destination.path(), OLDEST);

    assert!(
        !path("etc/systemd/system/cernvm-cluster-master-ready.service").exists(),
        "it would win over ours"
    );
    assert!(path(own).exists(), "a unit that the administrator wrote for our agent is gone");
    let ours = read(&path("usr/lib/systemd/system/cernvm-cluster-master-ready.service"));
    assert!(ours.contains("ExecStart=/usr/bin/cernvm-cluster-agent"), "{ours}");
    assert_eq!(read(&path("usr/lib/systemd/system/cernvm-master-ready.service")), ours);
    let masked = std::fs::read_link(path("etc/systemd/system/cernvm-contextualization.service"));
    assert_eq!(masked.expect("it is masked"), Path::new("/dev/null"));
    let left = std::fs::read_dir(path(wants)).expect("it is there").count();
    assert_eq!(left, 0, "what the original was started by is gone");
}
