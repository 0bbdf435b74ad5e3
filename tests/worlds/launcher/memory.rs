//! A launcher that keeps its launches in memory.

use serde_json::json;
use worlds::service::Service;
use worlds::wait::until;

use crate::api::{Api, request};
use crate::cloud::{Cloud, Manners};
use crate::cluster::{boot, filled, nothing_is_left, stack};
use crate::home::Home;

#[test]
fn launches_in_memory_are_shown_and_deleted_and_leave_no_file() {
    let (service, cloud, home) = (Service::start(), Cloud::start(Manners::default()), Home::new());
    let start = || Api::with(&home, &cloud, &service.url(), &["--in-memory"]);
    let mut api = start();
    assert_eq!(api.ask("POST", "/clusters/", Some(&request(&cloud))).status, 201);
    let made = stack(&cloud);
    boot(&made);
    until("it is ready", || (api.show("lab")["state"] == "ready").then_some(()));
    assert_eq!(api.ask("DELETE", "/clusters/lab", None).status, 204);
    nothing_is_left(&cloud, &home, &service, &filled(&made, "pairing-pin"));
    assert_eq!(api.ask("GET", "/clusters/", None).json(), json!([]));

    assert_eq!(api.ask("POST", "/clusters/", Some(&request(&cloud))).status, 201);
    assert!(api.process.stderr().contains("launches are in memory"));
    api.stop();
    assert!(!home.path().join("data").exists(), "there is a folder");
    let mut api = start();
    assert_eq!(api.ask("GET", "/clusters/", None).json(), json!([]), "they are forgotten");
    assert_eq!(cloud.stacks().len(), 1, "and the stacks stay");
    api.stop();
}

#[test]
fn memory_is_one_place_and_no_other() {
    let (cloud, home) = (Cloud::start(Manners::default()), Home::new());
    let node = ["--node-pairing-url", "http://192.0.2.1:8000"];
    for other in [
        &["--etcd", "http://127.0.0.1:1", "--launches-key-file", "key"][..],
        &["--pairing-listen", "127.0.0.1:0", node[0], node[1]],
    ] {
        home.run(&cloud, &[&["serve", "--in-memory"], other].concat()).expect(64, "cannot be used with");
    }
}
