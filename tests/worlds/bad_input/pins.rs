//! Pins that cannot be, are not, or are no more.

use serde_json::json;
use worlds::api::key_path;
use worlds::fixtures;
use worlds::guest::Guest;
use worlds::mock_server::{MockServer, Reply};
use worlds::relay;
use worlds::service::Service;
use worlds::wait::until;

use crate::{PIN, fails, slave};

#[test]
fn a_pin_that_no_url_should_carry_is_refused_before_any_request() {
    let service = MockServer::start(|_, _| Reply::status(500));
    for pin in [
        "enico1qq/../x",
        "enico 1qq0oey",
        "enicö1qq0oey",
        "enico1qq0oey?x",
        "%2e%2e",
        "$(reboot)",
        "a\u{1b}[2J",
    ] {
        let guest = slave(pin, &service.url());
        let line =
            1 + guest.context().lines().position(|line| line.starts_with("cvm_cluster_pin=")).expect("a pin");
        fails(&guest, 65, &[&format!("line {line}"), "cvm_cluster_pin"]);
    }
    fails(&slave(&"a".repeat(65), &service.url()), 65, &["longer than 64"]);
    assert_eq!(service.connections(), 0);
}

#[test]
fn a_context_without_a_pin_has_nothing_to_do() {
    let service = MockServer::start(|_, _| Reply::status(500));
    let context = fixtures::slave(PIN, &service.url());
    for without in [
        context.replace(&format!("cvm_cluster_pin={PIN}\n"), ""),
        context.replace("[ucernvm-begin]", "[other-begin]").replace("[ucernvm-end]", ""),
        String::new(),
    ] {
        let guest = Guest::new("guest", &without);
        for command in ["contextualize", "master-ready"] {
            let finished = guest.run(&[command]);
            finished.expect(0);
            assert!(!finished.stderr.is_empty(), "it says so");
            assert_eq!(guest.context(), without);
        }
    }
    assert_eq!(service.connections(), 0);
}

#[test]
fn an_unknown_pin_is_said_after_two_requests() {
    let service = Service::start();
    let relay = relay::recorded(service.api());
    fails(&slave(PIN, &relay.url()), 77, &["does not know the pin"]);
    assert_eq!(relay.lines(), vec![format!("GET /api/v1/clusters/{PIN}"); 2]);
}

#[test]
fn an_unknown_pin_is_said_after_two_requests_to_an_old_service() {
    let service = Service::start();
    let relay = relay::old(service.api());
    fails(&slave(PIN, &relay.url()), 77, &["does not know the pin"]);
    assert_eq!(relay.lines(), vec![format!("GET /api/v1/clusters/{PIN}"); 2]);
}

#[test]
fn an_unknown_pin_is_said_to_a_master_too() {
    let service = Service::start();
    let relay = relay::recorded(service.api());
    let guest = Guest::new("master", fixtures::master(PIN, &relay.url()));
    fails(&guest, 77, &["does not know the pin"]);
    assert!(relay.seen().len() <= 2, "{:?}", relay.lines());
}

#[test]
fn a_pin_that_expires_while_a_slave_waits_ends_the_wait() {
    let service = Service::with(&["--pin-lifetime", "3s"]);
    let relay = relay::recorded(service.api());
    let pin = service.api().new_pin();
    let guest = Guest::new("slave", fixtures::slave(&pin, &relay.url()));
    let before = guest.context();
    let agent = guest.start(&["contextualize"]);
    let wait = key_path(&pin, "master_ready");
    until("the slave waits", || relay.seen().iter().any(|seen| seen.path == wait).then_some(()));
    let finished = agent.finish();
    finished.expect(77).says("pin");
    // The pin, the wait, and the pin again; once more where the wait ended before the pin did.
    assert!(relay.seen().len() <= 5, "{:?}", relay.lines());
    assert_eq!(guest.context(), before);
}

#[test]
fn a_pin_that_is_deleted_while_a_slave_waits_ends_the_wait() {
    let service = Service::start();
    let relay = relay::recorded(service.api());
    let pin = service.api().new_pin();
    let guest = Guest::new("slave", fixtures::slave(&pin, &relay.url()));
    let agent = guest.start(&["contextualize"]);
    let wait = key_path(&pin, "master_ready");
    until("the slave waits", || relay.seen().iter().any(|seen| seen.path == wait).then_some(()));
    service.api().delete_pin(&pin);
    agent.finish().expect(77).says("pin");
    assert!(relay.seen().len() <= 5, "{:?}", relay.lines());
}

#[test]
fn a_404_that_no_pairing_service_sent_is_not_taken_for_an_unknown_pin() {
    let service = MockServer::start(|_, _| Reply::of(404, "text/html", "<h1>Not here</h1>"));
    fails(&slave(PIN, &service.url()), 76, &["HTML"]);
    let service = MockServer::start(|_, _| Reply::json(404, &json!({"detail": "Not found."})));
    fails(&slave(PIN, &service.url()), 77, &["pin"]);
}
