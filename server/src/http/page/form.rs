//! The page without JavaScript: its form makes a pin, and the answer shows that with both contexts.

use std::net::IpAddr;

use context::settings::Role;
use context::write::{ContextWriter, MASTER_STARTER, SLAVE_STARTER, ServiceIdentity};
use hyper::header::{AUTHORIZATION, CACHE_CONTROL, HOST, HeaderMap, HeaderValue, REFERER};
use hyper::http::request::Parts;
use hyper::{Response, StatusCode};
use protocol::url::ServiceUrl;

use super::{DOCUMENT, PATH, protected};
use crate::http::answer_body::AnswerBody;
use crate::http::answers::{self, Reply};
use crate::http::body::{self, RequestBody};
use crate::http::refusal::Refusal;
use crate::http::{clusters, is_cross_site};
use crate::service::Service;

const ANSWER: &str = include_str!("../../page/answer.html");
const MADE: &str = include_str!("../../page/made.html");
const REFUSED: &str = include_str!("../../page/refused.html");

/// Where the answer takes what it is about.
const CONTENT: &str = "{{content}}";
/// Longest form, in bytes: a token, and some room.
const MAX_BYTES: usize = 4 << 10;

/// Makes a cluster for a browser that runs no script.
pub(in crate::http) async fn create(
    service: &Service,
    client: IpAddr,
    head: &Parts,
    body: impl RequestBody,
) -> Response<AnswerBody> {
    let made = make(service, client, head, body).await;
    let (status, document) = match &made {
        Ok(document) => (StatusCode::CREATED, document.clone()),
        Err(refusal) => {
            service.metrics.refused(refusal.cause());
            (refusal.status(), filled(REFUSED, &[("problem", &refusal.to_string())]))
        }
    };
    let mut response = protected(ANSWER.replace(CONTENT, &document).into(), DOCUMENT);
    *response.status_mut() = status;
    // It has a pin in it.
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Err(refusal) = &made {
        answers::explain(refusal, service, response.headers_mut());
    }
    response
}

async fn make(
    service: &Service,
    client: IpAddr,
    head: &Parts,
    body: impl RequestBody,
) -> Result<String, Refusal> {
    if is_cross_site(&head.headers) {
        return Err(Refusal::CrossSite);
    }
    let form = body::read(body, MAX_BYTES).await?;
    let url = service_url(service, &head.headers)?;
    // A form has no other way to send a token.
    let mut headers = HeaderMap::new();
    let token = form_urlencoded::parse(&form).find(|(name, text)| name == "token" && !text.is_empty());
    if let Some((_, token)) = token
        && let Ok(value) = HeaderValue::from_str(&format!("Bearer {}", token.trim()))
    {
        headers.insert(AUTHORIZATION, value);
    }
    let nothing = http_body_util::Empty::new();
    let Reply::ClusterCreated(made) = clusters::create(service, client, &headers, nothing).await? else {
        return Err(Refusal::StoreFailed);
    };
    let fingerprint = service.announced.fingerprint.clone().filter(|_| url.is_secure());
    let trust = fingerprint.map_or(ServiceIdentity::Public, ServiceIdentity::Fingerprint);
    let cluster = ContextWriter { pin: &made.pin, secret: None, service: &url, trust };
    let write = |name: &str, starter: &str, role| {
        cluster.write(name, starter, role).map_err(|err| Refusal::Contexts(err.problem().to_owned()))
    };
    Ok(filled(
        MADE,
        &[
            ("pin", made.pin.reveal()),
            ("expires", &to_minutes(&made.expires.to_string())),
            ("master", &write("master", MASTER_STARTER, Role::Master)?),
            ("slave", &write("slave", SLAVE_STARTER, Role::Slave)?),
        ],
    ))
}

/// Where VMs reach the service: as it says itself, else where the browser has the page from.
fn service_url(service: &Service, headers: &HeaderMap) -> Result<ServiceUrl, Refusal> {
    if let Some(url) = &service.announced.url {
        return Ok(url.clone());
    }
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let page = text(REFERER).and_then(|url| url.split(['?', '#']).next()?.strip_suffix(PATH));
    let url = page.or_else(|| text(HOST)).unwrap_or_default();
    let secured = service.announced.fingerprint.is_some();
    ServiceUrl::parse(url, secured).map_err(|err| Refusal::Contexts(format!("The URL of this page {err}.")))
}

/// A time for people: `2026-11-28T02:54:15.640706Z` to the minute.
fn to_minutes(time: &str) -> String {
    let minutes = time.get(..16).unwrap_or(time).replace('T', " ");
    format!("{minutes} UTC")
}

/// A document with values in their places, which stand in two braces.
fn filled(document: &str, values: &[(&str, &str)]) -> String {
    values.iter().fold(document.to_owned(), |text, (name, value)| {
        text.replace(&format!("{{{{{name}}}}}"), &escaped(value))
    })
}

/// Text that is nothing but text in a document (HTML standard, section 13.1.2).
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Bytes of what the answers are made from.
#[cfg(test)]
pub(super) fn weight() -> usize {
    [ANSWER, MADE, REFUSED].map(str::len).iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Harness;

    const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

    #[tokio::test]
    async fn makes_a_pin_and_shows_both_contexts() {
        let world = Harness::new().await;
        let referer = ("referer", "https://pair.example.org/pairing/cluster_pairing");
        let answer = world.ask("POST", PATH, &[FORM, referer], "").await;
        assert_eq!((answer.status, answer.header("content-type")), (201, "text/html; charset=utf-8"));
        assert_eq!(answer.header("cache-control"), "no-store");
        assert!(answer.header("content-security-policy").contains("frame-ancestors 'none'"));
        let (_, rest) = answer.body.split_once("cvm_cluster_pin=").unwrap();
        let (pin, _) = rest.split_once('\n').unwrap();
        assert_eq!(world.ask("GET", &format!("/api/v1/clusters/{pin}"), &[], "").await.status, 200);
        assert_eq!(answer.body.matches("cvm_service_url=https://pair.example.org/pairing\n").count(), 2);
        assert_eq!(answer.body.matches("cvm_cluster_master=yes").count(), 1);
        assert!(answer.body.contains("###MASTER_IP_PLACEHOLDER###") && !answer.body.contains("{{"));
    }

    #[tokio::test]
    async fn names_the_host_where_no_page_is_named() {
        let world = Harness::new().await;
        let answer = world.ask("POST", PATH, &[FORM], "").await;
        assert_eq!(answer.status, 201, "{}", answer.body);
        assert!(answer.body.contains("cvm_service_url=http://"), "{}", answer.body);
    }

    #[tokio::test]
    async fn says_why_no_pin_was_made() {
        let world = Harness::new().await;
        let foreign = ("sec-fetch-site", "cross-site");
        let answer = world.ask("POST", PATH, &[FORM, foreign], "").await;
        assert_eq!(answer.status, 403);
        assert!(answer.body.contains("A page of another site may not change anything here."));
        let referer = ("referer", "https://x/<script>/cluster_pairing");
        let answer = world.ask("POST", PATH, &[FORM, referer], "").await;
        assert!(!answer.body.contains("<script>"), "{}", answer.body);
        let long = "x".repeat(MAX_BYTES + 1);
        assert_eq!(world.ask("POST", PATH, &[FORM], &long).await.status, 413);
        let answer = world.ask("PUT", PATH, &[], "").await;
        assert_eq!((answer.status, answer.header("allow")), (405, "GET, POST, HEAD"));
    }

    #[test]
    fn shows_a_time_to_the_minute() {
        assert_eq!(to_minutes("2026-11-28T02:54:15.640706Z"), "2026-11-28 02:54 UTC");
    }

    #[test]
    fn escapes_what_would_be_markup() {
        assert_eq!(filled("<p>{{a}}{{b}}", &[("a", "<&\">"), ("b", "1")]), "<p>&lt;&amp;&quot;&gt;1");
    }
}
