//! TCP: connects to the first address that takes a connection, and keeps to the deadline of the whole request.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use rustix::net::sockopt;
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, Transport,
};
use ureq::{Error, Timeout};

use super::{BUFFER, ConnectorHandle, Reached, TLS_ALERT, fault, plain};
use crate::failure::FailureKind;
use crate::proxy::ProxyHeaders;

/// Between two questions to a peer that does not answer.
const PROBE_SPACING: Duration = Duration::from_secs(1);

/// Opens the TCP connection, to the first of the addresses that takes one.
#[derive(Debug)]
pub(super) struct TcpConnector {
    pub(super) forward: Option<ProxyHeaders>,
    pub(super) shared: ConnectorHandle,
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
        if let Some(silence) = self.shared.lock().keepalive {
            keep_alive(&stream, silence)?;
        }
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
    Err(fault(FailureKind::Connect, refusals.join(", ")))
}

/// Ends a connection whose peer does not answer the system for as long as this (tcp(7), `TCP_USER_TIMEOUT`).
fn keep_alive(stream: &TcpStream, silence: Duration) -> io::Result<()> {
    sockopt::set_tcp_keepidle(stream, silence)?;
    sockopt::set_tcp_keepintvl(stream, PROBE_SPACING)?;
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_user_timeout(stream, u32::try_from(silence.as_millis()).unwrap_or(u32::MAX))?;
    Ok(())
}

/// A TCP connection.
struct TcpTransport {
    stream: TcpStream,
    buffers: LazyBuffers,
    shared: ConnectorHandle,
    /// For a proxy that passes requests on.
    forward: Option<ProxyHeaders>,
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
        // Nothing may be there to read between two requests: neither an end nor bytes that were not asked for.
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
/// [`ConnectorHandle::left`] find that the limit has passed. `TimedOut` is the system's word for a peer that has gone.
fn again(error: io::Error) -> Result<(), Error> {
    match error.kind() {
        ErrorKind::Interrupted | ErrorKind::WouldBlock => Ok(()),
        _ => Err(error.into()),
    }
}
