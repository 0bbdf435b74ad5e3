//! The page on small screens, in the dark, on paper, and for those who do without a mouse, motion or JavaScript.

use serde_json::json;
use worlds::browser::Browser;
use worlds::machine::put;
use worlds::service::Service;
use worlds::wait::until;

use crate::{make_pin, open_pin, wait_for_drawn};

#[test]
fn the_page_fits_a_phone_and_is_dark_where_that_is_preferred() {
    let service = Service::start();
    let browser = Browser::start();
    browser.resize(360, 740);
    let pin = make_pin(&browser, &service);
    let api = service.api();
    api.create_key(&pin, "master_ip", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff");
    api.create_key(&pin, &"k".repeat(100), "1");
    put(
        api,
        &pin,
        "n1",
        &json!({"role": "slave", "state": "failed", "name": "n".repeat(60), "detail": "x".repeat(300)}),
    );
    browser.wait_for("keys", "kkkk");
    browser.wait_for("failed", "xxxx");
    browser.script("document.querySelector('details').open = true");
    browser.wait_for("nodes", "nnnn");
    let size =
        browser.script("const page = document.documentElement; return [page.scrollWidth, page.clientWidth]");
    assert_eq!(size, json!([360, 360]));
    let paper = "return getComputedStyle(document.body).backgroundColor";
    browser.prefer("light");
    let light = browser.script(paper);
    browser.prefer("dark");
    assert_eq!([light, browser.script(paper)], ["rgb(246, 248, 250)", "rgb(18, 22, 26)"]);
}

#[test]
fn paper_has_the_state_and_no_controls_or_secrets() {
    let service = Service::start();
    let browser = Browser::start();
    make_pin(&browser, &service);
    browser.emulate("print", &[("prefers-color-scheme", "light")]);
    browser.wait_for("headline", "Waiting for the master");
    for id in ["contexts", "launch", "copy-pin", "another", "delete"] {
        assert_eq!(browser.text(id), "", "{id}");
    }
}

#[test]
fn nothing_moves_where_that_is_preferred() {
    let service = Service::start();
    let browser = Browser::start();
    let (api, pin) = (service.api(), service.api().new_pin());
    put(api, &pin, "n1", &json!({"role": "slave", "state": "ready"}));
    api.create_key(&pin, "master_ip", "192.0.2.1");
    open_pin(&browser, &service, &pin);
    wait_for_drawn(&browser, "ready", 1);
    let moves = "return document.getAnimations().length + [...document.querySelectorAll('*')]
        .filter((it) => getComputedStyle(it).transitionDuration !== '0s').length";
    browser.emulate("", &[("prefers-reduced-motion", "no-preference")]);
    until("something moves", || browser.script(moves).as_u64().filter(|count| *count > 0));
    browser.emulate("", &[("prefers-reduced-motion", "reduce")]);
    until("nothing moves", || (browser.script(moves) == 0).then_some(()));
}

#[test]
fn a_pin_is_made_without_javascript() {
    let service = Service::start();
    let browser = Browser::start();
    browser.allow_scripts(false);
    browser.open(&format!("{}/", service.url()));
    assert_eq!(browser.text("create"), "", "what needs scripts is not shown");
    browser.click("noscript button");
    browser.wait_for("headline", "Your pin is made");
    let pin = browser.text("pin");
    assert_eq!(service.api().get(&format!("/api/v1/clusters/{pin}")).status, 200);
    let section = format!("cvm_cluster_pin={pin}\ncvm_service_url={}\n[ucernvm-end]\n", service.url());
    let [master, slave] = ["master", "slave"].map(|role| browser.value(role));
    assert_eq!(master, format!("[ucernvm-begin]\ncvm_cluster_master=yes\n{section}"));
    assert!(
        slave.ends_with(&format!("###MASTER_IP_PLACEHOLDER###\n\n[ucernvm-begin]\n{section}")),
        "{slave}"
    );
    assert_eq!(browser.console(), [""; 0]);
}
