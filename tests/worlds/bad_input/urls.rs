//! Services that cannot be reached.

use std::net::TcpListener;

use worlds::fixtures;
use worlds::guest::Guest;
use worlds::mock_server::{MockServer, Reply};

use crate::{PIN, fails, slave};

#[test]
fn a_url_that_does_not_parse_is_refused_with_its_line() {
    for url in [
        "http://",
        "ftp://pair.example.org",
        "http://[::1",
        "http://pair example.org",
        "http://host:99999",
        "http://u:p@host",
    ] {
        let guest = slave(PIN, url);
        let line =
            1 + guest.context().lines().position(|line| line.starts_with("cvm_service_url=")).expect("a URL");
        fails(&guest, 65, &[&format!("line {line}"), "cvm_service_url"]);
    }
}

#[test]
fn a_host_that_does_not_resolve_is_named() {
    // RFC 6761: `.invalid` never does.
    fails(&slave(PIN, "http://pair.invalid:8000"), 69, &["pair.invalid"]);
}

#[test]
fn a_closed_port_is_said_to_refuse() {
    let closed = {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        listener.local_addr().expect("a bound socket has an address")
    };
    fails(&slave(PIN, &format!("http://{closed}")), 69, &[&closed.to_string(), "refused"]);
}

#[test]
fn a_silent_port_is_given_up_at_the_deadline() {
    let service = MockServer::start(|_, _| Reply::Hang);
    fails(&slave(PIN, &service.url()), 69, &[&service.address().to_string()]);
    assert!(service.connections() >= 1);
}

#[test]
fn of_several_urls_the_first_that_knows_the_pin_is_kept() {
    let closed = {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        listener.local_addr().expect("a bound socket has an address")
    };
    let real = worlds::service::Service::start();
    let strange = worlds::service::Service::start();
    let pin = real.api().new_pin();
    for (key, value) in [("master_ip", "192.0.2.1"), ("master_ready", "192.0.2.1")] {
        real.api().create_key(&pin, key, value);
    }
    let urls = format!("http://{closed},{},{}", strange.url(), real.url());
    let guest = slave(&pin, &urls);
    guest.run(&["contextualize"]).expect(0);
    assert!(guest.context().contains("my_master_ip=192.0.2.1\n"));

    // All answer "unknown" but one, which has not answered.
    let unknown = slave(PIN, &format!("{},{}", strange.url(), real.url()));
    fails(&unknown, 77, &["pin"]);
    let undecided = slave(PIN, &format!("{},http://{closed}", strange.url()));
    fails(&undecided, 69, &[&closed.to_string()]);
}

#[test]
fn the_default_service_is_not_asked_when_the_context_names_one() {
    let service = MockServer::start(|_, _| Reply::status(500));
    let guest = Guest::new(
        "slave",
        fixtures::made_out(
            "slave.context",
            PIN,
            &[&format!("cvm_service_url={}", service.address()), "cvm_cluster_timeout=1"],
        ),
    );
    fails(&guest, 69, &["500"]);
    assert!(service.connections() >= 1);
}
