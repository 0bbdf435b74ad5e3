//! A service with a clock of its own, asked without a socket in between.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use http_body_util::{BodyExt, Full};
use hyper::{Request, Response};
use tokio::task::JoinHandle;

use crate::clock::{ManualClock, Timestamp};
use crate::http::{self, AnswerBody};
use crate::hub::{self, Hub};
use crate::service::Service;
use crate::slave_contexts::{Observers, SlaveContexts};
use crate::store::{Limits, Store};

/// A service, and a pin that it has made.
pub(crate) struct Harness {
    pub(crate) service: Arc<Service>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) pin: protocol::Pin,
    delivery: JoinHandle<()>,
}

/// An answer.
pub(crate) struct TestAnswer {
    pub(crate) status: u16,
    pub(crate) body: String,
    headers: HashMap<String, String>,
}

impl Harness {
    pub(crate) async fn new() -> Self {
        Self::with(Limits::default()).await
    }

    pub(crate) async fn with(limits: Limits) -> Self {
        let clock = Arc::new(ManualClock::at(Timestamp(1_478_001_296_123_456)));
        let (hub, deliveries) = Hub::new(101);
        let slave_contexts = Arc::new(SlaveContexts::default());
        let observers = Arc::new(Observers::new(slave_contexts.clone(), hub.clone()));
        let store = Arc::new(Store::in_memory(limits, clock.clone(), observers));
        let pin = store.create_cluster().await.unwrap().pin;
        let service = Arc::new(Service { slave_contexts, ..Service::with_test_limits(store, hub) });
        Self { service, clock, pin, delivery: tokio::spawn(hub::deliver(deliveries)) }
    }

    pub(crate) fn cluster(&self) -> String {
        format!("/api/v1/clusters/{}", self.pin.reveal())
    }

    pub(crate) fn keys(&self) -> String {
        format!("{}/keys", self.cluster())
    }

    pub(crate) fn key(&self, name: &str) -> String {
        format!("{}/{name}", self.keys())
    }

    /// Creates a key.
    pub(crate) async fn set(&self, name: &str, value: &str) {
        self.service.store.create_key(&self.pin, name, value).await.unwrap();
    }

    pub(crate) async fn ask(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> TestAnswer {
        let (head, body) = self.send(method, path, headers, body).await.into_parts();
        let text = |value: &hyper::header::HeaderValue| value.to_str().unwrap().to_owned();
        TestAnswer {
            status: head.status.as_u16(),
            headers: head.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect(),
            body: String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap(),
        }
    }

    /// Asks, and leaves the body where it is.
    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Response<AnswerBody> {
        let mut request = Request::builder().method(method).uri(path).header("host", "x");
        for &(name, value) in headers {
            request = request.header(name, value);
        }
        let request = request.body(Full::from(body.to_owned())).unwrap();
        http::answer(
            &self.service,
            Ipv4Addr::LOCALHOST.into(),
            request.into_parts(),
            async || Ok(()),
            |answer| answer,
        )
        .await
    }
}

impl Drop for Harness {
    fn drop(&mut self) {
        self.delivery.abort();
    }
}

impl TestAnswer {
    /// A header's value, empty when it is not there.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}
