//! Why a request brought no answer that can be used, whether asking again could help, and what to do about it.

use std::fmt;
use std::time::Duration;

use protocol::error::{Error, Status};
use protocol::url::ServiceUrl;

/// Why a request failed: its kind, and the cause in words. The words name host, port or status, but never the pin
/// or a value; the caller names the service.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Failure {
    /// What it means.
    pub kind: FailureKind,
    /// What to tell a person, as it stands in `cannot reach … (cause)` or `… answered cause`.
    pub cause: String,
}

/// What a failure means for the next attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FailureKind {
    /// The name does not resolve.
    Dns,
    /// No connection.
    Connect,
    /// There was no connection within the time limit.
    Timeout,
    /// There was a connection, but no whole answer, or no end of the TLS handshake, within the time limit.
    NoAnswer,
    /// The connection ended before the answer was whole.
    Broken,
    /// TLS is refused.
    Tls(TlsFault),
    /// The HTTP proxy does not let the request through, perhaps with this status.
    Proxy(Option<u16>),
    /// A status that API v1 does not give a meaning here, perhaps with `Retry-After`.
    Status(u16, Option<Duration>),
    /// The service refuses the key or the value of a write.
    Rejected,
    /// A 404 that is not the API's own.
    NotFound,
    /// An HTML page: a captive portal, or another web site.
    Html,
    /// A redirect that must not be followed.
    Redirect,
    /// More than any answer of a pairing service has.
    TooLarge,
    /// Something that is not what API v1 answers.
    Nonsense,
    /// TLS in answer to plain HTTP.
    NeedsTls,
    /// A value that is not what a member of this cluster sealed.
    Seal(SealFault),
}

/// What is wrong with the seal of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SealFault {
    /// It is sealed, and this context has no secret.
    NoSecret,
    /// It is not sealed, and this context has a secret.
    NotSealed,
    /// It does not open, for whatever reason.
    Foreign,
    /// It was changed, or put in another's place.
    Forged,
}

/// What is wrong with TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TlsFault {
    /// A certificate is outside its dates, and nothing else is wrong: this machine's clock may not be set yet.
    Dates,
    /// The certificate is for another name.
    Name,
    /// The certificate comes from a CA that is not trusted.
    Issuer,
    /// The certificate is that of a CA, not that of a service.
    CaCertificate,
    /// The public key is not the pinned one, or the peer does not hold the private key.
    Key,
    /// The port does not speak TLS.
    NotTls,
    /// Anything else.
    Other,
}

/// What advice calls things: a context has settings, a command line has flags.
#[derive(Debug, Clone, Copy)]
pub struct AdviceTerms {
    url: &'static str,
    ca: &'static str,
    fingerprint: &'static str,
    machine: &'static str,
    /// What gives the token that a service may ask for; a context has none.
    token: Option<&'static str>,
    /// What to do about an unknown pin, where that is not to make a new one.
    unknown_pin: Option<&'static str>,
}

impl AdviceTerms {
    /// Of a VM with a context.
    pub const CONTEXT: Self = Self {
        url: "cvm_service_url",
        ca: "cvm_service_ca",
        fingerprint: "cvm_service_fingerprint",
        machine: "this VM",
        token: None,
        unknown_pin: None,
    };
    /// Of a command.
    pub const COMMAND: Self = Self {
        url: "--url",
        ca: "--ca",
        fingerprint: "--fingerprint",
        machine: "this machine",
        token: Some("--create-token-file"),
        unknown_pin: Some("check the pin and --url; a pin that has expired cannot be had back"),
    };

    /// What to do about an unknown pin, where that is not to make a new one.
    pub(super) fn unknown_pin(&self) -> Option<&'static str> {
        self.unknown_pin
    }
}

impl Failure {
    /// A failure of this kind, for this cause.
    pub fn new(kind: FailureKind, cause: impl Into<String>) -> Self {
        Self { kind, cause: cause.into() }
    }

    /// Whether it may go away by itself. Everything else fails at once, so that a mistake shows at once.
    #[must_use]
    pub fn can_heal(&self) -> bool {
        // RFC 9110 and 8470: request timeout, too early, too many requests, and any fault of the server.
        let passing = |status| matches!(status, 408 | 425 | 429 | 500..=599);
        match self.kind {
            FailureKind::Dns
            | FailureKind::Connect
            | FailureKind::Timeout
            | FailureKind::NoAnswer
            | FailureKind::Broken => true,
            FailureKind::Tls(fault) => fault == TlsFault::Dates,
            FailureKind::Proxy(status) => status.is_none_or(passing),
            FailureKind::Status(status, _) => passing(status),
            FailureKind::Rejected
            | FailureKind::NotFound
            | FailureKind::Html
            | FailureKind::Redirect
            | FailureKind::TooLarge
            | FailureKind::Nonsense
            | FailureKind::NeedsTls
            | FailureKind::Seal(_) => false,
        }
    }

    /// How long the service asked to be left alone.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self.kind {
            FailureKind::Status(_, retry_after) => retry_after,
            _ => None,
        }
    }

    /// The error of an agent when this failure of `service` is the last word after trying for so long.
    #[must_use]
    pub fn into_error(self, service: &ServiceUrl, tried: Duration) -> Error {
        self.explain(service, tried, &AdviceTerms::CONTEXT)
    }

    /// The error when this failure of `service` is the last word after trying for so long, in these terms.
    #[must_use]
    pub fn explain(self, service: &ServiceUrl, tried: Duration, terms: &AdviceTerms) -> Error {
        let next = self.next_step(service, terms);
        match self.kind {
            FailureKind::Tls(_) => {
                Error::refused(format!("TLS with {service} is refused: {}", self.cause), next)
            }
            FailureKind::Status(401, _) if terms.token.is_some() => {
                let what = format!("the pairing service {service} asks for a token ({})", self.cause);
                Error::refused(what, next)
            }
            FailureKind::Seal(_) => Error::unopened(service, &self.cause, next),
            FailureKind::Rejected => {
                let what = format!("the pairing service {service} refuses this: {}", self.cause);
                Error::new(Status::BadContext, what, next)
            }
            _ if self.can_heal() => Error::unreachable(service, &self.cause, tried, next),
            FailureKind::Proxy(_) => Error::unreachable(service, &self.cause, tried, next),
            _ => Error::nonsense(service, &self.cause, next),
        }
    }

    pub(super) fn next_step(&self, service: &ServiceUrl, terms: &AdviceTerms) -> String {
        let AdviceTerms { url, ca, fingerprint, machine, token, .. } = terms;
        let (host, port) = (service.host(), service.port());
        match self.kind {
            FailureKind::Dns => format!("check {url}, and that {machine} can resolve {host}"),
            FailureKind::Connect | FailureKind::Timeout => {
                format!("check {url}, and that TCP {host}:{port} is open from {machine}")
            }
            FailureKind::NoAnswer => {
                format!("{host}:{port} takes connections but does not answer: check that {url} has the right port, and the log of the service there")
            }
            FailureKind::Broken => {
                format!("{host}:{port} takes connections but closes them: check that {url} has the right port, and the log of the service there")
            }
            FailureKind::Tls(fault) => match fault {
                TlsFault::Dates => format!("set {machine}'s clock (NTP), or renew the service's certificate"),
                TlsFault::Name => format!("write a name of the certificate into {url}"),
                TlsFault::Issuer => format!("give the CA with {ca}, or the service's key with {fingerprint}"),
                TlsFault::CaCertificate => {
                    format!("give the service a certificate of its own, or trust just this one with {fingerprint}")
                }
                TlsFault::Key => {
                    format!("compare {fingerprint} with the line that the service prints at its start")
                }
                TlsFault::NotTls => {
                    format!("write the port that speaks TLS into {url}, or http:// if the service has no TLS")
                }
                TlsFault::Other => format!("check {url}, {ca} and {fingerprint} against the service"),
            },
            FailureKind::Proxy(Some(407)) => {
                "put the proxy's user name and password into its URL, as in http_proxy=http://USER:PASSWORD@HOST:PORT"
                    .to_owned()
            }
            FailureKind::Proxy(_) => {
                format!("have the proxy let {host}:{port} through, or go past it with no_proxy={host}")
            }
            FailureKind::Status(401, _) if let Some(token) = token => {
                format!("give the file with the service's token with {token}")
            }
            FailureKind::Status(429, _) => "wait, then try again; the service limits how many pins one address makes \
                                     (--max-creations-per-hour)"
                .to_owned(),
            FailureKind::Status(..) if self.can_heal() => {
                "look at the log of the pairing service, or of the proxy before it; it answers, but cannot serve"
                    .to_owned()
            }
            FailureKind::Rejected => "correct the key or the value, or raise the service's limit (--max-value-length)".to_owned(),
            FailureKind::NotFound => format!("check the path in {url}: the API must be at {service}/api/v1/clusters"),
            FailureKind::Html => format!("log in to the network's portal, or correct {url}"),
            FailureKind::Redirect => format!("put the URL where the service really is into {url}"),
            FailureKind::NeedsTls => format!("write https:// in {url}"),
            FailureKind::Seal(fault) => match fault {
                SealFault::NoSecret => {
                    "put the cluster's cvm_cluster_secret into this context; every context of a cluster has the same"
                        .to_owned()
                }
                SealFault::NotSealed => {
                    "put the same cvm_cluster_secret into every context of the cluster, and this agent on every node; if \
                     it is there, another program writes under this pin"
                        .to_owned()
                }
                SealFault::Foreign => {
                    "compare cvm_cluster_secret in the contexts of the cluster; if they are the same, do not trust this \
                     service"
                        .to_owned()
                }
                SealFault::Forged => {
                    format!("trust neither this service nor other holders of the pin: launch the cluster again with a \
                             new pin and secret, and look at {url}")
                }
            },
            FailureKind::Status(..) | FailureKind::TooLarge | FailureKind::Nonsense => {
                format!("check that {url} names a pairing service, with its path if it has one")
            }
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.cause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(kind: FailureKind, heals: bool, exit: Status) {
        let failure = Failure::new(kind, "cause");
        assert_eq!(failure.can_heal(), heals, "{kind:?}");
        let service = ServiceUrl::parse("https://pair:8443", false).unwrap();
        let error = failure.into_error(&service, Duration::from_secs(9));
        assert_eq!(error.status(), exit, "{kind:?}");
        let text = error.to_string();
        assert!(text.contains("cause") && text.contains("https://pair:8443"), "{text}");
        assert!(!error.next_step().is_empty());
    }

    #[test]
    fn retries_only_what_can_heal() {
        for kind in [
            FailureKind::Dns,
            FailureKind::Connect,
            FailureKind::Timeout,
            FailureKind::NoAnswer,
            FailureKind::Broken,
        ] {
            check(kind, true, Status::Unreachable);
        }
        check(FailureKind::Tls(TlsFault::Dates), true, Status::Refused);
        check(FailureKind::Tls(TlsFault::Other), false, Status::Refused);
        for kind in [
            FailureKind::Html,
            FailureKind::Redirect,
            FailureKind::TooLarge,
            FailureKind::Nonsense,
            FailureKind::NotFound,
            FailureKind::NeedsTls,
        ] {
            check(kind, false, Status::Nonsense);
        }
        for fault in [SealFault::NoSecret, SealFault::NotSealed, SealFault::Foreign, SealFault::Forged] {
            check(FailureKind::Seal(fault), false, Status::Refused);
        }
        check(FailureKind::Rejected, false, Status::BadContext);
        check(FailureKind::Proxy(None), true, Status::Unreachable);
        for status in 100..=999 {
            let heals = [408, 425, 429].contains(&status) || (500..600).contains(&status);
            let exit = match status {
                _ if heals => Status::Unreachable,
                _ => Status::Nonsense,
            };
            check(FailureKind::Status(status, None), heals, exit);
            check(FailureKind::Proxy(Some(status)), heals, Status::Unreachable);
        }
    }

    #[test]
    fn advises_in_the_terms_of_the_reader() {
        let service = ServiceUrl::parse("https://pair:8443", false).unwrap();
        let advice = |terms| {
            let failure = Failure::new(FailureKind::Tls(TlsFault::Issuer), "cause");
            failure.explain(&service, Duration::ZERO, &terms).next_step().to_owned()
        };
        assert!(advice(AdviceTerms::CONTEXT).contains("cvm_service_ca"));
        assert!(
            advice(AdviceTerms::COMMAND).contains("--ca") && !advice(AdviceTerms::COMMAND).contains("cvm_")
        );
    }
}
