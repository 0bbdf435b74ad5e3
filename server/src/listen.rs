//! Listeners and connections: accepting them, and handing each to hyper, which parses every byte.

use std::convert::Infallible;
use std::fs::File;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener as StdListener};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::Response;
use hyper::body::{Body, Frame, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use nix::errno::Errno;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::select;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::access::Noted;
use crate::connections::{Connections, Order, Place};
use crate::error::Error;
use crate::http::{self, AnswerBody};
use crate::metrics::Cause;
use crate::origin::Proxies;
use crate::service::Service;

/// Connections that the kernel keeps for us: a thousand VMs that boot together knock within one second.
const BACKLOG: u32 = 4096;
/// How long a TLS handshake may take: three round trips over the worst line, and a slow CPU.
const HANDSHAKE: Duration = Duration::from_secs(15);
/// Largest head of a request, in bytes; hyper's smallest. What is kept for each waiting connection is of this size.
const HEAD_MAX_BYTES: usize = 8192;
/// Most headers of a request. Browsers behind two proxies send some thirty.
const HEADERS_MAX: usize = 64;
/// Pause after a failed accept, which mostly means that there are no descriptors left.
const BREATHER: Duration = Duration::from_millis(100);
/// Connections beyond those that there is room for, which are told so. Those beyond these find a closed door.
pub const APOLOGIES: usize = 64;
/// How long it may take to tell them: a handshake and two round trips.
const APOLOGY: Duration = Duration::from_secs(5);
/// How long that may take when there are no descriptors left and nobody else can come in meanwhile.
const LAST_APOLOGY: Duration = Duration::from_secs(1);

/// What stands between the listeners and the service.
pub(crate) struct Gate {
    service: Arc<Service>,
    tls: Option<TlsAcceptor>,
    access_log: bool,
    proxies: Proxies,
    /// Those that are in.
    pub(crate) connections: Arc<Connections>,
    http: http1::Builder,
    apologies: Arc<Semaphore>,
    stop: CancellationToken,
    /// Every listener and connection.
    pub(crate) tasks: TaskTracker,
}

impl Gate {
    pub(crate) fn new(
        service: Arc<Service>,
        tls: Option<TlsAcceptor>,
        connections: Arc<Connections>,
        proxies: Proxies,
        access_log: bool,
    ) -> Self {
        let mut http = http1::Builder::new();
        // The watch over the connections sees to it that heads come in time.
        http.header_read_timeout(None).max_buf_size(HEAD_MAX_BYTES).max_headers(HEADERS_MAX);
        // Head and body of a small answer are cheaper to write when they lie in one piece.
        http.writev(false);
        Self {
            service,
            tls,
            access_log,
            proxies,
            connections,
            http,
            apologies: Arc::new(Semaphore::new(APOLOGIES)),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        }
    }

    /// Lets nobody in any more, and asks those who are in to leave after the request at hand.
    pub(crate) fn close(&self) {
        self.stop.cancel();
        self.connections.close();
        self.tasks.close();
    }

    /// Takes a new connection in, or tells it that there is no room.
    fn welcome(self: &Arc<Self>, stream: TcpStream, peer: IpAddr) {
        // Answers are small and written in one go; waiting for more would only delay them.
        let _ = stream.set_nodelay(true);
        let address = (!self.proxies.trusts(peer)).then_some(peer);
        let gate = self.clone();
        if let Ok((place, told)) = self.connections.admit(address) {
            match &self.tls {
                None => self.tasks.spawn(async move { gate.speak(stream, peer, place, told).await }),
                Some(tls) => {
                    let handshake = tls.accept(stream);
                    self.tasks.spawn(async move {
                        match timeout(HANDSHAKE, handshake).await {
                            Ok(Ok(stream)) => gate.speak(stream, peer, place, told).await,
                            Ok(Err(err)) => log::debug!("TLS handshake: {err}"),
                            Err(_) => log::debug!("TLS handshake: not done after {} s", HANDSHAKE.as_secs()),
                        }
                    })
                }
            };
        } else if let Ok(permit) = self.apologies.clone().try_acquire_owned() {
            self.tasks.spawn(async move {
                let _ = timeout(APOLOGY, gate.apologize(stream)).await;
                drop(permit);
            });
        } else {
            self.service.metrics.refused(Cause::Connections);
        }
    }

    /// Answers requests until the client or the service has had enough.
    async fn speak(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin,
        peer: IpAddr,
        place: Place,
        told: oneshot::Receiver<Order>,
    ) {
        let place = Arc::new(place);
        let proxied = self.proxies.trusts(peer);
        let service = service_fn(async |request| {
            place.works();
            let client = if proxied { self.proxies.client(peer, request.headers()) } else { peer };
            let noted = self.access_log.then(|| Noted::now(client, &request));
            let answer = http::answer(&self.service, client, request).await;
            if let Some(noted) = noted {
                noted.log(answer.status());
            }
            place.rests();
            Ok::<_, Infallible>(answer.map(|body| Told::new(body, &place)))
        });
        let mut connection = pin!(self.http.serve_connection(TokioIo::new(stream), service));
        let outcome = select! {
            biased;
            outcome = connection.as_mut() => outcome,
            order = told => match order {
                Ok(Order::Leave) => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
                Ok(Order::Cut) | Err(_) => {
                    log::debug!("connection: neither reads nor asks");
                    return;
                }
            }
        };
        if let Err(err) = outcome {
            if err.is_parse() {
                self.service.metrics.refused(Cause::Head);
            }
            log::debug!("connection: {err}");
        }
    }

    /// Tells a client that there is no room for it.
    async fn apologize(&self, stream: TcpStream) {
        match &self.tls {
            None => self.refuse(stream).await,
            Some(tls) => {
                if let Ok(stream) = tls.accept(stream).await {
                    self.refuse(stream).await;
                }
            }
        }
    }

    async fn refuse(&self, stream: impl AsyncRead + AsyncWrite + Unpin) {
        let service =
            service_fn(async |_| Ok::<Response<AnswerBody>, Infallible>(http::no_room(&self.service)));
        let mut http = self.http.clone();
        let _ = http.keep_alive(false).serve_connection(TokioIo::new(stream), service).await;
    }
}

/// The body of an answer. One that goes on tells the watch whenever the client has read a part of it.
struct Told {
    body: AnswerBody,
    place: Option<Arc<Place>>,
}

impl Told {
    fn new(body: AnswerBody, place: &Arc<Place>) -> Self {
        let goes_on = body.size_hint().exact().is_none();
        Self { body, place: goes_on.then(|| place.clone()) }
    }
}

impl Body for Told {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(place) = &self.place {
            place.rests();
        }
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
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
    // Given back when there are no descriptors left, so that whoever knocks then can be told.
    let mut spare = File::open("/dev/null").ok();
    let mut said = false;
    loop {
        let accepted = select! {
            accepted = listener.accept() => accepted,
            () = gate.stop.cancelled() => return,
        };
        match accepted {
            Ok((stream, peer)) => {
                gate.welcome(stream, peer.ip());
                said = false;
            }
            // The client went away before we came.
            Err(err) if err.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(err) => {
                // Once, and not ten times a second until it is over.
                if !said {
                    log::error!("cannot accept connections: {err}");
                    said = true;
                }
                if out_of_files(&err) && spare.take().is_some() {
                    let _ = timeout(LAST_APOLOGY, turn_away(&listener, &gate)).await;
                }
                sleep(BREATHER).await;
                spare = spare.or_else(|| File::open("/dev/null").ok());
            }
        }
    }
}

async fn turn_away(listener: &TcpListener, gate: &Gate) {
    if let Ok((stream, _)) = listener.accept().await {
        gate.apologize(stream).await;
    }
}

fn out_of_files(err: &io::Error) -> bool {
    err.raw_os_error().is_some_and(|code| matches!(Errno::from_raw(code), Errno::EMFILE | Errno::ENFILE))
}
