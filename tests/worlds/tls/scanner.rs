//! What testssl.sh finds.

use std::path::Path;
use std::process::{Command, Stdio};

use serde::Deserialize;
use worlds::figures::show;
use worlds::together::together;

use crate::{Authority, self_signed};

/// Protocols, suites, forward secrecy, preferences, the certificate, and all vulnerabilities that it knows. What else
/// it can do is to play two dozen browsers, which takes longer than all of these.
const SECTIONS: [&str; 6] =
    ["--protocols", "--std", "--fs", "--server-preference", "--server-defaults", "--vulnerable"];

/// A run in which these are not found to be well has not looked.
const WELL: [&str; 22] = [
    "SSLv2",
    "SSLv3",
    "TLS1_2",
    "TLS1_3",
    "cipherlist_NULL",
    "cipherlist_aNULL",
    "cipherlist_EXPORT",
    "cipherlist_LOW",
    "cipherlist_STRONG",
    "PFS",
    "heartbleed",
    "CCS",
    "ROBOT",
    "secure_renego",
    "secure_client_renego",
    "CRIME_TLS",
    "SWEET32",
    "FREAK",
    "DROWN",
    "LOGJAM",
    "BEAST",
    "RC4",
];

/// A finding that is as it should be, and why.
type Exception = (&'static str, &'static str);

/// Of any service.
const ALWAYS: [Exception; 2] = [
    (
        "cipher_order",
        "all suites are AEAD with forward secrecy, and which is fastest on its processor only the client knows",
    ),
    (
        "cert_revocation",
        "the test's own authority has no revocation list, nor has a key of the service's own",
    ),
];

/// Of a service with a key of its own: agents trust that key by its fingerprint, and look at nothing else.
const OWN_KEY: [Exception; 2] = [
    ("cert_chain_of_trust", "it is signed by itself"),
    ("cert_validityPeriod", "no agent looks at the dates: a guest's clock may be years off"),
];

/// A line of its JSON output.
#[derive(Deserialize)]
struct Finding {
    id: String,
    severity: String,
    finding: String,
}

impl Finding {
    fn is_bad(&self) -> bool {
        !["OK", "INFO", "LOW", "WARN"].contains(&self.severity.as_str())
    }
}

/// Has it look at a port of localhost.
fn scan(port: u16, options: &[&str]) -> Vec<Finding> {
    let dir = tempfile::tempdir().expect("a temporary directory can be made");
    let found = dir.path().join("found.json");
    let mut command = Command::new("testssl");
    command.args(["--quiet", "--color", "0", "--warnings", "off", "--sneaky", "--ip", "127.0.0.1"]);
    command.args(SECTIONS).args(options).arg("--jsonfile").arg(&found);
    command.arg(format!("https://localhost:{port}")).current_dir(dir.path()).stdin(Stdio::null());
    // Its exit status is the number of things that it would like to talk about.
    let output = command.output().expect("testssl starts");
    let said = String::from_utf8_lossy(&output.stdout);
    let found = std::fs::read(&found).unwrap_or_else(|e| panic!("no findings: {e}\n{said}"));
    serde_json::from_slice(&found).unwrap_or_else(|e| panic!("{e}\n{said}"))
}

/// A service, what it is called here, how it is scanned, and what may be found.
struct Case<'a> {
    kind: &'a str,
    port: u16,
    options: &'a [&'a str],
    exceptions: Vec<Exception>,
}

fn finds_nothing(Case { kind, port, options, exceptions }: &Case<'_>) {
    let found = scan(*port, options);
    for id in WELL {
        let finding = found.iter().find(|finding| finding.id == id);
        let finding = finding.unwrap_or_else(|| panic!("{kind}: it has not looked at {id}"));
        assert_eq!(finding.severity, "OK", "{kind}: {id}: {}", finding.finding);
    }
    for Finding { id, severity, finding } in found.iter().filter(|finding| finding.is_bad()) {
        let why = exceptions.iter().find_map(|(of, why)| (of == id).then_some(*why));
        let why = why.unwrap_or_else(|| panic!("{kind}: {severity}: {id}: {finding}"));
        show(&format!("{kind}: {severity} {id} ({finding}): {why}"));
    }
    show(&format!("{kind}: {} findings, none that matters", found.len()));
}

#[test]
fn a_scanner_finds_nothing_that_matters() {
    let authority = Authority::new();
    let trusted = authority.certificate();
    let trusted = Path::to_str(&trusted).expect("its name is plain");
    let (files, own) = (authority.service(), self_signed());
    let cases = [
        Case {
            kind: "certificate files",
            port: files.address().port(),
            options: &["--add-ca", trusted],
            exceptions: ALWAYS.to_vec(),
        },
        Case {
            kind: "its own key",
            port: own.address().port(),
            options: &[],
            exceptions: [&ALWAYS[..], &OWN_KEY].concat(),
        },
    ];
    together(&cases, finds_nothing);
}
