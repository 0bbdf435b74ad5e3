//! Contexts with one mistake each.

use super::*;
use proptest::prelude::*;

const GOOD: &str = "[ucernvm-begin]\ncvm_cluster_pin=enico1qq0oey\n[ucernvm-end]\n";

fn findings(bytes: &[u8]) -> Vec<Finding> {
    match Document::parse("f", bytes.to_vec()) {
        Ok(document) => check_document(&document),
        Err(error) => {
            let mut report = Report::default();
            report.problem(&error);
            report.findings
        }
    }
}

/// Each finding begins, as printed, as expected; there is no other.
fn check(text: &str, expected: &[&str]) {
    let found: Vec<_> = findings(text.as_bytes()).iter().map(ToString::to_string).collect();
    let fits = found.len() == expected.len() && found.iter().zip(expected).all(|(f, e)| f.starts_with(e));
    assert!(fits, "{text:.2000}\nfound: {found:#?}\nexpected: {expected:#?}");
}

/// A cloud-config with a section in comments; what follows begins in line 5.
fn cloud_config(rest: &str) -> String {
    let section: String = GOOD.lines().map(|line| format!("#{line}\n")).collect();
    format!("#cloud-config\n{section}{rest}")
}

fn section(lines: &str) -> String {
    GOOD.replace("[ucernvm-end]", &format!("{lines}\n[ucernvm-end]"))
}

#[test]
fn says_nothing_about_good_contexts() {
    for name in ["amiconfig-master", "amiconfig-slave"] {
        let path = format!("{}/../tests/fixtures/contexts/{name}", env!("CARGO_MANIFEST_DIR"));
        assert_eq!(super::check(&[path]).unwrap(), [], "{name}");
    }
    check(&cloud_config("runcmd:\n  - [ join, \"###MASTER_IP_PLACEHOLDER###\" ]\n"), &[]);
}

#[test]
fn names_a_file_that_cannot_be_read() {
    assert_eq!(super::check(&["/nonexistent"]).unwrap_err().status(), Status::File);
}

#[test]
fn sees_what_is_wrong_with_the_section() {
    check("a=1\n", &["f: warning: it has no ucernvm section"]);
    check(
        &GOOD.replace("[ucernvm-end]\n", ""),
        &["f line 1: error: [ucernvm-begin] has no [ucernvm-end] before the file ends"],
    );
    check(
        &GOOD.replace("[ucernvm-begin]", "[ucernvm_begin]"),
        &["f line 1: error: \"[ucernvm_begin]\" is not the line [ucernvm-begin]"],
    );
    check("[ucernvm-begin]\n[ucernvm-end]\n", &["f line 1: warning: there is no cvm_cluster_pin"]);
    check(
        &format!("{GOOD}{GOOD}"),
        &["f line 4: warning: this is another section; only that of f line 1 counts"],
    );
    check(&section("cvm_cluster_timeout: 3"), &["f line 3: warning: this line of the section sets nothing"]);
    check(&section("cvm_cluster_timeout=x"), &["f line 3: error: cvm_cluster_timeout is not a number"]);
    check(
        &section("cvm_cluster_mastre=yes"),
        &[
            "f line 3: warning: the agent has no setting cvm_cluster_mastre\n  next: write cvm_cluster_master,",
        ],
    );
    check(
        &section("cvm_foo=1"),
        &["f line 3: warning: the agent has no setting cvm_foo\n  next: the settings are cvm_cluster_pin, "],
    );
    check(
        &section("cvm_cluster_master=ja"),
        &["f line 3: error: cvm_cluster_master is \"ja\", which is neither"],
    );
    check(&section("cvm_service_url=pair:8000"), &["f line 3: warning: the service is used over plain http"]);
    check(&section("cvm_service_url=https://pair\nresize_rootfs=yes"), &[]);
}

#[test]
fn shows_nothing_that_a_terminal_obeys() {
    let found = findings(section("cvm_\u{1b}[2J\u{9b}foo=1").as_bytes());
    assert!(found[0].what.ends_with(" cvm_[2jfoo"), "{found:?}");
}

#[test]
fn warns_of_a_pin_that_no_service_of_ours_makes_without_showing_it() {
    let found = findings(section("cvm_cluster_pin=SECRET-secret").as_bytes());
    assert!(found[0].to_string().starts_with("f line 3: warning: this is no pin that our service makes"));
    assert!(!format!("{found:?}").to_lowercase().contains("secret"));
}

#[test]
fn compares_keys_with_placeholders() {
    let with = |lines: &str| format!("{}###MASTER_IP_PLACEHOLDER### ###TOKEN_PLACEHOLDER###", section(lines));
    check(&with("cvm_cluster_keys=token"), &[]);
    check(&with("cvm_cluster_keys="), &["f line 3: warning: ###TOKEN_PLACEHOLDER### stays as it is"]);
    check(&with("cvm_cluster_keys=token,ca"), &["f line 3: warning: ca is waited for, but nothing"]);
    check(
        &with("cvm_cluster_master=yes"),
        &["f line 1: warning: this is a master's context, and a master leaves ###TOKEN_"],
    );
}

#[test]
fn sees_a_url_that_no_vm_can_use() {
    let section = |url: &str| {
        format!(
            "[ucernvm-begin]\ncvm_cluster_pin=ipfkrhe25pku\ncvm_service_url={url}\n[ucernvm-end]\nip=###MASTER_IP_PLACEHOLDER###\n"
        )
    };
    for url in ["http://127.0.0.1:8000", "http://localhost:8000", "http://[::1]:8000"] {
        check(&section(url), &[&format!("f line 3: warning: {url} leads every VM to itself")]);
    }
    for url in ["https://pair/cluster_pairing", "https://pair/api/v1/clusters/ipfkrhe25pku"] {
        let found = findings(section(url).as_bytes());
        let error = found.iter().find(|finding| finding.severity == Severity::Error);
        assert!(error.is_some_and(|error| error.to_string().contains("leave out the path")), "{found:?}");
    }
}

#[test]
fn sees_near_misses() {
    check(
        &format!("{GOOD}ip=###MASTER_IP_PLACEHOLDER##\n"),
        &[
            "f line 4: warning: ###MASTER_IP_PLACEHOLDER## is no placeholder\n  next: write ###MASTER_IP_PLACEHOLDER###,",
        ],
    );
    check(
        &format!("{GOOD}\nip=###PLACEHOLDER###\n"),
        &["f line 5: warning: ###PLACEHOLDER### is no placeholder\n  next: a placeholder is ###NAME"],
    );
}

#[test]
fn sees_a_section_that_ruins_a_cloud_config() {
    let bare = format!("#cloud-config\nruncmd: [ls]\n{GOOD}");
    check(&bare, &["f line 3: error: the section makes this cloud-config invalid"]);
    let indented: String = GOOD.lines().map(|line| format!("  {line}\n")).collect();
    let slave = "f line 3: warning: this is a slave's context without any placeholder";
    check(&format!("#cloud-config\nucernvm: |\n{indented}"), &[slave]);
    check(&format!("#cloud-config\nucernvm:\n{indented}"), &["f line 3: error: the section makes"]);
}

#[test]
fn sees_a_placeholder_that_yaml_takes_for_a_comment() {
    let lost = "YAML takes ###MASTER_IP_PLACEHOLDER### for a comment here";
    for line in [
        "a: ###MASTER_IP_PLACEHOLDER###",
        "a: x ####MASTER_IP_PLACEHOLDER####",
        "a: [###MASTER_IP_PLACEHOLDER###, 2]",
        "- ###MASTER_IP_PLACEHOLDER###",
    ] {
        check(&cloud_config(line), &[&format!("f line 5: error: {lost}")]);
    }
    for line in [
        "a: \"###MASTER_IP_PLACEHOLDER###\"",
        "a: http://###MASTER_IP_PLACEHOLDER###:80",
        "a: |\n  ###MASTER_IP_PLACEHOLDER###",
        "a: \"###MASTER_IP_PLACEHOLDER###\" # not ###MASTER_IP_PLACEHOLDER###",
    ] {
        check(&cloud_config(line), &[]);
    }
}

#[test]
fn sees_that_nothing_reads_a_placeholder() {
    let unread = "f: warning: nothing that runs after the master is ready reads ###MASTER_IP_PLACEHOLDER###";
    for text in [
        cloud_config("a: 1 # not ###MASTER_IP_PLACEHOLDER###"),
        cloud_config("# ###MASTER_IP_PLACEHOLDER###\nruncmd: [ls]"),
        format!(
            "#cloud-config-archive\n- |\n  #!/bin/sh\n- content: 'x ###MASTER_IP_PLACEHOLDER###'\n  type: text/x-unknown\n#{}",
            GOOD.replace('\n', "\n#")
        ),
    ] {
        check(&text, &[unread]);
    }
    // A master need not read it, and what an address brings is not known.
    check(
        &cloud_config("a: 1 # ###MASTER_IP_PLACEHOLDER###\n")
            .replace("#[ucernvm-end]", "#cvm_cluster_master=yes\n#[ucernvm-end]"),
        &[],
    );
    check(
        "#include\n#[ucernvm-begin]\n#cvm_cluster_pin=enico1qq0oey\n#[ucernvm-end]\n# ###MASTER_IP_PLACEHOLDER###\nhttp://a/b\n",
        &[],
    );
}

#[test]
fn sees_what_cloud_init_does_too_early() {
    let early = "warning: cloud-init";
    check(
        &cloud_config("bootcmd:\n  - x=###MASTER_IP_PLACEHOLDER###\n"),
        &[&format!("f line 6: {early} acts upon bootcmd")],
    );
    check(&cloud_config("bootcmd:\n- x\nruncmd:\n- x=###MASTER_IP_PLACEHOLDER###\n"), &[]);
    check(
        &format!("#cloud-boothook\n# {}\necho ###MASTER_IP_PLACEHOLDER###\n", GOOD.replace('\n', "\n# ")),
        &[&format!("f line 6: {early} runs a boothook")],
    );
}

#[test]
fn says_nothing_of_a_placeholder_that_is_to_stay() {
    let literal =
        |rest: &str| cloud_config(rest).replace("#[ucernvm-end]", "#cvm_cluster_literal=a\n#[ucernvm-end]");
    let runs = "runcmd:\n- x=###MASTER_IP_PLACEHOLDER###\n";
    for early in [
        "bootcmd:\n- x=###A_PLACEHOLDER###\n",
        "chpasswd: {expire: false, list: \"a:###A_PLACEHOLDER###\"}\n",
        "write_files:\n- path: /a\n  content: x=###A_PLACEHOLDER###\n",
        "write_files:\n- path: /a\n  source: {uri: \"http://a/###A_PLACEHOLDER###\"}\n",
    ] {
        check(&literal(&format!("{early}{runs}")), &[]);
        assert!(!findings(cloud_config(&format!("{early}{runs}")).as_bytes()).is_empty(), "{early}");
    }
    // Beside one that is replaced.
    check(
        &literal("bootcmd:\n- x=###A_PLACEHOLDER###\n- x=###MASTER_IP_PLACEHOLDER###\n"),
        &["f line 8: warning: cloud-init acts upon bootcmd"],
    );
}

#[test]
fn looks_at_write_files_one_by_one() {
    let item = |rest: &str| {
        cloud_config(&format!("write_files:\n- path: /a\n  content: x\n  defer: true\n- path: /b\n{rest}"))
    };
    let early = "f line 10: warning: cloud-init writes this file in the network stage";
    check(&item("  content: ip=###MASTER_IP_PLACEHOLDER###\n"), &[early]);
    check(&item("  content: ip=###MASTER_IP_PLACEHOLDER###\n  defer: true\n"), &[]);
    check(&item("  defer: yes\n  content: |\n    ###MASTER_IP_PLACEHOLDER###\n"), &[]);
    check(
        &item("  content: |\n   ip=###MASTER_IP_PLACEHOLDER###\n- path: /c\n  defer: true\n"),
        &[&early.replace("10", "11")],
    );
    check(
        &cloud_config("write_files:\n- {path: /a, content: \"###MASTER_IP_PLACEHOLDER###\", defer: true}\n"),
        &[],
    );
}

#[test]
fn looks_into_base64_in_write_files() {
    // "ip=###MASTER_IP_PLACEHOLDER###"
    let hidden = "aXA9IyMjTUFTVEVSX0lQX1BMQUNFSE9MREVSIyMj";
    let item = |rest: &str| cloud_config(&format!("write_files:\n- path: /a\n{rest}"));
    let early = "warning: cloud-init writes this file in the network stage";
    check(&item(&format!("  encoding: b64\n  content: {hidden}\n")), &[&format!("f line 8: {early}")]);
    check(
        &item(&format!("  content: |\n    {}\n    {}\n  encoding: base64\n", &hidden[..20], &hidden[20..])),
        &[&format!("f line 7: {early}")],
    );
    check(&item(&format!("  content: !!binary |\n    {hidden}\n")), &[&format!("f line 7: {early}")]);
    check(
        &item(&format!("  encoding: b64\n  defer: true\n  content: {hidden}\n")),
        &["f line 9: error: ###MASTER_IP_PLACEHOLDER### is inside this base64 of a deferred entry"],
    );
    let slave = "f line 2: warning: this is a slave's context without any placeholder";
    check(&item(&format!("  content: {hidden}\n")), &[slave]);
    // A value that is base64 itself may be decoded like this.
    check(&item("  encoding: b64\n  defer: true\n  content: \"###MUNGE_KEY_PLACEHOLDER###\"\n"), &[]);
}

/// 32 bytes, in base64url.
const SECRET: &str = "s3cr3t-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

#[test]
fn says_what_a_secret_means_instead_of_warning_of_http() {
    let http = "cvm_service_url=http://pair";
    check(&section(http), &["f line 3: warning: the service is used over plain http"]);
    let note = "f line 1: note: this cluster is sealed";
    check(&section(&format!("{http}\ncvm_cluster_secret={SECRET}")), &[note]);
    // The other findings stay.
    check(
        &section(&format!("cvm_service_url=http://127.0.0.1\ncvm_cluster_secret={SECRET}")),
        &["f line 3: warning: http://127.0.0.1 leads every VM to itself", note],
    );
    check(
        &cloud_config("a: b\n")
            .replace("#[ucernvm-end]", &format!("#cvm_cluster_secret={SECRET}\n#[ucernvm-end]")),
        &["f line 2: warning: this is a slave's context without any placeholder", "f line 2: note:"],
    );
    let wrong = findings(section("cvm_cluster_secret=s3cr3t").as_bytes());
    assert!(
        wrong[0].to_string().starts_with("f line 3: error: cvm_cluster_secret is no secret"),
        "{wrong:?}"
    );
    assert!(!format!("{wrong:?}").contains("s3cr3t"));
}

#[test]
fn sees_contexts_that_do_not_have_one_secret() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, lines: &str, mode: u32| {
        let path = dir.path().join(name);
        std::fs::write(&path, section(lines)).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path
    };
    let sealed = format!("cvm_cluster_secret={SECRET}");
    let another = sealed.replace('3', "4");
    let master = |lines: &str| format!("cvm_cluster_master=yes\n{lines}");
    for (of_master, of_slave, says) in [
        (&*sealed, &*sealed, None),
        ("", "", None),
        (&*sealed, "", Some("it has no cvm_cluster_secret, unlike")),
        ("", &*sealed, Some("it has a cvm_cluster_secret, unlike")),
        (&*sealed, &*another, Some("it has another cvm_cluster_secret than")),
    ] {
        let files = [file("master", &master(of_master), 0o600), file("slave", of_slave, 0o640)];
        let mut found = super::check(&files).unwrap();
        found.retain(|finding| finding.severity != Severity::Note);
        assert_eq!(found.len(), usize::from(says.is_some()), "{found:?}");
        for (finding, says) in found.iter().zip(says) {
            assert_eq!(finding.severity, Severity::Error);
            assert!(finding.what.starts_with(says), "{finding}");
            assert!(!format!("{finding:?}").contains("cr3t"), "{finding:?}");
        }
    }
    for (lines, mode, warns) in [(&*sealed, 0o644, true), (&*sealed, 0o660, false), ("", 0o644, false)] {
        let found = super::check(&[file("f", lines, mode)]).unwrap();
        let warnings: Vec<_> = found.iter().filter(|finding| finding.severity == Severity::Warning).collect();
        assert_eq!(warnings.len(), usize::from(warns), "{found:?}");
        assert!(warnings.iter().all(|finding| finding.what.starts_with("every user of this machine")));
    }
}

#[test]
fn sees_what_is_wrong_with_a_file_as_a_whole() {
    check(&format!("\u{feff}{GOOD}"), &["f: warning: it begins with a byte order mark"]);
    check(&format!("{GOOD}{}", "#".repeat(EC2_BYTES)), &["f: warning: it has 16443 bytes, and Amazon EC2"]);
    let utf16: Vec<u8> = "\u{feff}[ucernvm".encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert!(findings(&utf16)[0].to_string().starts_with("f: error: this is UTF-16"));
    assert!(findings(b"\x1f\x8b\x08")[0].to_string().starts_with("f: error: it is gzip, but damaged"));
    check(
        &format!("#!/bin/sh\r\n#{}", GOOD.replace('\n', "\r\n#")),
        &["f line 1: warning: this script has Windows"],
    );
}

#[test]
fn sees_what_is_wrong_with_mime() {
    let mixed = |headers: &str, part: &str| {
        format!("Content-Type: multipart/mixed; boundary=b\n{headers}\n--b\n{part}\n--b--\n")
    };
    let good = format!("\n{GOOD}");
    check(&mixed("MIME-Version: 1.0\n", &good), &[]);
    check(&mixed("", &good), &["f: error: it has MIME parts, but no MIME-Version"]);
    check(
        &mixed("MIME-Version: 1.0\n", &format!("Content-Transfer-Encoding: base64\n{good}")),
        &["f part 1: warning: it is said to be base64 and is not"],
    );
    check(
        &mixed("MIME-Version: 1.0\n", &format!("Content-Type: text/cloud-config\n{good}")),
        &["f line 7: error: the section makes this cloud-config invalid"],
    );
}

#[test]
fn stops_after_a_hundred_findings() {
    assert_eq!(findings("##A_PLACEHOLDER\n".repeat(1000).as_bytes()).len(), MAX_FINDINGS);
}

proptest! {
    #[test]
    fn takes_any_bytes(
        lines in prop::collection::vec(prop::sample::select(vec![
            "#cloud-config", "write_files:", "- content: |", "  encoding: b64", "[ucernvm-begin]", "cvm_cluster_pin=a",
            "[ucernvm-end]", "  ###MASTER_IP_PLACEHOLDER###", "##a_placeholder#", "MIME-Version: 1.0",
        ]), 0..20),
        rest in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let _ = findings(&[lines.join("\n").as_bytes(), &rest].concat());
    }
}
