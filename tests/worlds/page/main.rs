//! The pairing page in a browser: a person makes a pin, boots a cluster with what the page says, and sees it come up.

mod access;
mod contexts;
mod errors;
mod live;
mod looks;
mod open;

use worlds::browser::{Browser, ENTER};
use worlds::service::Service;
use worlds::wait::until;

/// Opens the page of a service.
fn open_page(browser: &Browser, service: &Service) {
    browser.open(&format!("{}/", service.url()));
}

/// Makes a pin with the keyboard alone, and waits for its contexts.
fn make_pin(browser: &Browser, service: &Service) -> String {
    open_page(browser, service);
    browser.tab_to("#create");
    browser.press(ENTER);
    let pin = until("there is a pin", || Some(browser.value("pin")).filter(|pin| pin.len() == 12));
    until("the contexts are filled in", || browser.value("slave").contains(&pin).then_some(()));
    pin
}

/// Opens a pin by its link, and waits until its events come.
fn open_pin(browser: &Browser, service: &Service, pin: &str) {
    browser.open(&format!("{}/cluster_pairing#{pin}", service.url()));
    browser.wait_for("link", "Live");
}

/// How many slaves of a state the picture shows.
fn drawn(browser: &Browser, state: &str) -> usize {
    let count = browser.script(&format!("return document.querySelectorAll('#picture .node.{state}').length"));
    usize::try_from(count.as_u64().expect("it is a number")).expect("it is small")
}

/// Waits until the picture shows so many slaves of a state.
fn wait_for_drawn(browser: &Browser, state: &str, count: usize) {
    until(&format!("{count} slaves are {state}"), || (drawn(browser, state) == count).then_some(()));
}
