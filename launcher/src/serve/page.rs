//! The page of the clusters: files that are part of the program, in the style of the pairing page.

use hyper::StatusCode;
use hyper::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderValue, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};

use super::answers::{self, Answer};

/// A file of the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum File {
    Document,
    Style,
    Script,
}

/// SECURITY: a token is typed into the page, so nothing foreign may run in it, be loaded by it, or be put around it.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; \
     form-action 'none'; frame-ancestors 'none'",
);

/// `GET /view/` and what belongs to it.
pub(super) fn show(file: File) -> Answer {
    let (kind, text) = match file {
        File::Document => ("text/html; charset=utf-8", include_str!("page/index.html")),
        // The style is the pairing page's own.
        File::Style => ("text/css; charset=utf-8", include_str!("../../../server/src/page/pairing.css")),
        File::Script => ("text/javascript; charset=utf-8", include_str!("page/view.js")),
    };
    let mut answer = answers::typed(StatusCode::OK, kind, text);
    let headers = answer.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, POLICY);
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    // They belong together, so a browser asks anew after an update of the launcher.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    answer
}
