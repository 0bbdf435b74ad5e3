//! From a connection to its requests: admission, TLS, and hyper, which parses every byte.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;

use hyper::body::{Body as _, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::select;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::yield_now;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::task::TaskTracker;

use crate::access::AccessEntry;
use crate::activity_body::{ActivityBody, ReceivedBody};
use crate::budget::{BudgetPermit, OverBudget, Purpose, SMALL};
use crate::connections::{ConnectionPermit, Disconnect};
use crate::half_close::{EndWatch, HalfCloseStream};
use crate::http::{self, AnswerBody, Refusal};
use crate::listen::OnAccept;
use crate::metrics::Cause;
use crate::origin::Proxies;
use crate::processor_meter::ProcessorMeter;
use crate::service::Service;

/// Largest head of a request, in bytes; hyper's smallest. What is kept for each waiting connection is of this size.
const HEAD_MAX_BYTES: usize = 8192;
/// Most headers of a request. Browsers behind two proxies send some thirty.
const HEADERS_MAX: usize = 64;
/// How many connections at a time are refused with 503. Beyond that, connections are closed without an answer.
pub(crate) const MAX_REJECTIONS: usize = 64;
/// How long it may take to tell one: a handshake and two round trips.
const REJECTION: Duration = Duration::from_secs(5);
/// What stands between the listeners and the service.
#[derive(Clone)]
pub(crate) struct ConnectionServer(Arc<Shared>);

struct Shared {
    service: Arc<Service>,
    tls: Option<TlsAcceptor>,
    access_log: bool,
    proxies: Proxies,
    http: http1::Builder,
    rejections: Arc<Semaphore>,
    tasks: TaskTracker,
}

/// What belongs to one connection.
struct ServedConnection {
    permit: Arc<ConnectionPermit>,
    meter: ProcessorMeter,
    end: Arc<EndWatch>,
    peer: IpAddr,
    /// Whether it is a trusted proxy's.
    proxied: bool,
}

impl ConnectionServer {
    pub(crate) fn new(
        service: Arc<Service>,
        tls: Option<TlsAcceptor>,
        proxies: Proxies,
        access_log: bool,
        tasks: TaskTracker,
    ) -> Self {
        let mut http = http1::Builder::new();
        // The watch over the connections sees to it that heads come in time.
        http.header_read_timeout(None).max_buf_size(HEAD_MAX_BYTES).max_headers(HEADERS_MAX);
        // Head and body of a small answer are cheaper to write when they lie in one piece.
        http.writev(false);
        // `half_close.rs` looks for the end of what a client sends, for which hyper would keep a buffer.
        http.half_close(true);
        let rejections = Arc::new(Semaphore::new(MAX_REJECTIONS));
        Self(Arc::new(Shared { service, tls, access_log, proxies, http, rejections, tasks }))
    }
}

impl OnAccept<TcpStream> for ConnectionServer {
    fn on_accept(&self, stream: TcpStream, peer: Option<SocketAddr>) {
        let Some(peer) = peer.map(|peer| peer.ip()) else { return };
        let shared = self.0.clone();
        let source = (!shared.proxies.trusts(peer)).then_some(peer);
        if let Ok((permit, told)) = shared.service.connections.admit(source) {
            match &self.0.tls {
                None => self.0.tasks.spawn(async move { shared.serve(stream, peer, permit, told).await }),
                Some(tls) => {
                    permit.await_handshake();
                    let handshake = tls.accept(stream);
                    self.0.tasks.spawn(async move { shared.serve_tls(handshake, peer, permit, told).await })
                }
            };
        } else if let Ok(rejection) = self.0.rejections.clone().try_acquire_owned() {
            let server = self.clone();
            self.0.tasks.spawn(async move {
                let _ = timeout(REJECTION, server.reject_overloaded(stream)).await;
                drop(rejection);
            });
        } else {
            shared.service.metrics.refused(Cause::Connections);
        }
    }

    async fn reject_overloaded(&self, stream: TcpStream) {
        match &self.0.tls {
            None => self.0.reject(stream).await,
            Some(tls) => {
                if let Ok(stream) = tls.accept(stream).await {
                    self.0.reject(stream).await;
                }
            }
        }
    }
}

impl Shared {
    async fn serve_tls(
        &self,
        handshake: tokio_rustls::Accept<TcpStream>,
        peer: IpAddr,
        permit: ConnectionPermit,
        mut told: oneshot::Receiver<Disconnect>,
    ) {
        let handshake = select! {
            biased;
            done = handshake => done,
            _ = &mut told => {
                log::debug!("TLS handshake: not done in time");
                return;
            }
        };
        match handshake {
            Ok(stream) => {
                permit.await_first_head();
                self.serve(stream, peer, permit, told).await;
            }
            Err(err) => log::debug!("TLS handshake: {err}"),
        }
    }

    /// Answers requests until the client or the service ends it.
    async fn serve(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin,
        peer: IpAddr,
        permit: ConnectionPermit,
        told: oneshot::Receiver<Disconnect>,
    ) {
        let permit = Arc::new(permit);
        let meter = ProcessorMeter::new();
        let proxied = self.proxies.trusts(peer);
        let end = Arc::<EndWatch>::default();
        let connection = ServedConnection { permit, meter, end, peer, proxied };
        let service = service_fn(|request: Request<Incoming>| {
            // Not in the future: hyper reads on before it polls that.
            connection.end.begin_request(request.method());
            self.answer(&connection, request)
        });
        let stream = TokioIo::new(HalfCloseStream::new(stream, &connection.end));
        let mut http = pin!(self.http.serve_connection(stream, service));
        let (mut told, mut cut) = (told, None);
        let outcome = poll_fn(|context| {
            loop {
                if let Poll::Ready(outcome) =
                    connection.meter.poll(self.is_contended(proxied), || http.as_mut().poll(context))
                {
                    return Poll::Ready(Some(outcome));
                }
                let cut = match &mut cut {
                    Some(cut) => cut,
                    None => match ready!(Pin::new(&mut told).poll(context)) {
                        Ok(Disconnect::Graceful(receiver)) => {
                            http.as_mut().graceful_shutdown();
                            cut = Some(receiver);
                            continue;
                        }
                        Ok(Disconnect::Now) | Err(_) => return Poll::Ready(None),
                    },
                };
                return Pin::new(cut).poll(context).map(|_| None);
            }
        });
        match outcome.await {
            Some(Ok(())) => {}
            Some(Err(err)) => {
                if err.is_parse() {
                    self.service.metrics.refused(Cause::Head);
                }
                log::debug!("connection: {err}");
            }
            None => log::debug!("connection: closed, since its client neither reads nor asks"),
        }
        self.service.rate_limits.used(peer, connection.meter.take());
    }

    /// Answers a request.
    fn answer(
        &self,
        connection: &ServedConnection,
        request: Request<Incoming>,
    ) -> impl Future<Output = Result<Response<ActivityBody>, Infallible>> {
        let ServedConnection { permit, end, peer, proxied, .. } = connection;
        permit.begin_request();
        let client = if *proxied { self.proxies.client(*peer, request.headers()) } else { *peer };
        let entry = self.access_log.then(|| AccessEntry::new(client, &request));
        let room = self.room_for(&request, client);
        let (head, body) = request.into_parts();
        let body = ReceivedBody::new(body, permit);
        let has_room = room.is_ok();
        let admit = async move || {
            self.take_turn(&connection.meter, client, *proxied).await?;
            if has_room { Ok(()) } else { Err(Refusal::OutOfMemory) }
        };
        let finish = move |answer: Response<AnswerBody>| {
            drop(room);
            let (head, body) = answer.into_parts();
            let answer = match ActivityBody::new(body, permit, &self.service.budget, client) {
                Ok(body) => Response::from_parts(head, body),
                Err(_) => {
                    permit.await_client();
                    http::refuse(&self.service, &Refusal::OutOfMemory).map(ActivityBody::short)
                }
            };
            if let Some(entry) = entry {
                entry.log(answer.status());
            }
            if !answer.body().streams() {
                end.end_request();
            }
            Ok(answer)
        };
        http::answer(&self.service, client, (head, body), admit, finish)
    }

    /// Room in the memory budget for the body of a request, and for what is read from it.
    fn room_for(
        &self,
        request: &Request<Incoming>,
        client: IpAddr,
    ) -> Result<Option<BudgetPermit>, OverBudget> {
        let size = request.body().size_hint();
        // A longer one is refused without being read.
        let most = protocol::limits::BYTES_PER_PIN;
        let bytes = size.upper().map_or(most, |upper| usize::try_from(upper).unwrap_or(usize::MAX));
        if bytes <= SMALL || bytes > most {
            return Ok(None);
        }
        self.service.budget.acquire(Purpose::Bodies, Some(client), 2 * bytes).map(Some)
    }

    /// Lets other connections go on, and counts the processor time of this one for its client.
    async fn take_turn(&self, meter: &ProcessorMeter, client: IpAddr, proxied: bool) -> Result<(), Refusal> {
        if !meter.is_due() {
            return Ok(());
        }
        yield_now().await;
        if !self.is_contended(proxied) {
            return Ok(());
        }
        let turn = self.service.rate_limits.processor(client, meter.take()).await;
        meter.set_owes(turn.is_err());
        turn.map_err(|later| Refusal::TooBusy(later.as_secs() + 1))
    }

    /// Whether several sources share the processor. Behind a proxy there may be many.
    fn is_contended(&self, proxied: bool) -> bool {
        proxied || self.service.connections.sources() > 1
    }

    async fn reject(&self, stream: impl AsyncRead + AsyncWrite + Unpin) {
        let service = service_fn(async |_| {
            Ok::<_, Infallible>(http::refuse(&self.service, &Refusal::TooManyConnections))
        });
        let mut http = self.http.clone();
        let _ = http.keep_alive(false).serve_connection(TokioIo::new(stream), service).await;
    }
}
