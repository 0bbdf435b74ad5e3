//! Agents that trust the service by an authority of their own, or by its key, with a clock that is right or years off.

use std::path::Path;
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use worlds::binaries;
use worlds::fixtures;
use worlds::guest::{Finished, Guest};
use worlds::service::Service;

use crate::{Authority, openssl, self_signed};

/// An address of documentation (RFC 5737).
const MASTER: &str = "192.0.2.1";
/// Clocks of guests: before anything was issued, and after everything has expired.
const CLOCKS: [&str; 2] = ["2001-01-01 00:00:00", "2061-01-01 00:00:00"];

/// Makes a pin by the program's own command, which trusts the service in the same ways.
pub(crate) fn pin(service: &Service, trust: [&str; 2]) -> String {
    let mut command = Command::new(binaries::server());
    command.args(["pin", "--url", &service.url()]).args(trust);
    let output = command.stdin(Stdio::null()).output().expect("the service's program can be started");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// The agent of a guest whose clock shows that time when it starts. How long it has been waiting it knows all the same:
/// that clock is another one.
fn at(clock: &str, guest: &Guest, command: &str) -> Finished {
    let clock = ["env", "FAKETIME_DONT_FAKE_MONOTONIC=1", "faketime", clock];
    guest.run_under(&clock, &[command])
}

/// A master and a slave with this line in their sections.
fn guests(service: &Service, pin: &str, trust: &str) -> (Guest, Guest) {
    let url = service.url();
    let master = fixtures::with_settings(
        &fixtures::master(pin, &url),
        &[trust, &format!("cvm_cluster_master_ip={MASTER}")],
    );
    let slave = fixtures::with_settings(&fixtures::slave(pin, &url), &[trust, "cvm_cluster_timeout=5"]);
    (Guest::new("master", master), Guest::new("slave", slave))
}

fn found_each_other(slave: &Guest) -> bool {
    slave.context().contains(&format!("my_master_ip={MASTER}\n"))
}

/// A cluster comes up, whatever the clocks of its machines say.
fn comes_up_by_fingerprint(service: &Service, fingerprint: &str) {
    for (masters, slaves) in [(CLOCKS[0], CLOCKS[1]), (CLOCKS[1], CLOCKS[0])] {
        let pin = pin(service, ["--fingerprint", fingerprint]);
        let line = format!("cvm_service_fingerprint={fingerprint}");
        let (master, slave) = guests(service, &pin, &line);
        at(masters, &master, "contextualize").expect(0);
        at(masters, &master, "master-ready").expect(0);
        at(slaves, &slave, "contextualize").expect(0);
        assert!(found_each_other(&slave), "{}", slave.context());
    }
}

#[test]
fn a_fingerprint_is_enough_whatever_the_clock_says() {
    let mut service = self_signed();
    let fingerprint = service.line_after("cvm_service_fingerprint=");
    comes_up_by_fingerprint(&service, &fingerprint);
}

/// The dates of this certificate are those of a few months; the fingerprint is made as docs/operations.md says.
#[test]
fn a_fingerprint_is_enough_for_certificate_files_too() {
    let authority = Authority::new();
    let service = authority.service();
    comes_up_by_fingerprint(&service, &openssl::fingerprint(&authority.leaf()));
}

fn authority_line(authority: &Authority) -> String {
    let pem = std::fs::read(authority.certificate()).expect("it was made");
    format!("cvm_service_ca={}", BASE64.encode(pem))
}

#[test]
fn an_authority_is_enough_when_the_clock_is_right() {
    let authority = Authority::new();
    let service = authority.service();
    let trusted = authority.certificate();
    let pin = pin(&service, ["--ca", Path::to_str(&trusted).expect("its name is plain")]);
    let (master, slave) = guests(&service, &pin, &authority_line(&authority));
    master.run(&["contextualize"]).expect(0);
    master.run(&["master-ready"]).expect(0);
    slave.run(&["contextualize"]).expect(0);
    assert!(found_each_other(&slave), "{}", slave.context());
}

/// Such a clock may be set yet, so it waits, as long as it was told; then it says what is the matter.
#[test]
fn an_authority_is_not_enough_when_the_clock_is_years_off() {
    let authority = Authority::new();
    let service = authority.service();
    let (_, slave) = guests(&service, "enico1qq0oey", &authority_line(&authority));
    for clock in CLOCKS {
        at(clock, &slave, "contextualize").expect(77).says("set this VM's clock (NTP)");
        assert!(!found_each_other(&slave));
    }
}

/// Another authority is none.
#[test]
fn another_authority_is_refused_at_once() {
    let service = Authority::new().service();
    let (_, slave) = guests(&service, "enico1qq0oey", &authority_line(&Authority::new()));
    slave.run(&["contextualize"]).expect(77).says("TLS");
}
