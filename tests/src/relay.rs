//! Proxies between an agent and a service: one only records the requests, another removes what the API has beyond the
//! original service.

use std::time::{Duration, SystemTime};

use crate::api::Api;
use crate::http::{Headers, Request};
use crate::mock_server::{MockServer, Reply, Seen};

/// The header with which a client asks for what the original did not know: it ignored it.
const ADDED: &str = "Prefer";
/// The header by which ours tells what it offers.
const TOLD: &str = "Pairing-Features";
/// The last words of the paths that the original's routes do not have.
const ADDED_PATHS: [&str; 3] = ["events", "openapi.json", "healthz"];

/// A service whose requests can be counted.
#[must_use]
pub fn recorded(service: Api) -> MockServer {
    MockServer::start(move |seen, _| forward(service, seen.clone()))
}

/// The original service, as far as a client can see: ours answers as that one did (`conformance`), so it is enough to
/// take away what is new.
#[must_use]
pub fn old(service: Api) -> MockServer {
    MockServer::start(move |seen, _| {
        let last = seen.path.rsplit('/').next();
        if last.is_some_and(|last| ADDED_PATHS.contains(&last)) || seen.path.contains("/nodes") {
            return Reply::of(404, "text/html", "<h1>Page not found</h1>");
        }
        let mut request = seen.clone();
        request.headers.remove(ADDED);
        match without_dates(forward(service, request)) {
            // The original's list of an unknown pin's keys was empty, not absent.
            Reply::Answer(404, ..) if seen.method == "GET" && seen.path.ends_with("/keys") => {
                Reply::json(200, &serde_json::json!([]))
            }
            Reply::Answer(status, mut headers, body) => {
                headers.remove(TOLD);
                Reply::Answer(status, headers, body)
            }
            reply => reply,
        }
    })
}

/// A service whose values were all set so long ago.
#[must_use]
pub fn aged(service: Api, age: Duration) -> MockServer {
    MockServer::start(move |seen, _| {
        let mut reply = forward(service, seen.clone());
        if let Reply::Answer(_, headers, _) = &mut reply
            && headers.get("Last-Modified").is_some()
        {
            headers.remove("Last-Modified");
            let set = httpdate::fmt_http_date(SystemTime::now() - age);
            headers.0.push(("Last-Modified".to_owned(), set));
        }
        reply
    })
}

/// The original did not say when a value was set.
fn without_dates(mut reply: Reply) -> Reply {
    if let Reply::Answer(_, headers, _) = &mut reply {
        headers.remove("Last-Modified");
    }
    reply
}

/// What a service answers to a request.
#[must_use]
pub fn forward(service: Api, request: Seen) -> Reply {
    let Seen { method, path, mut headers, body } = request;
    for name in ["Host", "Content-Length", "Transfer-Encoding", "Connection"] {
        headers.remove(name);
    }
    let body = (!body.is_empty()).then_some(body);
    match service.send(&Request { method, path, headers, body, chunked: false }) {
        Ok(answer) => Reply::Answer(answer.status, answer.headers, answer.body),
        Err(e) => Reply::Answer(502, Headers::default(), e.to_string().into_bytes()),
    }
}
