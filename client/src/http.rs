//! A service over HTTP: requests into bytes, and bytes that nobody trusts into answers.
//!
//! The contract is `docs/api.md`; ureq speaks HTTP/1.1. Everything that comes back is bounded, and whatever does not fit
//! the contract is a [`Failure`] that says so.

use std::env;
use std::time::{Duration, Instant, SystemTime};

use protocol::bodies::{Cluster, KeyValue};
use protocol::{Pin, key, limits, wait};
use ureq::http::header::{
    ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, DATE, LOCATION, RETRY_AFTER, TRANSFER_ENCODING,
};
use ureq::http::{self, HeaderMap, Method};

use super::connector::{self, Log, Reached};
use super::failure::{Failure, Kind};
use super::{Answer, Outcome, Request, Service, proxy, redirect, tls};
use protocol::Trust;
use protocol::error::Error;
use protocol::url::ServiceUrl;

/// Longest part of a request's time that may go into resolving the name, and again into connecting.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// Most redirects in a row: from http to https, and to the right path.
const MAX_REDIRECTS: usize = 3;
/// Most bytes of a body: the longest value in UTF-8 with its key, and room for a page that says what went wrong.
const MAX_BODY: usize = (limits::VALUE_MAX_CHARS + limits::KEY_MAX_CHARS) * 4 + 4096;
/// Most characters of what a service says about a request that it refuses.
const MAX_REASON: usize = 120;

const JSON: &str = "application/json";
const TEXT: &str = "text/plain";

/// A service at a URL, for one pin.
pub struct HttpService {
    url: ServiceUrl,
    pin: Pin,
    agent: ureq::Agent,
    log: Log,
    answered_at: Option<SystemTime>,
}

impl HttpService {
    /// Prepares for a service; nothing is sent yet.
    ///
    /// # Errors
    /// [`Status::BadContext`](protocol::error::Status::BadContext) when the context's CA cannot be used.
    pub fn new(url: ServiceUrl, pin: Pin, trust: &Trust) -> Result<Self, Error> {
        let proxy = proxy::of(&url, |name| env::var(name).ok());
        Self::through(proxy, url, pin, trust)
    }

    fn through(proxy: Option<ureq::Proxy>, url: ServiceUrl, pin: Pin, trust: &Trust) -> Result<Self, Error> {
        let tls = url.is_secure().then(|| tls::config(trust)).transpose().map_err(|problem| {
            let next = "put the PEM of the CA that signed the service's certificate there, in base64";
            Error::context("cvm_service_ca", problem, next)
        })?;
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(concat!("cernvm-cluster-agent/", env!("CARGO_PKG_VERSION")))
            .proxy(proxy);
        let log = Log::default();
        let agent = connector::agent(config, tls, log.clone());
        Ok(Self { url, pin, agent, log, answered_at: None })
    }

    /// When the last answer was made by the service's clock, where the service said so.
    #[must_use]
    pub fn time_of_answer(&self) -> Option<SystemTime> {
        self.answered_at
    }

    /// The request as HTTP has it.
    fn head<'a>(&self, request: &Request<'a>) -> Head<'a> {
        let cluster = format!("api/v1/clusters/{}", self.pin.reveal());
        let one = |key: &str| format!("{cluster}/keys/{key}");
        match *request {
            Request::Cluster => {
                Head { method: Method::GET, path: cluster, accept: JSON, wait: 0, body: None }
            }
            Request::Get { key, wait } => {
                Head { method: Method::GET, path: one(key), accept: TEXT, wait, body: None }
            }
            Request::Create { key, value } => Head {
                method: Method::POST,
                path: format!("{cluster}/keys"),
                accept: JSON,
                wait: 0,
                body: Some((key, value)),
            },
            Request::Replace { key, value } => {
                Head { method: Method::PUT, path: one(key), accept: JSON, wait: 0, body: Some((key, value)) }
            }
            Request::Delete { key } => {
                Head { method: Method::DELETE, path: one(key), accept: JSON, wait: 0, body: None }
            }
        }
    }

    /// One exchange at this URL, over a connection that is there or a new one. A service may close one that is idle just
    /// when it is used again, which says nothing about the service, so then a new one gets a chance at once. That is safe
    /// for a write too, since one that did arrive is found to be there. Not for a wait: if a service with thousands of
    /// them goes down, they must not all be back in the same moment.
    fn exchange(&self, head: &Head<'_>, url: &str, limit: Duration) -> Result<Response, Failure> {
        let (started, connects) = (Instant::now(), self.log.connects());
        let result = self.exchange_once(head, url, limit);
        let stale = |failure: &Failure| failure.kind == Kind::Connect && self.log.connects() == connects;
        if head.wait == 0 && result.as_ref().is_err_and(stale) {
            return self.exchange_once(head, url, limit.saturating_sub(started.elapsed()));
        }
        result
    }

    /// One exchange; the body is still to be read.
    fn exchange_once(&self, head: &Head<'_>, url: &str, limit: Duration) -> Result<Response, Failure> {
        let mut request = http::Request::builder().method(&head.method).uri(url).header(ACCEPT, head.accept);
        if head.wait > 0 {
            request = request.header(wait::PREFER, wait::header_value(head.wait));
        }
        let built = match head.body {
            None => request.body(()).map(|request| run(&self.agent, request, limit)),
            Some((key, value)) => {
                let body = KeyValue { key: key.into(), value: value.into() };
                let body = serde_json::to_string(&body).expect("two strings serialize");
                request.header(CONTENT_TYPE, JSON).body(body).map(|request| run(&self.agent, request, limit))
            }
        };
        built.map_err(|error| Failure::new(Kind::Nonsense, error.to_string()))?.map_err(connector::failure)
    }

    /// What an answer says.
    fn read(&self, request: &Request<'_>, response: Response) -> Result<Answer, Failure> {
        let (head, body) = response.into_parts();
        let (status, headers) = (head.status, head.headers);
        let refused = Failure::new(Kind::Status(status.as_u16(), retry_after(&headers)), status.to_string());
        if refused.can_heal() {
            // Its body is a proxy's page as often as the service's own; the status says it all.
            return Err(refused);
        }
        let delimited = headers.contains_key(CONTENT_LENGTH) || headers.contains_key(TRANSFER_ENCODING);
        let body =
            body.into_with_config().limit(MAX_BODY as u64 + 1).read_to_vec().map_err(connector::failure)?;
        if is_html(&headers, &body) {
            let cause = format!("with an HTML page ({status}): a captive portal, or another web site");
            return Err(Failure::new(Kind::Html, cause));
        }
        let outcome = match (request, status.as_u16()) {
            (Request::Cluster, 200) if self.is_our_cluster(&body) => Outcome::Done,
            // SECURITY: a 404 of something else in the service's place must not end a wait, so it has to look like
            // the service's own.
            (Request::Cluster, 404) if is_json(&headers) => Outcome::Missing,
            (Request::Cluster, 200 | 404) => {
                return Err(nonsense(format!("{status}, but not as JSON for this pin")));
            }
            (Request::Get { key, .. }, 200) => Outcome::Value(value(key, body, delimited)?),
            (Request::Create { .. }, 201) | (Request::Replace { .. } | Request::Delete { .. }, 200 | 204) => {
                Outcome::Done
            }
            (Request::Create { .. }, 409) => Outcome::Exists,
            (_, 404) => Outcome::Missing,
            _ => return Err(Failure { cause: self.with_reason(request, refused.cause, &body), ..refused }),
        };
        let granted = headers
            .get(wait::PREFERENCE_APPLIED)
            .map(|value| value.to_str().ok().and_then(wait::parse).unwrap_or_default());
        Ok(Answer { outcome, granted })
    }

    fn is_our_cluster(&self, body: &[u8]) -> bool {
        serde_json::from_slice::<Cluster<'_>>(body).is_ok_and(|cluster| cluster.pin == self.pin.reveal())
    }

    /// A status, and what the service says about it, cleaned for a console and without pin and value.
    fn with_reason(&self, request: &Request<'_>, status: String, body: &[u8]) -> String {
        let mut said = String::from_utf8_lossy(body).replace(self.pin.reveal(), "…");
        if let Request::Create { value, .. } | Request::Replace { value, .. } = request {
            said = said.replace(value, "…");
        }
        let said: String = said.chars().filter(|c| !c.is_control()).take(MAX_REASON).collect();
        if said.is_empty() { status } else { format!("{status}: {said}") }
    }
}

type Response = http::Response<ureq::Body>;

/// What is special in a request.
struct Head<'a> {
    method: Method,
    path: String,
    accept: &'static str,
    wait: u64,
    body: Option<(&'a str, &'a str)>,
}

impl Service for HttpService {
    fn send(&mut self, request: &Request<'_>, limit: Duration) -> Result<Answer, Failure> {
        let started = Instant::now();
        let head = self.head(request);
        let mut url = self.url.join(&head.path);
        for _ in 0..=MAX_REDIRECTS {
            let left = limit.saturating_sub(started.elapsed());
            let response = self.exchange(&head, &url, left)?;
            self.answered_at = date(response.headers());
            let status = response.status().as_u16();
            if !redirect::is_redirect(status) {
                return self.read(request, response);
            }
            let location = response.headers().get(LOCATION).and_then(|location| location.to_str().ok());
            url = redirect::follow(&url, status, location, head.method != Method::GET)?;
        }
        Err(Failure::new(Kind::Redirect, format!("more than {MAX_REDIRECTS} redirects in a row")))
    }

    fn url(&self) -> &ServiceUrl {
        &self.url
    }

    fn reached(&self) -> Option<Reached> {
        self.log.reached()
    }
}

/// Sends a request with every one of ureq's time limits set: none is by default.
fn run<B: ureq::AsSendBody>(
    agent: &ureq::Agent,
    request: http::Request<B>,
    limit: Duration,
) -> Result<Response, ureq::Error> {
    let connect = Some(limit.min(CONNECT_LIMIT));
    let request = agent
        .configure_request(request)
        .timeout_global(Some(limit))
        .timeout_per_call(Some(limit))
        .timeout_resolve(connect)
        .timeout_connect(connect)
        .timeout_send_request(Some(limit))
        .timeout_send_body(Some(limit))
        .timeout_recv_response(Some(limit))
        .timeout_recv_body(Some(limit))
        .build();
    agent.run(request)
}

/// The value in a text answer for a key.
fn value(key: &str, body: Vec<u8>, delimited: bool) -> Result<String, Failure> {
    // SECURITY: without a length, an answer that was cut short is a value that was cut short: 10.0.0.1 of 10.0.0.12.
    if !delimited {
        return Err(nonsense("a value without saying how long it is".to_owned()));
    }
    let text = String::from_utf8(body).map_err(|_| nonsense("a value that is not UTF-8".to_owned()))?;
    let value = key::from_line(key, &text);
    value.map(str::to_owned).ok_or_else(|| nonsense(format!("something else than '{key}: VALUE'")))
}

fn nonsense(cause: String) -> Failure {
    Failure::new(Kind::Nonsense, cause)
}

/// `Retry-After` in seconds (RFC 9110 section 10.2.3); a date there is ignored, since this VM's clock may be wrong.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

/// `Date` (RFC 9110 section 6.6.1).
fn date(headers: &HeaderMap) -> Option<SystemTime> {
    httpdate::parse_http_date(headers.get(DATE)?.to_str().ok()?).ok()
}

fn media_type(headers: &HeaderMap) -> &str {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim()
}

fn is_json(headers: &HeaderMap) -> bool {
    media_type(headers).eq_ignore_ascii_case(JSON)
}

/// Whether this is a page for people, by its type or by how it begins.
fn is_html(headers: &HeaderMap, body: &[u8]) -> bool {
    let kind = media_type(headers);
    let start = body.trim_ascii_start();
    let begins = |tag: &[u8]| start.get(..tag.len()).is_some_and(|s| s.eq_ignore_ascii_case(tag));
    kind.eq_ignore_ascii_case("text/html")
        || kind.eq_ignore_ascii_case("application/xhtml+xml")
        || begins(b"<!doctype html")
        || begins(b"<html")
}

#[cfg(test)]
mod tests;
