//! `Prefer: wait=N` on a GET of a key: the request is held until the key is there.

use std::sync::Arc;
use std::time::Duration;

use hyper::header::{HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method};
use protocol::{Pin, wait};
use tokio::time::timeout;

use crate::http::Refusal;
use crate::hub::Wake;
use crate::service::Service;
use crate::store::{Key, StoreError};

const PREFER: HeaderName = HeaderName::from_static(wait::PREFER);
/// The header that tells a client how long its request may have been held.
pub(crate) const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static(wait::PREFERENCE_APPLIED);

/// How long a request may be held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wait {
    seconds: u64,
}

impl Wait {
    /// The wait that a request asks for, cut to what the service grants.
    pub(crate) fn asked_for(request: &Parts) -> Option<Self> {
        let reads = matches!(request.method, Method::GET | Method::HEAD);
        if reads { Self::preferred(&request.headers) } else { None }
    }

    fn preferred(headers: &HeaderMap) -> Option<Self> {
        let mut preferences = headers.get_all(PREFER).iter().filter_map(|value| value.to_str().ok());
        let seconds = preferences.find_map(wait::parse)?;
        Some(Self { seconds: seconds.min(wait::MAX_SECONDS) })
    }

    /// What `Preference-Applied` says.
    pub(crate) fn granted(self) -> HeaderValue {
        HeaderValue::from_str(&wait::header_value(self.seconds)).expect("a word and digits make a header")
    }
}

/// Waits for a key that was not there a moment ago. No commit is missed: the hub knows of the waiter before the store
/// is asked again, and hears of every change after reads can see it.
///
/// # Errors
/// The key did not come in time, the pin is unknown or went meanwhile, or the service cannot hold the request.
pub(crate) async fn for_key(
    service: &Service,
    pin: &Pin,
    name: &str,
    wait: Wait,
) -> Result<Arc<Key>, Refusal> {
    let mut waiter = service.hub.wait(pin, name)?;
    match service.store.key(pin, name).await {
        Err(StoreError::UnknownKey) => {}
        found => return Ok(found?),
    }
    let expires = service.store.cluster(pin).await?.expires;
    let patience = Duration::from_secs(wait.seconds).min(expires.since(service.clock.now()));
    match timeout(patience, waiter.woken()).await {
        Ok(Wake::Set(key)) => Ok(key),
        Ok(Wake::Gone) | Err(_) => Err(Refusal::NotFound),
        Ok(Wake::ShuttingDown) => Err(Refusal::ShuttingDown),
    }
}
