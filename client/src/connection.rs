//! Exchanges with one service: proxies, redirects, time limits. What is asked, and what an answer means, is elsewhere.

use std::env;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use protocol::error::Error;
use protocol::url::ServiceUrl;
use protocol::{Trust, wait};
use rustls::ClientConfig;
use ureq::http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, DATE, HeaderName, IF_NONE_MATCH, LOCATION};
use ureq::http::{self, HeaderMap, Method};

use super::connector::{self, ConnectorHandle, Reached};
use super::failure::{Failure, FailureKind};
use super::media_type::{JSON, is_json};
use super::proxy::{self, ProxyHeaders};
use super::{redirect, tls};

/// Longest part of a request's time that may go into resolving the name, and again into connecting.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// Most redirects in a row: from http to https, and to the right path.
const MAX_REDIRECTS: usize = 3;

/// An answer whose body is still to be read.
pub(super) type Response = http::Response<ureq::Body>;

/// A service at a URL.
pub(super) struct Connection {
    url: ServiceUrl,
    /// Where requests go: the URL, or the same under https after the service has asked for it.
    base: ServiceUrl,
    http: Route,
    https: Route,
    shared: ConnectorHandle,
    answered_at: Option<SystemTime>,
}

/// The way to a service by one scheme.
struct Route {
    agent: ureq::Agent,
    /// The proxy on the way, without its password.
    proxy: Option<String>,
}

/// What is special in a request.
pub(super) struct Head<'a> {
    pub(super) method: Method,
    /// Below the service's URL.
    pub(super) path: String,
    pub(super) accept: &'static str,
    /// Seconds for which the service may hold the request; 0 asks for no wait.
    pub(super) wait: u64,
    pub(super) body: Option<String>,
    /// The entity tag of what the client has already.
    pub(super) unless: Option<String>,
    /// Of the body.
    pub(super) content_type: &'static str,
    /// What allows it.
    pub(super) token: Option<&'a str>,
}

impl Head<'_> {
    /// A request without a body that takes JSON.
    pub(super) fn new(method: Method, path: String) -> Self {
        Self {
            method,
            path,
            accept: JSON,
            wait: 0,
            body: None,
            unless: None,
            content_type: JSON,
            token: None,
        }
    }
}

impl Connection {
    /// Prepares for a service; nothing is sent yet. `ca` is what the reader calls the setting of the CA.
    ///
    /// # Errors
    /// [`protocol::error::Status::BadContext`] when the CA cannot be used.
    pub(super) fn new(
        url: ServiceUrl,
        trust: &Trust,
        user_agent: &'static str,
        ca: &str,
    ) -> Result<Self, Error> {
        Self::in_environment(|name| env::var(name).ok(), url, trust, user_agent, ca)
    }

    pub(super) fn in_environment(
        variable: impl Fn(&str) -> Option<String>,
        url: ServiceUrl,
        trust: &Trust,
        user_agent: &'static str,
        ca: &str,
    ) -> Result<Self, Error> {
        let tls = tls::config(trust).map_err(|problem| {
            Error::context(ca, problem, "give the PEM of the CA that signed the service's certificate")
        })?;
        let shared = ConnectorHandle::default();
        let (http, https) = routes(&variable, &url, &tls, user_agent, &shared);
        Ok(Self { base: url.clone(), url, http, https, shared, answered_at: None })
    }

    /// Where the service is.
    pub(super) fn url(&self) -> &ServiceUrl {
        &self.url
    }

    /// As [`super::HttpService::with_keepalive`].
    pub(super) fn keep_alive(&self, silence: Duration) {
        self.shared.set_keepalive(silence);
    }

    /// How the last connection reached it; `None` while none did.
    pub(super) fn reached(&self) -> Option<Reached> {
        self.shared.reached()
    }

    /// When the last answer was made by the service's clock, where the service said so.
    pub(super) fn time_of_answer(&self) -> Option<SystemTime> {
        self.answered_at
    }

    /// Sends a request and hands its answer to `read`, all within `limit`.
    pub(super) fn send<T>(
        &mut self,
        head: &Head<'_>,
        limit: Duration,
        read: impl FnOnce(Response) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let end = Instant::now() + limit;
        self.shared.set_deadline(Some(end));
        let result = self.answer(head, end).and_then(read);
        self.shared.set_deadline(None);
        result
    }

    /// The answer to a request, if it is the service's.
    fn answer(&mut self, head: &Head<'_>, end: Instant) -> Result<Response, Failure> {
        let (response, proxy) = self.follow(head, end)?;
        let refused = |status| {
            let cause = format!("the HTTP proxy {} answered {status}", proxy.as_deref().unwrap_or_default());
            Err(Failure::new(FailureKind::Proxy(Some(http::StatusCode::as_u16(&status))), cause))
        };
        match response.status() {
            // Over https, ureq sees the proxy's answer to CONNECT; passing http on, a proxy says it like this.
            status if status == http::StatusCode::PROXY_AUTHENTICATION_REQUIRED => refused(status),
            status @ (http::StatusCode::FORBIDDEN
            | http::StatusCode::BAD_GATEWAY
            | http::StatusCode::GATEWAY_TIMEOUT)
                if proxy.is_some() && !is_json(response.headers()) =>
            {
                refused(status)
            }
            _ => Ok(response),
        }
    }

    /// The answer at the end of all redirects, and the proxy that a request in the clear went through.
    fn follow(&mut self, head: &Head<'_>, end: Instant) -> Result<(Response, Option<String>), Failure> {
        let mut url = self.base.join(&head.path);
        for _ in 0..=MAX_REDIRECTS {
            let response = self.exchange(head, &url, end)?;
            self.answered_at = date(response.headers(), DATE);
            let status = response.status().as_u16();
            if !redirect::is_redirect(status) {
                let proxy = if is_secure(&url) { None } else { self.http.proxy.clone() };
                return Ok((response, proxy));
            }
            let location = response.headers().get(LOCATION).and_then(|location| location.to_str().ok());
            let next = redirect::follow(&url, status, location, head.method != Method::GET)?;
            if redirect::moves_into_tls(&url, &next) {
                self.stay_in_tls(&next, &head.path);
            }
            url = next;
        }
        Err(Failure::new(FailureKind::Redirect, format!("more than {MAX_REDIRECTS} redirects in a row")))
    }

    /// Sends the requests after this one to https at once: what was redirected crossed the network in the clear.
    fn stay_in_tls(&mut self, redirected: &str, path: &str) {
        let base = redirected.strip_suffix(path).and_then(|base| ServiceUrl::parse(base, true).ok());
        if let Some(base) = base {
            log::warn!(
                "{} asks for {base}; write that into the context: the pin went there in the clear",
                self.url
            );
            self.base = base;
        }
    }

    /// One exchange at this URL, over a connection that is there or a new one. A service may close one that is idle just
    /// when it is used again, which says nothing about the service, so then a new one gets a chance at once. That is safe
    /// for a write too, since one that did arrive is found to be there. Not for a wait: if a service with thousands of
    /// them goes down, they must not all be back in the same moment.
    fn exchange(&self, head: &Head<'_>, url: &str, end: Instant) -> Result<Response, Failure> {
        let connects = self.shared.connects();
        let result = self.exchange_once(head, url, end);
        let stale =
            |failure: &Failure| failure.kind == FailureKind::Broken && self.shared.connects() == connects;
        if head.wait == 0 && result.as_ref().is_err_and(stale) {
            return self.exchange_once(head, url, end);
        }
        result
    }

    /// One exchange; the body is still to be read.
    fn exchange_once(&self, head: &Head<'_>, url: &str, end: Instant) -> Result<Response, Failure> {
        let mut request = http::Request::builder().method(&head.method).uri(url).header(ACCEPT, head.accept);
        if head.wait > 0 {
            request = request.header(wait::PREFER, wait::header_value(head.wait));
        }
        if let Some(etag) = &head.unless {
            request = request.header(IF_NONE_MATCH, etag);
        }
        if let Some(token) = head.token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        let agent = if is_secure(url) { &self.https.agent } else { &self.http.agent };
        let limit = end.saturating_duration_since(Instant::now());
        let sent = match &head.body {
            None => request.body(()).map(|request| run(agent, request, limit)),
            Some(body) => request
                .header(CONTENT_TYPE, head.content_type)
                .body(body.as_str())
                .map(|request| run(agent, request, limit)),
        };
        sent.map_err(|error| Failure::new(FailureKind::Nonsense, error.to_string()))?.map_err(|error| {
            let failure = connector::failure(error);
            if !is_secure(url) && failure.kind == FailureKind::Nonsense && self.shared.tls_in_the_clear() {
                return Failure::new(FailureKind::NeedsTls, "TLS to a request in plain HTTP");
            }
            failure
        })
    }
}

/// The ways to a service by http and by https, through the proxies that the environment names.
fn routes(
    variable: &impl Fn(&str) -> Option<String>,
    url: &ServiceUrl,
    tls: &Arc<ClientConfig>,
    user_agent: &'static str,
    shared: &ConnectorHandle,
) -> (Route, Route) {
    let config = || {
        ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(user_agent)
    };
    // Plain http first, since a redirect may lead from there to https, which may have another proxy.
    let plain = url.with_scheme(false);
    let proxy = if url.is_secure() { None } else { proxy::of(&plain, variable) };
    let http = Route {
        agent: connector::agent(
            config().proxy(None),
            tls.clone(),
            proxy.as_ref().map(|proxy| (proxy.uri().clone(), ProxyHeaders::new(&plain, proxy))),
            shared.clone(),
        ),
        proxy: proxy.as_ref().map(shown),
    };
    let proxy = proxy::of(&url.with_scheme(true), variable);
    let https = Route {
        proxy: proxy.as_ref().map(shown),
        agent: connector::agent(config().proxy(proxy), tls.clone(), None, shared.clone()),
    };
    (http, https)
}

/// What sends requests to one service, by the scheme of its URL, through the proxy that the environment names.
pub(super) fn agent_of(
    url: &ServiceUrl,
    tls: &Arc<ClientConfig>,
    user_agent: &'static str,
    shared: &ConnectorHandle,
) -> ureq::Agent {
    let (http, https) = routes(&|name: &str| env::var(name).ok(), url, tls, user_agent, shared);
    if url.is_secure() { https.agent } else { http.agent }
}

fn is_secure(url: &str) -> bool {
    url.starts_with("https:")
}

/// A proxy's host and port.
fn shown(proxy: &ureq::Proxy) -> String {
    format!("{}:{}", proxy.host(), proxy.port())
}

/// Sends a request with every one of ureq's time limits set: none is by default.
pub(super) fn run<B: ureq::AsSendBody>(
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

/// The moment in a header such as `Date` (RFC 9110 section 5.6.7).
pub(super) fn date(headers: &HeaderMap, name: HeaderName) -> Option<SystemTime> {
    httpdate::parse_http_date(headers.get(name)?.to_str().ok()?).ok()
}
