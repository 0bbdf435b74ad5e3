//! A launch over the API, and the view of it.

use std::net::SocketAddr;

use cluster_launcher::token::TokenKey;
use serde_json::{Value, json};
use worlds::http::{Request, Response};
use worlds::process::Process;
use worlds::service::Service;
use worlds::wait::until;

use crate::cloud::{Cloud, Create, Manners};
use crate::cluster::{boot, filled, nothing_is_left, stack};
use crate::home::{Home, JWT_SECRET, PASSWORD};

/// A launcher that serves.
pub(crate) struct Api {
    pub(crate) process: Process,
    pub(crate) address: SocketAddr,
}

impl Api {
    pub(crate) fn start(home: &Home, cloud: &Cloud, pairing: &str) -> Self {
        Self::with(home, cloud, pairing, &[])
    }

    pub(crate) fn with(home: &Home, cloud: &Cloud, pairing: &str, more: &[&str]) -> Self {
        Self::serve(home, cloud, &[&["--pairing-url", pairing], more].concat())
    }

    pub(crate) fn serve(home: &Home, cloud: &Cloud, more: &[&str]) -> Self {
        let mut args = vec!["serve", "--listen", "127.0.0.1:0"];
        args.extend(more);
        let mut process = home.start(cloud, &args);
        let url = process.line_after("listening on http://");
        Self { process, address: url.parse().expect("it is an address") }
    }

    pub(crate) fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Response {
        let token = TokenKey::new(JWT_SECRET).expect("it is not empty").sign();
        let request = Request::new(method, path).header("Authorization", &format!("Bearer {token}"));
        let request = match body {
            Some(body) => request.json(body),
            None => request,
        };
        request.send(self.address).expect("it answers")
    }

    pub(crate) fn show(&self, id: &str) -> Value {
        let answer = self.ask("GET", &format!("/clusters/{id}"), None);
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    }

    pub(crate) fn stop(&mut self) {
        self.process.terminate();
        assert!(self.process.wait().success());
        let log = self.process.stderr();
        for secret in [PASSWORD, JWT_SECRET, crate::cloud::TOKEN] {
            assert!(!log.contains(secret), "the log shows {secret}");
        }
    }
}

/// A request for a cluster "lab" of two workers.
pub(crate) fn request(cloud: &Cloud) -> Value {
    json!({
        "cloud_env": {
            "auth_url": cloud.url(), "username": "demo", "password": PASSWORD, "project_name": "demo",
            "user_domain_name": "Default", "project_domain_name": "Default",
        },
        "cluster": {
            "name": "lab", "cluster_type_id": "workers",
            "parameters": {
                "image": "tiny", "key": "key", "master-flavour": "m1.small", "worker-flavour": "m1.small",
                "external-network": "outside", "worker-count": 2,
            },
        },
        "billing_account_id": "a", "middleware_url": "http://192.0.2.7/never",
    })
}

#[test]
fn a_cluster_is_launched_shown_kept_over_a_restart_and_deleted() {
    let (service, cloud, home) = (Service::start(), Cloud::start(Manners::default()), Home::new());
    let mut api = Api::start(&home, &cloud, &service.url());
    let types = api.ask("GET", "/cluster-types/", None).json();
    let shown = types.as_array().and_then(|types| types.iter().find(|found| found["id"] == "workers"));
    let parameters = &shown.expect("it is in the list")["parameters"];
    assert!(parameters.get("pairing-pin").is_none() && parameters.get("image").is_some());

    let answer = api.ask("POST", "/clusters/", Some(&request(&cloud)));
    assert_eq!(answer.status, 201, "{}", answer.text());
    let launched = answer.json();
    let made = stack(&cloud);
    assert_eq!((&launched["id"], &launched["name"]), (&json!(made.id), &json!(made.name)));
    let state = |api: &Api| api.show(&made.id)["state"].clone();
    until("it joins", || (state(&api) == "joining").then_some(()));
    boot(&made);
    until("it is ready", || (state(&api) == "ready").then_some(()));
    let seen = api.show("lab");
    assert_eq!(seen["nodes"].as_array().map(Vec::len), Some(3));
    assert_eq!(seen["detail"], "3 of 3 nodes are ready");
    let pin = filled(&made, "pairing-pin");
    for secret in [&pin, &filled(&made, "pairing-secret")] {
        assert!(!seen.to_string().contains(secret.as_str()), "{seen}");
    }
    let log: Vec<_> = seen["log"].as_array().into_iter().flatten().map(|line| line["text"].clone()).collect();
    assert!(log.iter().any(|line| line == "ready: 3 of 3 nodes are ready"), "{log:?}");
    let metrics = Request::new("GET", "/metrics").send(api.address).expect("it answers").text();
    assert!(metrics.contains("cluster_launcher_clusters{state=\"ready\"} 1"), "{metrics}");
    api.stop();

    let mut api = Api::start(&home, &cloud, &service.url());
    let list = api.ask("GET", "/clusters/", None).json();
    assert_eq!((&list[0]["id"], &list[0]["state"]), (&json!(made.id), &json!("ready")));
    // With the credentials of its own, which are for the same project.
    until("the cloud is asked again", || api.show("lab")["trouble"].is_null().then_some(()));
    assert_eq!(api.ask("DELETE", &format!("/clusters/{}", made.id), None).status, 204);
    nothing_is_left(&cloud, &home, &service, &pin);
    assert_eq!(api.ask("GET", "/clusters/lab", None).status, 404);
    api.stop();
}

#[test]
fn all_faults_come_at_once_each_with_its_pointer_and_nothing_is_made() {
    let (service, cloud, home) = (Service::start(), Cloud::start(Manners::default()), Home::new());
    let mut api = Api::start(&home, &cloud, &service.url());
    let refused = |change: &dyn Fn(&mut Value)| {
        let mut body = request(&cloud);
        change(&mut body);
        let answer = api.ask("POST", "/clusters/", Some(&body));
        (answer.status, answer.json()["errors"].clone())
    };
    let (status, errors) = refused(&|body| {
        body["cluster"]["parameters"]["worker-count"] = json!(200);
        body["cluster"]["parameters"]["cidr"] = json!("nowhere");
    });
    let pointers: Vec<_> =
        errors.as_array().into_iter().flatten().map(|error| error["source"]["pointer"].clone()).collect();
    assert_eq!(status, 400);
    assert_eq!(pointers.len(), 2, "{errors}");
    for parameter in ["cidr", "worker-count"] {
        assert!(pointers.contains(&json!(format!("/cluster/parameters/{parameter}"))), "{errors}");
    }
    let (status, errors) = refused(&|body| body["cluster"]["name"] = json!("1"));
    assert_eq!((status, &errors[0]["source"]["pointer"]), (400, &json!("/cluster/name")));
    // SECURITY: the launcher speaks to no address that its operator has not allowed.
    let (status, errors) = refused(&|body| body["cloud_env"]["auth_url"] = json!("http://192.0.2.1/v3"));
    assert_eq!((status, &errors[0]["source"]["pointer"]), (400, &json!("/cloud_env")));
    let (status, errors) = refused(&|body| body["cloud_env"]["password"] = json!("wrong"));
    assert_eq!((status, &errors[0]["title"]), (401, &json!("Unauthorized")));
    assert!(!errors.to_string().contains("wrong"), "{errors}");
    let (status, errors) =
        refused(&|body| body["cluster"]["parameters"]["master-flavour"] = json!("m1.none"));
    assert_eq!(
        (status, &errors[0]["source"]["pointer"]),
        (400, &json!("/cluster/parameters/master-flavour"))
    );
    assert_eq!((cloud.created(), home.records().len()), (0, 0));
    api.stop();
}

#[test]
fn a_stack_that_comes_after_the_caller_was_told_of_none_is_deleted() {
    let manners = Manners { create: Some(Create::Silent), ..Manners::default() };
    let (service, cloud, home) = (Service::start(), Cloud::start(manners), Home::new());
    let mut api = Api::with(&home, &cloud, &service.url(), &["--cloud-timeout", "1"]);
    let answer = api.ask("POST", "/clusters/", Some(&request(&cloud)));
    assert_eq!((answer.status, &answer.json()["errors"][0]["title"]), (502, &json!("ConnectTimeout")));
    let pin = filled(&stack(&cloud), "pairing-pin");
    until("the stack is gone", || cloud.stacks().is_empty().then_some(()));
    until("its record is gone", || home.records().is_empty().then_some(()));
    nothing_is_left(&cloud, &home, &service, &pin);
    api.stop();
}
