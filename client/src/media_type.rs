//! Media types, as requests and answers name them.

use ureq::http::HeaderMap;
use ureq::http::header::CONTENT_TYPE;

/// JSON's.
pub(super) const JSON: &str = "application/json";

/// Whether a body is JSON by its media type.
pub(super) fn is_json(headers: &HeaderMap) -> bool {
    of(headers).eq_ignore_ascii_case(JSON)
}

/// The media type without its parameters.
pub(super) fn of(headers: &HeaderMap) -> &str {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim()
}
