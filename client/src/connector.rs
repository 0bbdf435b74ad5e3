//! What ureq stands on: TCP with this machine's own address, TLS, and a deadline for the whole request.
//!
//! This module alone uses ureq's `unversioned` module, which may change in any release (so ureq is pinned). ureq keeps
//! HTTP, the pool, name resolution and CONNECT. Connecting is here because ureq's own TCP connector tells neither the
//! local address nor which of several addresses refused, and TLS because ureq's would bring rustls' whole ring provider.

use std::io::{self, ErrorKind};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustls::ClientConfig;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{ConnectProxyConnector, Connector as _, NextTimeout};
use ureq::{Agent, Error, Timeout};

use super::failure::{Failure, FailureKind};
use super::proxy::ProxyHeaders;
use tcp::TcpConnector;
use tls::TlsConnector;

mod tcp;
mod tls;

/// How the service was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reached {
    /// This VM's address on the connection.
    pub local: IpAddr,
    /// Whether the other end was a proxy, so that the address says nothing about the way to the service.
    pub through_proxy: bool,
}

/// What the connections of one service have in common, shared with the code that makes the requests.
#[derive(Debug, Clone, Default)]
pub(super) struct ConnectorHandle(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    reached: Option<Reached>,
    connects: usize,
    deadline: Option<Instant>,
    /// After how much silence the system asks the peer whether it is still there.
    keepalive: Option<Duration>,
    /// Whether what came on a connection in the clear began like a TLS alert.
    tls_in_the_clear: bool,
}

impl ConnectorHandle {
    /// How the last connection went out.
    pub(super) fn reached(&self) -> Option<Reached> {
        self.lock().reached
    }

    /// How often a connection was tried.
    pub(super) fn connects(&self) -> usize {
        self.lock().connects
    }

    /// Sets the moment at which the request is over, whatever step of it has begun by then: ureq's own limits for
    /// CONNECT are for each read, which a peer that sends a byte at a time never exceeds.
    pub(super) fn set_deadline(&self, deadline: Option<Instant>) {
        self.lock().deadline = deadline;
    }

    /// From the next connection on.
    pub(super) fn set_keepalive(&self, silence: Duration) {
        self.lock().keepalive = Some(silence);
    }

    /// Whether TLS came in answer to plain HTTP.
    pub(super) fn tls_in_the_clear(&self) -> bool {
        self.lock().tls_in_the_clear
    }

    /// What is left of a limit that began at `started`, and of the whole request.
    fn left(&self, limit: NextTimeout, started: Instant) -> Result<Duration, Error> {
        let left = limit.after.saturating_sub(started.elapsed());
        let whole = self.lock().deadline.map_or(left, |end| end.saturating_duration_since(Instant::now()));
        let left = left.min(whole);
        if left.is_zero() { Err(Error::Timeout(limit.reason)) } else { Ok(left) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bytes that are read or written at once.
const BUFFER: usize = 16 * 1024;
/// Most bytes of an answer's head: less than a buffer, in which ureq wants to see it whole.
const MAX_HEAD: usize = 8 * 1024;

/// The first byte of a TLS record with an alert in it (RFC 8446 section 5.1).
const TLS_ALERT: u8 = 21;

/// An HTTP agent that connects as this file says. With `forward`, the connection goes to the proxy of the configuration,
/// and each request is written so that the proxy passes it on.
pub(super) fn agent(
    config: ureq::config::ConfigBuilder<ureq::typestate::AgentScope>,
    tls: Arc<ClientConfig>,
    forward: Option<(Uri, ProxyHeaders)>,
    shared: ConnectorHandle,
) -> Agent {
    let config = config
        .input_buffer_size(BUFFER)
        .output_buffer_size(BUFFER)
        .max_response_header_size(MAX_HEAD)
        .build();
    let connector =
        ().chain(ConnectProxyConnector::default())
            .chain(TcpConnector { forward: forward.as_ref().map(|(_, forward)| forward.clone()), shared })
            .chain(TlsConnector { config: tls });
    let resolver =
        NameResolver { system: DefaultResolver::default(), proxy: forward.map(|(proxy, _)| proxy) };
    Agent::with_parts(config, connector, resolver)
}

/// The failure that ureq's error stands for.
pub(super) fn failure(error: Error) -> Failure {
    match error {
        Error::Other(other) => match other.downcast::<Fault>() {
            Ok(fault) => fault.0,
            Err(other) => Failure::new(FailureKind::Nonsense, other.to_string()),
        },
        Error::Timeout(Timeout::Resolve) => {
            Failure::new(FailureKind::Timeout, "its name did not resolve in time")
        }
        Error::Timeout(Timeout::Connect) => Failure::new(FailureKind::Timeout, "no connection in time"),
        Error::Timeout(_) => Failure::new(FailureKind::NoAnswer, "no whole answer in time"),
        Error::Io(error) => match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(error) => super::tls::failure(error),
            None if error.kind() == ErrorKind::UnexpectedEof => {
                Failure::new(FailureKind::Broken, "the connection ended before the answer was whole")
            }
            None => Failure::new(FailureKind::Broken, plain(&error)),
        },
        Error::ConnectProxyFailed(reason) => {
            // ureq's words are "proxy server responded 403/403".
            let status = reason.split(|c: char| !c.is_ascii_digit()).find_map(|digits| digits.parse().ok());
            let cause = match status {
                Some(status) => format!("the HTTP proxy did not let it through: it answered {status}"),
                None => "the HTTP proxy did not let it through: it did not answer".to_owned(),
            };
            Failure::new(FailureKind::Proxy(status), cause)
        }
        Error::BodyExceedsLimit(_) | Error::LargeResponseHeader(..) => {
            Failure::new(FailureKind::TooLarge, "more than a pairing service ever answers")
        }
        Error::Protocol(error) => {
            Failure::new(FailureKind::Nonsense, format!("something that is not HTTP ({error})"))
        }
        other => Failure::new(FailureKind::Nonsense, other.to_string()),
    }
}

/// A failure on its way through ureq.
#[derive(Debug)]
struct Fault(Failure);

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Fault {}

fn fault(kind: FailureKind, cause: impl Into<String>) -> Error {
    Error::Other(Box::new(Fault(Failure::new(kind, cause))))
}

/// A system error in words, without its number: `connection refused`.
fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut letters = text.chars();
    letters.next().map(|first| first.to_ascii_lowercase()).into_iter().chain(letters).collect()
}

/// ureq's resolver, with the failure named; with a proxy that passes requests on, for the proxy's name instead.
#[derive(Debug)]
struct NameResolver {
    system: DefaultResolver,
    proxy: Option<Uri>,
}

impl Resolver for NameResolver {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, Error> {
        let uri = self.proxy.as_ref().unwrap_or(uri);
        self.system.resolve(uri, config, timeout).map_err(|error| {
            let host = uri.host().unwrap_or_default();
            match error {
                Error::Io(error) => {
                    fault(FailureKind::Dns, format!("{host} does not resolve: {}", plain(&error)))
                }
                Error::HostNotFound => fault(FailureKind::Dns, format!("{host} has no address")),
                other => other,
            }
        })
    }
}

/// A URL's host without the brackets of an IPv6 address.
fn bare_host(uri: &Uri) -> Result<&str, Error> {
    let host = uri.host().ok_or_else(|| Error::BadUri("no host".to_owned()))?;
    Ok(host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host))
}
