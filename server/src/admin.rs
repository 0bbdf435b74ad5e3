//! What the admin asks, on listeners of its own: the guests' connections never keep it from being answered.
//!
//! On `--metrics-listen`: `/metrics`, `/readyz`, `/healthz`. On the socket in the data directory also `/backup`, since
//! to connect to that takes the permission of its owner.

pub(crate) mod exposition;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::StreamExt as _;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::Frame;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::backup;
use crate::listen::OnAccept;
use crate::service::Service;
use crate::tls::Certificate;
use exposition::render;

/// OpenMetrics 1.0.
const OPENMETRICS: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const JSON_LINES: HeaderValue = HeaderValue::from_static("application/jsonl");
/// Most connections at a time: a few Prometheus servers and probes, and a person.
const CONNECTIONS: usize = 32;
/// How long one connection may last: Prometheus reads every minute at the latest, and connects anew if need be.
const CONNECTION_TIME: Duration = Duration::from_secs(300);
/// How long the head of a request may take.
const HEAD_TIME: Duration = Duration::from_secs(10);

type AdminBody = UnsyncBoxBody<Bytes, Infallible>;

/// Answers the admin.
#[derive(Clone)]
pub(crate) struct AdminServer {
    service: Arc<Service>,
    certificate: Option<Certificate>,
    connections: Arc<Semaphore>,
    /// Allows one backup at a time, since each reads the whole store; `None`: this listener serves none.
    backups: Option<Arc<Semaphore>>,
}

impl AdminServer {
    /// For a listener that anything on the network may reach.
    pub(crate) fn new(service: Arc<Service>, certificate: Option<Certificate>) -> Self {
        Self { service, certificate, connections: Arc::new(Semaphore::new(CONNECTIONS)), backups: None }
    }

    /// For a listener that only the admin reaches.
    pub(crate) fn with_backups(self) -> Self {
        let connections = Arc::new(Semaphore::new(CONNECTIONS));
        Self { connections, backups: Some(Arc::new(Semaphore::new(1))), ..self }
    }

    async fn answer<B>(&self, request: Request<B>) -> Response<AdminBody> {
        let text = |status, text: String| respond(status, TEXT, Full::from(text).boxed_unsync());
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n".to_owned());
        }
        match request.uri().path() {
            "/metrics" => {
                let ready = self.service.ready().await.is_ok();
                let metrics = render(&self.service, self.certificate.as_ref(), ready);
                respond(StatusCode::OK, OPENMETRICS, Full::from(metrics).boxed_unsync())
            }
            "/healthz" => text(StatusCode::OK, "alive\n".to_owned()),
            "/readyz" => match self.service.ready().await {
                Ok(()) => text(StatusCode::OK, "ready\n".to_owned()),
                Err(refused) => text(StatusCode::SERVICE_UNAVAILABLE, format!("{refused}\n")),
            },
            "/backup" if let Some(backups) = &self.backups => {
                let Ok(permit) = backups.clone().try_acquire_owned() else {
                    return text(
                        StatusCode::SERVICE_UNAVAILABLE,
                        "another backup is being made\n".to_owned(),
                    );
                };
                let pieces = backup::socket::stream_backup(self.service.store.clone(), permit);
                let frames = pieces.map(|piece| Ok(Frame::data(piece)));
                respond(StatusCode::OK, JSON_LINES, StreamBody::new(frames).boxed_unsync())
            }
            _ => text(StatusCode::NOT_FOUND, "/metrics, /readyz, /healthz\n".to_owned()),
        }
    }
}

fn respond(status: StatusCode, content_type: HeaderValue, body: AdminBody) -> Response<AdminBody> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> OnAccept<S> for AdminServer {
    fn on_accept(&self, stream: S, _: Option<SocketAddr>) {
        // Past the limit it is closed.
        let Ok(permit) = self.connections.clone().try_acquire_owned() else { return };
        let server = self.clone();
        tokio::spawn(async move {
            let service = service_fn(async |request| Ok::<_, Infallible>(server.answer(request).await));
            let mut http = http1::Builder::new();
            http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIME);
            let connection = http.serve_connection(TokioIo::new(stream), service);
            if server.backups.is_some() {
                // A backup takes as long as the disk takes.
                let _ = connection.await;
            } else {
                let _ = timeout(CONNECTION_TIME, connection).await;
            }
            drop(permit);
        });
    }

    async fn reject_overloaded(&self, stream: S) {
        drop(stream);
    }
}
