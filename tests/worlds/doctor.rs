//! `doctor` says in words what is wrong: one test for each thing that a person at a console may be looking for.

use std::net::{Ipv4Addr, TcpListener};

use worlds::api::Api;
use worlds::guest::{Finished, Guest};
use worlds::http::Headers;
use worlds::mock_server::{MockServer, Reply};
use worlds::service::Service;

const MASTER: &str = "10.0.0.5";
const PIN: &str = "enico1qq0oey";

fn section(lines: &str) -> String {
    format!("[ucernvm-begin]\n{lines}\n[ucernvm-end]\n")
}

fn slave(url: &str, pin: &str) -> String {
    section(&format!("cvm_cluster_pin={pin}\ncvm_service_url={url}"))
}

fn examine(context: &str) -> Finished {
    Guest::new("patient", context).run(&["doctor"])
}

#[track_caller]
fn check(context: &str, status: i32, says: &[&str]) {
    let finished = examine(context);
    finished.expect(status);
    for words in says {
        assert!(finished.stdout.contains(words), "it does not say {words:?}, but:\n{}", finished.stdout);
    }
}

#[test]
fn no_section_no_pin_or_a_bad_pin() {
    check(
        "#cloud-config\n",
        65,
        &["!!    there is no ucernvm section", "next: launch this VM with a context"],
    );
    check(
        &section("cvm_cluster_master=yes"),
        65,
        &["!!    ", "has no cvm_cluster_pin", "next: add cvm_cluster_pin="],
    );
    check(
        &section("cvm_cluster_pin=no pin"),
        65,
        &["line 2: cvm_cluster_pin is no pin", "next: copy the pin again"],
    );
}

#[test]
fn a_name_that_does_not_resolve() {
    check(
        &slave("http://pair.invalid:8000", PIN),
        69,
        &["!!    cannot reach", "pair.invalid", "can resolve pair.invalid"],
    );
}

#[test]
fn a_closed_port() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("there is a port");
    let address = listener.local_addr().expect("it is bound");
    drop(listener);
    check(
        &slave(&format!("http://{address}"), PIN),
        69,
        &[
            "ok    this is a slave of the cluster with pin enic…",
            "!!    cannot reach",
            "connection refused",
            "is open from this VM",
        ],
    );
}

#[test]
fn tls_that_is_not_trusted() {
    let service = Service::with(&["--tls-self-signed"]);
    let url = format!("https://localhost:{}", service.address().port());
    check(&slave(&url, PIN), 77, &["!!    TLS with", "is refused: ", "give the CA with cvm_service_ca"]);
}

#[test]
fn a_clock_that_is_off() {
    let service = MockServer::start(|_, _| {
        let headers = vec![
            ("Date".to_owned(), "Sun, 06 Nov 1994 08:49:37 GMT".to_owned()),
            ("Content-Type".to_owned(), "application/json".to_owned()),
        ];
        Reply::Answer(404, Headers(headers), b"{}".to_vec())
    });
    check(
        &slave(&service.url(), PIN),
        77,
        &["!!    this VM's clock is ", " days ahead of the service's", "next: set this VM's clock (NTP)"],
    );
}

#[test]
fn a_pin_that_the_service_does_not_know() {
    let service = Service::start();
    check(
        &slave(&service.url(), PIN),
        77,
        &[
            "is reached from 127.0.0.1",
            "ok    this VM's clock agrees",
            "!!    ",
            "does not know the pin enic…",
            "next: make a new pin",
        ],
    );
}

#[test]
fn a_master_that_has_not_come_or_is_not_ready_and_then_all_is_well() {
    let service = Service::start();
    let pin = service.api().new_pin();
    let context = slave(&service.url(), &pin);
    check(
        &context,
        75,
        &["knows the pin", "!!    the master has not come yet", "look at the master's console"],
    );
    service.api().create_key(&pin, "master_ip", MASTER);
    check(&context, 75, &["!!    the master, 10.0.0.5, is not ready yet"]);
    service.api().create_key(&pin, "master_ready", MASTER);
    let well = examine(&context);
    well.expect(0);
    assert!(well.stdout.contains("ok    the master, 10.0.0.5, is ready"), "{}", well.stdout);
    assert!(!well.stdout.contains("!!"), "{}", well.stdout);
}

#[test]
fn a_master_learns_what_its_slaves_know() {
    let service = Service::start();
    let pin = service.api().new_pin();
    let lines = format!("cvm_cluster_pin={pin}\ncvm_service_url={}\n", service.url());
    let context = section(&format!("{lines}cvm_cluster_master=yes\ncvm_cluster_master_ip={MASTER}"));
    check(
        &context,
        75,
        &["ok    this is the master", "!!    the slaves cannot learn this master's address, 10.0.0.5"],
    );
    service.api().create_key(&pin, "master_ip", MASTER);
    check(&context, 75, &["!!    the slaves are not told yet"]);
    service.api().create_key(&pin, "master_ready", MASTER);
    check(&context, 0, &["ok    the slaves know that this master, 10.0.0.5, is ready"]);
    check(&context.replace(MASTER, "10.0.0.6"), 76, &["!!    the slaves learn another master's address"]);
}

#[test]
fn one_service_that_is_well_is_enough_and_every_one_is_looked_at() {
    let service = Service::start();
    let pin = service.api().new_pin();
    become_ready(service.api(), &pin);
    let urls = format!("http://pair.invalid,{}", service.url());
    check(&slave(&urls, &pin), 0, &["note  cannot reach", "ok    the master, 10.0.0.5, is ready"]);
    // Where none is well, the severest finding is the exit status.
    let unknown = format!("http://pair.invalid,{}", service.url());
    check(&slave(&unknown, PIN), 77, &["!!    cannot reach", "!!    http", "does not know the pin enic…"]);
}

fn become_ready(api: Api, pin: &str) {
    api.create_key(pin, "master_ip", MASTER);
    api.create_key(pin, "master_ready", MASTER);
}
