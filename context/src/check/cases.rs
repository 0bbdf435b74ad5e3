//! The contexts of `tests/fixtures/cases`, after the shape of public bug reports and templates: what `check` finds in
//! each, and whether a later stage of cloud-init reads its placeholders.

use std::fs;

use super::*;

/// A file, whether a later stage reads its placeholders, and how each finding begins. Files of one mistake in the settings
/// or in the values are left to the tests of those.
const CASES: &[(&str, bool, &[&str])] = &[
    ("00-good.yaml", true, &[]),
    (
        "03-base64-whole.txt",
        false,
        &[
            "f: error: the whole file is base64, and cloud-init does no",
            "f (decoded) line 12: warning: http://127.0.0.1:44629 leads",
        ],
    ),
    (
        "03b-base64-of-gzip.txt",
        false,
        &[
            "f: error: the whole file is base64, and cloud-init does no",
            "f (decoded) (unpacked) line 12: warning: http://127.0.0.1:44629 leads",
        ],
    ),
    (
        "04-boundary-lines-without-dashes.mime",
        false,
        &["f: error: the boundary that its first headers name begins "],
    ),
    ("04-good.mime", true, &[]),
    ("05-headers-were-in-http.mime", false, &["f line 4: error: this is MIME, but its headers are not"]),
    ("06-blank-line-first.mime", false, &["f line 2: error: this is MIME, but its headers are not"]),
    ("06d-blank-between-headers.mime", true, &[]),
    ("07-indented-shebang.sh", true, &["f line 1: error: this script does not begin with #!, so that the"]),
    ("08-latin1-comment.yaml", false, &["f line 6: error: column 4 is not UTF-8, and cloud-init drops what"]),
    (
        "08c-latin1-in-mime.mime",
        false,
        &["f line 22: error: column 4 is not UTF-8, and cloud-init drops what"],
    ),
    (
        "09-bom-in-gzip.gz",
        false,
        &[
            "f (unpacked): error: it begins with a byte order mark, so that cloud-",
            "f (unpacked) line 3: error: cvm_cluster_pin is no pin: it contains '@', but ",
        ],
    ),
    (
        "09b-bom-in-part.mime",
        false,
        &["f part 2 (worker.yaml): error: it begins with a byte order mark, so that cloud-"],
    ),
    (
        "09d-utf16-in-part.mime",
        false,
        &["f part 2 (worker.yaml): error: this is UTF-16, which nothing on the guest reads"],
    ),
    (
        "10-archive.yaml",
        true,
        &[
            "f line 16: error: YAML takes ###MASTER_IP_PLACEHOLDER### for a com",
            "f line 13: warning: cloud-init acts upon bootcmd in the network stag",
            "f line 20: warning: cloud-init runs a boothook in the network stage,",
        ],
    ),
    (
        "10b-archive-lost-in-outer-yaml.yaml",
        true,
        &["f line 6: error: YAML takes ###MASTER_IP_PLACEHOLDER### for a com"],
    ),
    (
        "11-include-bare-section.txt",
        false,
        &[
            "f line 3: error: this line of an #include file is no address; clo",
            "f line 4: error: this line of an #include file is no address; clo",
            "f line 6: error: this line of an #include file is no address; clo",
        ],
    ),
    (
        "11b-include-commented-section-master-url.txt",
        false,
        &["f line 6: error: cloud-init fetches this address before ###MASTER"],
    ),
    ("11c-include-once-two-urls.txt", false, &[]),
    ("11d-include-commented-section.txt", false, &[]),
    (
        "11e-include-section-in-second-url.txt",
        false,
        &["f: warning: it has no ucernvm section, so that the agent has"],
    ),
    (
        "13-base64-in-runcmd.yaml",
        false,
        &["f line 7: warning: a placeholder is inside base64 here, where nothi"],
    ),
    (
        "14-json.yaml",
        true,
        &[
            "f line 6: warning: cloud-init acts upon bootcmd in the network stag",
            "f line 6: warning: cloud-init acts upon hostname in the network sta",
            "f line 6: warning: cloud-init writes this file in the network stage",
        ],
    ),
    (
        "14c-anchors-folded.yaml",
        false,
        &["f line 18: error: YAML takes ###MASTER_IP_PLACEHOLDER### for a com"],
    ),
    ("14d-folded-long-dump.yaml", true, &[]),
    (
        "15-write-files-source.yaml",
        true,
        &["f line 9: error: cloud-init fetches this address in the network s"],
    ),
    (
        "16-text-ucernvm-without-markers.mime",
        true,
        &["f: warning: it has no ucernvm section, so that the agent has"],
    ),
    (
        "18-slave-without-placeholder.txt",
        false,
        &["f line 5: warning: this is a slave's context without any placeholde"],
    ),
    (
        "19-head-with-worker-context-in-heredoc.txt",
        true,
        &["f line 18: warning: this is another section; only that of f line 9 c"],
    ),
    (
        "23a-gzip-two-members.gz",
        true,
        &["f (unpacked) line 4: warning: http://127.0.0.1:44629 leads every VM to itself"],
    ),
    (
        "23b-gzip-trailing-newline.gz",
        false,
        &[
            "f: error: something follows the gzip data, and Python's gz",
            "f (unpacked) line 4: warning: http://127.0.0.1:44629 leads every VM to itself",
        ],
    ),
    (
        "23c-gzip-trailing-zeros.gz",
        true,
        &["f (unpacked) line 4: warning: http://127.0.0.1:44629 leads every VM to itself"],
    ),
    (
        "23e-gzip-after-blank-line.gz",
        false,
        &[
            "f: error: something stands before the gzip data, so that c",
            "f (decoded) (unpacked) line 4: warning: http://127.0.0.1:",
        ],
    ),
    ("34-master.txt", false, &[]),
    ("34-slave-of-another-pin.txt", false, &[]),
    ("41-first-line-a.yaml", false, &["f line 1: error: this is no cloud-config to cloud-init, which ask"]),
    ("41-first-line-b.yaml", true, &["f line 1: error: this is a script to cloud-init, and its first li"]),
    ("41-first-line-c.yaml", false, &["f line 5: error: this is no cloud-config to cloud-init, which ask"]),
    ("46-early-on-but-still-told.yaml", false, &[]),
    ("46b-early-quoted.yaml", false, &[]),
    ("50-page-k3s-master.yaml", false, &[]),
    (
        "50-page-k3s-slave.yaml",
        true,
        &["f line 16: warning: cloud-init writes this file in the network stage"],
    ),
    ("50c-page-slurm-slave.mime", true, &[]),
    ("60-early-commented-out.mime", true, &[]),
    ("60b-early-later-no.mime", true, &[]),
    ("61-crlf-script.sh", true, &["f line 1: warning: this script has Windows line ends: cloud-init co"]),
    (
        "63-network-stage-keys.yaml",
        false,
        &[
            "f line 9: error: cloud-init acts upon chpasswd in the network sta",
            "f line 10: error: cloud-init acts upon password in the network sta",
            "f line 12: warning: cloud-init acts upon random_seed in the network ",
        ],
    ),
];

fn read(name: &str) -> Vec<u8> {
    let path = format!("{}/../tests/fixtures/cases/{name}", env!("CARGO_MANIFEST_DIR"));
    let mut bytes = fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    for (mark, value) in
        [("@PIN@", "enico1qq0oey"), ("@URL@", "https://pair.example.org"), ("@FILES@", "/srv/files")]
    {
        while let Some(at) = bytes.windows(mark.len()).position(|window| window == mark.as_bytes()) {
            bytes.splice(at..at + mark.len(), value.bytes());
        }
    }
    bytes
}

#[test]
fn finds_in_each_what_is_wrong_with_it() {
    for (name, is_read_later, expected) in CASES {
        let document = Document::parse("f", read(name)).unwrap();
        assert_eq!(read_later::is_read_later(&document.reading()), *is_read_later, "{name}");
        let found: Vec<_> = check_document(&document).iter().map(ToString::to_string).collect();
        let fits =
            found.len() == expected.len() && found.iter().zip(*expected).all(|(f, e)| f.starts_with(e));
        assert!(fits, "{name}\nfound: {found:#?}\nexpected: {expected:#?}");
    }
}

/// cloud-init sees no part in four of them, and takes the others.
#[test]
fn finds_errors_only_in_the_shapes_of_mime_that_cloud_init_does_not_take() {
    let directory = format!("{}/../tests/fixtures/cases/mime", env!("CARGO_MANIFEST_DIR"));
    let names =
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let is_refused = |name: &String| {
        let document = Document::parse("f", read(&format!("mime/{name}"))).unwrap();
        check_document(&document).iter().any(|finding| finding.severity == Severity::Error)
    };
    let mut refused: Vec<_> = names.filter(is_refused).collect();
    refused.sort();
    assert_eq!(
        refused,
        ["comment-line-first.mime", "single-quoted.mime", "space-before-colon.mime", "twice-last.mime"]
    );
}

#[test]
fn compares_the_contexts_of_one_cluster() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| {
        let path = directory.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    };
    let master = write("master", &read("34-master.txt"));
    let slave = {
        let other_pin = String::from_utf8(read("34-slave-of-another-pin.txt")).unwrap();
        write("slave", other_pin.replace("enico1qq0oey", "aaaaaaaaaaaa").as_bytes())
    };
    let says = |files: &[&Path]| {
        check(files).unwrap().iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    assert!(says(&[&master, &slave]).contains("slave: error: its pin is not that of "));
    assert!(says(&[&master, &master]).contains("master: warning: it is a master's context, and so is "));
    assert!(says(&[&slave, &slave]).contains("slave: warning: none of these contexts is a master's"));
    assert!(!says(&[&slave]).contains("none of these"));
    let other =
        String::from_utf8(read("34-master.txt")).unwrap().replace("pair.example.org", "other.example.org");
    let other = write("other", other.as_bytes());
    assert!(says(&[&master, &other]).contains("its services ("));
}
