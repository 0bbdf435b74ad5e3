//! `Prefer: wait=N` and `Preference-Applied` (RFC 7240): how long a request asks to be held, and what it is granted.

use std::time::Duration;

use hyper::header::{HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method};
use protocol::wait;

/// The header with which a request asks to be held.
pub(super) const PREFER: HeaderName = HeaderName::from_static(wait::PREFER);
/// The header that tells a client how long its request may have been held.
pub(super) const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static(wait::PREFERENCE_APPLIED);

/// How long a request may be held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wait {
    pub(super) seconds: u64,
}

impl Wait {
    /// The wait that a request asks for, cut to what the service grants.
    pub(super) fn asked_for(request: &Parts) -> Option<Self> {
        let reads = matches!(request.method, Method::GET | Method::HEAD);
        if reads { Self::preferred(&request.headers) } else { None }
    }

    fn preferred(headers: &HeaderMap) -> Option<Self> {
        let preferences = headers.iter().filter(|(name, _)| **name == PREFER);
        let mut preferences = preferences.filter_map(|(_, value)| value.to_str().ok());
        let seconds = preferences.find_map(wait::parse)?;
        Some(Self { seconds: seconds.min(wait::MAX_SECONDS) })
    }

    /// How long the request may be held.
    pub(super) fn longest(self) -> Duration {
        Duration::from_secs(self.seconds)
    }

    /// What `Preference-Applied` says.
    pub(super) fn granted(self) -> HeaderValue {
        HeaderValue::from_str(&wait::header_value(self.seconds)).expect("a word and digits make a header")
    }
}
