//! From a request to its answer: the path's endpoint, the form of the answer, then the work itself.
//!
//! The order of the checks is the original service's: an unknown path is 404 whatever else is wrong, then `Accept`
//! (406), the method (405), the body (415, 400), and only then what the store knows.

mod answers;
mod body;
mod fields;
mod negotiation;
mod openapi;
mod page;
mod refusal;
mod routes;
mod stream;

use std::net::IpAddr;
use std::time::Instant;

use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode};

pub(crate) use answers::{Reply, no_room};
pub(crate) use body::RequestBody;
pub(crate) use fields::Fields;
pub(crate) use refusal::Refusal;
pub(crate) use routes::normalize;
pub(crate) use stream::AnswerBody;

use crate::api::wait::{self, PREFERENCE_APPLIED, Wait};
use crate::api::{clusters, events, keys};
use crate::metrics::Place;
use crate::service::Service;
use body::decode;
use routes::{Endpoint, Route};

/// Answers one request of a client.
pub(crate) async fn answer(
    service: &Service,
    client: IpAddr,
    request: Request<impl RequestBody>,
) -> Response<AnswerBody> {
    let begun = Instant::now();
    let (head, body) = request.into_parts();
    let path = head.uri.path();
    let normal;
    let route = match routes::find(path) {
        // No route has anything encoded in it.
        None if path.contains('%') => {
            normal = routes::normalize(path);
            routes::find(&normal)
        }
        route => route,
    };
    let place = route.as_ref().map_or(Place::Nowhere, Route::place);
    let endpoint = match route {
        Some(Route::Api(endpoint)) => endpoint,
        route => {
            let answer = Box::pin(beside_the_api(service, &head, route)).await;
            service.metrics.answered(place, answer.status(), Some(begun.elapsed()));
            return answer;
        }
    };
    let wait = Wait::asked_for(&head).filter(|_| matches!(endpoint, Endpoint::Key(..)));
    let (formats, headers) = (endpoint.formats(), endpoint.headers());
    let (format, mut outcome) = match negotiation::negotiate(&head.headers, formats) {
        None => (formats[0], Err(Refusal::NotAcceptable)),
        Some(format) => (format, perform(service, client, &head, body, &endpoint).await),
    };
    let mut took = Some(begun.elapsed());
    if let (Err(Refusal::UnknownKey), Some(wait), Endpoint::Key(pin, key)) = (&outcome, wait, &endpoint) {
        let (pin, key) = (pin.clone(), Box::from(*key));
        // The buffer that the head came in would be most of what a waiter takes.
        drop(head);
        outcome = Box::pin(wait::for_key(service, client, pin, key, wait)).await.map(Reply::Key);
        took = None;
    }
    if let Err(Refusal::UnknownPin) = outcome {
        Box::pin(service.pace.unknown_pin(client)).await;
    }
    if let Err(refusal) = &outcome {
        service.metrics.refused(refusal.cause());
    }
    let mut answer = answers::render(outcome, format, headers);
    if let Some(wait) = wait {
        answer.headers_mut().insert(PREFERENCE_APPLIED, wait.granted());
    }
    service.metrics.answered(place, answer.status(), took);
    answer
}

/// Answers what is asked beside the API, which can only be read.
async fn beside_the_api(service: &Service, head: &Parts, route: Option<Route<'_>>) -> Response<AnswerBody> {
    match route {
        None | Some(Route::Api(_)) => answers::nothing_there(&routes::normalize(head.uri.path())),
        Some(_) if !matches!(head.method, Method::GET | Method::HEAD) => answers::only_to_be_read(),
        Some(Route::Root) => answers::see("/cluster_pairing"),
        Some(Route::Description) => openapi::show(),
        Some(Route::Page(file)) => page::show(file),
        Some(Route::Health) => answers::line(StatusCode::OK, "alive"),
        Some(Route::Ready) => match service.ready().await {
            Ok(()) => answers::line(StatusCode::OK, "ready"),
            Err(refusal) => answers::line(refusal.status(), &refusal.to_string()),
        },
    }
}

/// The contract, as a table: what only reads, and whatever else there is.
async fn perform(
    service: &Service,
    client: IpAddr,
    head: &Parts,
    body: impl RequestBody,
    endpoint: &Endpoint<'_>,
) -> Result<Reply, Refusal> {
    use Endpoint::{Cluster, Events, Key, Keys};
    match (&head.method, endpoint) {
        (&Method::GET | &Method::HEAD, Cluster(pin)) => clusters::show(service, pin).await,
        (&Method::GET | &Method::HEAD, Events(pin)) => Box::pin(events::watch(service, client, pin)).await,
        (&Method::GET | &Method::HEAD, Keys(pin)) => keys::list(service, pin).await,
        (&Method::GET | &Method::HEAD, Key(pin, key)) => keys::show(service, pin, key).await,
        (&Method::OPTIONS, endpoint) => Ok(Reply::Options(endpoint.formats())),
        // Boxed: what it takes to read a body would otherwise be part of every request.
        _ => Box::pin(write(service, client, head, body, endpoint)).await,
    }
}

async fn write(
    service: &Service,
    client: IpAddr,
    Parts { method, headers, .. }: &Parts,
    body: impl RequestBody,
    endpoint: &Endpoint<'_>,
) -> Result<Reply, Refusal> {
    use Endpoint::{Cluster, Clusters, Key, Keys};
    match (method, endpoint) {
        (&Method::POST, Clusters) => clusters::create(service, client, headers).await,
        (&Method::DELETE, Cluster(pin)) => clusters::delete(service, pin).await,
        (&Method::POST, Keys(pin)) => keys::create(service, pin, decode(headers, body).await?).await,
        (&Method::PUT, Key(pin, key)) => keys::replace(service, pin, key, decode(headers, body).await?).await,
        (&Method::PATCH, Key(pin, key)) => {
            keys::change(service, pin, key, decode(headers, body).await?).await
        }
        (&Method::DELETE, Key(pin, key)) => keys::delete(service, pin, key).await,
        (method, _) => Err(Refusal::MethodNotAllowed(method.clone())),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use hyper::Request;

    use crate::service::testing::{Asked, World};
    use crate::store::Limits;

    const JSON: &[(&str, &str)] = &[("accept", "application/json"), ("content-type", "application/json")];

    /// Asks for JSON, with a JSON body.
    async fn json(world: &World, method: &str, path: &str, body: &str) -> (u16, String) {
        let Asked { status, body, .. } = world.ask(method, path, JSON, body).await;
        (status, body)
    }

    /// It is part of what a waiter takes, and it is moved about for every request.
    #[tokio::test]
    async fn a_request_is_held_in_little_memory() {
        let world = World::new().await;
        let request = Request::new(http_body_util::Full::<hyper::body::Bytes>::default());
        let held = super::answer(&world.service, std::net::Ipv4Addr::LOCALHOST.into(), request);
        let bytes = size_of_val(&held);
        assert!(bytes <= 1100, "{bytes}");
    }

    #[tokio::test]
    async fn knows_no_key_of_an_unknown_pin() {
        let world = World::new().await;
        let unknown = (404, r#"{"detail":"Not found."}"#.to_owned());
        assert_eq!(json(&world, "GET", "/api/v1/clusters/zzzzzzzzzzzz/keys", "").await, unknown);
    }

    #[tokio::test]
    async fn takes_a_mistyped_pin_for_an_unknown_one() {
        let world = World::new().await;
        let unknown = (404, r#"{"detail":"Not found."}"#.to_owned());
        for pin in ["short", "ENICO1QQ0OEY", "enico1qq0oey2", "enico-qq0oey"] {
            assert_eq!(json(&world, "GET", &format!("/api/v1/clusters/{pin}"), "").await, unknown, "{pin}");
        }
        let elsewhere = world.ask("GET", "/somewhere", JSON, "").await;
        assert_eq!((elsewhere.status, elsewhere.header("content-type")), (404, "text/plain; charset=utf-8"));
    }

    #[tokio::test]
    async fn renames_onto_no_other_key() {
        let world = World::new().await;
        world.set("a", "1").await;
        world.set("b", "2").await;
        let (status, body) = json(&world, "PUT", &world.key("a"), r#"{"key":"b","value":"3"}"#).await;
        assert_eq!(
            (status, body.as_str()),
            (409, r#"{"detail":"Another key of this cluster has that name."}"#)
        );
        assert_eq!(json(&world, "PATCH", &world.key("a"), r#"{"key":"b"}"#).await.0, 409);
        let both = r#"[{"key":"a","value":"1"},{"key":"b","value":"2"}]"#;
        assert_eq!(json(&world, "GET", &world.keys(), "").await, (200, both.to_owned()));
    }

    #[tokio::test]
    async fn finds_a_duplicate_behind_blanks() {
        let world = World::new().await;
        world.set("a", "1").await;
        assert_eq!(json(&world, "POST", &world.keys(), r#"{"key":" a ","value":"2"}"#).await.0, 409);
    }

    #[tokio::test]
    async fn lets_a_pin_go_the_moment_it_expires() {
        let world = World::new().await;
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
        let world = World::new().await;
        world.set("a", "1").await;
        let overridden = [("x-http-method-override", "DELETE"), ("accept", "text/plain")];
        assert_eq!(world.ask("GET", &world.key("a"), &overridden, "").await.body, "a: 1");
        let form = [("content-type", "application/x-www-form-urlencoded")];
        assert_eq!(world.ask("POST", &world.cluster(), &form, "_method=DELETE").await.status, 405);
        assert_eq!(json(&world, "GET", &world.cluster(), "").await.0, 200);
    }

    #[tokio::test]
    async fn obeys_no_query() {
        let world = World::new().await;
        world.set("a", "1").await;
        for query in ["format=json", "format=bogus", "format=api", "accept=application/json"] {
            let asked = world.ask("GET", &format!("{}?{query}", world.key("a")), &[], "").await;
            assert_eq!((asked.status, asked.body.as_str()), (200, "a: 1"), "{query}");
        }
    }

    #[tokio::test]
    async fn refuses_what_is_neither_text_nor_a_number() {
        let world = World::new().await;
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
        let world = World::new().await;
        for credentials in ["Basic bm9ib2R5Ondyb25n", "Basic", "Basic !!!"] {
            let asked = world.ask("GET", &world.cluster(), &[("authorization", credentials)], "").await;
            assert_eq!(asked.status, 200, "{credentials}");
        }
    }

    #[tokio::test]
    async fn refuses_more_keys_and_bytes_than_a_pin_may_have() {
        let limits = Limits { keys_per_pin: 2, bytes_per_pin: 20, ..Limits::default() };
        let world = World::with(limits).await;
        let long = format!(r#"{{"key":"a","value":"{}"}}"#, "x".repeat(20));
        let (status, said) = json(&world, "POST", &world.keys(), &long).await;
        assert!(status == 400 && said.contains("longer, all together"), "{status} {said}");
        world.set("a", "1").await;
        world.set("b", "2").await;
        let (status, said) = json(&world, "POST", &world.keys(), r#"{"key":"c","value":"3"}"#).await;
        assert!(status == 400 && said.contains("as many keys"), "{status} {said}");
    }

    #[tokio::test]
    async fn refuses_a_body_that_is_too_long() {
        let world = World::new().await;
        let long = format!(r#"{{"key":"a","value":"{}"}}"#, "x".repeat(protocol::limits::BYTES_PER_PIN));
        assert_eq!(json(&world, "POST", &world.keys(), &long).await.0, 413);
    }

    #[tokio::test]
    async fn checks_the_path_then_accept_then_the_method_then_the_body() {
        let world = World::new().await;
        let xml = [("accept", "application/xml"), ("content-type", "application/xml")];
        assert_eq!(world.ask("FOO", "/api/v1/clusters/BAD", &xml, "<a/>").await.status, 404);
        assert_eq!(world.ask("PUT", "/api/v1/clusters", &xml, "<a/>").await.status, 406);
        let (accept, content_type) = (("accept", "application/json"), xml[1]);
        assert_eq!(world.ask("PUT", "/api/v1/clusters", &[accept, content_type], "<a/>").await.status, 405);
        let keys = "/api/v1/clusters/zzzzzzzzzzzz/keys";
        assert_eq!(world.ask("POST", keys, &[accept, content_type], "<a/>").await.status, 415);
        assert_eq!(json(&world, "POST", keys, "{}").await.0, 400);
        assert_eq!(json(&world, "POST", keys, r#"{"key":"a","value":"b"}"#).await.0, 404);
    }

    #[tokio::test]
    async fn lists_the_methods_in_every_answer_of_the_api() {
        let world = World::new().await;
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
        let world = World::new().await;
        let root = world.ask("GET", "/", &[], "").await;
        assert_eq!((root.status, root.header("location")), (302, "/cluster_pairing"));
        assert_eq!(world.ask("GET", "/healthz", &[], "").await.status, 200);
        assert_eq!(world.ask("GET", "/readyz", &[], "").await.status, 200);
        world.service.hub.close();
        assert_eq!(world.ask("GET", "/readyz", &[], "").await.status, 503);
        assert_eq!(world.ask("GET", "/healthz", &[], "").await.status, 200);
    }
}
