//! What the original's own tests hold it to, over HTTP: the catalogue, the shape of a request, tokens, types, missing
//! parameters, and a launch that is paid for. Each refusal is exactly one error.

use std::fs;

use cluster_launcher::token::TokenKey;
use serde_json::{Value, json};
use tempfile::TempDir;
use worlds::http::Request;

use crate::builder::{Builder, ids, only_error, remove};
use crate::home::JWT_SECRET;

// The catalogue.

#[test]
fn lists_the_types_by_order_and_id_with_all_that_a_client_may_see() {
    let builder = Builder::of("main");
    let list = builder.get("/cluster-types/", &[]);
    assert_eq!(list.status, 200);
    assert_eq!(list.headers.get("content-type").as_deref(), Some("application/json"));
    let list = list.json();
    assert_eq!(ids(&list), ["minus", "lone", "pair", "half", "kube", "spark"]);
    let mut keys: Vec<_> = list[2].as_object().expect("it is an object").keys().map(String::as_str).collect();
    keys.sort_unstable();
    let wanted = "description id instructions last_modified logo_url order parameter_groups parameters title";
    assert_eq!(keys.join(" "), wanted);
}

#[test]
fn lists_nothing_where_nothing_is_enabled() {
    let builder = Builder::of("empty");
    let list = builder.get("/cluster-types/", &[]);
    assert_eq!((list.status, list.json()), (200, json!([])));
}

#[test]
fn leaves_invalid_definitions_out() {
    let builder = Builder::of("broken");
    assert_eq!(ids(&builder.get("/cluster-types/", &[]).json()), ["good"]);
    let (status, title, detail, pointer) = only_error(&builder.get("/cluster-types/no-title", &[]));
    assert_eq!((status, title.as_str(), pointer), (404, "Not Found", None));
    assert_eq!(detail, "Unknown cluster type: no-title");
}

#[test]
fn shows_one_type_as_in_the_list() {
    let builder = Builder::of("main");
    let list = builder.get("/cluster-types/", &[]).json();
    for id in ["pair", "kube"] {
        let shown = builder.get(&format!("/cluster-types/{id}"), &[]);
        let listed = list.as_array().into_iter().flatten().find(|entry| entry["id"] == id);
        assert_eq!((shown.status, Some(&shown.json())), (200, listed));
    }
}

#[test]
fn has_the_parameters_of_all_components_without_those_that_are_hard_coded() {
    let builder = Builder::of("main");
    let parameters = builder.get("/cluster-types/pair", &[]).json()["parameters"].clone();
    assert!(parameters.get("domain").is_none() && parameters.get("mtu").is_none(), "{parameters}");
    assert_eq!(parameters["clustername"]["label"], "Name", "the first definition wins");
    assert!(parameters.get("scratch-size").is_some(), "of optional components too");
}

#[test]
fn says_of_an_unknown_type_that_it_is_unknown() {
    let builder = Builder::of("main");
    let said = only_error(&builder.get("/cluster-types/nothing", &[]));
    assert_eq!(said, (404, "Not Found".into(), "Unknown cluster type: nothing".into(), None));
}

#[test]
fn the_list_is_not_sent_again_while_nothing_has_changed() {
    let builder = Builder::of("main");
    not_again(&builder, "/cluster-types/");
}

#[test]
fn a_type_is_not_sent_again_while_it_has_not_changed() {
    let builder = Builder::of("main");
    not_again(&builder, "/cluster-types/pair");
}

fn not_again(builder: &Builder, path: &str) {
    let modified = builder.get(path, &[]).headers.get("last-modified").expect("it has a date");
    let again = builder.get(path, &[("If-Modified-Since", &modified)]);
    assert_eq!((again.status, again.text().as_str()), (304, ""));
    for other in ["Thu, 01 Jan 1970 00:00:00 GMT", "Fri, 01 Jan 2100 00:00:00 GMT", "yesterday"] {
        assert_eq!(builder.get(path, &[("If-Modified-Since", other)]).status, 200, "{other}");
    }
}

#[test]
fn a_change_is_seen_by_the_next_request() {
    let types = TempDir::with_prefix("types-").expect("a temporary directory can be made");
    let folder = types.path().join("cluster-types-enabled/late");
    fs::create_dir_all(&folder).expect("a directory can be made");
    let builder = Builder::below(types);
    assert_eq!(builder.get("/cluster-types/", &[]).json(), json!([]));
    let definition = "{title: t, description: d, kind: magnum, order: 1, logo_url: '', magnum_cluster_template: m, \
                      parameters: {}}";
    let file = builder.types.path().join("cluster-types-enabled/late/cluster-type.yaml");
    fs::write(file, definition).expect("a file can be written");
    assert_eq!(ids(&builder.get("/cluster-types/", &[]).json()), ["late"]);
}

// The shape of a request.

#[test]
fn wants_json() {
    let builder = Builder::of("main");
    let token = TokenKey::new(JWT_SECRET).expect("it is not empty").sign();
    let post = |media_type: &str, body: &str| {
        let request = Request::new("POST", "/clusters/").header("Authorization", &format!("Bearer {token}"));
        request.body(media_type, body).send(builder.api.address).expect("it answers")
    };
    assert_eq!(post("text/plain", &builder.good().to_string()).status, 415);
    for body in ["{", "", "null"] {
        let (status, title, ..) = only_error(&post("application/json", body));
        assert_eq!((status, title.as_str()), (400, "Bad Request"), "{body:?}");
    }
    let good = builder.good().to_string();
    assert_eq!(post("application/vnd.api+JSON; charset=utf-8", &good).status, 201);
}

#[test]
fn wants_four_things_of_a_request() {
    let builder = Builder::of("main");
    let keys = ["cloud_env", "cluster", "billing_account_id", "middleware_url"];
    for (at, key) in keys.iter().enumerate() {
        // Those that come later are missed as well, and the first is named.
        let said = builder.misshapen(|body| keys[at..].iter().for_each(|key| remove(body, key)));
        assert_eq!(said, ("/".to_owned(), format!("'{key}' is a required property")));
    }
}

#[test]
fn wants_the_credentials_of_one_of_three_shapes() {
    let builder = Builder::of("main");
    let shapes = [
        json!({ "auth_url": "fake", "user_id": "u", "password": "p-secret", "project_id": "p" }),
        json!({ "auth_url": "fake", "username": "u", "password": "p-secret", "project_id": "p", "user_domain_name": "d" }),
        json!({ "auth_url": "fake", "username": "u", "password": "p-secret", "project_name": "p",
                "user_domain_name": "d", "project_domain_name": "d" }),
    ];
    for shape in &shapes {
        // `fake` is an address as far as the shape goes: the next thing to be looked at is the type.
        let said = builder.refused(|body| {
            body["cloud_env"] = shape.clone();
            body["cluster"]["cluster_type_id"] = json!("nothing");
        });
        assert_eq!(said.2, "Unknown cluster type: nothing");
        for key in ["auth_url", "password"] {
            let (pointer, detail) = builder.misshapen(|body| {
                body["cloud_env"] = shape.clone();
                remove(&mut body["cloud_env"], key);
            });
            assert_eq!(pointer, "/cloud_env");
            assert!(
                detail.ends_with(&format!("the best matched error is: '{key}' is a required property")),
                "{detail}"
            );
            assert!(!detail.contains("p-secret"), "{detail}");
        }
    }
}

#[test]
fn wants_name_and_type_of_a_cluster() {
    let builder = Builder::of("main");
    for key in ["name", "cluster_type_id"] {
        let said = builder.misshapen(|body| remove(&mut body["cluster"], key));
        assert_eq!(said, ("/cluster".to_owned(), format!("'{key}' is a required property")));
    }
}

#[test]
fn wants_texts_and_objects_where_they_belong() {
    let builder = Builder::of("main");
    for (key, value, words) in [
        ("name", json!(42), "42 is not of type 'string'"),
        ("cluster_type_id", json!(null), "None is not of type 'string'"),
        ("parameters", json!("x"), "'x' is not of type 'object'"),
        ("selections", json!([true]), "[True] is not of type 'object'"),
    ] {
        let said = builder.misshapen(|body| body["cluster"][key] = value.clone());
        assert_eq!(said, (format!("/cluster/{key}"), words.to_owned()));
    }
    let said = builder.misshapen(|body| body["cluster"] = json!("x"));
    assert_eq!(said, ("/cluster".to_owned(), "'x' is not of type 'object'".to_owned()));
}

// Tokens, types, parameters, money.

#[test]
fn wants_a_token() {
    let builder = Builder::of("main");
    let ask = |authorization: Option<&str>| {
        let request = Request::new("POST", "/clusters/").json(&builder.good());
        let request = match authorization {
            Some(value) => request.header("Authorization", value),
            None => request,
        };
        only_error(&request.send(builder.api.address).expect("it answers"))
    };
    let title = "MiddlewareAuthenticationError";
    let words = "Authorization header not present in request";
    assert_eq!(ask(None), (401, title.into(), words.into(), None));
    let words = "Bearer token not present in Authorization header";
    assert_eq!(ask(Some("Basic eDp5")), (401, title.into(), words.into(), None));
    let other = TokenKey::new("another secret").expect("it is not empty").sign();
    for token in ["nonsense", &other] {
        let (status, said, ..) = ask(Some(&format!("Bearer {token}")));
        assert_eq!((status, said.as_str()), (401, title), "{token}");
    }
    assert_eq!(builder.billing.lines(), Vec::<String>::new());
}

#[test]
fn wants_a_type_that_there_is() {
    let builder = Builder::of("main");
    let said = builder.refused(|body| body["cluster"]["cluster_type_id"] = json!("nothing"));
    assert_eq!(said, (404, "Not Found".into(), "Unknown cluster type: nothing".into(), None));
}

#[test]
fn wants_every_parameter_without_a_default() {
    let builder = Builder::of("main");
    let said = builder.refused(|body| {
        remove(&mut body["cluster"]["parameters"], "pairing-pin");
        body["cluster"]["parameters"]["clustername"] = Value::Null;
    });
    let words = "Missing parameters: clustername, pairing-pin";
    assert_eq!(said, (400, "Bad Request".into(), words.into(), None));
    assert_eq!(builder.billing.lines(), Vec::<String>::new(), "nothing is asked of those who pay");
}

#[test]
fn wants_an_account_with_credits() {
    let builder = Builder::of("main");
    let none = builder.paid_by("credits=0");
    let (status, title, ..) = builder.refused(|body| body["middleware_url"] = json!(none));
    assert_eq!((status, title.as_str()), (400, "MiddlewareInsufficientCredits"));
    assert_eq!(builder.billing.lines(), ["POST /credits=0/get_credits"]);
}

#[test]
fn says_so_when_keystone_knows_no_such_user() {
    let builder = Builder::of("main");
    let (status, title, detail, _) =
        builder.refused(|body| body["cloud_env"]["password"] = json!("p-secret"));
    assert_eq!((status, title.as_str()), (401, "Unauthorized"));
    assert!(!detail.contains("p-secret"), "{detail}");
}

#[test]
fn launches_a_cluster_and_tags_its_order() {
    let mut builder = Builder::of("main");
    let answer = builder.api.ask("POST", "/clusters/", Some(&builder.good()));
    assert_eq!(answer.status, 201, "{}", answer.text());
    let made = builder.cloud.stacks().remove(0);
    assert_eq!(answer.json(), json!({ "id": made.id, "name": made.name }));
    let suffix = made.name.strip_prefix("first--").expect("it begins with the cluster's name");
    let is_of_suffix = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    assert!(suffix.len() == 22 && suffix.bytes().all(is_of_suffix), "{suffix}");
    let parameters = &made.stack.parameters;
    assert_eq!((&parameters["domain"], &parameters["worker-count"]), (&json!("cluster.internal"), &json!(2)));
    let calls = ["POST /get_credits", "POST /create_order", "POST /add_order_tag", "POST /add_order_tag"];
    assert_eq!(builder.billing.lines(), calls);
    builder.api.stop();
}

#[test]
fn says_which_methods_there_are_and_where_a_path_belongs() {
    let builder = Builder::of("main");
    let ask =
        |method: &str, path: &str| Request::new(method, path).send(builder.api.address).expect("it answers");
    for (method, path, allowed) in [
        ("DELETE", "/cluster-types/", "GET, HEAD, OPTIONS"),
        ("POST", "/cluster-types/pair", "GET, HEAD, OPTIONS"),
        ("PUT", "/clusters/", "OPTIONS, POST"),
    ] {
        let answer = ask(method, path);
        let mut methods: Vec<_> =
            answer.headers.get("allow").unwrap_or_default().split(", ").map(str::to_owned).collect();
        methods.sort();
        assert_eq!((answer.status, methods.join(", ").as_str()), (405, allowed), "{method} {path}");
    }
    for path in ["/cluster-types", "/clusters"] {
        let method = if path == "/clusters" { "POST" } else { "GET" };
        let answer = ask(method, path);
        let to = answer.headers.get("location").unwrap_or_default();
        assert!(answer.status == 308 && to.ends_with(&format!("{path}/")), "{path}: {} {to}", answer.status);
    }
}
