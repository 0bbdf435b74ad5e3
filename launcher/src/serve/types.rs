//! The catalogue over HTTP.

use std::time::SystemTime;

use hyper::header::{ETAG, HeaderMap, HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED};
use hyper::{Response, StatusCode};
use ring::digest::{SHA256, digest};
use serde_json::Value;

use super::answers::{self, Answer};
use crate::catalogue::{Catalogue, FindError};
use crate::review::Problem;

/// All types.
pub(super) fn list(catalogue: &Catalogue, headers: &HeaderMap) -> Answer {
    let listing = match catalogue.read() {
        Ok(listing) => listing,
        Err(error) => {
            log::error!("cannot read {}: {error}", catalogue.enabled().display());
            return answers::refuse(500, "Internal Server Error", "The cluster types cannot be read.");
        }
    };
    warn(listing.broken.values().flatten());
    let newest = listing.types.iter().map(|found| found.last_modified).max();
    let types: Value = listing.types.iter().map(|found| found.public()).collect();
    conditional(&types, newest, headers)
}

/// One type.
pub(super) fn show(catalogue: &Catalogue, id: &str, headers: &HeaderMap) -> Answer {
    match catalogue.find(id) {
        Ok(found) => conditional(&found.public(), Some(found.last_modified), headers),
        Err(error) => {
            if let FindError::Broken { broken, .. } = &error {
                warn(broken);
            }
            answers::refuse(404, "Not Found", &error.to_string())
        }
    }
}

fn warn<'a>(broken: impl IntoIterator<Item = &'a Problem>) {
    for broken in broken {
        log::warn!("a cluster type is left out: {broken}");
    }
}

/// JSON, or 304 when the client has it. A date counts only when it is the very one: a type that has gone makes the list
/// older, and the original's clients send back what they got. The entity tag is over the content, so it misses nothing.
fn conditional(value: &Value, modified: Option<SystemTime>, headers: &HeaderMap) -> Answer {
    let answer = answers::json(StatusCode::OK, value);
    let tag = format!("\"{}\"", hex(&digest(&SHA256, value.to_string().as_bytes()).as_ref()[..16]));
    let date = modified.map(httpdate::fmt_http_date);
    let sent = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let is_known = match sent(IF_NONE_MATCH) {
        // RFC 9110, 13.1.2 and 13.1.3: the comparison is weak, and a date beside a tag does not count.
        Some(tags) => tags.split(',').any(|known| {
            let known = known.trim();
            known == "*" || known.trim_start_matches("W/") == tag
        }),
        None => sent(IF_MODIFIED_SINCE).is_some_and(|since| {
            let moment = |text: &str| httpdate::parse_http_date(text).ok();
            date.as_deref().and_then(moment).is_some_and(|date| moment(since) == Some(date))
        }),
    };
    let mut answer = if is_known { answers::empty(StatusCode::NOT_MODIFIED) } else { answer };
    put(&mut answer, ETAG, &tag);
    if let Some(date) = &date {
        put(&mut answer, LAST_MODIFIED, date);
    }
    answer
}

fn put<B>(answer: &mut Response<B>, name: hyper::header::HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        answer.headers_mut().insert(name, value);
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
