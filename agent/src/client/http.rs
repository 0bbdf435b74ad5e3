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
use crate::error::Error;
use crate::settings::Trust;
use crate::url::ServiceUrl;

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
    /// [`Error::Context`] when the context's CA cannot be used.
    pub fn new(url: ServiceUrl, pin: Pin, trust: &Trust) -> Result<Self, Error> {
        let tls =
            url.is_secure().then(|| tls::config(trust)).transpose().map_err(|problem| Error::Context {
                place: "cvm_service_ca".to_owned(),
                problem,
                next: "put the PEM of the CA that signed the service's certificate there, in base64"
                    .to_owned(),
            })?;
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(concat!("cernvm-cluster-agent/", env!("CARGO_PKG_VERSION")))
            .proxy(proxy::of(&url, |name| env::var(name).ok()));
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
mod tests {
    use super::*;
    use crate::client::scripted::{Act, Scripted, answer};

    const PIN: &str = "enico1qq0oey";
    /// Longer than any answer takes here, shorter than a person at a failing test likes to wait.
    const PLENTY: Duration = Duration::from_secs(10);
    const SOON: Duration = Duration::from_millis(300);
    const GET: Request<'static> = Request::Get { key: "master_ip", wait: 0 };
    const CREATE: Request<'static> = Request::Create { key: "token", value: "s3cret" };

    fn client(url: &str) -> HttpService {
        let url = ServiceUrl::parse(url, false).unwrap();
        HttpService::new(url, Pin::parse(PIN).unwrap(), &Trust::WebPki).unwrap()
    }

    /// What a service that plays these acts gives for a request, within a limit.
    fn ask(acts: Vec<Act>, request: &Request<'_>, limit: Duration) -> Result<Answer, Failure> {
        let service = Scripted::start(acts);
        client(&service.url("http")).send(request, limit)
    }

    #[track_caller]
    fn check(act: Act, request: &Request<'_>, expected: Outcome) {
        assert_eq!(ask(vec![act], request, PLENTY).map(|answer| answer.outcome), Ok(expected));
    }

    #[track_caller]
    fn check_failure(act: Act, request: &Request<'_>, kind: Kind, cause: &str) {
        let failure = ask(vec![act], request, PLENTY).unwrap_err();
        assert_eq!(failure.kind, kind, "{failure}");
        assert!(failure.cause.contains(cause), "{failure}");
        for secret in [PIN, "s3cret"] {
            assert!(!failure.cause.contains(secret), "{failure}");
        }
    }

    fn json(status: &str, body: &str) -> Act {
        Act::answer(status, "Content-Type: application/json\r\n", body)
    }

    fn text(body: &str) -> Act {
        Act::answer("200 OK", "Content-Type: text/plain; charset=utf-8\r\n", body)
    }

    #[test]
    fn sends_what_the_contract_says() {
        for (request, first_line, header, body) in [
            (Request::Cluster, "GET /x/api/v1/clusters/enico1qq0oey ", "accept: application/json", ""),
            (GET, "GET /x/api/v1/clusters/enico1qq0oey/keys/master_ip ", "accept: text/plain", ""),
            (
                Request::Get { key: "a", wait: 50 },
                "GET /x/api/v1/clusters/enico1qq0oey/keys/a ",
                "prefer: wait=50",
                "",
            ),
            (
                CREATE,
                "POST /x/api/v1/clusters/enico1qq0oey/keys ",
                "content-type: application/json",
                r#"{"key":"token","value":"s3cret"}"#,
            ),
            (
                Request::Replace { key: "a", value: "\"" },
                "PUT /x/api/v1/clusters/enico1qq0oey/keys/a ",
                "content-type: application/json",
                r#"{"key":"a","value":"\""}"#,
            ),
            (
                Request::Delete { key: "a" },
                "DELETE /x/api/v1/clusters/enico1qq0oey/keys/a ",
                "user-agent: cernvm-cluster-agent/",
                "",
            ),
        ] {
            let service = Scripted::start([Act::answer("404 Not Found", "", "")]);
            let _ = client(&format!("{}/x/", service.url("http"))).send(&request, PLENTY);
            let requests = service.requests();
            let [sent] = requests.as_slice() else { panic!("{requests:?}") };
            let (head, sent_body) = sent.split_once("\r\n\r\n").unwrap();
            assert!(head.starts_with(first_line), "{head}");
            assert!(head.to_ascii_lowercase().contains(header), "{head}");
            assert_eq!(sent_body, body, "{head}");
            assert_eq!(head.to_ascii_lowercase().contains("prefer"), header.contains("prefer"), "{head}");
        }
    }

    #[test]
    fn reads_what_the_contract_says() {
        let cluster = format!(r#"{{"pin":"{PIN}","creation_time":"2026-08-01T00:00:00Z"}}"#);
        check(json("200 OK", &cluster), &Request::Cluster, Outcome::Done);
        check(json("404 Not Found", r#"{"detail":"Not found."}"#), &Request::Cluster, Outcome::Missing);
        check(text("master_ip: 10.0.0.5"), &GET, Outcome::Value("10.0.0.5".to_owned()));
        check(text("master_ip: "), &GET, Outcome::Value(String::new()));
        check(Act::answer("404 Not Found", "Content-Type: text/plain\r\n", ""), &GET, Outcome::Missing);
        check(json("201 Created", "{}"), &CREATE, Outcome::Done);
        check(json("409 Conflict", "{}"), &CREATE, Outcome::Exists);
        check(json("404 Not Found", "{}"), &CREATE, Outcome::Missing);
        let replace = Request::Replace { key: "a", value: "b" };
        check(json("200 OK", "{}"), &replace, Outcome::Done);
        check(json("404 Not Found", "{}"), &replace, Outcome::Missing);
        let delete = Request::Delete { key: "a" };
        check(Act::Send("HTTP/1.1 204 No Content\r\n\r\n".to_owned()), &delete, Outcome::Done);
        check(json("404 Not Found", "{}"), &delete, Outcome::Missing);
    }

    #[test]
    fn takes_a_404_for_an_unknown_pin_only_where_the_service_itself_says_so() {
        for act in [
            Act::answer("404 Not Found", "", ""),
            Act::answer("404 Not Found", "Content-Type: text/plain\r\n", "404 page not found"),
            json("200 OK", r#"{"pin":"other0000000","creation_time":""}"#),
            json("200 OK", "[]"),
            text("hello"),
        ] {
            check_failure(act, &Request::Cluster, Kind::Nonsense, "not as JSON for this pin");
        }
    }

    #[test]
    fn knows_a_service_that_can_wait_by_its_answer() {
        for (header, granted) in [
            ("", None),
            ("Preference-Applied: wait=50\r\n", Some(50)),
            ("Preference-Applied: wait=3\r\n", Some(3)),
            ("Preference-Applied: huh\r\n", Some(0)),
        ] {
            let request = Request::Get { key: "a", wait: 50 };
            let answer = ask(vec![Act::answer("404 Not Found", header, "")], &request, PLENTY).unwrap();
            assert_eq!(answer, Answer { outcome: Outcome::Missing, granted }, "{header}");
        }
    }

    #[test]
    fn refuses_what_is_no_answer_of_the_contract() {
        let length = "Content-Length: 3\r\n\r\n";
        for (act, kind, cause) in [
            (text("master_ready: 10.0.0.5"), Kind::Nonsense, "something else than 'master_ip: VALUE'"),
            (text("10.0.0.5"), Kind::Nonsense, "something else"),
            (json("200 OK", r#"{"key":"master_ip","value":"10.0.0.5"}"#), Kind::Nonsense, "something else"),
            (
                Act::SendAndClose(b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\nmaster_ip: \xff".to_vec()),
                Kind::Nonsense,
                "UTF-8",
            ),
            (
                Act::SendAndClose(b"HTTP/1.1 200 OK\r\n\r\nmaster_ip: 10.0.0.5".to_vec()),
                Kind::Nonsense,
                "how long",
            ),
            (Act::answer("200 OK", "Content-Type: text/html\r\n", "<p>log in"), Kind::Html, "captive portal"),
            (text(" <!DOCTYPE HTML><title>log in"), Kind::Html, "200 OK"),
            (Act::answer("404 Not Found", "Content-Type: text/html\r\n", "<p>"), Kind::Html, "404 Not Found"),
            (Act::answer("403 Forbidden", "", "go away"), Kind::Status(403, None), "403 Forbidden: go away"),
            (Act::answer("204 No Content", "", ""), Kind::Status(204, None), "204"),
            (Act::SendAndClose(b"220 mail.example.org ESMTP\r\n".to_vec()), Kind::Nonsense, "not HTTP"),
            (Act::SendAndClose(vec![0, 159, 146, 150]), Kind::Nonsense, "not HTTP"),
            (
                Act::SendAndClose(format!("HTTP/1.1 200 OK\r\n{length}").into_bytes()),
                Kind::Connect,
                "before the answer was whole",
            ),
            (
                Act::SendAndClose(b"HTTP/1.1 200 OK\r\nContent-Le".to_vec()),
                Kind::Connect,
                "before the answer was whole",
            ),
            (Act::SendAndClose(Vec::new()), Kind::Connect, "before the answer was whole"),
            (
                Act::SendAndClose(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nmast".to_vec()),
                Kind::Connect,
                "before the answer was whole",
            ),
            (
                Act::SendAndClose(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n".to_vec()),
                Kind::Nonsense,
                "",
            ),
        ] {
            check_failure(act, &GET, kind, cause);
        }
    }

    #[test]
    fn calls_a_fault_of_the_server_by_its_status_whatever_its_body() {
        for (status, headers, kind) in [
            ("408 Request Timeout", "", Kind::Status(408, None)),
            ("425 Too Early", "", Kind::Status(425, None)),
            ("429 Too Many Requests", "Retry-After: 7\r\n", Kind::Status(429, Some(Duration::from_secs(7)))),
            ("500 Internal Server Error", "", Kind::Status(500, None)),
            ("502 Bad Gateway", "Content-Type: text/html\r\n", Kind::Status(502, None)),
            ("503 Service Unavailable", "Retry-After: soon\r\n", Kind::Status(503, None)),
            ("504 Gateway Timeout", "Retry-After: -1\r\n", Kind::Status(504, None)),
        ] {
            check_failure(Act::answer(status, headers, "<html>"), &GET, kind, status);
        }
    }

    #[test]
    fn tells_why_a_write_is_refused_without_its_value() {
        let said = format!(r#"{{"value":["'s3cret' of {PIN} is too long"]}}"#);
        let act = json("400 Bad Request", &said);
        check_failure(
            act,
            &CREATE,
            Kind::Status(400, None),
            r#"400 Bad Request: {"value":["'…' of … is too long"]}"#,
        );
        check_failure(json("200 OK", "{}"), &CREATE, Kind::Status(200, None), "200 OK");
    }

    #[test]
    fn reads_no_more_than_an_answer_can_have() {
        for head in [
            "HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n\r\n",
            "HTTP/1.1 200 OK\r\nX: ",
        ] {
            let service = Scripted::start([Act::Flood(head.into())]);
            let failure = client(&service.url("http")).send(&GET, PLENTY).unwrap_err();
            assert_eq!(failure.kind, Kind::TooLarge, "{failure}");
            // What lies in the sockets' buffers besides what was read.
            assert!(service.sent() < 32 << 20, "{}", service.sent());
        }
    }

    #[test]
    fn gives_up_in_time_on_a_service_that_does_not_come_to_an_end() {
        let half = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nmaster_ip: ";
        let drip = [half.as_slice(), &[b'1'; 1000]].concat();
        let slow_head = [b"HTTP/1.1 200 OK\r\nX: ".as_slice(), &[b'x'; 1000]].concat();
        for act in [Act::Hang, Act::Drip(drip), Act::Drip(slow_head)] {
            let failure = ask(vec![act], &GET, SOON).unwrap_err();
            assert_eq!((failure.kind, failure.cause.as_str()), (Kind::Timeout, "no whole answer in time"));
        }
    }

    #[test]
    fn says_which_port_refuses() {
        let closed = Scripted::start([]).address;
        let failure = client(&format!("http://{closed}")).send(&GET, PLENTY).unwrap_err();
        assert_eq!(failure, Failure::new(Kind::Connect, format!("connection refused from {closed}")));
    }

    #[test]
    fn says_which_name_does_not_resolve() {
        let failure = client("http://pair.invalid").send(&GET, SOON).unwrap_err();
        match failure.kind {
            Kind::Dns => assert!(failure.cause.starts_with("pair.invalid does not resolve"), "{failure}"),
            // Where the machine has no name server that answers.
            kind => assert_eq!(
                (kind, failure.cause.as_str()),
                (Kind::Timeout, "its name did not resolve in time")
            ),
        }
    }

    #[test]
    fn follows_a_redirect_on_the_host_and_no_other() {
        let to = |status: &str, location: &str| Act::answer(status, &format!("Location: {location}\r\n"), "");
        let value = || text("master_ip: 10.0.0.5");
        let found = Ok(Outcome::Value("10.0.0.5".to_owned()));
        let follow = |acts| ask(acts, &GET, PLENTY).map(|answer| answer.outcome).map_err(|f| f.kind);
        assert_eq!(follow(vec![to("302 Found", "/elsewhere?x"), value()]), found);
        assert_eq!(
            follow(vec![to("301 Moved Permanently", "http://evil.invalid/"), value()]),
            Err(Kind::Redirect)
        );
        let round = vec![to("307 Temporary Redirect", "/x"); 9];
        assert_eq!(follow(round), Err(Kind::Redirect));

        let service = Scripted::start([to("308 Permanent Redirect", "/x"), json("201 Created", "{}")]);
        let answer = client(&service.url("http")).send(&CREATE, PLENTY).unwrap();
        assert_eq!(answer.outcome, Outcome::Done);
        let requests = service.requests();
        assert!(requests[1].starts_with("POST /x ") && requests[1].ends_with("\"s3cret\"}"), "{requests:?}");
        drop(service);

        let moved = ask(vec![to("302 Found", "/x"), json("201 Created", "{}")], &CREATE, PLENTY).unwrap_err();
        assert_eq!(moved.kind, Kind::Redirect);
    }

    #[test]
    fn stays_on_one_connection_and_knows_its_own_address() {
        let service = Scripted::start(vec![text("master_ip: 10.0.0.5"); 5]);
        let mut client = client(&service.url("http"));
        assert_eq!(client.reached(), None);
        for _ in 0..5 {
            client.send(&GET, PLENTY).unwrap();
        }
        assert_eq!((service.requests().len(), service.connections()), (5, 1));
        let local = std::net::IpAddr::from([127, 0, 0, 1]);
        assert_eq!(client.reached(), Some(Reached { local, through_proxy: false }));
    }

    #[test]
    fn leaves_a_connection_that_the_service_has_closed() {
        let act = Act::SendAndClose(answer("200 OK", "", "master_ip: 10.0.0.5").into());
        let service = Scripted::start(vec![act; 3]);
        let mut client = client(&service.url("http"));
        for _ in 0..3 {
            client.send(&GET, PLENTY).unwrap();
        }
        assert_eq!(service.connections(), 3);
    }

    #[test]
    fn tries_every_address_of_a_name() {
        // localhost is ::1 and 127.0.0.1; nothing listens on the first.
        let service = Scripted::start([text("master_ip: 10.0.0.5")]);
        let url = format!("http://localhost:{}", service.address.port());
        assert!(client(&url).send(&GET, PLENTY).is_ok());
    }
}
