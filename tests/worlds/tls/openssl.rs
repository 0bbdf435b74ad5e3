//! What openssl's own client says of the service.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use worlds::process::Process;

use crate::{Authority, here, services};

/// Everything that it still can offer, but for what the service is meant to take.
const WEAK: &str = "ALL:eNULL:-ECDHE+AESGCM:-ECDHE+CHACHA20:@SECLEVEL=0";

/// Runs a script with these words as `$1` and so on; whether it succeeded, and what it said.
fn script(dir: &Path, script: &str, words: &[&str]) -> (bool, String) {
    let mut command = Command::new("sh");
    command.args(["-e", "-c", &format!("exec 2>&1\n{script}"), "sh"]).args(words);
    let output = command.current_dir(dir).stdin(Stdio::null()).output().expect("sh starts");
    (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs a script that must succeed.
pub(crate) fn sh(dir: &Path, text: &str) {
    let (done, said) = script(dir, text, &[]);
    assert!(done, "{said}");
}

/// The fingerprint of a certificate's key, by the commands of docs/operations.md.
pub(crate) fn fingerprint(certificate: &Path) -> String {
    let (done, said) = script(
        here(),
        "openssl x509 -in \"$1\" -noout -pubkey | openssl pkey -pubin -outform der | sha256sum",
        &[certificate.to_str().expect("its name is plain")],
    );
    assert!(done, "{said}");
    format!("sha256:{}", said.split(' ').next().expect("there is a first word"))
}

/// Connects with these options and closes at once; whether the handshake went well, and what it said.
fn connect(to: SocketAddr, options: &str) -> (bool, String) {
    script(here(), &format!("openssl s_client -connect \"$1\" {options}"), &[&to.to_string()])
}

#[test]
fn tls_1_2_and_1_3_work_with_every_suite_that_is_meant_to() {
    for (kind, service) in services() {
        let authentication = if kind == "its own key" { "ECDSA" } else { "RSA" };
        let suites = ["AES128-GCM-SHA256", "AES256-GCM-SHA384", "CHACHA20-POLY1305"];
        let older = suites.map(|suite| format!("-tls1_2 -cipher ECDHE-{authentication}-{suite}"));
        let newer = ["AES_128_GCM_SHA256", "AES_256_GCM_SHA384", "CHACHA20_POLY1305_SHA256"];
        let newer = newer.map(|suite| format!("-tls1_3 -ciphersuites TLS_{suite}"));
        for options in older.iter().chain(&newer) {
            let (done, said) = connect(service.address(), options);
            assert!(done && said.contains("Compression: NONE"), "{kind}: {options}\n{said}");
            let signalled = said.contains("Secure Renegotiation IS supported");
            assert!(signalled || options.contains("tls1_3"), "{kind}: {options}\n{said}");
        }
    }
}

#[test]
fn what_is_old_or_weak_is_refused_by_the_service() {
    for (kind, service) in services() {
        for options in [
            "-tls1 -cipher ALL:@SECLEVEL=0",
            "-tls1_1 -cipher ALL:@SECLEVEL=0",
            &format!("-tls1_2 -cipher {WEAK}"),
        ] {
            let (done, said) = connect(service.address(), options);
            // The alert's number shows that it was not openssl which would not offer it.
            let refused = said.contains("SSL alert number 40") || said.contains("SSL alert number 70");
            assert!(!done && refused, "{kind}: {options}\n{said}");
        }
    }
}

#[test]
fn nobody_renegotiates() {
    for (kind, service) in services() {
        let (keyboard, mut fingers) = std::io::pipe().expect("a pipe can be made");
        let mut command = Command::new("openssl");
        command.args(["s_client", "-tls1_2", "-connect", &service.address().to_string()]).stdin(keyboard);
        let mut client = Process::start("openssl", &mut command);
        // It takes this for the wish to renegotiate, once it is connected.
        fingers.write_all(b"R\n").expect("it reads");
        assert!(!client.wait().success(), "{kind}");
        assert!(client.stderr().contains("RENEGOTIATING"), "{kind}");
        assert!(client.stderr().contains("no renegotiation"), "{kind}");
    }
}

#[test]
fn the_chain_is_sent_whole() {
    let authority = Authority::new();
    let service = authority.service();
    let trusting =
        format!("-CAfile {} -verify_return_error -verify_ip 127.0.0.1", authority.certificate().display());
    let (done, said) = connect(service.address(), &trusting);
    assert!(done && said.contains("Verify return code: 0 (ok)"), "{said}");
    let (done, said) = connect(service.address(), &trusting.replace("127.0.0.1", "192.0.2.1"));
    assert!(!done && said.contains("address mismatch"), "{said}");
}
