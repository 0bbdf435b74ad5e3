//! What the API answers, beyond what each handler's own tests ask.

use std::time::Duration;

use hyper::{Request, Version};

use crate::budget::Purpose;
use crate::store::Limits;
use crate::testing::{Harness, TestAnswer};

const JSON: &[(&str, &str)] = &[("accept", "application/json"), ("content-type", "application/json")];

/// Asks for JSON, with a JSON body.
async fn json(world: &Harness, method: &str, path: &str, body: &str) -> (u16, String) {
    let TestAnswer { status, body, .. } = world.ask(method, path, JSON, body).await;
    (status, body)
}

/// It is part of what a waiter takes, and it is moved about for every request.
#[tokio::test]
async fn a_request_is_held_in_little_memory() {
    let world = Harness::new().await;
    let request = Request::new(http_body_util::Full::<hyper::body::Bytes>::default());
    let held = super::answer(
        &world.service,
        std::net::Ipv4Addr::LOCALHOST.into(),
        request.into_parts(),
        async || Ok(()),
        |answer| answer,
    );
    let bytes = size_of_val(&held);
    assert!(bytes <= 880, "{bytes}");
}

#[tokio::test]
async fn knows_no_key_of_an_unknown_pin() {
    let world = Harness::new().await;
    let unknown = (404, r#"{"detail":"Not found."}"#.to_owned());
    assert_eq!(json(&world, "GET", "/api/v1/clusters/zzzzzzzzzzzz/keys", "").await, unknown);
}

#[tokio::test]
async fn takes_a_mistyped_pin_for_an_unknown_one() {
    let world = Harness::new().await;
    let unknown = (404, r#"{"detail":"Not found."}"#.to_owned());
    for pin in ["short", "ENICO1QQ0OEY", "enico1qq0oey2", "enico-qq0oey"] {
        assert_eq!(json(&world, "GET", &format!("/api/v1/clusters/{pin}"), "").await, unknown, "{pin}");
    }
    let elsewhere = world.ask("GET", "/somewhere", JSON, "").await;
    assert_eq!((elsewhere.status, elsewhere.header("content-type")), (404, "text/plain; charset=utf-8"));
}

#[tokio::test]
async fn renames_onto_no_other_key() {
    let world = Harness::new().await;
    world.set("a", "1").await;
    world.set("b", "2").await;
    let (status, body) = json(&world, "PUT", &world.key("a"), r#"{"key":"b","value":"3"}"#).await;
    assert_eq!((status, body.as_str()), (409, r#"{"detail":"Another key of this cluster has that name."}"#));
    assert_eq!(json(&world, "PATCH", &world.key("a"), r#"{"key":"b"}"#).await.0, 409);
    let both = r#"[{"key":"a","value":"1"},{"key":"b","value":"2"}]"#;
    assert_eq!(json(&world, "GET", &world.keys(), "").await, (200, both.to_owned()));
}

#[tokio::test]
async fn finds_a_duplicate_behind_blanks() {
    let world = Harness::new().await;
    world.set("a", "1").await;
    assert_eq!(json(&world, "POST", &world.keys(), r#"{"key":" a ","value":"2"}"#).await.0, 409);
}

#[tokio::test]
async fn lets_a_pin_go_the_moment_it_expires() {
    let world = Harness::new().await;
    world.set("a", "1").await;
    let lifetime = Limits::default().lifetime;
    world.clock.advance(lifetime - Duration::from_micros(1));
    assert_eq!(json(&world, "GET", &world.key("a"), "").await.0, 200);
    world.clock.advance(Duration::from_micros(1));
    for path in [world.cluster(), world.keys(), world.key("a")] {
        assert_eq!(json(&world, "GET", &path, "").await.0, 404, "{path}");
    }
    assert_eq!(json(&world, "POST", &world.keys(), r#"{"key":"b","value":"2"}"#).await.0, 404);
}

#[tokio::test]
async fn obeys_no_override_of_the_method() {
    let world = Harness::new().await;
    world.set("a", "1").await;
    let overridden = [("x-http-method-override", "DELETE"), ("accept", "text/plain")];
    assert_eq!(world.ask("GET", &world.key("a"), &overridden, "").await.body, "a: 1");
    let form = [("content-type", "application/x-www-form-urlencoded")];
    assert_eq!(world.ask("POST", &world.cluster(), &form, "_method=DELETE").await.status, 405);
    assert_eq!(json(&world, "GET", &world.cluster(), "").await.0, 200);
}

/// Browsers send this with what a page of another site has them send; agents never do.
#[tokio::test]
async fn lets_no_page_of_another_site_change_anything() {
    let world = Harness::new().await;
    world.set("a", "1").await;
    let from = |site| [("accept", "application/json"), ("sec-fetch-site", site)];
    for (method, path) in [
        ("POST", "/api/v1/clusters".to_owned()),
        ("POST", world.keys()),
        ("PUT", world.key("a")),
        ("DELETE", world.key("a")),
        ("DELETE", world.cluster()),
    ] {
        assert_eq!(world.ask(method, &path, &from("cross-site"), "").await.status, 403, "{method} {path}");
    }
    assert_eq!(world.ask("GET", &world.key("a"), &from("cross-site"), "").await.status, 200);
    assert_eq!(world.ask("POST", "/api/v1/clusters", &from("same-origin"), "").await.status, 201);
}

#[tokio::test]
async fn obeys_no_query() {
    let world = Harness::new().await;
    world.set("a", "1").await;
    for query in ["format=json", "format=bogus", "format=api", "accept=application/json"] {
        let asked = world.ask("GET", &format!("{}?{query}", world.key("a")), &[], "").await;
        assert_eq!((asked.status, asked.body.as_str()), (200, "a: 1"), "{query}");
    }
}

#[tokio::test]
async fn refuses_what_is_neither_text_nor_a_number() {
    let world = Harness::new().await;
    for wrong in ["true", "[1,\"a\"]", "{\"a\":\"b\"}", "[]"] {
        let (status, said) =
            json(&world, "POST", &world.keys(), &format!(r#"{{"key":"a","value":{wrong}}}"#)).await;
        assert_eq!((status, said.as_str()), (400, r#"{"value":["Not a valid string."]}"#), "{wrong}");
        let (status, said) =
            json(&world, "POST", &world.keys(), &format!(r#"{{"key":{wrong},"value":"a"}}"#)).await;
        assert_eq!((status, said.as_str()), (400, r#"{"key":["Not a valid string."]}"#), "{wrong}");
    }
    assert_eq!(json(&world, "GET", &world.keys(), "").await, (200, "[]".to_owned()));
}

#[tokio::test]
async fn looks_at_no_credentials() {
    let world = Harness::new().await;
    for credentials in ["Basic bm9ib2R5Ondyb25n", "Basic", "Basic !!!"] {
        let asked = world.ask("GET", &world.cluster(), &[("authorization", credentials)], "").await;
        assert_eq!(asked.status, 200, "{credentials}");
    }
}

#[tokio::test]
async fn refuses_more_keys_and_bytes_than_a_pin_may_have() {
    let limits = Limits { keys_per_pin: 2, bytes_per_pin: 20, ..Limits::default() };
    let world = Harness::with(limits).await;
    let long = format!(r#"{{"key":"a","value":"{}"}}"#, "x".repeat(20));
    let (status, said) = json(&world, "POST", &world.keys(), &long).await;
    assert!(status == 400 && said.contains("too long, all together"), "{status} {said}");
    world.set("a", "1").await;
    world.set("b", "2").await;
    let (status, said) = json(&world, "POST", &world.keys(), r#"{"key":"c","value":"3"}"#).await;
    assert!(status == 400 && said.contains("too many keys"), "{status} {said}");
}

#[tokio::test]
async fn counts_what_is_stored_for_its_sender_while_it_is_stored() {
    let world = Harness::new().await;
    let stored = || world.service.budget.used(Purpose::Stored);
    let sent = |length| format!(r#"{{"key":"a","value":"{}"}}"#, "x".repeat(length));
    assert_eq!(json(&world, "POST", &world.keys(), &sent(5000)).await.0, 201);
    assert_eq!(stored(), 5000);
    assert_eq!(json(&world, "PUT", &world.key("a"), &sent(3000)).await.0, 200);
    assert_eq!(stored(), 3000);
    assert_eq!(json(&world, "PATCH", &world.key("a"), r#"{"key":"b"}"#).await.0, 200);
    assert_eq!(stored(), 3000);
    // The sender's share is used up.
    let share = usize::try_from(world.service.budget.limit(Purpose::Stored) / 4).unwrap();
    let client = Some(std::net::Ipv4Addr::LOCALHOST.into());
    let rest = world.service.budget.acquire(Purpose::Stored, client, share - 3000).unwrap();
    let (status, said) = json(&world, "PUT", &world.key("b"), &sent(3001)).await;
    assert!(status == 503 && said.contains("too many bytes"), "{status} {said}");
    assert_eq!(json(&world, "POST", &world.keys(), r#"{"key":"c","value":"short"}"#).await.0, 201);
    drop(rest);
    assert_eq!(json(&world, "DELETE", &world.cluster(), "").await.0, 204);
    assert_eq!(stored(), 0);
}

#[tokio::test]
async fn refuses_a_body_that_is_too_long() {
    let world = Harness::new().await;
    let long = format!(r#"{{"key":"a","value":"{}"}}"#, "x".repeat(protocol::limits::BYTES_PER_PIN));
    assert_eq!(json(&world, "POST", &world.keys(), &long).await.0, 413);
}

#[tokio::test]
async fn checks_the_path_then_accept_then_the_method_then_the_body() {
    let world = Harness::new().await;
    let xml = [("accept", "application/xml"), ("content-type", "application/xml")];
    assert_eq!(world.ask("FOO", "/api/v1/clusters/BAD", &xml, "<a/>").await.status, 404);
    assert_eq!(world.ask("PUT", "/api/v1/clusters", &xml, "<a/>").await.status, 406);
    let (accept, content_type) = (("accept", "application/json"), xml[1]);
    assert_eq!(world.ask("PUT", "/api/v1/clusters", &[accept, content_type], "<a/>").await.status, 405);
    let keys = "/api/v1/clusters/zzzzzzzzzzzz/keys";
    for (method, path) in [
        ("POST", keys.to_owned()),
        ("PUT", format!("{keys}/a")),
        ("PATCH", format!("{keys}/a")),
        ("PUT", world.key("unknown")),
        ("PATCH", world.key("unknown")),
    ] {
        assert_eq!(world.ask(method, &path, &[accept, content_type], "<a/>").await.status, 404, "{method}");
        assert_eq!(json(&world, method, &path, "{}").await.0, 404, "{method}");
    }
    world.set("a", "1").await;
    for (method, path) in [("POST", world.keys()), ("PUT", world.key("a")), ("PATCH", world.key("a"))] {
        assert_eq!(world.ask(method, &path, &[accept, content_type], "<a/>").await.status, 415, "{method}");
        assert_eq!(json(&world, method, &path, "{").await.0, 400, "{method}");
    }
}

#[tokio::test]
async fn wants_one_host_of_http_1_1_and_none_of_http_1_0() {
    let world = Harness::new().await;
    let send = async |version, hosts: usize, path: &str| {
        let mut request = Request::get(path).version(version);
        for _ in 0..hosts {
            request = request.header("host", "x");
        }
        let request = request.body(http_body_util::Full::<hyper::body::Bytes>::default()).unwrap();
        super::answer(
            &world.service,
            std::net::Ipv4Addr::LOCALHOST.into(),
            request.into_parts(),
            async || Ok(()),
            |answer| answer,
        )
        .await
        .status()
        .as_u16()
    };
    for path in [world.cluster(), "/healthz".to_owned(), "/nowhere".to_owned()] {
        let normal = send(Version::HTTP_11, 1, &path).await;
        assert_ne!(normal, 400);
        assert_eq!(send(Version::HTTP_11, 0, &path).await, 400, "{path}");
        assert_eq!(send(Version::HTTP_11, 2, &path).await, 400, "{path}");
        assert_eq!(send(Version::HTTP_10, 0, &path).await, normal, "{path}");
    }
}

#[tokio::test]
async fn sends_long_answers_in_pieces_and_head_without_making_them() {
    let world = Harness::new().await;
    let value = "☃".repeat(10_000);
    world.set("a", &value).await;
    let line = world.ask("GET", &world.key("a"), &[], "").await;
    assert_eq!((line.body.as_str(), line.header("content-length")), (&*format!("a: {value}"), "30003"));
    let list = world.ask("GET", &world.keys(), &[], "").await;
    assert_eq!(list.body, format!(r#"[{{"key":"a","value":"{value}"}}]"#));
    assert_eq!(list.header("content-type"), "application/json");
    let object = json(&world, "GET", &world.key("a"), "").await;
    assert_eq!(object, (200, format!(r#"{{"key":"a","value":"{value}"}}"#)));
}

#[tokio::test]
async fn says_of_each_key_when_it_was_set() {
    let world = Harness::new().await;
    world.set("a", "1").await;
    world.clock.advance(Duration::from_secs(3600));
    world.set("b", "1").await;
    for _ in 0..2 {
        for (key, set) in [("a", "Tue, 01 Nov 2016 11:54:56 GMT"), ("b", "Tue, 01 Nov 2016 12:54:56 GMT")] {
            for headers in [&[][..], JSON] {
                let asked = world.ask("GET", &world.key(key), headers, "").await;
                assert_eq!(asked.header("last-modified"), set, "{key}");
            }
        }
    }
    assert_eq!(world.ask("GET", &world.keys(), JSON, "").await.header("last-modified"), "");
}

#[tokio::test]
async fn lists_the_methods_in_every_answer_of_the_api() {
    let world = Harness::new().await;
    world.set("a", "1").await;
    for (path, methods) in [
        ("/api/v1/clusters".to_owned(), "POST, OPTIONS"),
        (world.cluster(), "GET, DELETE, HEAD, OPTIONS"),
        (world.keys(), "GET, POST, HEAD, OPTIONS"),
        (world.key("a"), "GET, PUT, PATCH, DELETE, HEAD, OPTIONS"),
    ] {
        for method in ["GET", "HEAD", "OPTIONS", "FOO", "POST"] {
            let asked = world.ask(method, &path, &[], "").await;
            assert_eq!(asked.header("allow"), methods, "{method} {path}");
            assert_eq!(asked.header("cache-control"), "no-store", "{method} {path}");
            assert_eq!(asked.header("vary"), "Accept, Cookie", "{method} {path}");
        }
    }
}

#[tokio::test]
async fn leads_people_to_the_page_and_tells_the_admin_how_it_is() {
    let world = Harness::new().await;
    let root = world.ask("GET", "/", &[], "").await;
    assert_eq!((root.status, root.header("location")), (302, "cluster_pairing"));
    assert_eq!(world.ask("GET", "/healthz", &[], "").await.status, 200);
    assert_eq!(world.ask("GET", "/readyz", &[], "").await.status, 200);
    world.service.hub.close();
    assert_eq!(world.ask("GET", "/readyz", &[], "").await.status, 503);
    assert_eq!(world.ask("GET", "/healthz", &[], "").await.status, 200);
}
