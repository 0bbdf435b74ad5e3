//! Values that would do something in a script that root runs, and placeholders that no key fills.

use worlds::fixtures;
use worlds::guest::Guest;
use worlds::service::Service;

use crate::{fails, files, has_one_sentence};

const UNSAFE: [&str; 13] = [
    "two\nlines",
    "bell\u{7}",
    "escape\u{1b}[2J",
    "tab\there",
    "$(reboot)",
    "`reboot`",
    "a; reboot",
    "a | b",
    "'quoted'",
    "\"quoted\"",
    "# comment",
    "{flow: map}",
    "na\u{ef}ve",
];

/// A slave that needs the key `k3s_token` besides the address.
fn k3s_node(pin: &str, url: &str) -> Guest {
    let context = fixtures::cloud_config(pin, url);
    Guest::new("k3s-node", fixtures::with_settings(&context, &["cvm_cluster_timeout=3"]))
}

fn ready_cluster(service: &Service) -> String {
    let pin = service.api().new_pin();
    service.api().create_key(&pin, "master_ip", "192.0.2.1");
    service.api().create_key(&pin, "master_ready", "192.0.2.1");
    pin
}

#[test]
fn an_unsafe_value_is_refused_by_the_slave_and_never_shown() {
    let service = Service::start();
    for value in UNSAFE {
        let pin = ready_cluster(&service);
        service.api().create_key(&pin, "k3s_token", value);
        let guest = k3s_node(&pin, &service.url());
        let finished = guest.run(&["contextualize"]);
        finished.expect(76).says("k3s_token").says("base64");
        has_one_sentence(&finished);
        assert!(!finished.stderr.contains(value), "the value is shown");
        assert!(guest.context().contains("###K3S_TOKEN_PLACEHOLDER###"), "{value:?} was substituted");
    }
}

#[test]
fn an_unsafe_value_is_refused_by_publish() {
    let service = Service::start();
    let pin = service.api().new_pin();
    let guest = Guest::new("master", fixtures::master(&pin, &service.url()));
    for value in UNSAFE {
        let finished = guest.run_with_input(&["publish", "k3s_token", "-"], value.as_bytes());
        finished.expect(65).says("k3s_token").says("base64");
        has_one_sentence(&finished);
    }
    assert_eq!(service.api().value(&pin, "k3s_token"), None);
}

/// The service's word on a value is final, however long the context would wait.
#[test]
fn a_value_that_is_too_long_for_the_service_is_refused_at_once() {
    let service = Service::with(&["--max-value-length", "100"]);
    let pin = service.api().new_pin();
    let guest = Guest::new("master", fixtures::master(&pin, &service.url()));
    let finished = guest.run(&["publish", "k3s_token", &"x".repeat(101)]);
    finished.expect(65).says("refuses this: 400 Bad Request").says("--max-value-length");
    has_one_sentence(&finished);
    guest.run(&["publish", "k3s_token", &"x".repeat(100)]).expect(0);
}

#[test]
fn an_address_that_is_none_is_refused() {
    let service = Service::start();
    for address in ["http://192.0.2.1/", "a/b", "-", "192.0.2.1,192.0.2.2", "&&&", "a_b!", "%eth0"] {
        let pin = service.api().new_pin();
        service.api().create_key(&pin, "master_ip", address);
        // Whatever an old master says when it is ready.
        service.api().create_key(&pin, "master_ready", "true");
        let guest = Guest::new("slave", fixtures::slave(&pin, &service.url()));
        fails(&guest, 76, &["master_ip"]);
    }
}

#[test]
fn the_signs_of_sed_are_nothing_special() {
    let service = Service::start();
    let pin = ready_cluster(&service);
    service.api().create_key(&pin, "k3s_token", "a/b@c=d:e+f.g-h_i,j~k%l m");
    let guest = k3s_node(&pin, &service.url());
    guest.run(&["contextualize"]).expect(0);
    assert!(guest.context().contains("token: \"a/b@c=d:e+f.g-h_i,j~k%l m\""), "{}", guest.context());
}

#[test]
fn a_foreign_placeholder_is_named_and_everything_else_substituted() {
    let service = Service::start();
    let pin = ready_cluster(&service);
    let before =
        fixtures::slave(&pin, &service.url()).replace("[amiconfig]", "db=###DB_PLACEHOLDER###\n[amiconfig]");
    let before = fixtures::with_settings(&before, &["cvm_cluster_timeout=3"]);
    let guest = Guest::new("slave", &before);
    let finished = guest.run(&["contextualize"]);
    finished.expect(75).says("db");
    has_one_sentence(&finished);
    assert_eq!(guest.context(), before.replace("###MASTER_IP_PLACEHOLDER###", "192.0.2.1"));
    assert_eq!(files(guest.root()), ["user-data"]);
}

/// Each file is right for a value of one word. The second would be changed if the first were not refused before.
#[test]
fn a_value_that_a_shell_would_take_apart_changes_no_file() {
    let service = Service::start();
    let pin = ready_cluster(&service);
    service.api().create_key(&pin, "k3s_token", "x touch /tmp/p");
    let context = fixtures::slave(&pin, &service.url());
    let context = format!(
        "#!/bin/sh\n# ###MASTER_IP_PLACEHOLDER###\n{context}TOKEN=###K3S_TOKEN_PLACEHOLDER### true\n"
    );
    let guest = Guest::new("slave", context.clone());
    let line = context.lines().position(|line| line.contains("K3S_TOKEN")).unwrap() + 1;
    let finished = guest.run(&["contextualize"]);
    finished.expect(76).says("k3s_token").says(&format!("line {line}")).says("within quotes");
    has_one_sentence(&finished);
    assert_eq!(guest.context(), context);
}

#[test]
fn a_value_that_yaml_would_take_for_a_mapping_arrives_as_a_text() {
    let service = Service::start();
    let pin = ready_cluster(&service);
    service.api().create_key(&pin, "title", "Basic dXNlcjo6cGFzcw==: x");
    let section: String =
        fixtures::slave(&pin, &service.url()).lines().map(|line| format!("#{line}\n")).collect();
    let guest = Guest::new("slave", format!("#cloud-config\n{section}fqdn: the ###TITLE_PLACEHOLDER###\n"));
    guest.run(&["contextualize"]).expect(0);
    assert!(guest.context().contains("\nfqdn: \"the Basic dXNlcjo6cGFzcw==: x\"\n"), "{}", guest.context());
}
