//! Requests to services that are not the pairing service, by the same rules: which certificates and proxies are believed,
//! what a failure is called, and a limit for everything.

use std::time::{Duration, Instant};

use protocol::Trust;
use protocol::error::Error;
use protocol::url::ServiceUrl;
use ureq::http::{self, HeaderMap, Method};

use super::connection;
use super::connector::{self, ConnectorHandle};
use super::failure::{Failure, FailureKind};
use super::tls;

/// Most bytes of an answer. The longest that is asked for is a cloud's list of a thousand servers.
const MAX_BODY: u64 = 32 << 20;

/// A service at a URL. Redirects are not followed: the answer is what came.
pub struct Web {
    base: ServiceUrl,
    agent: ureq::Agent,
    shared: ConnectorHandle,
}

/// A request.
///
/// No `Debug`: a token or a password must not get into a log by accident.
pub struct WebRequest<'a> {
    /// Its method.
    pub method: Method,
    /// Below the service's URL, with the query.
    pub path: &'a str,
    /// What goes into its head: names with their values.
    pub headers: &'a [(&'a str, &'a str)],
    /// JSON, where it has a body.
    pub body: Option<&'a str>,
}

/// An answer that is whole, of whatever status.
pub struct WebAnswer {
    /// Its status.
    pub status: u16,
    /// Its head.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Vec<u8>,
}

impl Web {
    /// Prepares for a service; nothing is sent yet. `ca` is what the reader calls the setting of the CA.
    ///
    /// # Errors
    /// [`protocol::error::Status::BadContext`] when the CA cannot be used.
    pub fn new(base: ServiceUrl, trust: &Trust, user_agent: &'static str, ca: &str) -> Result<Self, Error> {
        let tls = tls::config(trust).map_err(|problem| {
            Error::context(ca, problem, "give the PEM of the CA that signed the service's certificate")
        })?;
        let shared = ConnectorHandle::default();
        let agent = connection::agent_of(&base, &tls, user_agent, &shared);
        Ok(Self { base, agent, shared })
    }

    /// Where it is.
    #[must_use]
    pub fn url(&self) -> &ServiceUrl {
        &self.base
    }

    /// Sends a request and awaits its answer, all within `limit`. One that a broken connection left without an answer is
    /// not sent again: what it changes may have been changed.
    ///
    /// # Errors
    /// Why there is no whole answer.
    pub fn send(&mut self, request: &WebRequest<'_>, limit: Duration) -> Result<WebAnswer, Failure> {
        self.shared.set_deadline(Some(Instant::now() + limit));
        let result = self.exchange(request, limit);
        self.shared.set_deadline(None);
        result
    }

    fn exchange(&self, request: &WebRequest<'_>, limit: Duration) -> Result<WebAnswer, Failure> {
        let url = self.base.join(request.path);
        let mut head = http::Request::builder().method(&request.method).uri(url);
        head = head.header("accept", "application/json");
        for &(name, value) in request.headers {
            head = head.header(name, value);
        }
        let sent = match request.body {
            None => head.body(()).map(|request| connection::run(&self.agent, request, limit)),
            Some(body) => head
                .header("content-type", "application/json")
                .body(body)
                .map(|request| connection::run(&self.agent, request, limit)),
        };
        let response = sent
            .map_err(|error| Failure::new(FailureKind::Nonsense, error.to_string()))?
            .map_err(connector::failure)?;
        let (head, body) = response.into_parts();
        let body = body.into_with_config().limit(MAX_BODY).read_to_vec().map_err(connector::failure)?;
        Ok(WebAnswer { status: head.status.as_u16(), headers: head.headers, body })
    }
}
