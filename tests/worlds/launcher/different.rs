//! Where the launcher is meant to differ from the original: docs/launcher.md has the table, and this holds its rows.

use std::fs;

use cluster_launcher::token::TokenKey;
use serde_json::{Value, json};
use tempfile::TempDir;
use worlds::http::Request;
use worlds::mock_server::Reply;

use crate::builder::{Builder, only_error, remove};
use crate::cloud::{Cloud, Create, Manners, error};
use crate::home::{Home, JWT_SECRET, repository};

/// What billing is asked for when a launch is made, and when it is taken back.
const PAID: [&str; 4] = ["get_credits", "create_order", "add_order_tag", "add_order_tag"];
const TAKEN_BACK: [&str; 3] = ["get_credits", "create_order", "delete_order"];

/// The calls of billing since the last look.
fn calls(builder: &Builder, seen: &mut usize) -> Vec<String> {
    let lines = builder.billing.lines().split_off(*seen);
    *seen += lines.len();
    lines.iter().map(|line| line.rsplit('/').next().unwrap_or_default().to_owned()).collect()
}

#[test]
fn what_is_absent_is_empty_and_what_is_too_much_is_not_used() {
    let builder = Builder::of("main");
    let mut body = builder.good();
    remove(&mut body["cluster"], "selections");
    body["cluster"]["parameters"]["domain"] = json!("of.another.project");
    body["cluster"]["parameters"]["unknown"] = json!(1);
    body["cloud_env"]["region"] = json!("a key too many");
    assert_eq!(builder.api.ask("POST", "/clusters/", Some(&body)).status, 201);
    let parameters = builder.cloud.stacks().remove(0).stack.parameters;
    assert_eq!(parameters["domain"], "cluster.internal", "what is hard-coded wins");
    assert!(!parameters.contains_key("unknown"));

    let selected = builder.api.ask(
        "POST",
        "/clusters/",
        Some(&{
            body["cluster"]["selections"] = json!({ "master": false, "nothing": true });
            body.clone()
        }),
    );
    assert_eq!(selected.status, 201, "only what is optional can be left out: {}", selected.text());

    let builder = Builder::of("quota");
    let answer = builder.launch("three", |body| remove(&mut body["cluster"], "parameters"));
    assert_eq!(answer.status, 201, "{}", answer.text());
    let two =
        only_error(&builder.launch("three", |body| body["cloud_env"]["project_id"] = json!("project-1")));
    assert_eq!((two.0, two.3.as_deref()), (400, Some("/cloud_env")));
    assert!(two.2.contains("more than one"), "{}", two.2);
}

#[test]
fn a_definition_at_fault_is_said_to_be_and_a_selection_of_nothing_as_well() {
    let builder = Builder::of("merge");
    let clash = only_error(&builder.launch("same-resource", |_| ()));
    let words = "the components a and b both have the resource n";
    assert_eq!(clash, (500, "Cluster Type Error".into(), words.into(), None));
    let nothing = only_error(&builder.launch("all-optional", |_| ()));
    assert_eq!((nothing.0, nothing.3.as_deref()), (400, Some("/cluster/selections")));
    // The parameters of a component that is not taken are not asked for.
    assert_eq!(builder.launch("optional", |_| ()).status, 201);
    let taken =
        only_error(&builder.launch("optional", |body| body["cluster"]["selections"] = json!({ "b": true })));
    assert_eq!(taken.2, "Missing parameters: only-b");
    assert_eq!(builder.billing.lines().len(), PAID.len() + 2, "faults of a definition make no order");
}

#[test]
fn kinds_that_heat_does_not_make_are_refused_before_anything_is_paid() {
    let builder = Builder::of("main");
    let said =
        only_error(&builder.launch("minus", |body| body["cluster"]["parameters"] = json!({ "zeta": "z" })));
    assert_eq!((said.0, said.3.as_deref()), (400, Some("/cluster/cluster_type_id")));
    assert_eq!(said.2, "clusters of kind magnum cannot be launched");
    assert_eq!(builder.billing.lines(), Vec::<String>::new());
}

#[test]
fn what_cannot_be_counted_is_left_to_heat_and_none_is_none() {
    let builder = Builder::of("quota");
    for kind in
        ["size-words", "flavour-by-function", "group-renamed", "group-inline", "group-no-count", "no-flavour"]
    {
        let answer = builder.launch(kind, |_| ());
        assert_eq!(answer.status, 201, "{kind}: {}", answer.text());
    }
    builder.cloud.behave(|manners| manners.instances = 1);
    let group = |count: Value| builder.launch("group", |body| body["cluster"]["parameters"]["count"] = count);
    assert_eq!(group(json!(0)).status, 201);
    // A fraction is cut, as the original does.
    assert_eq!(group(json!("1.9")).status, 201);
    assert_eq!(only_error(&group(json!(2))).1, "ProjectLimitError");
    let unknown = only_error(&builder.launch("flavour-unknown", |_| ()));
    let words = "The Flavor (m9.huge) could not be found.";
    assert_eq!(unknown, (400, "Bad Request".into(), words.into(), None));
}

#[test]
fn an_order_is_made_last_and_taken_back_by_every_failure() {
    let builder = Builder::of("quota");
    let mut seen = 0;
    let refused = error(400, "Bad Request", "Parameter 'f' is invalid: no");
    let mut heat = |reply: Option<Reply>, account: &str| {
        builder.cloud.behave(|manners| manners.create = reply.map(Create::Refuse));
        let paid = builder.paid_by(account);
        let answer = builder.launch("three", |body| body["middleware_url"] = json!(paid));
        (answer, calls(&builder, &mut seen))
    };
    let (answer, asked) = heat(Some(refused.clone()), "x");
    let wanted = (400, "Bad Request".into(), "no".into(), Some("/cluster/parameters/f".into()));
    assert_eq!((only_error(&answer), asked), (wanted.clone(), TAKEN_BACK.map(str::to_owned).to_vec()));
    // Its failure does not hide the reason.
    let (answer, asked) = heat(Some(refused), "delete_order=500");
    assert_eq!((only_error(&answer), asked), (wanted, TAKEN_BACK.map(str::to_owned).to_vec()));
    let (answer, asked) = heat(Some(Reply::of(503, "text/html", "<html>")), "x");
    let (status, title, ..) = only_error(&answer);
    assert_eq!(
        (status, title.as_str(), asked),
        (503, "ServiceUnavailable", TAKEN_BACK.map(str::to_owned).to_vec())
    );
    let (answer, asked) = heat(None, "add_order_tag=500");
    assert_eq!((answer.status, asked), (201, PAID.map(str::to_owned).to_vec()), "{}", answer.text());
    let (answer, _) = heat(None, "create_order=500");
    assert_eq!(only_error(&answer).1, "MiddlewareServiceError");
}

#[test]
fn a_second_answer_of_billing_counts() {
    for status in [401, 403, 405, 407, 408] {
        let builder = Builder::of("quota");
        let paid = builder.paid_by(&format!("first={status}"));
        let answer = builder.launch("three", |body| body["middleware_url"] = json!(paid));
        assert_eq!((answer.status, builder.billing.lines().len()), (201, PAID.len() + 1), "{status}");
    }
}

#[test]
fn what_the_cloud_lacks_or_refuses_is_said_before_the_order() {
    let builder = Builder::of("quota");
    let said = |broken: Vec<(&'static str, Reply)>, without: Vec<&'static str>| {
        builder.cloud.behave(|manners| (manners.broken, manners.without) = (broken, without));
        let (status, title, _, pointer) = only_error(&builder.launch("three", |_| ()));
        (status, title, pointer)
    };
    let keystone = "v3/auth/tokens";
    for (broken, without, status, title, pointer) in [
        (vec![("nova/limits", Reply::status(503))], vec![], 502, "ServiceUnavailable", None),
        (vec![("cinder", Reply::status(500))], vec![], 502, "InternalServerError", None),
        (vec![], vec!["compute"], 502, "EndpointNotFound", None),
        (vec![(keystone, Reply::status(404))], vec![], 404, "NotFound", None),
        (vec![(keystone, Reply::status(503))], vec![], 503, "ServiceUnavailable", None),
        (
            vec![(keystone, Reply::of(200, "text/html", "<html>"))],
            vec![],
            400,
            "Bad Request",
            Some("/cloud_env"),
        ),
    ] {
        let wanted = (status, title.to_owned(), pointer.map(str::to_owned));
        assert_eq!(said(broken, without), wanted);
    }
    assert!(builder.billing.lines().iter().all(|line| line == "POST /get_credits"), "an order was made");
    assert_eq!(said(vec![], vec!["orchestration"]), (502, "EndpointNotFound".to_owned(), None));
    assert_eq!(builder.billing.lines().last().map(String::as_str), Some("POST /delete_order"));
    // Nothing of it needs Cinder.
    builder.cloud.behave(|manners| manners.without = vec!["volumev3"]);
    assert_eq!(builder.launch("three", |_| ()).status, 201);
    for url in ["fake", "cloud.example.org:5000", "ftp://127.0.0.1/v3"] {
        let said = only_error(&builder.launch("three", |body| body["cloud_env"]["auth_url"] = json!(url)));
        assert_eq!((said.0, said.3.as_deref()), (400, Some("/cloud_env")), "{url}");
    }
}

#[test]
fn every_error_has_a_detail_and_the_scheme_of_a_token_any_case() {
    let builder = Builder::of("quota");
    let send = |request: Request| request.send(builder.api.address).expect("it answers");
    assert_eq!(only_error(&send(Request::new("DELETE", "/cluster-types/"))).0, 405);
    for request in
        [Request::new("POST", "/clusters/"), Request::new("POST", "/clusters/").body("text/plain", "x")]
    {
        assert_eq!(only_error(&send(request)).0, 415);
    }
    let token = TokenKey::new(JWT_SECRET).expect("it is not empty").sign();
    let mut body = builder.good();
    body["cluster"] = json!({ "name": "first", "cluster_type_id": "three" });
    let request = Request::new("POST", "/clusters/").header("Authorization", &format!("bEaReR {token}"));
    assert_eq!(send(request.json(&body)).status, 201);
}

#[test]
fn without_a_secret_no_token_is_taken() {
    let (home, cloud) = (Home::new(), Cloud::start(Manners::default()));
    let args = ["serve", "--listen", "127.0.0.1:0"];
    let mut launcher = home.start_with(&cloud, &args, &[("JWT_SECRET", "")]);
    let address = launcher.line_after("listening on http://").parse().expect("it is an address");
    let body = crate::api::request(&cloud);
    for secret in [JWT_SECRET, " "] {
        let token = TokenKey::new(secret).expect("it is not empty").sign();
        let request = Request::new("POST", "/clusters/").header("Authorization", &format!("Bearer {token}"));
        let said = only_error(&request.json(&body).send(address).expect("it answers"));
        assert_eq!((said.0, said.1.as_str()), (401, "MiddlewareAuthenticationError"));
    }
    launcher.terminate();
    assert!(launcher.wait().success());
}

#[test]
fn an_entity_tag_notices_every_change_and_an_empty_list_has_no_date() {
    let types = TempDir::with_prefix("types-").expect("a temporary directory can be made");
    let enabled = types.path().join("cluster-types-enabled");
    fs::create_dir_all(&enabled).expect("a directory can be made");
    let builder = Builder::below(types);
    let list = |headers: &[(&str, &str)]| builder.get("/cluster-types/", headers);
    assert_eq!(list(&[]).headers.get("last-modified"), None);
    let main = repository().join("tests/fixtures/builder/types/main").canonicalize().expect("it is there");
    let link =
        |id: &str| std::os::unix::fs::symlink(main.join(id), enabled.join(id)).expect("a link can be made");
    link("pair");
    link("lone");
    let before = list(&[]);
    let tag = before.headers.get("etag").expect("it has a tag");
    let date = before.headers.get("last-modified").expect("it has a date");
    for known in [tag.clone(), format!("W/{tag}"), format!("\"x\", {tag}"), "*".to_owned()] {
        let again = list(&[("If-None-Match", &known)]);
        assert_eq!((again.status, again.text().as_str()), (304, ""), "{known}");
    }
    // The date of the list stays, whichever of the two goes first.
    fs::remove_file(enabled.join("lone")).expect("it can be removed");
    assert_eq!(list(&[("If-None-Match", &tag), ("If-Modified-Since", &date)]).status, 200);
}

#[test]
fn yaml_is_read_as_yaml_1_1() {
    let builder = Builder::of("odd-yaml");
    let shown = |id: &str| builder.get(&format!("/cluster-types/{id}"), &[]).json();
    assert_eq!(shown("duplicate-keys")["title"], "second");
    assert_eq!(shown("merge-key")["parameter_groups"], json!([{ "name": "c", "label": "merged" }]));
    let odd = shown("yaml-1-1");
    let default = |name: &str| odd["parameters"][name]["default"].clone();
    assert_eq!((odd["order"].clone(), odd["parameters"]["a"]["hidden"].clone()), (json!(10), json!(true)));
    assert_eq!(
        ["a", "b", "c", "d", "e"].map(default),
        [json!(true), json!(90), json!(1000), json!("0o17"), json!(false)]
    );
    let builder = Builder::of("odd");
    assert_eq!(builder.get("/cluster-types/%C3%BCmlaut", &[]).json()["id"], "ümlaut");
}
