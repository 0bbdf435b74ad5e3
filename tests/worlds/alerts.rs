//! The example alerts for Prometheus and the dashboard for Grafana: promtool holds the alerts and the queries to its
//! grammar and the alerts to their own tests, and the service has what both ask for.

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

/// What a service shows to Prometheus.
fn metrics() -> String {
    let mut service = Service::with(&["--metrics-listen", "127.0.0.1:0", "--tls-self-signed"]);
    let metrics = service.line_after("metrics on http://");
    let metrics = metrics.strip_suffix("/metrics").and_then(|address| address.parse().ok());
    let metrics = metrics.expect("it says where they are");
    Request::new("GET", "/metrics").send(metrics).expect("it answers").text()
}

#[test]
fn the_service_has_every_metric_that_an_alert_asks_for() {
    let shown = metrics();
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

/// The queries of the dashboard's panels, with values for its variables.
fn queries() -> Vec<String> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/grafana/cernvm-pairing.json");
    let dashboard = std::fs::read_to_string(file).expect("it is in the repository");
    let dashboard: serde_json::Value = serde_json::from_str(&dashboard).expect("it is JSON");
    let panels = dashboard["panels"].as_array().expect("a list");
    let of = |panel: &serde_json::Value| panel["targets"].as_array().cloned().unwrap_or_default();
    panels
        .iter()
        .flat_map(of)
        .map(|target| target["expr"].as_str().expect("a query").replace("$__rate_interval", "5m"))
        .collect()
}

#[test]
fn the_dashboard_asks_for_what_the_service_has_in_promtools_grammar() {
    let (shown, queries) = (metrics(), queries());
    assert!(queries.len() > 20, "{}", queries.len());
    let mut rules = "groups:\n- name: dashboard\n  rules:\n".to_owned();
    for (number, query) in queries.iter().enumerate() {
        for name in all(r"(cernvm_pairing_\w+)", query) {
            // Those by route and status have a line once there was a request.
            let counter = format!("# TYPE {} counter", name.trim_end_matches("_total"));
            let has = |line: &str| {
                line == counter || line.strip_prefix(&name).is_some_and(|rest| rest.starts_with(['{', ' ']))
            };
            assert!(shown.lines().any(has), "{name} is not in\n{shown}");
        }
        rules += &format!("  - record: panel:{number}\n    expr: '{query}'\n");
    }
    let file = tempfile::NamedTempFile::new().expect("there is room");
    std::fs::write(file.path(), rules).expect("there is room");
    let mut promtool = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/promtool"));
    promtool.args(["check", "rules"]).arg(file.path()).stdin(Stdio::null());
    let output = promtool.output().expect("the script starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
