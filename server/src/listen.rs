//! Listeners and connections: accepting them, bounding them, and handing each to hyper, which parses every byte.

use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::select;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::access::Noted;
use crate::error::Error;
use crate::http;
use crate::service::Service;

/// Connections that the kernel keeps for us: a thousand VMs that boot together knock within one second.
const BACKLOG: u32 = 4096;
/// How long a TLS handshake may take: three round trips over the worst line, and a slow CPU.
const HANDSHAKE: Duration = Duration::from_secs(15);
/// How long a client may take for its headers, and how long a connection may lie idle. Longer than the longest pause
/// between two requests of an agent that polls (30 s and its jitter), so that it need not connect anew.
const HEADERS: Duration = Duration::from_secs(60);
/// Largest head of a request, in bytes; hyper's smallest. What is kept for each waiting connection is of this size.
const HEAD_MAX_BYTES: usize = 8192;
/// Pause after a failed accept, which mostly means that there are no descriptors left.
const BREATHER: Duration = Duration::from_millis(100);

/// What stands between the listeners and the service.
pub(crate) struct Gate {
    service: Arc<Service>,
    http: http1::Builder,
    tls: Option<TlsAcceptor>,
    access_log: bool,
    connections: Arc<Semaphore>,
    stop: CancellationToken,
    /// Every listener and connection.
    pub(crate) tasks: TaskTracker,
}

impl Gate {
    pub(crate) fn new(
        service: Arc<Service>,
        connections: usize,
        tls: Option<TlsAcceptor>,
        access_log: bool,
    ) -> Self {
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(HEADERS).max_buf_size(HEAD_MAX_BYTES);
        Self {
            service,
            http,
            tls,
            access_log,
            connections: Arc::new(Semaphore::new(connections)),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        }
    }

    /// Lets nobody in any more, and asks those who are in to leave after the request at hand.
    pub(crate) fn close(&self) {
        self.stop.cancel();
        self.tasks.close();
    }

    /// Serves one connection, from its handshake on.
    async fn serve(self: Arc<Self>, stream: TcpStream, peer: SocketAddr, _: OwnedSemaphorePermit) {
        // Answers are small and written in one go; waiting for more would only delay them.
        let _ = stream.set_nodelay(true);
        match &self.tls {
            None => self.speak(stream, peer).await,
            Some(tls) => match timeout(HANDSHAKE, tls.accept(stream)).await {
                Ok(Ok(stream)) => self.speak(stream, peer).await,
                Ok(Err(err)) => log::debug!("TLS handshake: {err}"),
                Err(_) => log::debug!("TLS handshake: not done after {} s", HANDSHAKE.as_secs()),
            },
        }
    }

    /// Answers requests until the client or the service has had enough.
    async fn speak(&self, stream: impl AsyncRead + AsyncWrite + Unpin, peer: SocketAddr) {
        let service = service_fn(async |request| {
            let noted = self.access_log.then(|| Noted::now(peer, &request));
            let answer = http::answer(&self.service, request).await;
            if let Some(noted) = noted {
                noted.log(answer.status());
            }
            Ok::<_, Infallible>(answer)
        });
        let mut connection = pin!(self.http.serve_connection(TokioIo::new(stream), service));
        let outcome = select! {
            biased;
            outcome = connection.as_mut() => outcome,
            () = self.stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(err) = outcome {
            log::debug!("connection: {err}");
        }
    }
}

/// Listens on an address.
///
/// # Errors
/// The system does not let us.
pub fn bind(address: SocketAddr) -> Result<StdListener, Error> {
    let listen = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        // A restart need not wait until the old connections are forgotten.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)?.into_std()
    };
    listen().map_err(|source| Error::Listen { address, source })
}

/// Takes a listener over that somebody else made.
pub(crate) fn adopt(listener: StdListener) -> Result<TcpListener, Error> {
    let address = listener.local_addr().unwrap_or_else(|_| SocketAddr::from(([0, 0, 0, 0], 0)));
    let adopt = || {
        listener.set_nonblocking(true)?;
        TcpListener::from_std(listener)
    };
    adopt().map_err(|source| Error::Listen { address, source })
}

/// Accepts connections until the gate closes.
pub(crate) async fn accept(listener: TcpListener, gate: Arc<Gate>) {
    let next = async || {
        let permit = gate.connections.clone().acquire_owned().await.expect("the semaphore is never closed");
        (listener.accept().await, permit)
    };
    loop {
        let (accepted, permit) = select! {
            next = next() => next,
            () = gate.stop.cancelled() => return,
        };
        match accepted {
            Ok((stream, peer)) => {
                gate.tasks.spawn(gate.clone().serve(stream, peer, permit));
            }
            // The client went away before we came.
            Err(err) if err.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(err) => {
                log::error!("cannot accept connections: {err}");
                sleep(BREATHER).await;
            }
        }
    }
}
