//! What the agent says at boot beside what `check` says of the same context before it: every case of
//! `fixtures/cases`, taken by the real cloud-init, with the real agent and a service.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use context::document::Document;
use context::placeholder::Placeholder;
use serde_json::Value;
use worlds::boot::debian::{Debian, Release};
use worlds::guest::Guest;
use worlds::service::Service;
use worlds::together::together;

use super::cloud_init;

/// Runs cloud-init's network stage; says what it reads and writes.
const DRIVER: &str = include_str!("boot.py");
const INSTANCE: &str = "/var/lib/cloud/instances/iid-test";
const ADDRESS: &str = "192.0.2.1";

/// Cases that no boot of this service can have: their section lies in gzip or base64 with a pin of its own, names another
/// service or a pin in capitals. The shapes of the former are among those of the test of `check`.
const LEFT_OUT: [&str; 8] = ["03", "09-", "22g", "23", "25-prefix", "34", "50-", "50c"];
/// A slave's context with a master's in it.
const SLAVE_FIRST: &str = "19-head-with-worker-context-in-heredoc.txt";
/// Cases in which nothing is wrong before the boot: what an `#include` names cannot be fetched, or no later stage reads a
/// placeholder of a text that is none of cloud-init's kinds.
const FAIL_AT_BOOT: [(&str, &str); 7] = [
    ("11c-", DEAD_INCLUDE),
    ("11d-", DEAD_INCLUDE),
    ("22a-", UNREAD),
    ("22c-", UNREAD),
    ("22k-", "is no placeholder"),
    ("25-url-_.", UNREAD),
    ("25-url-__.", UNREAD),
];
const DEAD_INCLUDE: &str = "cloud-init has not fetched every address of this #include";
const UNREAD: &str = "nothing that cloud-init's later stages read has a placeholder";

/// The section of the cases in `mime`, whose part is encoded.
const ENCODED: [&str; 2] = [
    "W3VjZXJudm0tYmVnaW5dCmN2bV9jbHVzdGVyX3Bpbj12cW1nd25idzk4OXQKY3ZtX3NlcnZpY2Vf",
    "dXJsPWh0dHA6Ly8xMjcuMC4wLjE6NDQ2MjkKW3VjZXJudm0tZW5kXQo=",
];

struct Case {
    name: String,
    bytes: Vec<u8>,
}

/// The cases, made out to one pin for the masters and one for the slaves.
fn cases(pins: &[String; 2], url: &str) -> Vec<Case> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/cases");
    let mut paths: Vec<_> = [directory.clone(), directory.join("mime")]
        .iter()
        .flat_map(|directory| fs::read_dir(directory).expect("the cases are there"))
        .map(|entry| entry.expect("a directory can be read").path())
        .filter(|path| path.is_file())
        .collect();
    paths.sort();
    let case = |path: &PathBuf| {
        let mut bytes = fs::read(path).expect("a case can be read");
        let is_master =
            String::from_utf8_lossy(&bytes).contains("cvm_cluster_master=") && !path.ends_with(SLAVE_FIRST);
        let pin = &pins[usize::from(!is_master)];
        let section =
            format!("[ucernvm-begin]\ncvm_cluster_pin={pin}\ncvm_service_url={url}\n[ucernvm-end]\n");
        let encoded = STANDARD.encode(section);
        for (mark, value) in [
            ("@PIN@", pin.as_str()),
            ("vqmgwnbw989t", pin),
            ("@URL@", url),
            ("http://127.0.0.1:44629", url),
            ("https://pair.example.org", url),
            ("@FILES@", "/nowhere"),
            (ENCODED[0], &encoded),
            (ENCODED[1], ""),
        ] {
            while let Some(at) = bytes.windows(mark.len()).position(|window| window == mark.as_bytes()) {
                bytes.splice(at..at + mark.len(), value.bytes());
            }
        }
        Case { name: path.strip_prefix(&directory).expect("below it").display().to_string(), bytes }
    };
    let mut cases: Vec<_> = paths.iter().map(case).collect();
    cases.retain(|case| !LEFT_OUT.iter().any(|left_out| case.name.starts_with(left_out)));
    cases
}

/// The guests as this release's network stage leaves them.
fn guests(release: Release, cases: &[Case]) -> Vec<Guest> {
    let root = Debian::root_of(release).root();
    let made = cloud_init(&root, DRIVER, cases.iter().map(|case| case.bytes.as_slice()));
    assert_eq!(made.len(), cases.len(), "{release:?}");
    let guest = |(case, files): (&Case, &Value)| {
        let guest = Guest::with_files(&case.name.replace('/', "-"), &[]);
        let files: BTreeMap<String, String> =
            serde_json::from_value(files.clone()).expect("paths and contents");
        for (path, content) in files {
            guest.write(&path, STANDARD.decode(content).expect("the driver writes base64"));
        }
        guest.write("/case", &case.bytes);
        symlink(INSTANCE, guest.path("/var/lib/cloud/instance")).expect("a link can be made");
        guest
    };
    cases.iter().zip(&made).map(guest).collect()
}

/// What `check` says of the case: severity and sentence of each finding.
fn checked(guest: &Guest) -> Vec<(String, String)> {
    let file = guest.path("/case").display().to_string();
    let output = guest.run(&["check", "--json", &file]);
    let said: Value = serde_json::from_str(&output.stdout).unwrap_or_else(|_| panic!("{}", output.stderr));
    let text = |finding: &Value, key: &str| finding[key].as_str().expect("a text").to_owned();
    said["findings"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|f| (text(f, "severity"), text(f, "what")))
        .collect()
}

#[test]
#[ignore = "needs root: makes Debian roots"]
fn the_boot_says_what_check_says_before_it() {
    let service = Service::start();
    let pins = [service.api().new_pin(), service.api().new_pin()];
    let cases = cases(&pins, &service.url());
    let mut keys = BTreeSet::from(["master_ip".to_owned(), "master_ready".to_owned()]);
    for case in &cases {
        let document = Document::parse("f", case.bytes.clone()).expect("no case is damaged");
        keys.extend(document.placeholders().iter().map(Placeholder::key));
    }
    for key in keys {
        service.api().create_key(&pins[1], &key, ADDRESS);
    }
    for release in [Release::Bookworm, Release::Trixie, Release::Sid] {
        let guests = guests(release, &cases);
        together(cases.iter().zip(&guests), |(case, guest)| {
            let errors: Vec<_> =
                checked(guest).into_iter().filter(|(severity, _)| severity == "error").collect();
            let fails = FAIL_AT_BOOT
                .iter()
                .find(|(name, _)| case.name.starts_with(name))
                .map(|(_, what)| (*what).to_owned());
            let said: Vec<_> = errors.into_iter().map(|(_, what)| what).chain(fails).collect();
            let boot = guest.run(&["contextualize", "--cloud-init"]);
            println!("{release:?} {}: {}", case.name, boot.status);
            boot.expect(if said.is_empty() { 0 } else { 65 });
            said.iter().for_each(|what| {
                boot.says(what);
            });
            // A second run of the boot says the same.
            let again = guest.run(&["contextualize", "--cloud-init"]);
            again.expect(boot.status);
            said.iter().for_each(|what| {
                again.says(what);
            });
        });
    }
}
