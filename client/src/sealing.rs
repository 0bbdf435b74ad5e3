//! A service as a member of a cluster uses it: what goes there is sealed where the cluster has a secret, and what comes
//! back has to open. Where it has none, a sealed value is refused instead of being taken for the value.

use std::time::Duration;

use protocol::key::{MASTER_IP, MASTER_READY};
use protocol::url::ServiceUrl;
use protocol::{Pin, Secret};

use crate::failure::{Failure, FailureKind, SealFault};
use crate::seal::{OpenError, Seal, is_sealed};
use crate::{Answer, HttpService, Outcome, Reached, Request, Service};

/// A service and the seal of a cluster.
pub struct Sealing<S> {
    service: S,
    seal: Option<Seal>,
    /// Whether a value of this service has opened, which shows that the secret is that of the cluster.
    has_opened: bool,
}

impl<S> Sealing<S> {
    /// Seals what goes to this service with the cluster's secret, if it has one.
    pub fn new(service: S, secret: Option<&Secret>, pin: &Pin) -> Self {
        Self { service, seal: secret.map(|secret| Seal::new(secret, pin)), has_opened: false }
    }

    fn open(&mut self, key: &str, value: String) -> Result<String, Failure> {
        let Some(seal) = &self.seal else {
            return match is_sealed(&value) {
                false => Ok(value),
                true => {
                    Err(fault(SealFault::NoSecret, key, "is sealed; this context has no cvm_cluster_secret"))
                }
            };
        };
        let why = match seal.open(key, &value) {
            Ok(value) => {
                self.has_opened = true;
                return Ok(value);
            }
            Err(why) => why,
        };
        let another = [MASTER_IP, MASTER_READY].into_iter().find(|name| seal.open(name, &value).is_ok());
        Err(match (why, another) {
            (OpenError::NotSealed, _) => {
                fault(SealFault::NotSealed, key, "is not sealed; this context has a cvm_cluster_secret")
            }
            (OpenError::Damaged, _) => {
                fault(SealFault::Forged, key, "is no whole sealed value: it was cut off or changed")
            }
            (OpenError::Foreign, Some(another)) => {
                let what = format!("was sealed for the key '{another}': it was put in another's place");
                fault(SealFault::Forged, key, &what)
            }
            (OpenError::Foreign, None) if self.has_opened => fault(
                SealFault::Forged,
                key,
                "does not open, though another value of this pin did: it is forged, or comes from another key or pin",
            ),
            (OpenError::Foreign, None) => fault(
                SealFault::Foreign,
                key,
                "does not open: it was sealed with another cvm_cluster_secret, or it is forged, or comes from \
                 another pin",
            ),
            (OpenError::NotText, _) => fault(SealFault::Forged, key, "opens, and is not text"),
        })
    }
}

impl Sealing<HttpService> {
    /// The service itself.
    #[must_use]
    pub fn http(&self) -> &HttpService {
        &self.service
    }
}

impl<S: Service> Service for Sealing<S> {
    fn send(&mut self, request: &Request<'_>, limit: Duration) -> Result<Answer, Failure> {
        let answer = match (&self.seal, request) {
            (Some(seal), &Request::Create { key, value }) => {
                let value = seal.seal(key, value);
                let result = self.service.send(&Request::Create { key, value: &value }, limit);
                result.map_err(|failure| with_length(failure, &value))
            }
            (Some(seal), &Request::Replace { key, value }) => {
                let value = seal.seal(key, value);
                let result = self.service.send(&Request::Replace { key, value: &value }, limit);
                result.map_err(|failure| with_length(failure, &value))
            }
            (Some(seal), &Request::Report { id, report }) => {
                let report = seal.seal(&node_name(id), report);
                self.service.send(&Request::Report { id, report: &report }, limit)
            }
            _ => self.service.send(request, limit),
        }?;
        match (request, answer) {
            (
                Request::Get { key, .. } | Request::Changed { key, .. },
                Answer { outcome: Outcome::Value(value), granted },
            ) => Ok(Answer { outcome: Outcome::Value(self.open(key, value)?), granted }),
            (_, answer) => Ok(answer),
        }
    }

    fn offers_nodes(&self) -> bool {
        self.service.offers_nodes()
    }

    fn url(&self) -> &ServiceUrl {
        self.service.url()
    }

    fn etag(&self) -> Option<String> {
        self.service.etag()
    }

    fn age(&self) -> Option<Duration> {
        self.service.age()
    }

    fn reached(&self) -> Option<Reached> {
        self.service.reached()
    }
}

/// The name under which the report of a node is sealed: no key can have it.
#[must_use]
pub fn node_name(id: &str) -> String {
    format!("node:{id}")
}

fn fault(fault: SealFault, key: &str, what: &str) -> Failure {
    Failure::new(FailureKind::Seal(fault), format!("a value of '{key}' that {what}"))
}

/// A service that refuses a value counts the characters of the sealed one.
fn with_length(failure: Failure, sealed: &str) -> Failure {
    match failure.kind {
        FailureKind::Rejected => {
            let cause = format!("{} (sealed, the value has {} characters)", failure.cause, sealed.len());
            Failure { cause, ..failure }
        }
        _ => failure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::error::Status;
    use std::collections::BTreeMap;

    const PIN: &str = "enico1qq0oey";

    /// A service that keeps what it gets.
    struct Store {
        url: ServiceUrl,
        values: BTreeMap<String, String>,
        longest: usize,
    }

    impl Service for Store {
        fn send(&mut self, request: &Request<'_>, _: Duration) -> Result<Answer, Failure> {
            let outcome = match *request {
                Request::Cluster | Request::Delete { .. } => Outcome::Done,
                Request::Nodes { .. } => Outcome::Missing,
                Request::Report { id, report } => {
                    self.values.insert(id.to_owned(), report.to_owned());
                    Outcome::Done
                }
                Request::Get { key, .. } | Request::Changed { key, .. } => {
                    self.values.get(key).cloned().map_or(Outcome::Missing, Outcome::Value)
                }
                Request::Create { key, value } | Request::Replace { key, value } => {
                    if value.len() > self.longest {
                        return Err(Failure::new(FailureKind::Rejected, "400 Bad Request: value: too long"));
                    }
                    self.values.insert(key.to_owned(), value.to_owned());
                    Outcome::Done
                }
            };
            Ok(Answer { outcome, granted: Some(7) })
        }

        fn url(&self) -> &ServiceUrl {
            &self.url
        }

        fn reached(&self) -> Option<Reached> {
            None
        }
    }

    fn member(secret: Option<u8>, pin: &str) -> Sealing<Store> {
        let url = ServiceUrl::parse("http://pair", false).unwrap();
        let secret = secret.map(|byte| Secret::from_bytes([byte; 32]));
        let store = Store { url, values: BTreeMap::new(), longest: 1000 };
        Sealing::new(store, secret.as_ref(), &Pin::parse(pin).unwrap())
    }

    impl Sealing<Store> {
        fn put(&mut self, key: &str, value: &str) -> Result<(), Failure> {
            self.send(&Request::Create { key, value }, Duration::MAX).map(drop)
        }

        fn get(&mut self, key: &str) -> Result<String, Failure> {
            let answer = self.send(&Request::Get { key, wait: 0 }, Duration::MAX)?;
            assert_eq!(answer.granted, Some(7));
            match answer.outcome {
                Outcome::Value(value) => Ok(value),
                other => panic!("{other:?}"),
            }
        }

        fn stored(&mut self, key: &str) -> &mut String {
            self.service.values.get_mut(key).unwrap()
        }
    }

    #[test]
    fn the_service_sees_no_value_of_a_sealed_cluster() {
        let mut ours = member(Some(1), PIN);
        for request in [
            Request::Create { key: "token", value: "a value" },
            Request::Replace { key: "token", value: "a value" },
        ] {
            ours.send(&request, Duration::MAX).unwrap();
            assert!(is_sealed(ours.stored("token")), "{request:?}");
            assert_eq!(ours.get("token").unwrap(), "a value");
        }
        let mut clear = member(None, PIN);
        clear.put("token", "a value").unwrap();
        assert_eq!(clear.stored("token"), "a value");
        assert_eq!(clear.get("token").unwrap(), "a value");
    }

    /// What a member with the secret 1 says of a value of `master_ip` that was put there.
    #[track_caller]
    fn refuses(mut ours: Sealing<Store>, value: &str, expected: &str) {
        ours.service.values.insert(MASTER_IP.to_owned(), value.to_owned());
        let failure = ours.get(MASTER_IP).unwrap_err();
        assert!(!failure.can_heal());
        let error = failure.into_error(ours.url(), Duration::ZERO);
        assert_eq!(error.status(), Status::Refused);
        assert!(error.is_unopened());
        let text = error.to_string();
        let begin = "the pairing service http://pair answered a value of 'master_ip' that ";
        assert!(text.starts_with(&format!("{begin}{expected}")), "{text}");
        assert!(!text.contains(value) && !error.next_step().is_empty(), "{text}");
    }

    #[test]
    fn tells_apart_why_a_value_does_not_open() {
        let sealed = |secret, pin, key| {
            let mut other = member(Some(secret), pin);
            other.put(key, "10.0.0.5").unwrap();
            other.stored(key).clone()
        };
        let ours = || member(Some(1), PIN);
        let having_opened = || {
            let mut ours = ours();
            ours.put(MASTER_READY, "10.0.0.5").unwrap();
            ours.get(MASTER_READY).unwrap();
            ours
        };
        let whole = sealed(1, PIN, MASTER_IP);
        refuses(ours(), "10.0.0.5", "is not sealed");
        refuses(ours(), "v2.AAAA", "is not sealed");
        refuses(ours(), "v1.AAAA", "is no whole sealed value");
        refuses(ours(), &sealed(1, PIN, MASTER_READY), "was sealed for the key 'master_ready'");
        refuses(
            ours(),
            &sealed(2, PIN, MASTER_IP),
            "does not open: it was sealed with another cvm_cluster_secret",
        );
        refuses(ours(), &sealed(1, "zzzzzzzzzzzz", MASTER_IP), "does not open: it was sealed with another");
        refuses(
            having_opened(),
            &sealed(1, "zzzzzzzzzzzz", MASTER_IP),
            "does not open, though another value",
        );
        refuses(having_opened(), &sealed(1, PIN, "token"), "does not open, though another value");
        refuses(having_opened(), &whole.replace("v1.", "v1.AAAA"), "does not open, though another value");
        refuses(member(None, PIN), &whole, "is sealed; this context has no cvm_cluster_secret");
    }

    #[test]
    fn a_report_is_sealed_for_its_node() {
        let mut ours = member(Some(1), PIN);
        ours.send(&Request::Report { id: "n1", report: "{}" }, Duration::MAX).unwrap();
        let sealed = ours.stored("n1").clone();
        let seal = Seal::new(&Secret::from_bytes([1; 32]), &Pin::parse(PIN).unwrap());
        assert_eq!(seal.open(&node_name("n1"), &sealed).unwrap(), "{}");
        assert!(seal.open(&node_name("n2"), &sealed).is_err() && seal.open("n1", &sealed).is_err());
    }

    #[test]
    fn says_how_long_a_value_is_that_a_service_refuses() {
        let mut ours = member(Some(1), PIN);
        ours.put("token", &"x".repeat(719)).unwrap();
        let failure = ours.put("token", &"x".repeat(720)).unwrap_err();
        assert!(failure.cause.ends_with("too long (sealed, the value has 1001 characters)"), "{failure}");
        let clear = member(None, PIN).put("token", &"x".repeat(1001)).unwrap_err();
        assert!(clear.cause.ends_with("too long"), "{clear}");
    }
}
