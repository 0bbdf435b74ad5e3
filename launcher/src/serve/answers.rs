//! Answers: the JSON of the API, its errors, and what stands in the head.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, LOCATION};
use hyper::{Response, StatusCode};
use serde_json::{Value, json};

use crate::launch::Complaint;

/// An answer that is ready to be sent.
pub(super) type Answer = Response<Full<Bytes>>;

/// JSON with this status.
pub(super) fn json(status: StatusCode, value: &Value) -> Answer {
    typed(status, "application/json", format!("{value}\n"))
}

/// A body of this type.
pub(super) fn typed(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    with(answer, CONTENT_TYPE, HeaderValue::from_static(kind))
}

/// No body.
pub(super) fn empty(status: StatusCode) -> Answer {
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = status;
    answer
}

/// The same answer with one more line in its head.
pub(super) fn with(mut answer: Answer, name: HeaderName, value: HeaderValue) -> Answer {
    answer.headers_mut().insert(name, value);
    answer
}

/// Errors; the status is that of the first.
pub(super) fn errors(complaints: &[Complaint]) -> Answer {
    let status = complaints.first().map_or(500, |first| first.status);
    let errors: Vec<Value> = complaints.iter().map(error).collect();
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    with(json(status, &json!({ "errors": errors })), CACHE_CONTROL, HeaderValue::from_static("no-store"))
}

/// One error.
pub(super) fn refuse(status: u16, title: &str, detail: &str) -> Answer {
    errors(&[Complaint::new(status, title, detail)])
}

fn error(complaint: &Complaint) -> Value {
    let mut error = json!({
        "status": complaint.status.to_string(),
        "title": complaint.title,
        "detail": complaint.detail,
    });
    if let Some(pointer) = &complaint.pointer {
        error["source"] = json!({ "pointer": pointer });
    }
    error
}

/// Nothing is at this path.
pub(super) fn nothing_here() -> Answer {
    refuse(404, "Not Found", "There is nothing at this address.")
}

/// The method is not one of these.
pub(super) fn method_not_allowed(allowed: &str) -> Answer {
    let detail = format!("The method is not allowed here; these are: {allowed}.");
    with_allow(refuse(405, "Method Not Allowed", &detail), allowed)
}

/// What methods there are.
pub(super) fn options(allowed: &str) -> Answer {
    with_allow(empty(StatusCode::OK), allowed)
}

fn with_allow(answer: Answer, allowed: &str) -> Answer {
    match HeaderValue::from_str(allowed) {
        Ok(value) => with(answer, ALLOW, value),
        Err(_) => answer,
    }
}

/// The same thing is at another path; method and body stay (RFC 9110, 15.4.9).
pub(super) fn moved(path: &str) -> Answer {
    match HeaderValue::from_str(path) {
        Ok(value) => with(empty(StatusCode::PERMANENT_REDIRECT), LOCATION, value),
        Err(_) => nothing_here(),
    }
}
