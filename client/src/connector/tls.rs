//! TLS over a connection that is there.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::sync::Arc;

use rustls::{ClientConfig, ClientConnection, StreamOwned};
use rustls_pki_types::ServerName;
use ureq::Error;
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, Transport, TransportAdapter, time,
};

use super::{BUFFER, Fault, bare_host, fault};
use crate::failure::{FailureKind, TlsFault};
use crate::tls;

/// Lays TLS over the connection where the URL asks for it.
#[derive(Debug)]
pub(super) struct TlsConnector {
    pub(super) config: Arc<ClientConfig>,
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
        let name = ServerName::try_from(bare_host(details.uri)?.to_owned()).map_err(|_| {
            fault(FailureKind::Tls(TlsFault::Name), "no certificate can be for this host name")
        })?;
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
        Error::Timeout(_) => fault(FailureKind::NoAnswer, "connected, but no TLS handshake in time"),
        Error::Io(error) if error.kind() == ErrorKind::UnexpectedEof => {
            fault(FailureKind::Broken, "the connection ended during the TLS handshake")
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
