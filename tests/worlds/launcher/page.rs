//! The page of the clusters, in Chromium.

use cluster_launcher::token::TokenKey;
use serde_json::json;
use worlds::browser::Browser;
use worlds::machine::put;
use worlds::service::Service;

use crate::api::{Api, request};
use crate::cloud::{Cloud, Manners};
use crate::cluster::{boot, filled, stack};
use crate::home::{Home, JWT_SECRET};

#[test]
fn the_page_shows_a_cluster_as_it_comes_up() {
    let (service, cloud, home) = (Service::start(), Cloud::start(Manners::default()), Home::new());
    let mut api = Api::start(&home, &cloud, &service.url());
    let answer = api.ask("POST", "/clusters/", Some(&request(&cloud)));
    assert_eq!(answer.status, 201, "{}", answer.text());
    let made = stack(&cloud);

    let browser = Browser::start();
    browser.open(&format!("http://{}/view/", api.address));
    browser.wait_for("problem-words", "The launcher asks for a token.");
    let type_token = |token: &str| {
        browser.enter("token");
        browser.press(token);
        browser.click("#token-form button");
    };
    type_token("x");
    browser.wait_for("problem-words", "The token is refused: Token cannot be decoded.");
    type_token(&TokenKey::new(JWT_SECRET).expect("it is not empty").sign());
    browser.wait_until(
        "the cluster is in the list",
        "return document.querySelectorAll('#clusters tbody tr').length == 1",
    );
    browser.click("#clusters a");
    browser.wait_for("headline", "lab is joining");
    // What a node says of itself is text, whatever is in it. Its report is not sealed, so it cannot be read.
    put(
        service.api(),
        &filled(&made, "pairing-pin"),
        "odd",
        &json!({ "name": "n", "role": "slave", "state": "failed", "detail": "<img src=x onerror=alert(1)>" }),
    );
    browser.wait_until(
        "the odd node is shown",
        "return document.getElementById('nodes').textContent.includes('unreadable')",
    );
    boot(&made);
    browser.wait_for("headline", "lab is ready");
    let shown = browser.script("return document.querySelector('main').textContent").to_string();
    for words in ["3 of 3 nodes are ready", "worker-1", "Use the cluster", "Heat has taken the stack"] {
        assert!(shown.contains(words), "the page does not show {words:?}: {shown}");
    }
    for secret in [filled(&made, "pairing-pin"), filled(&made, "pairing-secret")] {
        assert!(!shown.contains(&secret), "the page shows a secret");
    }
    assert_eq!(browser.script("return document.querySelector('main img')"), json!(null));
    // Only the answers to a missing and to a wrong token are errors of the console.
    let console = browser.console();
    assert!(console.iter().all(|line| line.contains("401")), "{console:?}");
    api.stop();
}
