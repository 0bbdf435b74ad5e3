//! A service from the point of view of a user who makes pins: creates clusters, shows them, deletes them and their keys.

use std::io::BufReader;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use protocol::bodies::{Cluster, KeyValue};
use protocol::error::{Error, Status};
use protocol::url::ServiceUrl;
use protocol::{Pin, Trust, limits};
use ureq::http::Method;

use super::answer::{self, Received, nonsense};
use super::connection::{Connection, Head};
use super::events::{ClusterEvent, EventReader};
use super::failure::{AdviceTerms, Failure};
use super::http::{self, MAX_NODES};

/// Longest time for one request: a person waits for it.
const LIMIT: Duration = Duration::from_secs(30);
/// Most bytes of a list of keys: all that a pin holds, with every character escaped.
const MAX_LIST: usize = limits::BYTES_PER_PIN * 6 + limits::KEYS_PER_PIN * 64;
/// After so long a silence the system asks whether the service is still there: it sends something every 15 s.
const SILENCE: Duration = Duration::from_secs(30);
const USER_AGENT: &str = concat!("cernvm-pairing-server/", env!("CARGO_PKG_VERSION"));

/// A service at a URL, for every pin.
pub struct Pins {
    connection: Connection,
    token: Option<String>,
    terms: AdviceTerms,
}

/// How a stream of events came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Watched {
    /// It told of the cluster.
    Told,
    /// The service does not know the pin.
    Unknown,
    /// The service knows the pin, and tells no events.
    Untold,
}

/// What a service has under a pin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PinContents {
    /// When the pin was made, in RFC 3339.
    pub created: String,
    /// The keys in the service's order, each with its value.
    pub keys: Vec<(String, String)>,
}

impl Pins {
    /// Prepares for a service; nothing is sent yet. `token` is what the service asks for where it does not let everyone
    /// make pins (`serve --create-token-file`).
    ///
    /// # Errors
    /// [`Status::BadContext`] when the CA cannot be used.
    pub fn new(url: ServiceUrl, trust: &Trust, token: Option<String>) -> Result<Self, Error> {
        let terms = AdviceTerms::COMMAND;
        Ok(Self { connection: Connection::new(url, trust, USER_AGENT, "--ca")?, token, terms })
    }

    /// As [`Self::new`], for a VM with a context: errors are said in its terms.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn of_context(url: ServiceUrl, trust: &Trust) -> Result<Self, Error> {
        let connection = Connection::new(url, trust, http::USER_AGENT, "cvm_service_ca")?;
        Ok(Self { connection, token: None, terms: AdviceTerms::CONTEXT })
    }

    /// Creates a cluster, and gives its pin.
    ///
    /// # Errors
    /// The service cannot be reached or trusted, or makes no pin.
    pub fn create(&mut self) -> Result<Pin, Error> {
        let token = self.token.clone();
        let head = Head {
            // Without a body a proxy might ask for a length (RFC 9110 section 8.6).
            body: Some("{}".to_owned()),
            token: token.as_deref(),
            ..Head::new(Method::POST, "api/v1/clusters".to_owned())
        };
        self.ask(&head, |received| {
            if received.status != 201 {
                return Err(received.refusal(&[]));
            }
            let cluster: Option<Cluster<'_>> = serde_json::from_slice(&received.body).ok();
            let pin = cluster.and_then(|cluster| Pin::parse(&cluster.pin).ok());
            pin.ok_or_else(|| nonsense("201 Created, but without a pin"))
        })
    }

    /// What is under a pin.
    ///
    /// # Errors
    /// The service cannot be reached or trusted, or does not know the pin.
    pub fn show(&mut self, pin: &Pin) -> Result<PinContents, Error> {
        let cluster = format!("api/v1/clusters/{}", pin.reveal());
        let created = self.ask(&Head::new(Method::GET, cluster.clone()), |received| {
            if received.is_own_not_found() {
                return Ok(None);
            }
            match serde_json::from_slice::<Cluster<'_>>(&received.body) {
                Ok(cluster) if received.status == 200 => Ok(Some(cluster.creation_time.into_owned())),
                _ => Err(received.refusal(&[pin.reveal()])),
            }
        })?;
        let Some(created) = created else { return Err(self.unknown_pin(pin)) };
        let list = Head::new(Method::GET, format!("{cluster}/keys"));
        let keys = self.ask(&list, |received| {
            if received.is_own_not_found() {
                return Ok(None);
            }
            match serde_json::from_slice::<Vec<KeyValue<'_>>>(&received.body) {
                Ok(keys) if received.status == 200 => Ok(Some(
                    keys.into_iter().map(|key| (key.key.into_owned(), key.value.into_owned())).collect(),
                )),
                _ => Err(received.refusal(&[pin.reveal()])),
            }
        })?;
        keys.map(|keys| PinContents { created, keys }).ok_or_else(|| self.unknown_pin(pin))
    }

    /// Hands everything that happens to a cluster to `each`, until that breaks off, the stream ends or the time is up.
    ///
    /// # Errors
    /// Why the service does not tell, or does not go on telling.
    pub(super) fn watch(
        &mut self,
        pin: &Pin,
        limit: Duration,
        each: &mut dyn FnMut(ClusterEvent) -> ControlFlow<()>,
    ) -> Result<Watched, Failure> {
        let cluster = format!("api/v1/clusters/{}", pin.reveal());
        let events = format!("{cluster}/events");
        let head = Head { accept: "text/event-stream", ..Head::new(Method::GET, events) };
        self.connection.keep_alive(SILENCE);
        let told = self.connection.send(&head, limit, |response| {
            if response.status() == 404 {
                return Ok(false);
            }
            if response.status() != 200 {
                return Err(answer::receive(response, answer::MAX_BODY)?.refusal(&[pin.reveal()]));
            }
            let body = response.into_body().into_with_config().limit(u64::MAX).reader();
            let mut events = EventReader::new(BufReader::new(body));
            while let Some(event) = events.next()? {
                if each(event).is_break() {
                    break;
                }
            }
            Ok(true)
        })?;
        if told {
            return Ok(Watched::Told);
        }
        // An older service has no events, and so answers 404 for a pin that it knows.
        self.connection.send(&Head::new(Method::GET, cluster), LIMIT, |response| {
            let received = answer::receive(response, answer::MAX_BODY)?;
            match received.status.as_u16() {
                200 => Ok(Watched::Untold),
                404 if received.is_own_not_found() => Ok(Watched::Unknown),
                _ => Err(received.refusal(&[pin.reveal()])),
            }
        })
    }

    /// The nodes under a pin as a JSON list, for [`crate::Members`]: with `query` `after=VERSION`, those that have reported
    /// since that list, for which the service may hold the request for so many seconds. `None` when the service does not
    /// know the pin, or no nodes.
    ///
    /// # Errors
    /// The service does not answer, or nothing that can be used.
    pub(super) fn nodes(&mut self, pin: &Pin, query: &str, wait: u64) -> Result<Option<String>, Failure> {
        let path = format!("api/v1/clusters/{}/nodes?{query}", pin.reveal());
        let head = Head { wait, ..Head::new(Method::GET, path) };
        self.connection.send(&head, LIMIT + Duration::from_secs(wait), |response| {
            let received = answer::receive(response, MAX_NODES)?;
            match received.status.as_u16() {
                200 => received.json_text().map(Some),
                404 => Ok(None),
                _ => Err(received.refusal(&[pin.reveal()])),
            }
        })
    }

    /// What to say of a failure of [`Self::watch`] or [`Self::nodes`] after so much time.
    pub(super) fn explain(&self, failure: Failure, tried: Duration) -> Error {
        failure.explain(self.connection.url(), tried, &self.terms)
    }

    /// What to do about a failure.
    pub(super) fn next_step(&self, failure: &Failure) -> String {
        failure.next_step(self.connection.url(), &self.terms)
    }

    /// What to say of a service that has no events.
    pub(super) fn tells_nothing(&self) -> Error {
        Error::refused(
            format!("{} tells no events: it is older than they are", self.connection.url()),
            "ask it for the keys: `cernvm-pairing-server show PIN`, or `cernvm-cluster-agent get master_ip` in a VM",
        )
    }

    /// Creates a key.
    ///
    /// # Errors
    /// The service cannot be reached or trusted, does not know the pin, or refuses the key.
    pub fn create_key(&mut self, pin: &Pin, key: &str, value: &str) -> Result<(), Error> {
        let path = format!("api/v1/clusters/{}/keys", pin.reveal());
        let body = KeyValue { key: key.into(), value: value.into() };
        let body = serde_json::to_string(&body).expect("two strings serialize");
        let head = Head { body: Some(body), ..Head::new(Method::POST, path) };
        let done = self.ask(&head, |received| match received.status.as_u16() {
            201 => Ok(Some(())),
            404 if received.is_own_not_found() => Ok(None),
            _ => Err(received.refusal(&[pin.reveal(), value])),
        })?;
        done.ok_or_else(|| self.unknown_pin(pin))
    }

    /// Deletes a cluster with all its keys, or one key of it.
    ///
    /// # Errors
    /// The service cannot be reached or trusted, or knows no such pin or key.
    pub fn delete(&mut self, pin: &Pin, key: Option<&str>) -> Result<(), Error> {
        let cluster = format!("api/v1/clusters/{}", pin.reveal());
        let path = key.map_or_else(|| cluster.clone(), |key| format!("{cluster}/keys/{key}"));
        let done = self.ask(&Head::new(Method::DELETE, path), |received| match received.status.as_u16() {
            200 | 204 => Ok(Some(())),
            404 if received.is_own_not_found() => Ok(None),
            _ => Err(received.refusal(&[pin.reveal()])),
        })?;
        match (done, key) {
            (Some(()), _) => Ok(()),
            (None, None) => Err(self.unknown_pin(pin)),
            (None, Some(key)) => Err(Error::new(
                Status::TimedOut,
                format!("{} has no key '{key}' under the pin {pin}", self.connection.url()),
                "see which keys there are with `show`",
            )),
        }
    }

    /// One request; `read` says what its answer means.
    fn ask<T>(
        &mut self,
        head: &Head<'_>,
        read: impl FnOnce(&Received) -> Result<T, Failure>,
    ) -> Result<T, Error> {
        let started = Instant::now();
        let result =
            self.connection.send(head, LIMIT, |response| read(&answer::receive(response, MAX_LIST)?));
        result.map_err(|failure| failure.explain(self.connection.url(), started.elapsed(), &self.terms))
    }

    /// What to say where the service does not know a pin.
    pub(super) fn unknown_pin(&self, pin: &Pin) -> Error {
        let what = format!(
            "{} does not know the pin {pin}: it is mistyped, expired or deleted",
            self.connection.url()
        );
        match self.terms.unknown_pin() {
            Some(next) => Error::refused(what, next),
            None => Error::unknown_pin(what),
        }
    }
}
