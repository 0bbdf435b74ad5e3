//! The cluster builder's API over HTTP, and the view of what it launched.
//!
//! Requests are read by hyper and answered by blocking code on threads of their own: a launch is a handful of calls in a
//! row, and there are few at a time.

mod allowed;
mod answers;
mod clusters;
mod followed;
mod metrics;
mod notified;
mod openapi;
mod page;
mod routes;
mod shape;
mod tls;
mod types;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use hyper::header::AUTHORIZATION;
use hyper::service::service_fn;
use hyper::{Request, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use protocol::Trust;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::timeout;

pub use allowed::AllowedUrl;

use crate::launch::Launcher;
use crate::notifications::Broker;
use crate::openstack::Credentials;
use crate::token::TokenKey;
use answers::Answer;
use followed::Followed;
use metrics::Metrics;
use notified::Notified;
use routes::{Handler, RouteMatch};

/// Most connections at a time; others wait in the kernel.
const CONNECTIONS: usize = 512;
/// Most bytes of a request's body. The original's clients send some kilobytes.
const MAX_BODY: usize = 1 << 20;
/// Longest time for a request's head, and again for its body.
const READ_LIMIT: Duration = Duration::from_secs(30);
/// Longest time that requests may take to end when the service stops. A launch takes some seconds.
const STOP_LIMIT: Duration = Duration::from_secs(60);

/// What a service is made of.
pub struct Config {
    /// What launches.
    pub launcher: Launcher,
    /// What tokens are checked with; without, every launch is refused.
    pub key: Option<TokenKey>,
    /// The clouds that requests may name.
    pub auth_urls: Vec<AllowedUrl>,
    /// The billing services that requests may name; if there is none, nothing is billed.
    pub middleware_urls: Vec<AllowedUrl>,
    /// Which certificates of clouds are believed.
    pub trust: Trust,
    /// Longest time for one call of a cloud.
    pub cloud_limit: Duration,
    /// Credentials of the launcher's own, with which it looks at clusters after a restart.
    pub own: Option<Credentials>,
    /// Time between two looks at a cluster.
    pub poll_interval: Duration,
    /// Where notifications come from, if they do.
    pub notifications: Option<Broker>,
    /// The certificate with its key, both in PEM.
    pub tls: Option<(PathBuf, PathBuf)>,
}

/// What all requests share.
pub(crate) struct Service {
    config: Config,
    followed: Followed,
    notified: Option<Notified>,
    metrics: Metrics,
}

/// Serves until asked to stop, or until something ends that it cannot work without; then lets requests end. Gives what has
/// ended, if that was it.
///
/// # Errors
/// The address or the certificate cannot be used.
pub async fn serve<T>(
    mut config: Config,
    address: SocketAddr,
    ready: impl FnOnce(SocketAddr, &'static str),
    needed: impl Future<Output = T>,
) -> io::Result<Option<T>> {
    let acceptor =
        config.tls.as_ref().map(|(certificate, key)| tls::acceptor(certificate, key)).transpose()?;
    let listener = TcpListener::bind(address).await?;
    let broker = config.notifications.take();
    let service = Arc::new(Service {
        config,
        followed: Followed::default(),
        notified: broker.as_ref().map(Notified::new),
        metrics: Metrics::default(),
    });
    followed::discover(&service).await;
    ready(listener.local_addr()?, if acceptor.is_some() { "https" } else { "http" });
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    let asked = pairing_server::system::asked_to_stop().map_err(io::Error::other)?;
    let stop = async {
        tokio::select! {
            () = asked => None,
            ended = needed => Some(ended),
        }
    };
    tokio::pin!(stop);
    let (stopping, stopped) = tokio::sync::watch::channel(false);
    let listening = broker.and_then(|broker| notified::begin(&service, broker, stopped.clone()));
    let ended = loop {
        let permit = tokio::select! {
            permit = Arc::clone(&room).acquire_owned() => permit.map_err(io::Error::other)?,
            ended = &mut stop => break ended,
        };
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    log::warn!("cannot accept a connection: {error}");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
            ended = &mut stop => break ended,
        };
        let (service, acceptor, stopped) = (Arc::clone(&service), acceptor.clone(), stopped.clone());
        connections.spawn(async move {
            match acceptor {
                None => talk(&service, stream, stopped, permit).await,
                Some(acceptor) => {
                    if let Ok(Ok(stream)) = timeout(READ_LIMIT, acceptor.accept(stream)).await {
                        talk(&service, stream, stopped, permit).await;
                    }
                }
            }
        });
        while connections.try_join_next().is_some() {}
    };
    drop(listener);
    let _ = stopping.send(true);
    let _ = timeout(STOP_LIMIT, async {
        if let Some(listening) = listening {
            let _ = listening.await;
        }
        while connections.join_next().await.is_some() {}
    })
    .await;
    Ok(ended)
}

/// What a connection is read from and written to.
trait Stream: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static {}
impl Stream for TcpStream {}
impl Stream for tokio_rustls::server::TlsStream<TcpStream> {}

/// Answers the requests of one connection.
async fn talk(
    service: &Arc<Service>,
    stream: impl Stream,
    mut stopped: tokio::sync::watch::Receiver<bool>,
    _permit: OwnedSemaphorePermit,
) {
    let answer = service_fn(|request| {
        let service = Arc::clone(service);
        async move { Ok::<_, std::convert::Infallible>(answer(service, request).await) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(READ_LIMIT)
        .serve_connection(TokioIo::new(stream), answer);
    tokio::pin!(connection);
    tokio::select! {
        _ = connection.as_mut() => return,
        _ = stopped.changed() => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}

/// Answers one request.
async fn answer(service: Arc<Service>, request: Request<Incoming>) -> Answer {
    let (head, body) = request.into_parts();
    let authorization = head.headers.get(AUTHORIZATION).map(|value| value.to_str().unwrap_or_default());
    let found = routes::find(&head.method, head.uri.path(), authorization.is_some());
    let (handler, id) = match found {
        RouteMatch::Handler(handler, id) => (handler, id),
        RouteMatch::Elsewhere(path) => {
            let query = head.uri.query().map(|query| format!("?{query}")).unwrap_or_default();
            return answers::moved(&format!("{path}{query}"));
        }
        RouteMatch::Options(allowed) => return answers::options(&allowed),
        RouteMatch::NotAllowed(allowed) => return answers::method_not_allowed(&allowed),
        RouteMatch::Nothing => return answers::nothing_here(),
    };
    let authorization = authorization.map(str::to_owned);
    let body = match handler {
        Handler::Launch => {
            if !clusters::is_json(&head.headers) {
                let detail = "The Content-Type must be application/json.";
                return counted(&service, handler, answers::refuse(415, "Unsupported Media Type", detail));
            }
            match timeout(READ_LIMIT, Limited::new(body, MAX_BODY).collect()).await {
                Ok(Ok(body)) => body.to_bytes(),
                Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
                    let detail = format!("The body has more than {MAX_BODY} bytes.");
                    return counted(&service, handler, answers::refuse(413, "Payload Too Large", &detail));
                }
                _ => return answers::refuse(408, "Request Timeout", "The body did not come whole."),
            }
        }
        _ => bytes::Bytes::new(),
    };
    let worker = Arc::clone(&service);
    let done = spawn_blocking(move || {
        let service = &worker;
        let token = authorization.as_deref();
        match handler {
            Handler::ListTypes => types::list(&service.config.launcher.catalogue, &head.headers),
            Handler::ShowType => types::show(&service.config.launcher.catalogue, &id, &head.headers),
            Handler::Launch => clusters::launch(service, token, &body),
            Handler::ListClusters => clusters::list(service, token),
            Handler::ShowCluster => clusters::show(service, token, &id),
            Handler::DeleteCluster => clusters::delete(service, token, &id),
            Handler::Describe => openapi::show(),
            Handler::Alive => answers::typed(StatusCode::OK, "text/plain; charset=utf-8", "alive\n"),
            Handler::Metrics => metrics::show(service),
            Handler::Page(file) => page::show(file),
        }
    });
    // A client that goes away does not end a launch: the thread goes on, and its record is kept.
    let answer = done.await.unwrap_or_else(|error| {
        log::error!("a request failed: {error}");
        answers::refuse(500, "Internal Server Error", "The request failed; the log of the launcher says why.")
    });
    counted(&service, handler, answer)
}

fn counted(service: &Service, handler: Handler, answer: Answer) -> Answer {
    service.metrics.count(handler, answer.status().as_u16());
    answer
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::Catalogue;
    use crate::launch::Records;

    #[tokio::test]
    async fn ends_with_what_it_cannot_work_without() {
        let dir = tempfile::tempdir().unwrap();
        let config = Config {
            launcher: Launcher {
                catalogue: Catalogue::new(dir.path().to_owned()),
                records: Records::in_folder(dir.path()).unwrap(),
                pairing: None,
            },
            key: None,
            auth_urls: Vec::new(),
            middleware_urls: Vec::new(),
            trust: Trust::WebPki,
            cloud_limit: Duration::from_secs(1),
            own: None,
            poll_interval: Duration::from_secs(1),
            notifications: None,
            tls: None,
        };
        let (end, ended) = tokio::sync::oneshot::channel();
        let ready = |_, _| end.send("it is over").unwrap();
        let served = serve(config, "127.0.0.1:0".parse().unwrap(), ready, ended).await;
        assert_eq!(served.unwrap(), Some(Ok("it is over")));
    }
}
