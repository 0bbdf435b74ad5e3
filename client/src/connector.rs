//! What ureq stands on: TCP with this machine's own address, TLS, and a deadline for the whole request.
//!
//! The only file that uses ureq's `unversioned` module, which may change in any release (so ureq is pinned). ureq keeps
//! HTTP, the pool, name resolution and CONNECT. Connecting is here because ureq's own TCP connector tells neither the
//! local address nor which of several addresses refused, and TLS because ureq's would bring rustls' whole ring provider.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustls::{ClientConfig, ClientConnection, StreamOwned};
use rustls_pki_types::ServerName;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{
    Buffers, ConnectProxyConnector, ConnectionDetails, Connector, LazyBuffers, NextTimeout, Transport,
    TransportAdapter, time,
};
use ureq::{Agent, Error, Timeout};

use super::failure::{Failure, Kind, TlsFault};
use super::proxy::Forward;
use super::tls;

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
pub(super) struct Shared(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    reached: Option<Reached>,
    connects: usize,
    deadline: Option<Instant>,
    /// Whether what came on a connection in the clear began like a TLS alert.
    tls_in_the_clear: bool,
}

impl Shared {
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
    forward: Option<(Uri, Forward)>,
    shared: Shared,
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
            Err(other) => Failure::new(Kind::Nonsense, other.to_string()),
        },
        Error::Timeout(Timeout::Resolve) => Failure::new(Kind::Timeout, "its name did not resolve in time"),
        Error::Timeout(Timeout::Connect) => Failure::new(Kind::Timeout, "no connection in time"),
        Error::Timeout(_) => Failure::new(Kind::NoAnswer, "no whole answer in time"),
        Error::Io(error) => match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(error) => tls::failure(error),
            None if error.kind() == ErrorKind::UnexpectedEof => {
                Failure::new(Kind::Broken, "the connection ended before the answer was whole")
            }
            None => Failure::new(Kind::Broken, plain(&error)),
        },
        Error::ConnectProxyFailed(reason) => {
            // ureq's words are "proxy server responded 403/403".
            let status = reason.split(|c: char| !c.is_ascii_digit()).find_map(|digits| digits.parse().ok());
            let cause = match status {
                Some(status) => format!("the HTTP proxy did not let it through: it answered {status}"),
                None => "the HTTP proxy did not let it through: it did not answer".to_owned(),
            };
            Failure::new(Kind::Proxy(status), cause)
        }
        Error::BodyExceedsLimit(_) | Error::LargeResponseHeader(..) => {
            Failure::new(Kind::TooLarge, "more than a pairing service ever answers")
        }
        Error::Protocol(error) => {
            Failure::new(Kind::Nonsense, format!("something that is not HTTP ({error})"))
        }
        other => Failure::new(Kind::Nonsense, other.to_string()),
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

fn fault(kind: Kind, cause: impl Into<String>) -> Error {
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
                Error::Io(error) => fault(Kind::Dns, format!("{host} does not resolve: {}", plain(&error))),
                Error::HostNotFound => fault(Kind::Dns, format!("{host} has no address")),
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

/// Opens the TCP connection, to the first of the addresses that takes one.
#[derive(Debug)]
struct TcpConnector {
    forward: Option<Forward>,
    shared: Shared,
}

impl<In: Transport> Connector<In> for TcpConnector {
    type Out = Box<dyn Transport>;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        chained: Option<In>,
    ) -> Result<Option<Self::Out>, Error> {
        if let Some(tunnel) = chained {
            // The proxy's own connection came this way before, and left its address.
            if let Some(reached) = &mut self.shared.lock().reached {
                reached.through_proxy = true;
            }
            return Ok(Some(Box::new(tunnel)));
        }
        self.shared.lock().connects += 1;
        let stream = first_that_connects(&details.addrs, *details.timeout.after, details.timeout.reason)?;
        // Requests are small and each awaits its answer: nothing to gain from gathering bytes.
        stream.set_nodelay(true)?;
        let local = stream.local_addr()?.ip();
        self.shared.lock().reached = Some(Reached { local, through_proxy: self.forward.is_some() });
        Ok(Some(Box::new(TcpTransport {
            stream,
            buffers: LazyBuffers::new(BUFFER, BUFFER),
            shared: self.shared.clone(),
            forward: self.forward.clone(),
            begins: true,
        })))
    }
}

/// Tries one address after the other, each with an equal share of what time is left, so that one that swallows packets
/// (IPv6 without a route, mostly) leaves time for the others.
fn first_that_connects(
    addresses: &[SocketAddr],
    limit: Duration,
    reason: Timeout,
) -> Result<TcpStream, Error> {
    let started = Instant::now();
    let mut refusals: Vec<String> = Vec::new();
    for (tried, address) in addresses.iter().enumerate() {
        let left = limit.saturating_sub(started.elapsed());
        if left.is_zero() {
            break;
        }
        let others = u32::try_from(addresses.len() - tried).unwrap_or(u32::MAX);
        match TcpStream::connect_timeout(address, (left / others).max(Duration::from_millis(1))) {
            Ok(stream) => return Ok(stream),
            Err(error) if error.kind() == ErrorKind::TimedOut => {}
            Err(error) => refusals.push(format!("{address}: {}", plain(&error))),
        }
    }
    if refusals.is_empty() {
        return Err(Error::Timeout(reason));
    }
    Err(fault(Kind::Connect, refusals.join(", ")))
}

/// A TCP connection.
struct TcpTransport {
    stream: TcpStream,
    buffers: LazyBuffers,
    shared: Shared,
    /// For a proxy that passes requests on.
    forward: Option<Forward>,
    /// Whether the next bytes to send are the head of a request.
    begins: bool,
}

impl TcpTransport {
    fn send(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        let started = Instant::now();
        let rewritten;
        let mut rest = &self.buffers.output()[..amount];
        if let Some(forward) = self.forward.as_ref().filter(|_| self.begins) {
            rewritten = forward.rewrite(rest);
            rest = &rewritten;
        }
        while !rest.is_empty() {
            // The limit is for the whole, or a peer that takes a byte at a time would hold the boot up.
            self.stream.set_write_timeout(Some(self.shared.left(timeout, started)?))?;
            match self.stream.write(rest) {
                Ok(0) => return Err(io::Error::from(ErrorKind::WriteZero).into()),
                Ok(sent) => rest = &rest[sent..],
                Err(error) => again(error)?,
            }
        }
        self.begins = false;
        Ok(())
    }
}

impl Transport for TcpTransport {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        self.send(amount, timeout.for_write())
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        let timeout = timeout.for_read();
        let started = Instant::now();
        loop {
            self.stream.set_read_timeout(Some(self.shared.left(timeout, started)?))?;
            let space = self.buffers.input_append_buf();
            match self.stream.read(space) {
                Ok(received) => {
                    if !self.begins {
                        self.shared.lock().tls_in_the_clear = received > 0 && space[0] == TLS_ALERT;
                    }
                    self.begins = true;
                    self.buffers.input_appended(received);
                    return Ok(received > 0);
                }
                Err(error) => again(error)?,
            }
        }
    }

    fn is_open(&mut self) -> bool {
        // Nothing may be there to read between two requests: neither an end nor bytes that nobody asked for.
        let quiet = self.stream.set_nonblocking(true).is_ok()
            && matches!(self.stream.peek(&mut [0]), Err(error) if error.kind() == ErrorKind::WouldBlock);
        quiet && self.stream.set_nonblocking(false).is_ok()
    }
}

impl std::fmt::Debug for TcpTransport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("TcpTransport").field(&self.stream).finish()
    }
}

/// Whether a read or write is to be tried again: after a signal, and when the socket's own limit fired, which lets
/// [`Shared::left`] find that the limit has passed.
fn again(error: io::Error) -> Result<(), Error> {
    match error.kind() {
        ErrorKind::Interrupted | ErrorKind::WouldBlock | ErrorKind::TimedOut => Ok(()),
        _ => Err(error.into()),
    }
}

/// Lays TLS over the connection where the URL asks for it.
#[derive(Debug)]
struct TlsConnector {
    config: Arc<ClientConfig>,
}

impl Connector<Box<dyn Transport>> for TlsConnector {
    type Out = Box<dyn Transport>;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        chained: Option<Box<dyn Transport>>,
    ) -> Result<Option<Self::Out>, Error> {
        let Some(below) = chained else { return Ok(None) };
        if !details.needs_tls() {
            return Ok(Some(below));
        }
        let name = ServerName::try_from(bare_host(details.uri)?.to_owned())
            .map_err(|_| fault(Kind::Tls(TlsFault::Name), "no certificate can be for this host name"))?;
        let connection = ClientConnection::new(self.config.clone(), name)
            .map_err(|error| Error::Other(Box::new(Fault(tls::failure(&error)))))?;
        let mut stream =
            StreamOwned::new(connection, TransportAdapter::new(below, details.current_time.clone()));
        stream.sock.set_timeout(rest_of(details));
        stream.conn.complete_io(&mut stream.sock).map_err(handshake_failure)?;
        Ok(Some(Box::new(TlsTransport { stream, buffers: LazyBuffers::new(BUFFER, BUFFER) })))
    }
}

/// The port is open when a handshake fails, so the cause names TLS rather than the connection.
fn handshake_failure(error: io::Error) -> Error {
    match Error::from(error) {
        Error::Timeout(_) => fault(Kind::NoAnswer, "connected, but no TLS handshake in time"),
        Error::Io(error) if error.kind() == ErrorKind::UnexpectedEof => {
            fault(Kind::Broken, "the connection ended during the TLS handshake")
        }
        other => other,
    }
}

/// What the TCP connection has left of the time for connecting.
fn rest_of(details: &ConnectionDetails<'_>) -> NextTimeout {
    let mut timeout = details.timeout;
    if let (time::Instant::Exact(started), time::Duration::Exact(limit)) = (details.now, timeout.after) {
        timeout.after = time::Duration::Exact(limit.saturating_sub(started.elapsed()));
    }
    timeout
}

/// A TLS connection.
struct TlsTransport {
    stream: StreamOwned<ClientConnection, TransportAdapter>,
    buffers: LazyBuffers,
}

impl Transport for TlsTransport {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        self.stream.sock.set_timeout(timeout);
        self.stream.write_all(&self.buffers.output()[..amount])?;
        Ok(self.stream.flush()?)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        self.stream.sock.set_timeout(timeout);
        let received = self.stream.read(self.buffers.input_append_buf())?;
        self.buffers.input_appended(received);
        Ok(received > 0)
    }

    fn is_open(&mut self) -> bool {
        self.stream.sock.get_mut().is_open()
    }

    fn is_tls(&self) -> bool {
        true
    }
}

impl std::fmt::Debug for TlsTransport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("TlsTransport").field(&self.stream.sock.inner()).finish()
    }
}
