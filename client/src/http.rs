//! The agent's requests about one pin over HTTP. The contract is `docs/api.md`; ureq speaks HTTP/1.1.

use std::time::{Duration, SystemTime};

use protocol::bodies::{Cluster, KeyValue};
use protocol::error::Error;
use protocol::url::ServiceUrl;
use protocol::{Pin, Trust, node, wait};
use ureq::http::Method;
use ureq::http::header::ETAG;

use super::answer::{self, Received, nonsense};
use super::connection::{Connection, Head};
use super::connector::Reached;
use super::failure::{Failure, FailureKind};
use super::media_type::JSON;
use super::{Answer, Outcome, Request, Service};

const TEXT: &str = "text/plain";
/// Most bytes of a list of nodes: all that a pin holds, with what the service says of each.
pub(super) const MAX_NODES: usize = node::NODE_BYTES_PER_PIN + node::NODES_PER_PIN * 256;
/// Longest entity tag that is sent back, in bytes.
const MAX_TAG: usize = 128;
pub(super) const USER_AGENT: &str = concat!("cernvm-cluster-agent/", env!("CARGO_PKG_VERSION"));

/// A service at a URL, for one pin.
pub struct HttpService {
    connection: Connection,
    pin: Pin,
    offers_nodes: bool,
    age: Option<Duration>,
    etag: Option<String>,
}

impl HttpService {
    /// Prepares for a service; nothing is sent yet.
    ///
    /// # Errors
    /// [`protocol::error::Status::BadContext`] when the context's CA cannot be used.
    pub fn new(url: ServiceUrl, pin: Pin, trust: &Trust) -> Result<Self, Error> {
        Ok(Self {
            connection: Connection::new(url, trust, USER_AGENT, "cvm_service_ca")?,
            pin,
            offers_nodes: false,
            age: None,
            etag: None,
        })
    }

    /// Has the system ask a peer that is silent for so long whether it is still there, and give the connection up when
    /// it does not answer: a machine that is cut off ends none.
    #[must_use]
    pub fn with_keepalive(self, silence: Duration) -> Self {
        self.connection.keep_alive(silence);
        self
    }

    /// When the last answer was made by the service's clock, where the service said so.
    #[must_use]
    pub fn time_of_answer(&self) -> Option<SystemTime> {
        self.connection.time_of_answer()
    }

    /// The request as HTTP has it.
    fn head(&self, request: &Request<'_>) -> Head<'static> {
        let cluster = format!("api/v1/clusters/{}", self.pin.reveal());
        let one = |key: &str| format!("{cluster}/keys/{key}");
        match *request {
            Request::Cluster => Head::new(Method::GET, cluster),
            Request::Get { key, wait } => Head { accept: TEXT, wait, ..Head::new(Method::GET, one(key)) },
            Request::Changed { key, etag, wait } => {
                let unless = Some(etag.to_owned());
                Head { accept: TEXT, wait, unless, ..Head::new(Method::GET, one(key)) }
            }
            Request::Create { key, value } => {
                Head { body: Some(json(key, value)), ..Head::new(Method::POST, format!("{cluster}/keys")) }
            }
            Request::Replace { key, value } => {
                Head { body: Some(json(key, value)), ..Head::new(Method::PUT, one(key)) }
            }
            Request::Report { id, report } => {
                let head = Head::new(Method::PUT, format!("{cluster}/nodes/{id}"));
                let content_type = if node::is_sealed(report) { TEXT } else { JSON };
                Head { body: Some(report.to_owned()), content_type, ..head }
            }
            Request::Nodes { query, wait } => {
                Head { wait, ..Head::new(Method::GET, format!("{cluster}/nodes?{query}")) }
            }
            Request::Delete { key } => Head::new(Method::DELETE, one(key)),
        }
    }
}

fn json(key: &str, value: &str) -> String {
    let body = KeyValue { key: key.into(), value: value.into() };
    serde_json::to_string(&body).expect("two strings serialize")
}

/// Whether an answer tells that nodes can report to the service.
fn tells_of_nodes(received: &Received) -> bool {
    let values = received.headers.get_all(node::FEATURES).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|feature| feature.trim() == node::FEATURE)
}

/// What an answer to a request about this pin says.
fn read(pin: &Pin, request: &Request<'_>, received: Received) -> Result<Answer, Failure> {
    let granted = received
        .headers
        .get(wait::PREFERENCE_APPLIED)
        .map(|value| value.to_str().ok().and_then(wait::parse).unwrap_or_default());
    let mut secrets = vec![pin.reveal()];
    if let Request::Create { value, .. } | Request::Replace { value, .. } = request {
        secrets.push(value);
    }
    let status = received.status;
    let is_this_cluster = |body: &[u8]| {
        serde_json::from_slice::<Cluster<'_>>(body).is_ok_and(|cluster| cluster.pin == pin.reveal())
    };
    let outcome = match (request, status.as_u16()) {
        (Request::Cluster, 200) if is_this_cluster(&received.body) => Outcome::Done,
        (Request::Cluster, 200) => return Err(nonsense(format!("{status}, but not as {JSON} for this pin"))),
        // SECURITY: a 404 of something else in the service's place must not end a wait, so it has to be the API's own.
        (Request::Cluster, 404) if received.is_own_not_found() => Outcome::Missing,
        (Request::Changed { .. }, 304) => Outcome::Unchanged,
        (Request::Get { key, .. } | Request::Changed { key, .. }, 200) => {
            Outcome::Value(received.value(key)?)
        }
        (Request::Nodes { .. }, 200) => Outcome::Nodes(received.json_text()?),
        (Request::Report { .. }, 204) => Outcome::Done,
        (Request::Create { .. }, 201) | (Request::Replace { .. } | Request::Delete { .. }, 200 | 204) => {
            Outcome::Done
        }
        (Request::Create { .. }, 409) => Outcome::Exists,
        (Request::Create { .. } | Request::Replace { .. }, 400 | 413 | 422) => {
            return Err(Failure::new(FailureKind::Rejected, received.with_reason(&secrets)));
        }
        (Request::Cluster, _) => return Err(received.refusal(&secrets)),
        (_, 404) => Outcome::Missing,
        _ => return Err(received.refusal(&secrets)),
    };
    Ok(Answer { outcome, granted })
}

impl Service for HttpService {
    fn send(&mut self, request: &Request<'_>, limit: Duration) -> Result<Answer, Failure> {
        let head = self.head(request);
        let (pin, offers_nodes, age) = (&self.pin, &mut self.offers_nodes, &mut self.age);
        *age = None;
        let etag = &mut self.etag;
        *etag = None;
        let max_body = if matches!(request, Request::Nodes { .. }) { MAX_NODES } else { answer::MAX_BODY };
        self.connection.send(&head, limit, |response| {
            let received = answer::receive(response, max_body)?;
            *offers_nodes = tells_of_nodes(&received);
            *age = received.age();
            let tag = received.headers.get(ETAG).and_then(|tag| tag.to_str().ok());
            *etag = tag.filter(|tag| tag.len() <= MAX_TAG).map(str::to_owned);
            read(pin, request, received)
        })
    }

    fn offers_nodes(&self) -> bool {
        self.offers_nodes
    }

    fn etag(&self) -> Option<String> {
        self.etag.clone()
    }

    fn age(&self) -> Option<Duration> {
        self.age
    }

    fn url(&self) -> &ServiceUrl {
        self.connection.url()
    }

    fn reached(&self) -> Option<Reached> {
        self.connection.reached()
    }
}

#[cfg(test)]
mod tests;
