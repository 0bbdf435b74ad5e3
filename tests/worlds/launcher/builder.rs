//! The launcher as a cluster builder: with the recorded types, a cloud, and a billing service.

use serde_json::{Value, json};
use tempfile::TempDir;
use worlds::http::{Request, Response};
use worlds::mock_server::{MockServer, Reply};

use crate::api::Api;
use crate::cloud::{Cloud, Manners};
use crate::home::{Home, PASSWORD, repository};

/// A builder with a set of the recorded types, a cloud and a billing service.
pub(crate) struct Builder {
    pub(crate) api: Api,
    pub(crate) cloud: Cloud,
    pub(crate) billing: MockServer,
    pub(crate) types: TempDir,
    _home: Home,
}

impl Builder {
    /// One with a set of the recorded types.
    pub(crate) fn of(set: &str) -> Self {
        let types = TempDir::with_prefix("types-").expect("a temporary directory can be made");
        let from = repository().join("tests/fixtures/builder/types").join(set);
        std::os::unix::fs::symlink(
            from.canonicalize().expect("it is there"),
            types.path().join("cluster-types-enabled"),
        )
        .expect("a link can be made");
        Self::below(types)
    }

    /// One with the types below a folder.
    pub(crate) fn below(types: TempDir) -> Self {
        let (cloud, home) = (Cloud::start(Manners::default()), Home::new());
        let billing = MockServer::start(|seen, before| pay(&seen.path, before));
        let (folder, allowed) = (types.path().display().to_string(), billing.url());
        let more = ["--types", &folder, "--middleware-url", &allowed];
        let api = Api::with(&home, &cloud, "http://127.0.0.1:1", &more);
        Self { api, cloud, billing, types, _home: home }
    }

    /// Asks for a path.
    pub(crate) fn get(&self, path: &str, headers: &[(&str, &str)]) -> Response {
        let request = Request::new("GET", path);
        let request = headers.iter().fold(request, |request, (name, value)| request.header(name, value));
        request.send(self.api.address).expect("it answers")
    }

    /// A request that is in order, for a type whose only wish is a pin.
    pub(crate) fn good(&self) -> Value {
        json!({
            "cloud_env": {
                "auth_url": self.cloud.url(), "username": "demo", "password": PASSWORD, "project_name": "demo",
                "user_domain_name": "Default", "project_domain_name": "Default",
            },
            "cluster": {
                "name": "first", "cluster_type_id": "pair",
                "parameters": {
                    "clustername": "first", "pairing-pin": "abcdefghijkl", "master-flavour": "m1.small",
                    "worker-flavour": "m1.small", "worker-count": 2, "scratch-size": 1,
                },
                "selections": {},
            },
            "billing_account_id": "acc-1", "middleware_url": self.billing.url(),
        })
    }

    /// The address of an account that behaves: `credits=0`, `CALL=STATUS` for the status of a call, or `first=STATUS` for that of
    /// the first request of all.
    pub(crate) fn paid_by(&self, account: &str) -> String {
        format!("{}/{account}", self.billing.url())
    }

    /// Asks for a cluster of a type whose parameters all have defaults.
    pub(crate) fn launch(&self, kind: &str, change: impl FnOnce(&mut Value)) -> Response {
        let mut body = self.good();
        body["cluster"] =
            json!({ "name": "first", "cluster_type_id": kind, "parameters": {}, "selections": {} });
        change(&mut body);
        self.api.ask("POST", "/clusters/", Some(&body))
    }

    /// The only error that a changed request is refused with: status, title, detail and pointer.
    #[track_caller]
    pub(crate) fn refused(&self, change: impl FnOnce(&mut Value)) -> (u16, String, String, Option<String>) {
        let mut body = self.good();
        change(&mut body);
        only_error(&self.api.ask("POST", "/clusters/", Some(&body)))
    }

    /// The same without its status, of an error of the shape.
    #[track_caller]
    pub(crate) fn misshapen(&self, change: impl FnOnce(&mut Value)) -> (String, String) {
        let (status, title, detail, pointer) = self.refused(change);
        assert_eq!((status, title.as_str()), (400, "JSON schema error"), "{detail}");
        (pointer.expect("it has a pointer"), detail)
    }
}

/// The billing service's answer.
fn pay(path: &str, before: usize) -> Reply {
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let call = parts.last().copied().unwrap_or_default();
    let (what, told) = parts[0].split_once('=').unwrap_or_default();
    if what == call || (what == "first" && before == 0) {
        return Reply::status(told.parse().expect("it is a status"));
    }
    match call {
        "get_credits" => {
            let credits = if what == "credits" { told } else { "100" };
            Reply::json(200, &json!({ "credits": credits.parse::<i64>().expect("it is a number") }))
        }
        "create_order" => Reply::json(201, &json!({ "order": "order-1" })),
        "add_order_tag" => Reply::json(201, &json!({ "tag": "ok" })),
        "delete_order" => Reply::json(200, &json!({ "success": true })),
        _ => Reply::status(404),
    }
}

/// The error of an answer that has exactly one: status, title, detail and pointer.
#[track_caller]
pub(crate) fn only_error(answer: &Response) -> (u16, String, String, Option<String>) {
    let body = answer.json();
    let [error] = body["errors"].as_array().map(Vec::as_slice).unwrap_or_default() else {
        panic!("not one error: {}", answer.text())
    };
    assert_eq!(
        error["status"],
        json!(answer.status.to_string()),
        "the status is text, and that of the answer"
    );
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let said = |key: &str| text(&error[key]).unwrap_or_else(|| panic!("no {key}: {error}"));
    (answer.status, said("title"), said("detail"), text(&error["source"]["pointer"]))
}

/// Takes a key out of an object.
pub(crate) fn remove(value: &mut Value, key: &str) {
    value.as_object_mut().expect("it is an object").remove(key);
}

/// The ids of a list.
pub(crate) fn ids(list: &Value) -> Vec<&str> {
    list.as_array().into_iter().flatten().filter_map(|entry| entry["id"].as_str()).collect()
}
