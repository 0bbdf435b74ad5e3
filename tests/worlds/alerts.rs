//! The example alerts for Prometheus: promtool holds them to their own tests, and the service to what they ask for.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use regex_lite::Regex;
use worlds::http::Request;
use worlds::service::Service;

fn alerts(kind: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/prometheus");
    dir.join(format!("cernvm-pairing.{kind}.yml"))
}

fn read(kind: &str) -> String {
    std::fs::read_to_string(alerts(kind)).expect("it is in the repository")
}

/// Everything in a text that the first group of a pattern matches.
fn all(pattern: &str, text: &str) -> BTreeSet<String> {
    let pattern = Regex::new(pattern).expect("it is one");
    pattern.captures_iter(text).map(|found| found[1].to_owned()).collect()
}

#[test]
fn every_alert_fires_when_it_should_and_only_then() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/promtool");
    // In this order: the script may have to fetch the program first.
    for (check, kind) in [("check", "rules"), ("test", "tests")] {
        let mut promtool = Command::new(&script);
        promtool.args([check, "rules"]).arg(alerts(kind)).stdin(Stdio::null());
        let output = promtool.output().expect("the script starts");
        let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "promtool {check} rules: {said}");
    }
    let tests = read("tests");
    let fired = all(r"alertname: (\w+)\n +exp_alerts:\n +- exp_labels", &tests);
    let quiet = all(r"alertname: (\w+), exp_alerts: \[\]", &tests);
    let alerts = all(r"- alert: (\w+)", &read("rules"));
    assert!(!alerts.is_empty() && fired == alerts && quiet == alerts, "{fired:?} {quiet:?} {alerts:?}");
}

#[test]
fn the_service_has_every_metric_that_an_alert_asks_for() {
    let mut service = Service::with(&["--metrics-listen", "127.0.0.1:0", "--tls-self-signed"]);
    let metrics = service.line_after("metrics on http://");
    let metrics = metrics.strip_suffix("/metrics").and_then(|address| address.parse().ok());
    let metrics = metrics.expect("it says where they are");
    let shown = Request::new("GET", "/metrics").send(metrics).expect("it answers").text();

    let rules = read("rules");
    let names = all(r"(cernvm_pairing_\w+)", &rules);
    assert!(names.contains("cernvm_pairing_ready"), "{names:?}");
    for name in names {
        let line = |line: &str| line.strip_prefix(&name).is_some_and(|rest| rest.starts_with(['{', ' ']));
        assert!(shown.lines().any(line), "{name} is not in\n{shown}");
    }
    // A matcher that names nothing would never be noticed.
    for causes in all(r#"cause=~?"([^"]+)""#, &rules) {
        for cause in causes.split('|') {
            assert!(shown.contains(&format!("cause=\"{cause}\"")), "{cause} is not in\n{shown}");
        }
    }
    assert!(shown.contains("\ncernvm_pairing_ready 1\n"), "{shown}");
}
