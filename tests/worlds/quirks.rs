//! What the original service did and ours does not, on purpose: one test for each. (Concurrent creations of one key
//! are in `concurrent_create`.)

use serde_json::{Value, json};
use worlds::api::{Api, key_path, keys};
use worlds::http::{Request, Response};
use worlds::service::Service;
use worlds::wait::until;

/// A pin that the service could have made, and did not.
const UNKNOWN: &str = "zzzzzzzzzzzz";

fn post(api: Api, pin: &str, key: &Value, value: &Value) -> Response {
    api.ask(&Request::new("POST", &keys(pin)).json(&json!({ "key": key, "value": value })))
}

/// The keys of a pin with their values, in the order of the list.
fn listed(api: Api, pin: &str) -> Vec<(String, String)> {
    let text = |entry: &Value, field: &str| entry[field].as_str().expect("a text").to_owned();
    let list = api.get(&keys(pin)).json();
    let list = list.as_array().expect("a list");
    list.iter().map(|entry| (text(entry, "key"), text(entry, "value"))).collect()
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn the_keys_of_an_unknown_pin_are_not_found() {
    let service = Service::start();
    assert_eq!(service.api().get(&keys(UNKNOWN)).status, 404);
    let pin = service.api().new_pin();
    let deleted = service.api().ask(&Request::new("DELETE", &format!("/api/v1/clusters/{pin}")));
    assert_eq!(deleted.status, 204);
    assert_eq!(service.api().get(&keys(&pin)).status, 404);
}

#[test]
fn a_rename_onto_an_existing_key_is_a_conflict_and_changes_nothing() {
    let service = Service::start();
    let api = service.api();
    let pin = api.new_pin();
    api.create_key(&pin, "a", "1");
    api.create_key(&pin, "b", "2");
    for (method, body) in [("PUT", json!({"key": "b", "value": "3"})), ("PATCH", json!({"key": "b"}))] {
        let answer = api.ask(&Request::new(method, &key_path(&pin, "a")).json(&body));
        assert_eq!(answer.status, 409, "{method}: {}", answer.text());
        assert_eq!(listed(api, &pin), pairs(&[("a", "1"), ("b", "2")]), "{method}");
    }
}

#[test]
fn blanks_around_a_name_do_not_make_it_another_key() {
    let service = Service::start();
    let api = service.api();
    let pin = api.new_pin();
    api.create_key(&pin, "a", "1");
    assert_eq!(post(api, &pin, &json!(" a "), &json!("2")).status, 409);
    assert_eq!(listed(api, &pin), pairs(&[("a", "1")]));
}

#[test]
fn a_pin_is_gone_for_everyone_the_moment_it_expires() {
    let service = Service::with(&["--pin-lifetime", "3s"]);
    let api = service.api();
    let pin = api.new_pin();
    api.create_key(&pin, "a", "1");
    let cluster = format!("/api/v1/clusters/{pin}");
    until("the pin expires", || (api.get(&cluster).status == 404).then_some(()));
    let change = json!({"key": "a", "value": "2"});
    for request in [
        Request::new("GET", &key_path(&pin, "a")),
        Request::new("GET", &keys(&pin)),
        Request::new("POST", &keys(&pin)).json(&change),
        Request::new("PUT", &key_path(&pin, "a")).json(&change),
        Request::new("PATCH", &key_path(&pin, "a")).json(&change),
        Request::new("DELETE", &key_path(&pin, "a")),
        Request::new("DELETE", &cluster),
    ] {
        assert_eq!(api.ask(&request).status, 404, "{} {}", request.method, request.path);
    }
}

#[test]
fn a_method_is_what_the_request_line_says() {
    let service = Service::start();
    let api = service.api();
    let pin = api.new_pin();
    api.create_key(&pin, "a", "1");
    let delete = |request: Request| request.header("X-HTTP-Method-Override", "DELETE");
    assert_eq!(api.ask(&delete(Request::new("POST", &key_path(&pin, "a")))).status, 405);
    assert_eq!(api.ask(&delete(Request::new("GET", &key_path(&pin, "a")))).status, 200);
    let cluster = format!("/api/v1/clusters/{pin}");
    let form = Request::new("POST", &cluster).body("application/x-www-form-urlencoded", "_method=DELETE");
    assert_eq!(api.ask(&form).status, 405);
    assert_eq!(listed(api, &pin), pairs(&[("a", "1")]));
}

#[test]
fn a_format_is_asked_for_in_the_accept_header_only() {
    let service = Service::start();
    let api = service.api();
    let pin = api.new_pin();
    api.create_key(&pin, "a", "1");
    for query in ["?format=json", "?format=txt", "?format=bogus", "?format=", "?accept=application/json"] {
        let answer = api.get(&(key_path(&pin, "a") + query));
        assert_eq!((answer.status, answer.text()), (200, "a: 1".into()), "{query}");
    }
}

#[test]
fn credentials_that_nobody_asked_for_are_not_looked_at() {
    let service = Service::start();
    let cluster = format!("/api/v1/clusters/{}", service.api().new_pin());
    for credentials in ["Basic bm9ib2R5Om5vdGhpbmc=", "Basic !", "Bearer x"] {
        let request = Request::new("GET", &cluster).header("Authorization", credentials);
        assert_eq!(service.api().ask(&request).status, 200, "{credentials}");
    }
}

#[test]
fn key_and_value_are_texts_or_numbers() {
    let service = Service::start();
    let api = service.api();
    let pin = api.new_pin();
    for other in [json!(true), json!([]), json!(["a"]), json!({}), json!({"a": 1})] {
        for (key, value) in [(json!("a"), other.clone()), (other, json!("1"))] {
            let answer = post(api, &pin, &key, &value);
            assert_eq!(answer.status, 400, "{key} {value}: {}", answer.text());
        }
    }
    assert_eq!(listed(api, &pin), pairs(&[]));
}

#[test]
fn a_body_in_chunks_is_read() {
    let service = Service::start();
    let api = service.api();
    let pin = api.new_pin();
    let mut request = Request::new("POST", &keys(&pin)).json(&json!({"key": "a", "value": "1"}));
    request.chunked = true;
    assert_eq!(api.ask(&request).status, 201);
    assert_eq!(api.value(&pin, "a").as_deref(), Some("1"));
}

#[test]
fn a_value_may_be_longer_than_the_original_allowed() {
    let service = Service::start();
    let api = service.api();
    let pin = api.new_pin();
    // In characters, not bytes.
    for (key, value, status) in [
        ("munge", "m".repeat(1368), 201),
        ("longest", "ü".repeat(65_536), 201),
        ("too_long", "x".repeat(65_537), 400),
    ] {
        assert_eq!(post(api, &pin, &json!(key), &json!(value)).status, status, "{key}");
        assert_eq!(api.value(&pin, key), (status == 201).then_some(value), "{key}");
    }
}

#[test]
fn a_pin_holds_256_keys_and_no_more() {
    let service = Service::start();
    let api = service.api();
    let pin = api.new_pin();
    for n in 0..256 {
        api.create_key(&pin, &format!("key_{n}"), "1");
    }
    let refused = post(api, &pin, &json!("one_more"), &json!("1"));
    assert!((400..500).contains(&refused.status) && refused.status != 409, "{}", refused.status);
    assert!(refused.text().contains("keys"), "{}", refused.text());
    assert_eq!(listed(api, &pin).len(), 256);
    // Nothing stands in the way of what does not add one.
    let changed = Request::new("PATCH", &key_path(&pin, "key_0")).json(&json!({"value": "2"}));
    assert_eq!(api.ask(&changed).status, 200);
}

#[test]
fn a_pin_holds_one_mebibyte_and_no_more() {
    let service = Service::start();
    let api = service.api();
    let pin = api.new_pin();
    let value = "x".repeat(65_000);
    for n in 0..16 {
        api.create_key(&pin, &format!("key_{n}"), &value);
    }
    let refused = post(api, &pin, &json!("one_more"), &json!(value));
    assert!((400..500).contains(&refused.status) && refused.status != 409, "{}", refused.status);
    assert!(refused.text().contains("too long"), "{}", refused.text());
    assert_eq!(listed(api, &pin).len(), 16);
    assert_eq!(post(api, &pin, &json!("small"), &json!("1")).status, 201);
}
