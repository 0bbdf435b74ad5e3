//! A login at a cloud: the token, where the services are, and calls of them.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use client::types::{HeaderMap, Method};
use client::{Web, WebRequest};
use protocol::url::ServiceUrl;
use serde_json::Value;

use super::credentials::Credentials;
use super::error::{Cause, CloudError, CloudService, one_line};
use super::keystone::{self, Token};
use super::servers::Servers;

/// A token is renewed so long before it ends.
const BEFORE_END: Duration = Duration::from_secs(120);
const USER_AGENT: &str = concat!("cernvm-cluster-launcher/", env!("CARGO_PKG_VERSION"));

/// A user in a project. Logs in again when the token has ended.
pub struct Session {
    credentials: Credentials,
    token: Token,
    webs: Webs,
    pub(super) servers: Servers,
}

/// The connections, one for each scheme, host and port.
struct Webs {
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

impl Session {
    /// Logs in. `limit` is the longest time for each call.
    ///
    /// # Errors
    /// Keystone cannot be reached, or refuses.
    pub fn login(credentials: Credentials, limit: Duration) -> Result<Self, CloudError> {
        let mut webs = Webs { known: HashMap::new(), limit };
        let token = log_in(&credentials, &mut webs)?;
        Ok(Self { credentials, token, webs, servers: Servers::default() })
    }

    /// The id of the project.
    #[must_use]
    pub fn project_id(&self) -> &str {
        &self.token.project_id
    }

    /// Keystone's address, as it was given.
    #[must_use]
    pub fn auth_url(&self) -> &str {
        &self.credentials.auth_url
    }

    /// Whether the cloud has a service.
    #[must_use]
    pub fn offers(&self, service: CloudService) -> bool {
        self.token.endpoint(service, &self.credentials).is_some()
    }

    /// Asks a service, and gives whatever it answers but a 401: then it logs in again, once.
    pub(super) fn call(&mut self, service: CloudService, call: &Call<'_>) -> Result<CloudAnswer, CloudError> {
        let fresh = if self.token.ends <= SystemTime::now() + BEFORE_END {
            self.token = log_in(&self.credentials, &mut self.webs)?;
            true
        } else {
            false
        };
        let answer = self.call_once(service, call)?;
        if answer.status != 401 || fresh {
            return Ok(answer);
        }
        self.token = log_in(&self.credentials, &mut self.webs)?;
        self.call_once(service, call)
    }

    fn call_once(&mut self, service: CloudService, call: &Call<'_>) -> Result<CloudAnswer, CloudError> {
        let Some(base) = self.token.endpoint(service, &self.credentials) else {
            let said = match &self.credentials.region {
                Some(region) => format!("the catalogue has no address of it in the region {region}"),
                None => "the catalogue has no address of it".to_owned(),
            };
            return Err(CloudError::new(service, Cause::NotOffered, said));
        };
        let base = base.trim_end_matches('/');
        let path = call.path.trim_start_matches('/');
        let url = match service.version() {
            Some(version) => {
                let base = base.strip_suffix(&format!("/{version}")).unwrap_or(base);
                format!("{base}/{version}/{path}")
            }
            None => format!("{base}/{path}"),
        };
        let mut headers = vec![("x-auth-token", self.token.id.reveal())];
        headers.extend(call.version);
        self.webs.send(service, &self.credentials, &call.method, &url, &headers, call.body)
    }

    /// Asks a service for JSON; every status but 2xx is an error, in the service's own words.
    pub(super) fn json(&mut self, service: CloudService, call: &Call<'_>) -> Result<Value, CloudError> {
        let answer = self.call(service, call)?;
        if !(200..300).contains(&answer.status) {
            return Err(refusal(service, &answer));
        }
        serde_json::from_slice(&answer.body)
            .map_err(|_| CloudError::nonsense(service, format!("{} without JSON", answer.status)))
    }
}

impl Session {
    /// Whether something is there: 404 says no.
    pub(super) fn has(&mut self, service: CloudService, path: &str) -> Result<bool, CloudError> {
        match self.empty(service, &Call::get(path)) {
            Ok(()) => Ok(true),
            Err(error) if error.is_not_found() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Asks a service for something without an answer to read.
    pub(super) fn empty(&mut self, service: CloudService, call: &Call<'_>) -> Result<(), CloudError> {
        let answer = self.call(service, call)?;
        if (200..300).contains(&answer.status) { Ok(()) } else { Err(refusal(service, &answer)) }
    }
}

impl Webs {
    fn send(
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

fn log_in(credentials: &Credentials, webs: &mut Webs) -> Result<Token, CloudError> {
    let url = keystone::tokens_url(&credentials.auth_url);
    let body = credentials.to_json();
    let answer = webs.send(CloudService::Keystone, credentials, &Method::POST, &url, &[], Some(&body))?;
    if answer.status != 201 && answer.status != 200 {
        return Err(refusal(CloudService::Keystone, &answer));
    }
    keystone::read(&answer)
}

/// Scheme, host and port of a URL, and what comes after.
fn split(url: &str) -> Result<(&str, &str), String> {
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

#[cfg(test)]
pub(super) fn refusal_of(service: CloudService, status: u16, body: &str) -> CloudError {
    refusal(service, &CloudAnswer { status, headers: HeaderMap::new(), body: body.into() })
}

#[cfg(test)]
pub(super) fn split_url(url: &str) -> Result<(&str, &str), String> {
    split(url)
}
