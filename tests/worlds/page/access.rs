//! Each state of the page under axe-core, in light and dark, with a mouse or without: no violation of its rules.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;
use worlds::browser::{Browser, ENTER};
use worlds::figures;
use worlds::machine::{MASTER, put};
use worlds::service::Service;

use crate::errors::token_file;
use crate::{make_pin, open_page, open_pin, wait_for_drawn};

/// axe-core's script.
fn axe() -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/axe");
    let output = Command::new(script).output().expect("the script can be started");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let path = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// Holds what the browser shows to all rules of axe-core.
fn check(browser: &Browser, axe: &str, state: &str) {
    for scheme in ["light", "dark"] {
        browser.emulate("", &[("prefers-color-scheme", scheme), ("prefers-reduced-motion", "reduce")]);
        browser.script(axe);
        let result = browser.script(
            "const { violations, passes } = await axe.run(document, { resultTypes: ['violations'] });
             return { passes: passes.length, violations: violations.map(({ id, nodes }) => [id, nodes.map((it) => it.html)]) }",
        );
        figures::show(&format!("axe: {state}, {scheme}: {} rules passed", result["passes"]));
        assert_eq!(result["violations"], json!([]), "{state}, {scheme}");
        assert!(result["passes"].as_u64() > Some(10), "{result}");
    }
}

/// A report of a slave.
fn slave(name: &str, state: &str, detail: &str) -> Value {
    json!({"name": name, "role": "slave", "state": state, "addresses": ["192.0.2.9"], "detail": detail})
}

#[test]
fn no_state_of_the_page_keeps_anyone_out() {
    let axe = axe();
    let browser = Browser::start();
    let mut service = Service::start();
    let api = service.api();

    open_page(&browser, &service);
    browser.wait_for("start-title", "Bring up");
    check(&browser, &axe, "no pin");
    browser.enter("known");
    browser.press(&format!("zzzzzzzzzzzz{ENTER}"));
    browser.wait_for("problem", "does not know this pin");
    check(&browser, &axe, "unknown pin");

    let pin = make_pin(&browser, &service);
    browser.wait_for("link", "Live");
    check(&browser, &axe, "waiting for the master");
    browser.click("#delete");
    browser.wait_for("confirm", "Delete the pin");
    check(&browser, &axe, "about to delete");
    browser.press(ENTER);

    let pin_of_cluster = api.new_pin();
    open_pin(&browser, &service, &pin_of_cluster);
    for at in 1..=3 {
        put(api, &pin_of_cluster, &format!("n{at}"), &slave(&format!("node-{at}"), "waiting", "waits"));
    }
    wait_for_drawn(&browser, "waiting", 3);
    check(&browser, &axe, "slaves wait");
    api.create_key(&pin_of_cluster, "master_ip", MASTER);
    browser.wait_for("headline", "The master boots");
    check(&browser, &axe, "the master boots");
    api.create_key(&pin_of_cluster, "master_ready", MASTER);
    api.create_key(&pin_of_cluster, "token", "x");
    for at in 1..=200 {
        put(api, &pin_of_cluster, &format!("n{at}"), &slave(&format!("node-{at}"), "ready", ""));
    }
    browser.wait_for("headline", "Ready: 200 of 200");
    browser.click("#keys button");
    browser.click("summary");
    browser.wait_for("nodes", "node-200");
    check(&browser, &axe, "200 are ready");
    put(api, &pin_of_cluster, "n7", &slave("node-7", "failed", "the master is not ready yet after 1500 s"));
    browser.wait_for("headline", "Failed: 1 of 200");
    check(&browser, &axe, "one has failed");
    service.stop();
    browser.wait_for("link", "Stale");
    check(&browser, &axe, "the service is gone");
    service.resume();
    browser.wait_for("link", "Live");
    service.api().delete_pin(&pin_of_cluster);
    browser.wait_for("headline", "The pin was deleted");
    check(&browser, &axe, "deleted");
    service.api().delete_pin(&pin);

    let dir = TempDir::new().expect("a temporary directory can be made");
    let closed = Service::with(&["--create-token-file", &token_file(&dir)]);
    browser.script("sessionStorage.clear()");
    open_page(&browser, &closed);
    browser.click("#create");
    browser.wait_for("problem", "takes a token");
    check(&browser, &axe, "a token is wanted");

    // What is loaded without scripts stays as it is when axe-core's may run again.
    for (service, headline, words, state) in [
        (&closed, "No pin was made", "needs the token", "refused without JavaScript"),
        (&service, "Your pin is made", "Pin", "made without JavaScript"),
    ] {
        browser.allow_scripts(false);
        open_page(&browser, service);
        browser.click("noscript button");
        browser.wait_for("headline", headline);
        assert!(
            browser.script("return document.body.innerText").as_str().unwrap_or_default().contains(words),
            "{state}"
        );
        browser.allow_scripts(true);
        check(&browser, &axe, state);
    }
}
