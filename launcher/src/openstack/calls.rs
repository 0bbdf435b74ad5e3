//! Requests of the cloud's services and their answers, and the connections that carry them.

use std::collections::HashMap;
use std::time::Duration;

use client::types::{HeaderMap, Method};
use client::{Web, WebRequest};
use protocol::url::ServiceUrl;
use serde_json::Value;

use super::credentials::Credentials;
use super::error::{Cause, CloudError, CloudService, one_line};

const USER_AGENT: &str = concat!("cernvm-cluster-launcher/", env!("CARGO_PKG_VERSION"));

/// The connections, one for each scheme, host and port.
pub(super) struct ConnectionPool {
    known: HashMap<String, Web>,
    limit: Duration,
}

/// An answer of whatever status.
pub(super) struct CloudAnswer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

/// A request of the cloud.
pub(super) struct Call<'a> {
    pub(super) method: Method,
    /// Below the service's address.
    pub(super) path: &'a str,
    pub(super) body: Option<&'a Value>,
    /// A header that asks for a version of the service.
    pub(super) version: Option<(&'static str, &'static str)>,
}

impl Call<'_> {
    pub(super) fn get(path: &str) -> Call<'_> {
        Call { method: Method::GET, path, body: None, version: None }
    }
}

impl ConnectionPool {
    pub(super) fn new(limit: Duration) -> Self {
        Self { known: HashMap::new(), limit }
    }

    pub(super) fn send(
        &mut self,
        service: CloudService,
        credentials: &Credentials,
        method: &Method,
        url: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<CloudAnswer, CloudError> {
        let (origin, path) = split(url).map_err(|said| CloudError::new(service, Cause::Address, said))?;
        let limit = self.limit;
        if !self.known.contains_key(origin) {
            let base = ServiceUrl::parse(origin, false)
                .map_err(|problem| CloudError::new(service, Cause::Address, format!("it {problem}")))?;
            let web = Web::new(base, &credentials.trust, USER_AGENT, "cacert")
                .map_err(|error| CloudError::new(service, Cause::Unreachable, error.to_string()))?;
            self.known.insert(origin.to_owned(), web);
        }
        let Some(web) = self.known.get_mut(origin) else {
            return Err(CloudError::nonsense(service, "no connection"));
        };
        let body = body.map(Value::to_string);
        let request = WebRequest { method: method.clone(), path, headers, body: body.as_deref() };
        let answer =
            web.send(&request, limit).map_err(|failure| CloudError::of_failure(service, &failure))?;
        Ok(CloudAnswer { status: answer.status, headers: answer.headers, body: answer.body })
    }
}

/// Scheme, host and port of a URL, and what comes after.
pub(super) fn split(url: &str) -> Result<(&str, &str), String> {
    let scheme = ["http://", "https://"].into_iter().find(|scheme| url.starts_with(scheme));
    let Some(scheme) = scheme else { return Err("it begins with neither http:// nor https://".to_owned()) };
    let end = url[scheme.len()..].find('/').map_or(url.len(), |at| scheme.len() + at);
    Ok(url.split_at(end))
}

/// What a service says of a request that it refuses. Each service has a form of its own:
/// `{"error": {"title", "message"}}` (Keystone), `{"title", "error": {"message"}}` (Heat), `{"badRequest": {"message"}}`
/// (Nova, Cinder).
pub(super) fn refusal(service: CloudService, answer: &CloudAnswer) -> CloudError {
    let status = answer.status;
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let text = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(one_line);
    let title = text(&body["title"]).or_else(|| text(&body["error"]["title"]));
    let inner = body.as_object().and_then(|body| body.values().next()).unwrap_or(&Value::Null);
    let said =
        [&body["error"]["message"], &inner["message"], &body["explanation"]].into_iter().find_map(text);
    let known = client::types::StatusCode::from_u16(status).ok().and_then(|s| s.canonical_reason());
    let said = said.unwrap_or_else(|| known.unwrap_or("no reason given").to_owned());
    CloudError { title, ..CloudError::new(service, Cause::Status(status), said) }
}
