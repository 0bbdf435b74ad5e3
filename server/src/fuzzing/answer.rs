//! What every answer has to be, whatever was asked.

use http_body_util::BodyExt;
use hyper::body::Body;
use hyper::header::{
    ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, LOCATION, RETRY_AFTER, VARY,
};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Response, StatusCode};
use serde_json::Value;

use crate::http::AnswerBody;

/// An answer with its body: all of it, or the first event.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Answer {
    pub(super) async fn take(response: Response<AnswerBody>) -> Self {
        let (head, mut body) = response.into_parts();
        let promised = body.size_hint().exact();
        let is_over = body.is_end_stream();
        let goes_on = head.headers.get(CONTENT_TYPE).is_some_and(|value| value == "text/event-stream");
        let mut bytes = Vec::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.expect("nothing can go wrong").into_data();
            bytes.extend(frame.unwrap_or_else(|_| panic!("there are no trailers")));
            if goes_on && bytes.ends_with(b"\n\n") {
                break;
            }
        }
        assert!(is_over == bytes.is_empty());
        if let Some(promised) = promised {
            assert_eq!(promised, bytes.len() as u64);
        }
        if let Some(length) = head.headers.get(CONTENT_LENGTH) {
            assert_eq!(length.to_str().expect("it is a number"), bytes.len().to_string());
        }
        Self { status: head.status, headers: head.headers, body: bytes }
    }

    pub(super) fn text(&self) -> &str {
        str::from_utf8(&self.body).expect("it is text")
    }

    fn header(&self, name: impl hyper::header::AsHeaderName) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("it is text"))
    }

    fn json(&self) -> Option<Value> {
        let is_json = self.header(CONTENT_TYPE) == "application/json";
        is_json.then(|| serde_json::from_slice(&self.body).expect("it is JSON"))
    }

    /// The key that it shows, if it is JSON.
    pub(super) fn key_value(&self) -> Option<(String, String)> {
        let json = self.json()?;
        Some((json["key"].as_str()?.to_owned(), json["value"].as_str()?.to_owned()))
    }
}

pub(super) fn is_well_formed(asked: &Parts, answer: &Answer) {
    let has = |name| !answer.header(name).is_empty();
    let content_type = answer.header(CONTENT_TYPE);
    assert_eq!(has(CONTENT_TYPE), !answer.body.is_empty());
    assert!(has(CACHE_CONTROL), "{:?}", answer.headers);
    match answer.status.as_u16() {
        200 | 201 => {}
        204 | 304 => assert!(answer.body.is_empty()),
        302 => assert!(has(LOCATION)),
        400 | 404 | 409 | 413 | 415 => {}
        405 => {
            assert!(has(ALLOW));
            let allowed: Vec<_> = answer.header(ALLOW).split(", ").collect();
            assert!(!allowed.contains(&asked.method.as_str()), "{} is allowed", asked.method);
        }
        406 => assert!(asked.headers.contains_key(ACCEPT)),
        429 => assert!(has(RETRY_AFTER)),
        status => panic!("{status} for {asked:?}"),
    }
    let is_of_the_api = has(VARY);
    match content_type {
        "" => {}
        "application/json" => {
            let json = answer.json().expect("it is JSON");
            if answer.status.is_client_error() {
                explains(&json);
            }
        }
        "text/event-stream" => {
            let data =
                answer.text().strip_prefix("event: state\ndata: ").and_then(|text| text.strip_suffix("\n\n"));
            let data = data.filter(|data| !data.contains(['\n', '\r'])).expect("it is one event");
            serde_json::from_str::<Value>(data).expect("its data is JSON");
        }
        "text/plain; charset=utf-8" if is_of_the_api => assert!(answer.text().contains(": ")),
        _ => assert!(!is_of_the_api && !answer.text().is_empty()),
    }
    if is_of_the_api && answer.status.is_success() && has(CONTENT_TYPE) {
        let (main, _) = content_type.split_once('/').expect("it is a media type");
        let whole = content_type.split(';').next().unwrap_or_default();
        let accepts: Vec<_> = asked.headers.get_all(ACCEPT).iter().map(|value| value.as_bytes()).collect();
        let accepted = String::from_utf8_lossy(&accepts.join(&b","[..])).to_ascii_lowercase();
        let is_wanted = ["*/*", whole, &format!("{main}/*")].iter().any(|range| accepted.contains(range));
        assert!(is_wanted || accepts.is_empty(), "{content_type} for {accepted:?}");
    }
}

/// An error says what is wrong: as a whole, or with a field.
fn explains(json: &Value) {
    let members = json.as_object().expect("it is an object");
    assert!(!members.is_empty());
    for (name, said) in members {
        let text = match name.as_str() {
            "detail" => said,
            "non_field_errors" | "key" | "value" => &said[0],
            other => panic!("{other} in {json}"),
        };
        assert!(text.as_str().is_some_and(|text| !text.is_empty()), "{json}");
    }
}
