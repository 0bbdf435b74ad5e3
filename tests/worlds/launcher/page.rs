//! The pages of the clusters and of the API, in Chromium.

use cluster_launcher::token::TokenKey;
use serde_json::{Value, json};
use worlds::browser::Browser;
use worlds::machine::put;
use worlds::service::Service;

use crate::api::{Api, request};
use crate::cloud::{Cloud, Manners};
use crate::cluster::{boot, filled, stack};
use crate::home::{Home, JWT_SECRET, PASSWORD};

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

#[test]
fn the_page_of_the_api_lists_every_operation_and_sends_it() {
    let (service, cloud, home) = (Service::start(), Cloud::start(Manners::default()), Home::new());
    let mut api = Api::start(&home, &cloud, &service.url());
    let browser = Browser::start();
    browser.open(&format!("http://{}/view/", api.address));
    browser.click("header a[href=api]");
    browser.wait_until(
        "the operations are there",
        "return Boolean(document.querySelector('#operations details'))",
    );
    let described = api.ask("GET", "/openapi.json", None).json();
    let mut operations = Vec::new();
    for (path, there) in described["paths"].as_object().expect("there are paths") {
        let methods = there.as_object().expect("it is an object").keys();
        let methods = methods.filter(|key| *key != "parameters");
        operations.extend(methods.map(|method| format!("{} {path}", method.to_uppercase())));
    }
    let listed = browser
        .script("return [...document.querySelectorAll('#operations h3')].map(head => head.textContent)");
    let sorted = |value: &Value| {
        let mut texts: Vec<_> = value.as_array().into_iter().flatten().cloned().collect();
        texts.sort_by_key(ToString::to_string);
        texts
    };
    assert_eq!(sorted(&listed), sorted(&json!(operations)));

    let open = |operation: &str| browser.click(&format!("#{operation} > summary"));
    let answers = |operation: &str, words: &str| {
        let shown =
            format!("return document.querySelector('#{operation} .answer').textContent.includes({words:?})");
        browser.wait_until(&format!("{operation} answers {words}"), &shown);
    };
    let fill = |id: &str, text: &str| {
        browser.enter(id);
        browser.press(text);
    };
    open("get-cluster-types-id");
    fill("get-cluster-types-id-id", "workers");
    browser.click("#get-cluster-types-id form button");
    answers("get-cluster-types-id", "200 OK");
    answers("get-cluster-types-id", "\"id\": \"workers\"");

    // Without a token the view is as if it were not there; with one it is.
    open("get-clusters");
    browser.click("#get-clusters form button");
    answers("get-clusters", "405");
    fill("token", &TokenKey::new(JWT_SECRET).expect("it is not empty").sign());
    browser.click("#token-form button");
    browser.wait_for("token-state", "This tab has a token.");
    browser.click("#get-clusters form button");
    answers("get-clusters", "200 OK");

    open("post-clusters");
    let body = request(&cloud);
    for (name, value) in body["cloud_env"].as_object().expect("it is an object") {
        fill(&format!("post-clusters-body-cloud_env-0-{name}"), value.as_str().expect("it is a text"));
    }
    fill("post-clusters-body-cluster-name", "lab");
    fill("post-clusters-body-cluster-cluster_type_id", "workers");
    fill("post-clusters-body-cluster-parameters", "{");
    browser.click("#post-clusters form > .row button");
    browser.wait_until(
        "bad JSON is not sent",
        "return document.querySelector('#post-clusters .soon').textContent.includes('parameters is no JSON')",
    );
    assert_eq!(cloud.created(), 0);
    fill("post-clusters-body-cluster-parameters", &body["cluster"]["parameters"].to_string());
    browser.click("#post-clusters form > .row button");
    answers("post-clusters", "201 Created");
    answers("post-clusters", &stack(&cloud).name);
    let shown = browser.script("return document.querySelector('main').innerHTML").to_string();
    assert!(!shown.contains(PASSWORD), "the page shows a password");

    open("delete-clusters-id");
    fill("delete-clusters-id-id", "lab");
    browser.click("#delete-clusters-id form button");
    answers("delete-clusters-id", "204 No Content");
    assert!(cloud.stacks().is_empty(), "a stack is left");
    // Only the answers to requests without a token are errors of the console: 401 on the page of the clusters, 405 on this one.
    let console = browser.console();
    assert!(console.iter().all(|line| line.contains("401") || line.contains("405")), "{console:?}");
    api.stop();
}
