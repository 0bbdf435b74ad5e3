//! What the page says when something is in the way, in words that tell what to do.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use tempfile::TempDir;
use worlds::browser::{Browser, ENTER};
use worlds::service::Service;

use crate::{make_pin, open_page};

/// 32 characters, the fewest that a service takes.
const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// A file with the admin's token.
pub(crate) fn token_file(dir: &TempDir) -> String {
    let path = dir.path().join("token");
    fs::write(&path, TOKEN).expect("a file can be written");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("it is the test's own");
    path.display().to_string()
}

#[test]
fn a_service_that_wants_a_token_is_given_one() {
    let dir = TempDir::new().expect("a temporary directory can be made");
    let service = Service::with(&["--create-token-file", &token_file(&dir)]);
    let browser = Browser::start();
    open_page(&browser, &service);
    browser.tab_to("#create");
    browser.press(ENTER);
    browser.wait_for("problem", "Making a pin takes a token here. Ask the admin of the service for it.");
    browser.wait_until("the token is asked for", "return document.activeElement.id === 'token'");
    browser.press(&format!("wrong{ENTER}"));
    browser.wait_for("problem", "The service does not take this token.");
    browser.enter("token");
    browser.press(&format!("{TOKEN}{ENTER}"));
    browser.wait_for("headline", "Waiting for the master");
    assert_eq!((browser.text("problem"), browser.value("token")), (String::new(), String::new()));
    browser.wait_for("link", "Live");
}

#[test]
fn a_rate_limit_says_until_when() {
    let service = Service::with(&["--max-creations-per-hour", "1"]);
    let browser = Browser::start();
    make_pin(&browser, &service);
    browser.click("#another");
    // One is refused at the latest when the delay before it would be too long.
    browser.click("#create");
    browser.wait_for("problem", "This address has asked for too much. Try again after ");
    browser.wait_for("problem", "(in ");
    assert!(browser.text("problem").contains(" min"), "{}", browser.text("problem"));
    browser.wait_for("again", "Try again");
}

#[test]
fn a_service_that_has_gone_can_be_tried_again() {
    let mut service = Service::start();
    let browser = Browser::start();
    open_page(&browser, &service);
    service.stop();
    browser.click("#create");
    browser.wait_for("problem", "The service cannot be reached. Check that it runs");
    service.resume();
    browser.click("#again");
    browser.wait_for("headline", "Waiting for the master");
    assert_eq!(browser.text("problem"), "");
}

#[test]
fn a_tab_whose_pin_is_gone_begins_anew() {
    let service = Service::start();
    let browser = Browser::start();
    let pin = make_pin(&browser, &service);
    service.api().delete_pin(&pin);
    browser.wait_for("headline", "The pin was deleted");
    browser.wait_for("words", "VMs that boot now do not find each other by it.");
    browser.reload();
    browser.wait_for("start-title", "Bring up one master");
    assert_eq!(browser.text("problem"), "");
}

#[test]
fn a_pin_that_expires_is_said_to_have_expired() {
    let service = Service::with(&["--pin-lifetime", "3s"]);
    let browser = Browser::start();
    make_pin(&browser, &service);
    browser.wait_for("headline", "The pin has expired");
    assert_eq!(browser.text("alive"), "");
}
