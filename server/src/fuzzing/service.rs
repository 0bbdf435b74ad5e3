//! The service that is asked, and what it holds.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request, StatusCode};
use protocol::Pin;
use tokio::task::JoinHandle;

use super::answer::{Answer, is_well_formed};
use super::{PIN, has_pin};
use crate::access::AccessEntry;
use crate::clock::{ManualClock, Timestamp};
use crate::http;
use crate::hub::{self, Hub};
use crate::origin::Proxies;
use crate::service::Service;
use crate::store::{Key, Limits, Store};

const PEER: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// Longest value; the original service's, so that a fuzzer comes to it.
const VALUE_MAX_CHARS: usize = protocol::limits::ORIGINAL_VALUE_MAX_CHARS;
/// Little enough to be reached.
const LIMITS: (usize, usize) = (5, 3000);

/// A service that has one cluster, without keys.
pub(super) struct FuzzedService {
    service: Service,
    pin: Pin,
    proxies: Proxies,
    delivery: JoinHandle<()>,
}

/// The keys in the order of their creation; `None` when their cluster is gone.
type Keys = Option<Vec<Arc<Key>>>;

impl FuzzedService {
    pub(super) fn new() -> Self {
        let (keys_per_pin, bytes_per_pin) = LIMITS;
        let limits = Limits { keys_per_pin, bytes_per_pin, ..Limits::default() };
        let clock = Arc::new(ManualClock::at(Timestamp(1_478_001_296_123_456)));
        let (hub, deliveries) = Hub::new(100);
        let pin = Pin::parse(PIN).expect("it is one");
        let store = Store::in_memory(limits, clock, hub.clone());
        store.insert(&pin);
        let service =
            Service { value_max_chars: VALUE_MAX_CHARS, ..Service::with_test_limits(Arc::new(store), hub) };
        let proxies = Proxies::new(vec!["127.0.0.0/8".parse().expect("it is one")]);
        Self { service, pin, proxies, delivery: tokio::spawn(hub::deliver(deliveries)) }
    }

    /// Asks, and looks at what is logged, answered and kept.
    pub(super) async fn ask(&self, request: Request<Full<Bytes>>) {
        let before = self.keys().await;
        let client = self.proxies.client(PEER, request.headers());
        let noted = AccessEntry::new(client, &request);
        let (head, body) = request.into_parts();
        let sent = body.collect().await.expect("it is there").to_bytes();
        let says_pin = has_pin(head.method.as_str(), &head.headers, &sent);
        let request = Request::from_parts(head.clone(), Full::from(sent));
        let answer = Answer::take(
            http::answer(&self.service, client, request.into_parts(), async || Ok(()), |answer| answer).await,
        )
        .await;

        let line = noted.line(answer.status);
        assert!(!line.contains(PIN) && !line.contains(char::is_control), "logged: {line}");
        is_well_formed(&head, &answer);
        let refused = answer.status.is_client_error();
        assert!(says_pin || !refused || !answer.text().contains(PIN), "told the pin: {}", answer.text());
        let after = self.keys().await;
        are_within_limits(&after);
        if refused || !matches!(head.method, Method::POST | Method::PUT | Method::PATCH | Method::DELETE) {
            assert_eq!(before, after, "{head:?} {}", answer.status);
        } else if let (Some(before), true) = (before, head.uri.path().contains("clusters/")) {
            goes_with(&head.method, &answer, &before, &after);
        }
        if let (StatusCode::OK | StatusCode::CREATED, Some(keys)) = (answer.status, &after)
            && matches!(head.method, Method::POST | Method::PUT | Method::PATCH)
        {
            for key in keys {
                self.takes_it_back(key).await;
            }
        }
    }

    async fn keys(&self) -> Keys {
        self.service.store.keys(&self.pin).await.ok()
    }

    /// What is kept can be read, and sent again in each of the three forms that a body can have, and is the same.
    async fn takes_it_back(&self, key: &Key) {
        if !protocol::key::is_addressable(&key.name) {
            return;
        }
        let path = format!("/api/v1/clusters/{PIN}/keys/{}", key.name);
        for (content_type, body) in forms(key) {
            let request = Request::put(&path)
                .header("host", "x")
                .header("accept", "application/json")
                .header("content-type", content_type);
            let request = request.body(Full::from(body)).expect("it is a request");
            let answer = Answer::take(
                http::answer(&self.service, PEER, request.into_parts(), async || Ok(()), |answer| answer)
                    .await,
            )
            .await;
            assert_eq!(answer.status, StatusCode::OK, "{key:?}: {}", answer.text());
            assert_eq!(answer.key_value(), Some((key.name.clone(), key.value.clone())));
        }
        let request = Request::get(&path).header("host", "x").body(Full::default()).expect("it is a request");
        let answer = Answer::take(
            http::answer(&self.service, PEER, request.into_parts(), async || Ok(()), |answer| answer).await,
        )
        .await;
        assert_eq!(protocol::key::from_line(&key.name, answer.text()), Some(key.value.as_str()));
    }
}

impl Drop for FuzzedService {
    fn drop(&mut self) {
        self.delivery.abort();
    }
}

fn are_within_limits(keys: &Keys) {
    let keys = keys.as_deref().unwrap_or_default();
    let bytes: usize = keys.iter().map(|key| key.name.len() + key.value.len()).sum();
    assert!(keys.len() <= LIMITS.0 && bytes <= LIMITS.1, "{} keys of {bytes} bytes", keys.len());
    for (index, key) in keys.iter().enumerate() {
        for (text, most) in [(&key.name, protocol::limits::KEY_MAX_CHARS), (&key.value, VALUE_MAX_CHARS)] {
            assert!(!text.is_empty() && text.trim() == text && text.chars().count() <= most, "{text:?}");
        }
        assert!(keys[..index].iter().all(|other| other.name != key.name), "{:?} is there twice", key.name);
    }
}

/// Between before and after lies what the request asked for, and nothing else.
fn goes_with(method: &Method, answer: &Answer, before: &[Arc<Key>], after: &Keys) {
    match (method, after) {
        (&Method::DELETE, None) => assert_eq!(answer.status, StatusCode::NO_CONTENT),
        (&Method::DELETE, Some(after)) => {
            assert_eq!((answer.status, after.len() + 1), (StatusCode::NO_CONTENT, before.len()));
            assert!(after.iter().all(|key| before.contains(key)));
        }
        (&Method::POST, Some(after)) => {
            assert_eq!((answer.status, after.len()), (StatusCode::CREATED, before.len() + 1));
            assert_eq!(&after[..before.len()], before);
            is_told(answer, &after[before.len()]);
        }
        (_, Some(after)) => {
            assert_eq!((answer.status, after.len()), (StatusCode::OK, before.len()));
            let changed: Vec<_> = (0..after.len()).filter(|at| after[*at] != before[*at]).collect();
            assert!(changed.len() <= 1, "{changed:?} of {after:?}");
            if let Some(at) = changed.first() {
                is_told(answer, &after[*at]);
            }
        }
        (_, None) => panic!("{method} made the cluster go"),
    }
}

/// The answer shows the key as it is kept.
fn is_told(answer: &Answer, key: &Key) {
    match answer.key_value() {
        Some(told) => assert_eq!(told, (key.name.clone(), key.value.clone())),
        None => assert_eq!(answer.text(), protocol::key::to_line(&key.name, &key.value)),
    }
}

/// The key as a client may send it.
fn forms(key: &Key) -> [(String, String); 3] {
    let fields = [("key", &key.name), ("value", &key.value)];
    let json = serde_json::json!({ "key": key.name, "value": key.value }).to_string();
    let form = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    let mut boundary = "b".to_owned();
    while key.value.contains(&boundary) {
        boundary.push('b');
    }
    let part = |(name, text)| {
        format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{text}\r\n")
    };
    let multipart = format!("{}--{boundary}--\r\n", fields.map(part).concat());
    [
        ("application/json".to_owned(), json),
        ("application/x-www-form-urlencoded".to_owned(), form),
        (format!("multipart/form-data; boundary={boundary}"), multipart),
    ]
}
