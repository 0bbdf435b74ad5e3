//! The headers that all answers of an endpoint have, and the form of a date.

use std::time::{Duration, UNIX_EPOCH};

use hyper::header::{
    ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, VARY,
};
use pairing_core::clock::Timestamp;
use protocol::node;

use super::negotiation::Format;

pub(super) const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
pub(super) const JSON: HeaderValue = HeaderValue::from_static("application/json");
const EVENTS: HeaderValue = HeaderValue::from_static("text/event-stream");
/// Has nginx pass events on as they come, rather than when they fill a buffer.
const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");
/// As the original has it; `Cookie` is what remains of its sessions.
const VARIES_WITH: HeaderValue = HeaderValue::from_static("Accept, Cookie");
const FEATURES: HeaderName = HeaderName::from_static(node::FEATURES);
/// The last moment that a date of HTTP can show, the end of the year 9999, in microseconds since 1970.
const LAST_DATE: u64 = 253_402_300_799 * 1_000_000;
/// What a pin stands for changes at any moment, and is a secret.
pub(super) const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// The headers that all answers of an endpoint have, put together once.
pub(super) struct Headers {
    /// Of an answer that has no body, not even an empty one.
    pub(super) bodiless: HeaderMap,
    pub(super) empty: HeaderMap,
    pub(super) text: HeaderMap,
    pub(super) json: HeaderMap,
    pub(super) events: HeaderMap,
}

impl Headers {
    /// For an endpoint with these methods; one of a cluster tells what clusters have besides keys.
    pub(super) fn new(methods: &str, of_cluster: bool) -> Self {
        let mut bodiless = HeaderMap::from_iter([
            (ALLOW, HeaderValue::from_str(methods).expect("the names of methods make a header")),
            (VARY, VARIES_WITH),
            (CACHE_CONTROL, NO_STORE),
        ]);
        if of_cluster {
            bodiless.insert(FEATURES, HeaderValue::from_static(node::FEATURE));
        }
        let with = |headers: &HeaderMap, name, value| {
            let mut headers = headers.clone();
            headers.insert(name, value);
            headers
        };
        let [text, json, events] = [TEXT, JSON, EVENTS].map(|kind| with(&bodiless, CONTENT_TYPE, kind));
        let events = with(&events, ACCEL_BUFFERING, HeaderValue::from_static("no"));
        // hyper knows the length of an empty body, but leaves it out of the answer to HEAD.
        let empty = with(&bodiless, CONTENT_LENGTH, HeaderValue::from_static("0"));
        Self { bodiless, empty, text, json, events }
    }

    /// Those of an answer with a body that is no stream.
    pub(super) fn with_body(&self, format: Format) -> &HeaderMap {
        match format {
            Format::Text => &self.text,
            Format::Json | Format::Events => &self.json,
        }
    }
}

/// The date of a moment, to the second.
pub(super) fn http_date(moment: Timestamp) -> Option<HeaderValue> {
    let date = UNIX_EPOCH + Duration::from_micros(moment.0.min(LAST_DATE));
    HeaderValue::from_str(&httpdate::fmt_http_date(date)).ok()
}
