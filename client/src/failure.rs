//! Why a request brought no answer that can be used, and whether asking again could help.

use std::fmt;
use std::time::Duration;

use protocol::error::Error;
use protocol::url::ServiceUrl;

/// Why a request failed: of which kind, and the cause in words. The words name host, port or status, but never the pin
/// or a value; who made the request names the service.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Failure {
    /// What it means.
    pub kind: Kind,
    /// What to tell a person, as it stands in `cannot reach … (cause)` or `… answered cause`.
    pub cause: String,
}

/// What a failure means for the next attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The name does not resolve.
    Dns,
    /// No connection, or one that broke before the answer was whole.
    Connect,
    /// A time limit passed.
    Timeout,
    /// TLS is refused; `dates_only` when a certificate is outside its dates and nothing else is wrong.
    Tls {
        /// The machine's clock may not be set yet.
        dates_only: bool,
    },
    /// A status that API v1 does not give a meaning here, perhaps with `Retry-After`.
    Status(u16, Option<Duration>),
    /// An HTML page: a captive portal, or another web site.
    Html,
    /// A redirect that must not be followed.
    Redirect,
    /// More than any answer of a pairing service has.
    TooLarge,
    /// Something that is not what API v1 answers.
    Nonsense,
}

impl Failure {
    /// A failure of this kind, for this cause.
    pub fn new(kind: Kind, cause: impl Into<String>) -> Self {
        Self { kind, cause: cause.into() }
    }

    /// Whether it may go away by itself. Everything else fails at once, so that a mistake shows at once.
    #[must_use]
    pub fn can_heal(&self) -> bool {
        match self.kind {
            Kind::Dns | Kind::Connect | Kind::Timeout => true,
            Kind::Tls { dates_only } => dates_only,
            // RFC 9110 and 8470: request timeout, too early, too many requests, and any fault of the server.
            Kind::Status(status, _) => matches!(status, 408 | 425 | 429 | 500..=599),
            Kind::Html | Kind::Redirect | Kind::TooLarge | Kind::Nonsense => false,
        }
    }

    /// How long the service asked to be left alone.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self.kind {
            Kind::Status(_, retry_after) => retry_after,
            _ => None,
        }
    }

    /// The error that ends the run when this failure of `service` is the last word after trying for so long.
    #[must_use]
    pub fn into_error(self, service: &ServiceUrl, tried: Duration) -> Error {
        let (host, port) = (service.host(), service.port());
        let unreachable = |next: String| Error::unreachable(service, &self.cause, tried, next);
        let nonsense = |next: &'static str| Error::nonsense(service, &self.cause, next);
        match self.kind {
            Kind::Dns => unreachable(format!("check cvm_service_url, and that this VM can resolve {host}")),
            Kind::Connect | Kind::Timeout => {
                unreachable(format!("check cvm_service_url, and that TCP {host}:{port} is open from this VM"))
            }
            Kind::Status(..) if self.can_heal() => {
                unreachable("look at the log of the pairing service; it answers, but cannot serve".to_owned())
            }
            Kind::Tls { dates_only } => Error::refused(
                format!("TLS with {service} is refused: {}", self.cause),
                if dates_only {
                    "set this VM's clock (NTP), or renew the service's certificate"
                } else {
                    "check cvm_service_url, cvm_service_ca and cvm_service_fingerprint against the service"
                },
            ),
            Kind::Html => nonsense("log in to the network's portal, or correct cvm_service_url"),
            Kind::Redirect => nonsense("put the URL where the service really is into cvm_service_url"),
            Kind::Status(..) | Kind::TooLarge | Kind::Nonsense => {
                nonsense("check that cvm_service_url names a pairing service, with its path if it has one")
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
    use protocol::error::Status;

    #[track_caller]
    fn check(kind: Kind, heals: bool, exit: Status) {
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
        check(Kind::Dns, true, Status::Unreachable);
        check(Kind::Connect, true, Status::Unreachable);
        check(Kind::Timeout, true, Status::Unreachable);
        check(Kind::Tls { dates_only: true }, true, Status::Refused);
        check(Kind::Tls { dates_only: false }, false, Status::Refused);
        check(Kind::Html, false, Status::Nonsense);
        check(Kind::Redirect, false, Status::Nonsense);
        check(Kind::TooLarge, false, Status::Nonsense);
        check(Kind::Nonsense, false, Status::Nonsense);
        for status in 100..=999 {
            let heals = [408, 425, 429].contains(&status) || (500..600).contains(&status);
            check(
                Kind::Status(status, None),
                heals,
                if heals { Status::Unreachable } else { Status::Nonsense },
            );
        }
    }
}
