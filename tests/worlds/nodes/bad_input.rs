//! Bad input, each with its answer; nothing is lost by it.

use serde_json::{Value, json};
use worlds::guest::Guest;
use worlds::http::Request;
use worlds::service::Service;

use crate::machine::{Machine, listed, nodes, outside, put};

#[test]
fn the_service_says_in_one_sentence_what_is_wrong_with_a_report() {
    let service = Service::start();
    let (api, pin) = (service.api(), service.api().new_pin());
    let good = json!({"name": "n1", "role": "slave", "state": "ready"});
    put(api, &pin, "n1", &good);
    let before = listed(api, &pin)[0]["report"].clone();
    let with = |member: &str, value: Value| {
        let mut report = good.clone();
        report[member] = value;
        report.to_string()
    };
    for (id, media_type, body, status, says) in [
        ("n1", "application/json", with("detail", json!("x".repeat(3 << 10))), 413, "longer than 2048 bytes"),
        ("n1", "application/json", with("detail", json!("\u{1b}[2J")), 400, "without control characters"),
        ("n1", "application/json", with("name", json!("n1\n10.0.0.1 bank")), 400, "name: a host name"),
        ("n1", "application/json", with("state", json!("asleep")), 400, "unknown variant"),
        ("n1", "text/plain", "n1 is ready".to_owned(), 400, "A report as text is sealed"),
        ("n1", "application/xml", "<n1/>".to_owned(), 415, "Unsupported media type"),
        ("n%2F1", "application/json", good.to_string(), 400, "A node's identifier"),
        (&"x".repeat(65), "application/json", good.to_string(), 400, "A node's identifier"),
    ] {
        let request = Request::new("PUT", &format!("{}/{id}", nodes(&pin))).body(media_type, body.clone());
        let answer = api.ask(&request);
        let detail = answer.json()["detail"].as_str().unwrap_or_default().to_owned();
        assert!(answer.status == status && detail.contains(says), "{body}: {} {detail}", answer.status);
    }
    assert_eq!(listed(api, &pin)[0]["report"], before);
}

#[test]
fn the_ten_thousand_and_first_node_is_refused_and_no_other_is_lost() {
    let service = Service::with(&["--in-memory"]);
    let (api, pin) = (service.api(), service.api().new_pin());
    let report = json!({"role": "slave", "state": "ready"});
    worlds::together::together(0..8, |part| {
        for number in (part..10_000).step_by(8) {
            put(api, &pin, &format!("n{number}"), &report);
        }
    });
    let more = api.ask(&Request::new("PUT", &format!("{}/one-more", nodes(&pin))).json(&report));
    assert_eq!(
        (more.status, more.json()["detail"].as_str()),
        (400, Some("This cluster has too many nodes."))
    );
    put(api, &pin, "n0", &report);
    assert_eq!(listed(api, &pin).len(), 10_000);
    // The agent reads such a list whole.
    let mut all = outside(&["nodes", "--format", "json", "--url", &service.url(), "--pin", &pin]);
    assert!(all.wait().success(), "{}", all.stderr());
    let all: Value = serde_json::from_str(&all.stdout()).expect("it is JSON");
    assert_eq!(all["nodes"].as_array().map(Vec::len), Some(10_000));
}

#[test]
fn a_command_says_in_one_sentence_what_is_wrong_with_it() {
    let service = Service::start();
    let pin = service.api().new_pin();
    let machine = Machine::slave(&pin, &service.url(), "n1", &[]);
    machine.guest.write("/names", "n1\nn 2\n");
    for (args, status, says) in [
        (&["wait", "--nodes", "10001"][..], 64, "--nodes is a number from 1 to 10000: a cluster has no more"),
        (&["wait", "--nodes", "0"], 64, "--nodes is a number from 1 to 10000"),
        (&["wait"], 64, "'wait' needs --nodes N"),
        (&["wait", "--expect", "/names"], 65, "line 2: it is no host name"),
        (&["wait", "--expect", "/none"], 74, "/none"),
        (&["nodes", "--secret-file", "/names"], 65, "there is no secret in it"),
        (&["nodes", "--pin", "zzzzzzzzzzzz", "--url", &service.url()], 77, "does not know the pin"),
        (&["nodes", "--pin", "no/pin", "--url", &service.url()], 65, "cvm_cluster_pin is no pin"),
        (&["nodes", "--format", "xml"], 64, "--format is one of"),
        (&["nodes", "--format", "hosts", "--write", "/no/../such/dir/\0"], 74, "such"),
    ] {
        if args.iter().any(|arg| arg.contains('\0')) {
            continue;
        }
        machine.guest.run(args).expect(status).says(says);
    }
    // A block whose end is gone: what stands after it might be the user's.
    let broken = "# BEGIN cernvm-cluster nodes (written by cernvm-cluster-agent)\n10.0.0.1 mine\n";
    machine.guest.write("/etc/hosts", broken);
    put(
        service.api(),
        &pin,
        "a",
        &json!({"name": "a", "role": "slave", "state": "ready", "addresses": ["192.0.2.9"]}),
    );
    machine
        .guest
        .run(&["nodes", "--format", "hosts", "--write", "/etc/hosts"])
        .expect(74)
        .says("one stands alone");
    assert_eq!(machine.guest.read("/etc/hosts"), broken.as_bytes());
    let nowhere = Guest::new("nowhere", "no section");
    nowhere.run(&["nodes"]).expect(65);
}
