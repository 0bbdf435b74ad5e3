//! From a request to its answer: the path's route, the form of the answer, then the handler.
//!
//! The order of the checks is the original service's: an unknown path is 404 whatever else is wrong, then `Accept`
//! (406), the method (405), the pin and the key that a write needs (404), the body (415, 400), and only then the rest of
//! what the store knows.

mod answer_body;
mod answers;
mod body;
mod clusters;
mod events;
mod fields;
mod keys;
mod negotiation;
mod nodes;
mod openapi;
pub(crate) mod page;
mod pieces;
mod refusal;
mod routes;
mod timed_body;
mod wait;

use std::net::IpAddr;
use std::pin::Pin as Pinned;
use tokio::time::Instant;

use hyper::header::HOST;
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode, Version};
use protocol::Pin;

pub(crate) use answer_body::AnswerBody;
pub(crate) use body::RequestBody;
pub(crate) use refusal::Refusal;
pub(crate) use routes::normalize;

use crate::metrics::RouteLabel;
use crate::service::Service;
use answers::Reply;
use routes::{Handler, Target};
use timed_body::{TimedBody, Waited};
use wait::{PREFERENCE_APPLIED, Wait};

/// Answers one request of a client.
pub(crate) async fn answer(
    service: &Service,
    client: IpAddr,
    request: Request<impl RequestBody>,
) -> Response<AnswerBody> {
    let begun = Instant::now();
    let waited = Waited::default();
    let (head, body) = request.into_parts();
    let body = TimedBody::new(body, &waited);
    let path = head.uri.path();
    let normal;
    let target = match routes::find(path) {
        // No route has anything encoded in it.
        None if path.contains('%') => {
            normal = routes::normalize(path);
            routes::find(&normal)
        }
        target => target,
    };
    let label = target.as_ref().map_or(RouteLabel::Nowhere, |target| target.route().label);
    let target = match target {
        Some(target) if !target.route().formats.is_empty() && names_host(&head) => target,
        target => {
            let answer = Box::pin(beside_the_api(service, &head, target)).await;
            service.metrics.answered(label, answer.status(), Some(begun.elapsed()));
            return answer;
        }
    };
    let (route, headers) = (target.route(), target.headers());
    let handler = route.handler(&head.method);
    let waits = matches!(handler, Some(Handler::ShowKey | Handler::ListNodes));
    let wait = Wait::asked_for(&head).filter(|_| waits);
    let (format, mut outcome) = match negotiation::negotiate(&head.headers, route.formats) {
        None => (route.formats[0], Err(Refusal::NotAcceptable)),
        Some(format) => (format, perform(service, client, &head, body, handler, &target).await),
    };
    // The client's time to send a body, and the delay of a creation, say nothing of the service.
    let mut took = (!matches!(handler, Some(Handler::CreateCluster)))
        .then(|| begun.elapsed().saturating_sub(waited.time()));
    if let Some(wait) = wait
        && let Some(awaited) = Awaited::after(&outcome, &target)
    {
        // The buffer that the head came in would be most of what a waiter takes.
        drop(head);
        outcome = awaited.wait(service, client, wait).await;
        took = None;
    }
    if let Err(Refusal::UnknownPin) = outcome {
        Box::pin(service.rate_limits.unknown_pin(client)).await;
    }
    if let Err(refusal) = &outcome {
        service.metrics.refused(refusal.cause());
    }
    let mut answer = answers::render(outcome, format, headers);
    if let Some(wait) = wait {
        answer.headers_mut().insert(PREFERENCE_APPLIED, wait.granted());
    }
    service.metrics.answered(label, answer.status(), took);
    answer
}

/// What a request is held for, if it asks to wait.
enum Awaited {
    Key(Pin, Box<str>),
    Nodes(Pin, nodes::Query),
}

impl Awaited {
    fn after(outcome: &Result<Reply, Refusal>, target: &Target<'_>) -> Option<Self> {
        let pin = target.pin.as_ref()?;
        match outcome {
            Err(Refusal::UnknownKey) => Some(Self::Key(pin.clone(), target.key.into())),
            Ok(Reply::Nodes(found)) => found.unmet.map(|query| Self::Nodes(pin.clone(), query)),
            _ => None,
        }
    }

    /// Waits for it, in a box of its own: a request that does not wait has no room for that.
    fn wait(self, service: &Service, client: IpAddr, wait: Wait) -> Waiting<'_> {
        match self {
            Self::Key(pin, key) => {
                Box::pin(async move { wait::for_key(service, client, pin, key, wait).await.map(Reply::Key) })
            }
            Self::Nodes(pin, query) => {
                Box::pin(
                    async move { nodes::wait(service, client, pin, query, wait).await.map(Reply::Nodes) },
                )
            }
        }
    }
}

type Waiting<'a> = Pinned<Box<dyn Future<Output = Result<Reply, Refusal>> + Send + 'a>>;

/// The answer to a request that is refused before it is looked at.
pub(crate) fn refuse(service: &Service, refusal: &Refusal) -> Response<AnswerBody> {
    service.metrics.refused(refusal.cause());
    answers::refuse(refusal)
}

/// Whether a request has the one `Host` that RFC 9112 section 3.2 wants; HTTP/1.0 knows none.
fn names_host(head: &Parts) -> bool {
    let hosts = head.headers.iter().filter(|(name, _)| **name == HOST).count();
    hosts == 1 || (hosts == 0 && head.version == Version::HTTP_10)
}

/// Answers what is asked beside the API, which can only be read.
async fn beside_the_api(service: &Service, head: &Parts, target: Option<Target<'_>>) -> Response<AnswerBody> {
    if !names_host(head) {
        return refuse(service, &Refusal::HostMissing);
    }
    let Some(target) = target else {
        return answers::nothing_there(&routes::normalize(head.uri.path()));
    };
    match target.route().handler(&head.method) {
        Some(Handler::Home) => answers::redirect("cluster_pairing"),
        Some(Handler::Describe) => openapi::show(),
        Some(Handler::Page(file)) => page::show(&service.page, file),
        Some(Handler::Alive) => answers::line(StatusCode::OK, "alive"),
        Some(Handler::Ready) => match service.ready().await.map_err(Refusal::from) {
            Ok(()) => answers::line(StatusCode::OK, "ready"),
            Err(refusal) => answers::line(refusal.status(), &refusal.to_string()),
        },
        _ => answers::read_only(),
    }
}

/// Runs the handler of a request to the API. Those that only read come first, without a box around them.
async fn perform(
    service: &Service,
    client: IpAddr,
    head: &Parts,
    body: impl RequestBody,
    handler: Option<Handler>,
    target: &Target<'_>,
) -> Result<Reply, Refusal> {
    match (handler, &target.pin) {
        (Some(Handler::ShowKey), Some(pin)) => keys::show(service, pin, target.key).await,
        (Some(Handler::ShowCluster), Some(pin)) => clusters::show(service, pin).await,
        (Some(Handler::ListKeys), Some(pin)) => keys::list(service, pin).await,
        (Some(Handler::ListNodes), Some(pin)) => {
            Box::pin(nodes::list(service, pin, head.uri.query().unwrap_or_default())).await
        }
        (Some(Handler::WatchCluster), Some(pin)) => Box::pin(events::watch(service, client, pin)).await,
        (None, _) if head.method == Method::OPTIONS => Ok(Reply::Options(target.route().formats)),
        (None, _) => Err(Refusal::MethodNotAllowed(head.method.clone())),
        // Boxed: what it takes to read a body would otherwise be part of every request.
        (Some(handler), _) => Box::pin(write(service, client, head, body, handler, target)).await,
    }
}

async fn write(
    service: &Service,
    client: IpAddr,
    Parts { method, headers, .. }: &Parts,
    body: impl RequestBody,
    handler: Handler,
    Target { pin, key, .. }: &Target<'_>,
) -> Result<Reply, Refusal> {
    // SECURITY: any web page can have its visitors' browsers send a form here. Browsers say so; agents never do.
    if headers.get("sec-fetch-site").is_some_and(|site| site == "cross-site") {
        return Err(Refusal::CrossSite);
    }
    match (handler, pin) {
        (Handler::CreateCluster, _) => clusters::create(service, client, headers, body).await,
        (Handler::DeleteCluster, Some(pin)) => clusters::delete(service, pin).await,
        (Handler::CreateKey, Some(pin)) => keys::create(service, client, pin, headers, body).await,
        (Handler::ReplaceKey, Some(pin)) => keys::replace(service, client, pin, key, headers, body).await,
        (Handler::ChangeKey, Some(pin)) => keys::change(service, client, pin, key, headers, body).await,
        (Handler::DeleteKey, Some(pin)) => keys::delete(service, pin, key).await,
        (Handler::PutNode, Some(pin)) => nodes::put(service, client, pin, key, headers, body).await,
        (Handler::DeleteNode, Some(pin)) => nodes::delete(service, pin, key).await,
        _ => Err(Refusal::MethodNotAllowed(method.clone())),
    }
}

#[cfg(test)]
mod tests {
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
        let held = super::answer(&world.service, std::net::Ipv4Addr::LOCALHOST.into(), request);
        let bytes = size_of_val(&held);
        assert!(bytes <= 1232, "{bytes}");
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
            assert_eq!(
                world.ask(method, &path, &from("cross-site"), "").await.status,
                403,
                "{method} {path}"
            );
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
        assert!(status == 400 && said.contains("longer, all together"), "{status} {said}");
        world.set("a", "1").await;
        world.set("b", "2").await;
        let (status, said) = json(&world, "POST", &world.keys(), r#"{"key":"c","value":"3"}"#).await;
        assert!(status == 400 && said.contains("as many keys"), "{status} {said}");
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
        assert!(status == 503 && said.contains("as many bytes"), "{status} {said}");
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
            assert_eq!(
                world.ask(method, &path, &[accept, content_type], "<a/>").await.status,
                404,
                "{method}"
            );
            assert_eq!(json(&world, method, &path, "{}").await.0, 404, "{method}");
        }
        world.set("a", "1").await;
        for (method, path) in [("POST", world.keys()), ("PUT", world.key("a")), ("PATCH", world.key("a"))] {
            assert_eq!(
                world.ask(method, &path, &[accept, content_type], "<a/>").await.status,
                415,
                "{method}"
            );
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
            super::answer(&world.service, std::net::Ipv4Addr::LOCALHOST.into(), request)
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
}
