//! A service that knows nothing but the original API: ours, which answers as the original did (`conformance`), behind
//! a relay that takes away what was added since.

use crate::api::Api;
use crate::http::{Headers, Request};
use crate::scripted::{Reply, Scripted, Seen};

/// The header with which a client asks for what the original did not know: it ignored it.
const ADDED: &str = "Prefer";
/// The last word of the paths that the original's routes do not have.
const ADDED_PATHS: [&str; 3] = ["events", "openapi.json", "healthz"];

/// The original service, as far as a client can see; its state is that of `new`.
#[must_use]
pub fn old_service(new: Api) -> Scripted {
    Scripted::start(move |seen, _| relay(new, seen))
}

fn relay(new: Api, seen: &Seen) -> Reply {
    if seen.path.rsplit('/').next().is_some_and(|last| ADDED_PATHS.contains(&last)) {
        return Reply::of(404, "text/html", "<h1>Page not found</h1>");
    }
    let mut headers = seen.headers.clone();
    for name in [ADDED, "Host", "Content-Length", "Transfer-Encoding", "Connection"] {
        headers.remove(name);
    }
    let body = (!seen.body.is_empty()).then(|| seen.body.clone());
    let (method, path) = (seen.method.clone(), seen.path.clone());
    match new.send(&Request { method, path, headers, body, chunked: false }) {
        Ok(answer) if is_list(seen) && answer.status == 404 => Reply::json(200, &serde_json::json!([])),
        Ok(answer) => Reply::Answer(answer.status, answer.headers, answer.body),
        Err(e) => Reply::Answer(502, Headers::default(), e.to_string().into_bytes()),
    }
}

/// The original's list of an unknown pin's keys was empty, not absent.
fn is_list(seen: &Seen) -> bool {
    seen.method == "GET" && seen.path.ends_with("/keys")
}
