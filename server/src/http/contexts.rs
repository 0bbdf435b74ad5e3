//! Contexts: `/api/v1/contexts`. The section is written into the contexts of a user, and what `check` says of them comes
//! back. Nothing of a request is stored or logged.
//!
//! The cluster's secret is not for the service. In its place the contexts have [`SECRET_MARKER`], which the page replaces.

use std::net::IpAddr;
use std::time::Instant;

use context::check::{Finding, check_documents};
use context::document::Document;
use context::settings::Role;
use context::write::{ContextWriter, MASTER_STARTER, SLAVE_STARTER, ServiceIdentity};
use hyper::HeaderMap;
use hyper::header::CONTENT_TYPE;
use protocol::Pin;
use protocol::url::ServiceUrl;
use serde::{Deserialize, Serialize};
use tokio::task::spawn_blocking;

use super::answers::Reply;
use super::body::{self, JSON, RequestBody};
use super::refusal::Refusal;
use crate::secret;
use crate::service::{AnnouncedService, Service};

/// Stands where the cluster's secret belongs.
const SECRET_MARKER: &str = "###CLUSTER_SECRET###";
/// Longest body, in bytes: two contexts of the 64 KiB that clouds take, escaped.
const MAX_BYTES: usize = 256 << 10;
/// What messages call the contexts.
const NAMES: [&str; 2] = ["master", "slave"];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ContextsRequest {
    pin: String,
    /// What the master's context is made from. Absent: a starter, here and in the next.
    master: Option<String>,
    slave: Option<String>,
    #[serde(default)]
    sealed: bool,
    /// Where the VMs reach the service, for one that does not know it.
    service_url: Option<String>,
}

/// The answer.
#[derive(Serialize)]
struct ContextsAnswer {
    master: Context,
    slave: Context,
}

#[derive(Serialize)]
struct Context {
    /// Absent where the section cannot be written.
    #[serde(skip_serializing_if = "Option::is_none")]
    context: Option<String>,
    findings: Vec<FindingJson>,
}

/// A finding as JSON.
#[derive(Serialize)]
struct FindingJson {
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    severity: &'static str,
    message: String,
    next: String,
}

/// Makes the contexts of a cluster.
pub(super) async fn make(
    service: &Service,
    client: IpAddr,
    headers: &HeaderMap,
    body: impl RequestBody,
) -> Result<Reply, Refusal> {
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    if !media_type.eq_ignore_ascii_case(JSON) {
        return Err(Refusal::UnsupportedMediaType(content_type.to_owned()));
    }
    let bytes = body::read(body, MAX_BYTES).await?;
    let wanted: ContextsRequest =
        serde_json::from_slice(&bytes).map_err(|err| Refusal::InvalidJson(err.to_string()))?;
    let announced = service.announced.clone();
    // SECURITY: a context may decode to 32 MiB, and takes its time then. One at a time bounds the memory, and the time is
    // its sender's.
    let turn = service.contexts_turn.clone().lock_owned().await;
    let (made, took) = spawn_blocking(move || {
        let _turn = turn;
        let begun = Instant::now();
        (contexts(&wanted, announced), begun.elapsed())
    })
    .await
    .expect("making contexts does not panic");
    service.rate_limits.used(client, took);
    Ok(Reply::Contexts(made?))
}

/// The answer's body.
fn contexts(wanted: &ContextsRequest, announced: AnnouncedService) -> Result<Vec<u8>, Refusal> {
    let invalid = |what: String| Refusal::Contexts(what);
    let pin = Pin::parse(&wanted.pin).map_err(|err| invalid(format!("pin: {err}.")))?;
    let asked = wanted.service_url.as_deref().map(|url| ServiceUrl::parse(url, false));
    let url = asked.transpose().map_err(|err| invalid(format!("service_url: {err}.")))?.or(announced.url);
    let Some(url) = url else {
        return Err(invalid(
            "service_url: This service does not know where VMs reach it, so say it.".to_owned(),
        ));
    };
    // With plain http the TLS that the fingerprint is for ends elsewhere.
    let fingerprint = announced.fingerprint.filter(|_| url.is_secure());
    let trust = fingerprint.map_or(ServiceIdentity::Public, ServiceIdentity::Fingerprint);
    // The section is written and checked with a secret of the right form, which is then taken out again.
    let secret = wanted.sealed.then(secret::make).transpose().map_err(|err| {
        log::error!("no secret can be made: {err}");
        Refusal::StoreFailed
    })?;
    let cluster = ContextWriter { pin: &pin, secret: secret.as_ref(), service: &url, trust };
    let [from_master, from_slave] = [
        wanted.master.as_deref().unwrap_or(MASTER_STARTER),
        wanted.slave.as_deref().unwrap_or(SLAVE_STARTER),
    ];
    let written = [
        cluster.write(NAMES[0], from_master, Role::Master),
        cluster.write(NAMES[1], from_slave, Role::Slave),
    ];
    let documents: Vec<_> = (written.iter().zip(NAMES))
        .filter_map(|(text, name)| Document::parse(name, text.as_ref().ok()?.clone().into_bytes()).ok())
        .collect();
    let findings = check_documents(&documents);
    let unsealed = |text: String| match &secret {
        Some(secret) => text.replace(&*secret.reveal(), SECRET_MARKER),
        None => text,
    };
    let [master, slave] = [0, 1].map(|at| match &written[at] {
        Ok(text) => {
            Context { context: Some(unsealed(text.clone())), findings: of_context(&findings, NAMES[at]) }
        }
        Err(error) => {
            let place = error.place().unwrap_or(NAMES[at]).to_owned();
            let finding = Finding {
                severity: context::check::Severity::Error,
                place,
                what: error.problem().to_owned(),
                next: error.next_step().to_owned(),
            };
            Context { context: None, findings: of_context(&[finding], NAMES[at]) }
        }
    });
    Ok(serde_json::to_vec(&ContextsAnswer { master, slave })
        .expect("strings under fixed names always serialise"))
}

/// The findings about one of the contexts.
fn of_context(findings: &[Finding], name: &str) -> Vec<FindingJson> {
    let is_of =
        |place: &str| place.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with(' '));
    let described = |finding: &Finding| {
        let line = finding.line_of(name);
        // Where a part is encoded, its name says more than a number.
        let message = match (line, finding.place.strip_prefix(name)) {
            (None, Some(part)) if !part.is_empty() => format!("{}: {}", part.trim_start(), finding.what),
            _ => finding.what.clone(),
        };
        FindingJson { line, severity: finding.severity.name(), message, next: finding.next.clone() }
    };
    findings.iter().filter(|finding| is_of(&finding.place)).map(described).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::testing::Harness;

    const PATH: &str = "/api/v1/contexts";
    const JSON_BODY: &[(&str, &str)] = &[("content-type", "application/json")];

    async fn made(wanted: &Value) -> Value {
        let world = Harness::new().await;
        let answer = world.ask("POST", PATH, JSON_BODY, &wanted.to_string()).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        serde_json::from_str(&answer.body).unwrap()
    }

    fn wanted() -> Value {
        json!({"pin": "enico1qq0oey", "service_url": "https://pair.example.org"})
    }

    fn messages(context: &Value) -> Vec<(u64, &str)> {
        let all = context["findings"].as_array().unwrap().iter();
        all.map(|found| (found["line"].as_u64().unwrap_or(0), found["message"].as_str().unwrap())).collect()
    }

    #[tokio::test]
    async fn makes_starters_where_the_user_has_nothing() {
        let made = made(&wanted()).await;
        let section =
            "cvm_cluster_pin=enico1qq0oey\ncvm_service_url=https://pair.example.org\n[ucernvm-end]\n";
        assert_eq!(made["master"]["context"], format!("[ucernvm-begin]\ncvm_cluster_master=yes\n{section}"));
        let slave = format!("{SLAVE_STARTER}\n[ucernvm-begin]\n{section}");
        assert_eq!(made["slave"]["context"], slave);
        assert_eq!((messages(&made["master"]), messages(&made["slave"])), (vec![], vec![]));
    }

    #[tokio::test]
    async fn knows_no_secret_and_leaves_a_marker_for_it() {
        let mut wanted = wanted();
        wanted["sealed"] = true.into();
        wanted["slave"] =
            "#cloud-config\n#[ucernvm-begin]\n#cvm_cluster_secret=###CLUSTER_SECRET###\n#[ucernvm-end]\n\
            bootcmd:\n- echo ###MASTER_IP_PLACEHOLDER###\n"
                .into();
        let made = made(&wanted).await;
        for (role, start) in [("master", ""), ("slave", "#")] {
            let text = made[role]["context"].as_str().unwrap();
            assert_eq!(text.matches("cvm_cluster_secret").count(), 1, "{text}");
            assert!(text.contains(&format!("\n{start}cvm_cluster_secret={SECRET_MARKER}\n")), "{text}");
            assert!(messages(&made[role]).iter().all(|(_, message)| !message.contains("secret")), "{made}");
        }
    }

    #[tokio::test]
    async fn says_what_is_wrong_and_in_which_line() {
        let mut wanted = wanted();
        wanted["slave"] = "#!/bin/sh\njoin ###MASTER-IP_PLACEHOLDER###\n".into();
        wanted["master"] = "[ucernvm-begin]\ncvm_cluster_pin=x\n".into();
        let made = made(&wanted).await;
        // The section comes after the first line.
        let text = made["slave"]["context"].as_str().unwrap();
        assert!(text.lines().nth(5).is_some_and(|line| line.starts_with("join")), "{text}");
        let found = messages(&made["slave"]);
        assert!(found.contains(&(6, "###MASTER-IP_PLACEHOLDER### is no placeholder")), "{found:?}");
        assert_eq!(made["master"].get("context"), None);
        assert_eq!(messages(&made["master"]), [(1, "[ucernvm-begin] has no [ucernvm-end]")]);
    }

    #[tokio::test]
    async fn compares_the_two_contexts() {
        let mut wanted = wanted();
        wanted["master"] = "#!/bin/sh\ntrue\n".into();
        wanted["slave"] = "#!/bin/sh\njoin ###MASTER_IP_PLACEHOLDER### ###TOKEN_PLACEHOLDER###\n".into();
        let found = made(&wanted).await;
        let found = messages(&found["slave"]);
        assert_eq!(found, [(0, "it waits for token, and nothing in master publishes that")]);
    }

    #[tokio::test]
    async fn refuses_what_is_no_request_for_contexts() {
        let world = Harness::new().await;
        for (headers, body, status, says) in [
            (&[][..], "{}", 415, "Unsupported media type"),
            (JSON_BODY, "{", 400, "JSON parse error"),
            (JSON_BODY, "[]", 400, "JSON parse error"),
            (JSON_BODY, "{}", 400, "missing field `pin`"),
            (JSON_BODY, r#"{"pin":"enico1qq0oey"}"#, 400, "service_url: "),
            (JSON_BODY, r#"{"pin":"a b"}"#, 400, "pin: it contains ' '"),
            (JSON_BODY, r#"{"pin":"enico1qq0oey","service_url":"ftp://x"}"#, 400, "service_url: "),
            (JSON_BODY, r#"{"pin":"enico1qq0oey","secret":"x"}"#, 400, "unknown field `secret`"),
        ] {
            let answer = world.ask("POST", PATH, headers, body).await;
            assert_eq!(
                (answer.status, answer.body.contains(says)),
                (status, true),
                "{body}: {}",
                answer.body
            );
        }
        let long = json!({"pin": "enico1qq0oey", "slave": "x".repeat(MAX_BYTES)}).to_string();
        assert_eq!(world.ask("POST", PATH, JSON_BODY, &long).await.status, 413);
    }

    #[tokio::test]
    async fn gives_the_fingerprint_of_this_service() {
        let fingerprint = format!("sha256:{}", "ab".repeat(32));
        let announced = |url: &str| AnnouncedService {
            url: Some(ServiceUrl::parse(url, false).unwrap()),
            fingerprint: Some(fingerprint.clone()),
        };
        let wanted: ContextsRequest = serde_json::from_value(json!({"pin": "enico1qq0oey"})).unwrap();
        let text = |url| String::from_utf8(contexts(&wanted, announced(url)).unwrap()).unwrap();
        assert_eq!(text("https://pair.example.org").matches(&fingerprint).count(), 2);
        assert_eq!(text("http://pair.example.org").matches(&fingerprint).count(), 0);
    }
}
