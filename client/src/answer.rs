//! What the bytes of an answer say. They come from an untrusted peer: everything is bounded, and what does not fit the
//! contract is a [`Failure`] that says so.

use std::time::Duration;

use protocol::bodies::Detail;
use protocol::{key, limits};
use serde_json::Value;
use ureq::http::header::{CONTENT_LENGTH, DATE, LAST_MODIFIED, RETRY_AFTER, TRANSFER_ENCODING};
use ureq::http::{HeaderMap, StatusCode};

use super::connection::{Response, date};
use super::connector;
use super::failure::{Failure, FailureKind};
use super::media_type::{self, JSON, is_json};

/// Most bytes of a body: the longest value in UTF-8 with its key, and room for a page that says what went wrong.
pub(super) const MAX_BODY: usize = (limits::VALUE_MAX_CHARS + limits::KEY_MAX_CHARS) * 4 + 4096;
/// Most characters of what a service says about a request that it refuses.
const MAX_REASON: usize = 160;

/// An answer that is whole and may be the API's.
pub(super) struct Received {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

/// Reads the body of an answer, of at most so many bytes.
///
/// # Errors
/// The status says that asking again may help, or the answer is a page for people, or it is too large or cut short.
pub(super) fn receive(response: Response, max_body: usize) -> Result<Received, Failure> {
    let (head, body) = response.into_parts();
    let (status, headers) = (head.status, head.headers);
    let refused =
        Failure::new(FailureKind::Status(status.as_u16(), retry_after(&headers)), status.to_string());
    if refused.can_heal() {
        // Its body is a proxy's page as often as the service's own; the status says it all.
        return Err(refused);
    }
    let limit = max_body as u64 + 1;
    let body = body.into_with_config().limit(limit).read_to_vec().map_err(connector::failure)?;
    if status == StatusCode::BAD_REQUEST && complains_of_plain_http(&body) {
        return Err(Failure::new(FailureKind::NeedsTls, "that this port speaks TLS"));
    }
    if is_html(&headers, &body) {
        return Err(match status {
            StatusCode::NOT_FOUND => {
                Failure::new(FailureKind::NotFound, format!("{status} with an HTML page"))
            }
            _ => {
                let cause = format!("with an HTML page ({status}): a captive portal, or another web site");
                Failure::new(FailureKind::Html, cause)
            }
        });
    }
    Ok(Received { status, headers, body })
}

impl Received {
    /// Whether this is the API's own 404 in JSON: a gateway has another body.
    pub(super) fn is_own_not_found(&self) -> bool {
        let own = |detail: Detail<'_>| detail.detail == NOT_FOUND;
        self.status == StatusCode::NOT_FOUND
            && is_json(&self.headers)
            && serde_json::from_slice(&self.body).is_ok_and(own)
    }

    /// How long before the answer the value in it was set, by the service's clock.
    pub(super) fn age(&self) -> Option<Duration> {
        let (made, set) = (date(&self.headers, DATE)?, date(&self.headers, LAST_MODIFIED)?);
        made.duration_since(set).ok()
    }

    /// The value in a text answer for a key.
    pub(super) fn value(self, key: &str) -> Result<String, Failure> {
        // SECURITY: without a length, an answer that was cut short is a value that was cut short: 10.0.0.1 of 10.0.0.12.
        if !self.headers.contains_key(CONTENT_LENGTH) && !self.headers.contains_key(TRANSFER_ENCODING) {
            return Err(nonsense("a value without saying how long it is"));
        }
        let text = String::from_utf8(self.body).map_err(|_| nonsense("a value that is not UTF-8"))?;
        let value = key::from_line(key, &text);
        value.map(str::to_owned).ok_or_else(|| nonsense(format!("something else than '{key}: VALUE'")))
    }

    /// The JSON of an answer.
    pub(super) fn json_text(self) -> Result<String, Failure> {
        if !is_json(&self.headers) {
            return Err(nonsense(format!("{}, but not as {JSON}", self.status)));
        }
        String::from_utf8(self.body).map_err(|_| nonsense("JSON that is not UTF-8"))
    }

    /// The failure that a status without a meaning here stands for, with what the service says about it, cleaned for a
    /// console and without these secrets.
    pub(super) fn refusal(&self, secrets: &[&str]) -> Failure {
        let said = self.with_reason(secrets);
        match self.status {
            StatusCode::NOT_FOUND => {
                Failure::new(FailureKind::NotFound, format!("{said}, which is not the pairing API's own"))
            }
            status => Failure::new(FailureKind::Status(status.as_u16(), retry_after(&self.headers)), said),
        }
    }

    /// A status, and what the service says about it.
    pub(super) fn with_reason(&self, secrets: &[&str]) -> String {
        let said = words(&self.body);
        let said = secrets
            .iter()
            .filter(|secret| !secret.is_empty())
            .fold(said, |said, secret| said.replace(secret, "…"));
        let said: String = said.chars().filter(|c| !c.is_control()).take(MAX_REASON).collect();
        let said = said.trim_end_matches('.');
        if said.is_empty() { self.status.to_string() } else { format!("{}: {said}", self.status) }
    }
}

/// The text of the API's 404.
const NOT_FOUND: &str = "Not found.";

/// What a body says: `{"value":["Too long."]}` is `value: Too long.`; what is not such JSON stays as it is.
fn words(body: &[u8]) -> String {
    let Ok(Value::Object(fields)) = serde_json::from_slice(body) else {
        return String::from_utf8_lossy(body).into_owned();
    };
    let sentences = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Array(all) => all.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" "),
        other => other.to_string(),
    };
    let field = |(name, value): (&String, &Value)| match name.as_str() {
        "detail" => sentences(value),
        _ => format!("{name}: {}", sentences(value)),
    };
    fields.iter().map(field).collect::<Vec<_>>().join("; ")
}

/// `Retry-After` in seconds (RFC 9110 section 10.2.3); a date there is ignored, since this machine's clock may be wrong.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

/// Whether this is a page for people, by its type or by how it begins.
fn is_html(headers: &HeaderMap, body: &[u8]) -> bool {
    let kind = media_type::of(headers);
    let start = body.trim_ascii_start();
    let begins = |tag: &[u8]| start.get(..tag.len()).is_some_and(|s| s.eq_ignore_ascii_case(tag));
    kind.eq_ignore_ascii_case("text/html")
        || kind.eq_ignore_ascii_case("application/xhtml+xml")
        || begins(b"<!doctype html")
        || begins(b"<html")
}

/// Whether a 400 is that of nginx, Apache or Go's server to plain HTTP on a TLS port.
fn complains_of_plain_http(body: &[u8]) -> bool {
    let text = String::from_utf8_lossy(body);
    ["sent to HTTPS port", "SSL-enabled server port", "to an HTTPS server"]
        .iter()
        .any(|words| text.contains(words))
}

/// A failure of kind [`FailureKind::Nonsense`].
pub(super) fn nonsense(cause: impl Into<String>) -> Failure {
    Failure::new(FailureKind::Nonsense, cause)
}
