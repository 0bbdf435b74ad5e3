//! A cluster of real agents comes up, and the page shows each step.

use nix::sys::signal::Signal;
use serde_json::json;
use worlds::api::key_path;
use worlds::browser::{Browser, ENTER};
use worlds::fixtures;
use worlds::http::Request;
use worlds::machine::{MASTER, Machine, put};
use worlds::service::Service;
use worlds::wait::until;

use crate::{drawn, make_pin, open_pin, wait_for_drawn};

fn secret_of(context: &str) -> &str {
    context.lines().find_map(|line| line.strip_prefix("cvm_cluster_secret=")).expect("it is sealed")
}

#[test]
fn a_person_makes_a_pin_and_sees_the_sealed_cluster_come_up_and_end() {
    let service = Service::start();
    let browser = Browser::start();
    let pin = make_pin(&browser, &service);
    assert!(
        browser.script("return location.href").as_str().is_some_and(|url| url.ends_with("/cluster_pairing"))
    );
    let (master, slave) = (browser.value("master"), browser.value("slave"));
    let secret = secret_of(&master).to_owned();
    assert_eq!(secret_of(&slave), secret);
    browser.wait_for("link", "Live");
    browser.wait_for("headline", "Waiting for the master");
    browser.wait_for("words", "Launch the master and the slaves");
    browser.wait_for("left", "left)");
    assert_eq!(browser.text("timeline"), "", "nothing has happened yet");

    let slaves = ["n1", "n2"].map(|name| Machine::new(slave.clone(), name));
    let waiting: Vec<_> = slaves.iter().map(Machine::start).collect();
    browser.wait_for("words", "2 slaves wait for it.");
    wait_for_drawn(&browser, "waiting", 2);
    browser.wait_for("timeline", "n1 and n2 wait");

    let setting = format!("cvm_cluster_master_ip={MASTER}");
    let master = Machine::new(fixtures::with_settings(&master, &[&setting]), "master");
    master.contextualize().expect(0);
    browser.wait_for("headline", "The master boots");
    browser.wait_for("picture", MASTER);
    browser.wait_for("keys", &format!("master_ip\t{MASTER}"));

    master.is_up().expect(0);
    for agent in waiting {
        agent.finish().expect(0);
    }
    browser.wait_for("headline", "Ready: 0 of 2");
    wait_for_drawn(&browser, "joined", 2);
    for slave in &slaves {
        slave.is_up().expect(0);
    }
    browser.wait_for("headline", "Ready: 2 of 2");
    wait_for_drawn(&browser, "ready", 2);
    browser.wait_for("counts", "2 ready");
    let timeline = browser.text("timeline");
    let order =
        ["are ready", "have joined", "The master is ready", "sent its address", "wait", "The pin was made"];
    let places: Vec<_> = order.map(|what| timeline.find(what)).into();
    assert!(places.is_sorted() && places[0].is_some(), "{places:?}: {timeline}");
    // The service has seen none of it.
    let stored = service.api().value(&pin, "master_ip").expect("it is there");
    assert!(stored.starts_with("v1."), "{stored}");
    assert!(!service.log().contains(&secret));

    browser.tab_to("#delete");
    browser.press(ENTER);
    browser.press(ENTER);
    assert_eq!(browser.text("confirm"), "", "the first of the two answers keeps it");
    assert_eq!(browser.text("headline"), "Ready: 2 of 2");
    browser.tab_to("#delete");
    browser.press(ENTER);
    browser.tab_to("[value=delete]");
    browser.press(ENTER);
    browser.wait_for("headline", "The pin was deleted");
    assert_eq!(["contexts", "launch", "another", "delete", "link"].map(|id| browser.text(id)), [""; 5]);
    assert_eq!(browser.console(), [""; 0]);
}

#[test]
fn a_slave_that_fails_is_named_with_its_reason() {
    let service = Service::start();
    let browser = Browser::start();
    let pin = service.api().new_pin();
    open_pin(&browser, &service, &pin);
    let slave = Machine::slave(&pin, &service.url(), "n1", &["cvm_cluster_timeout=1"]);
    slave.contextualize().says("the master is not ready");
    browser.wait_for("headline", "Failed: 1 of 1");
    browser.wait_for("failed", "n1 the master is not ready");
    wait_for_drawn(&browser, "failed", 1);
    browser.wait_for("timeline", "n1 has failed: the master is not ready");
    browser.tab_to("summary");
    browser.press(ENTER);
    browser.wait_for("nodes", "n1\tslave\tfailed");
}

#[test]
fn a_master_that_takes_anothers_place_is_waited_for() {
    let service = Service::start();
    let browser = Browser::start();
    let (api, pin) = (service.api(), service.api().new_pin());
    api.create_key(&pin, "master_ip", MASTER);
    api.create_key(&pin, "master_ready", MASTER);
    open_pin(&browser, &service, &pin);
    browser.wait_for("headline", "The master is ready");
    let set = |key: &str| {
        let body = json!({"key": key, "value": "192.0.2.2"});
        assert_eq!(api.ask(&Request::new("PUT", &key_path(&pin, key)).json(&body)).status, 200);
    };
    set("master_ip");
    browser.wait_for("headline", "Waiting for the new master");
    browser.wait_for("timeline", "The master has sent another address");
    set("master_ready");
    browser.wait_for("headline", "The master is ready");
    browser.wait_for("picture", "192.0.2.2");
    assert_eq!(api.delete(&key_path(&pin, "master_ready")).status, 204);
    browser.wait_for("headline", "The master boots");
    browser.wait_for("timeline", "The master is no longer ready");
}

#[test]
fn a_value_is_shown_when_it_is_asked_for() {
    let service = Service::start();
    let browser = Browser::start();
    let (api, pin) = (service.api(), service.api().new_pin());
    api.create_key(&pin, "token", "K10::x");
    open_pin(&browser, &service, &pin);
    browser.wait_for("keys", "token\tShow");
    browser.tab_to("#keys button");
    browser.press(ENTER);
    browser.wait_for("keys", "K10::x");
    let body = json!({"key": "token", "value": "K11"});
    assert_eq!(api.ask(&Request::new("PUT", &key_path(&pin, "token")).json(&body)).status, 200);
    browser.wait_for("keys", "token\tShow");
}

#[test]
fn a_sealed_cluster_that_was_made_elsewhere_opens_with_its_secret() {
    const SECRET: &str = "nS3cr3tOfTheCluster_-AAAAAAAAAAAAAAAAAAAAAA";
    let service = Service::start();
    let browser = Browser::start();
    let pin = service.api().new_pin();
    let sealed = format!("cvm_cluster_secret={SECRET}");
    let master = Machine::master(&pin, &service.url(), &[&sealed]);
    let slave = Machine::slave(&pin, &service.url(), "n1", &[&sealed]);
    master.contextualize().expect(0);
    master.is_up().expect(0);
    slave.contextualize().expect(0);
    open_pin(&browser, &service, &pin);
    browser.wait_for("headline", "The master is ready");
    browser.wait_for("words", "2 nodes have reported. The reports are sealed.");
    browser.wait_for("unlock", "This cluster is sealed.");
    browser.tab_to("#secret");
    browser.press(&format!("{}{ENTER}", SECRET.replace('n', "m")));
    browser.wait_for("problem", "This secret does not open this cluster.");
    browser.enter("secret");
    browser.press(&format!("{SECRET}{ENTER}"));
    browser.wait_for("headline", "Ready: 0 of 1");
    browser.wait_for("picture", MASTER);
    slave.is_up().expect(0);
    browser.wait_for("headline", "Ready: 1 of 1");
    assert_eq!(browser.text("unlock"), "");
    until("the contexts have the secret", || browser.value("slave").contains(&sealed).then_some(()));
}

#[test]
fn a_thousand_slaves_are_drawn_one_by_one_and_more_as_numbers() {
    let service = Service::with(&["--in-memory"]);
    let browser = Browser::start();
    let (api, pin) = (service.api(), service.api().new_pin());
    api.create_key(&pin, "master_ip", MASTER);
    open_pin(&browser, &service, &pin);
    let report = |at: usize, state: &str| {
        put(
            api,
            &pin,
            &format!("n{at}"),
            &json!({"name": format!("n{at}"), "role": "slave", "state": state}),
        );
    };
    for at in 0..1000 {
        report(at, "ready");
    }
    wait_for_drawn(&browser, "ready", 1000);
    report(7, "failed");
    wait_for_drawn(&browser, "failed", 1);
    assert_eq!(drawn(&browser, "ready"), 999);
    report(1000, "ready");
    wait_for_drawn(&browser, "ready", 1);
    browser.wait_for("picture", "1,000 ready");
    browser.wait_for("picture", "1 failed");
    browser.wait_for("counts", "1,000 ready");
    // The master's entry is not lost among theirs.
    browser.wait_for("timeline", "The master has sent its address");
    browser.wait_for("timeline", "n0, n1 and 999 more are ready");
}

#[test]
fn waits_of_agents_that_do_not_report_are_drawn_too() {
    let service = Service::start();
    let browser = Browser::start();
    let pin = service.api().new_pin();
    open_pin(&browser, &service, &pin);
    let slaves =
        ["n1", "n2", "n3"].map(|name| Machine::slave(&pin, &service.url(), name, &["cvm_cluster_nodes=no"]));
    let agents: Vec<_> = slaves.iter().map(Machine::start).collect();
    browser.wait_for("words", "3 slaves wait for it.");
    wait_for_drawn(&browser, "waiting", 3);
    let api = service.api();
    api.create_key(&pin, "master_ip", MASTER);
    api.create_key(&pin, "master_ready", MASTER);
    for agent in agents {
        agent.finish().expect(0);
    }
    browser.wait_for("headline", "The master is ready");
    wait_for_drawn(&browser, "waiting", 0);
}

#[test]
fn the_page_comes_back_after_a_reload_and_after_the_service_does() {
    let mut service = Service::start();
    let browser = Browser::start();
    let pin = make_pin(&browser, &service);
    browser.wait_for("link", "Live");
    service.api().create_key(&pin, "master_ip", MASTER);
    browser.wait_for("headline", "The master boots");
    let master = browser.value("master");

    browser.reload();
    browser.wait_for("link", "Live");
    browser.wait_for("headline", "The master boots");
    assert_eq!(browser.value("pin"), pin);
    until("the contexts have the same secret", || (browser.value("master") == master).then_some(()));

    service.stop();
    browser.wait_for("link", "Reconnecting");
    browser.wait_for("link", "Stale: as of");
    browser.wait_for("headline", "The master boots");
    service.resume();
    service.api().create_key(&pin, "master_ready", MASTER);
    browser.wait_for("headline", "The master is ready");
    browser.wait_for("link", "Live");
}

#[test]
fn a_service_that_no_longer_answers_is_noticed_though_its_connection_stands() {
    let service = Service::start();
    let browser = Browser::start();
    make_pin(&browser, &service);
    browser.wait_for("link", "Live");
    service.signal(Signal::SIGSTOP);
    browser.wait_for("link", "Reconnecting");
    service.signal(Signal::SIGCONT);
    browser.wait_for("link", "Live");
}

#[test]
fn the_page_says_so_when_the_service_comes_back_without_the_pin() {
    let mut service = Service::with(&["--in-memory"]);
    let browser = Browser::start();
    make_pin(&browser, &service);
    browser.wait_for("link", "Live");
    service.stop();
    browser.wait_for("link", "Reconnecting");
    service.resume();
    browser.wait_for("headline", "The service no longer knows the pin");
    browser.tab_to("#create-another");
    browser.press(ENTER);
    browser.wait_for("headline", "Waiting for the master");
}
