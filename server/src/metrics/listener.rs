//! `/metrics` on a listener of its own, so that what an admin reads is never in reach of the guests.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use super::text::render;
use crate::service::Service;

/// OpenMetrics 1.0.
const OPENMETRICS: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
/// Most readers at a time: a few Prometheus servers, and whoever looks by hand.
const READERS: usize = 16;
/// How long one reader may stay: Prometheus reads every minute at the latest, and connects anew if need be.
const VISIT: Duration = Duration::from_secs(300);
/// Pause after a failed accept.
const BREATHER: Duration = Duration::from_millis(100);

/// Answers readers, for ever.
pub(crate) async fn serve(listener: TcpListener, service: Arc<Service>) {
    let readers = Arc::new(Semaphore::new(READERS));
    loop {
        let permit = readers.clone().acquire_owned().await.expect("the semaphore is never closed");
        let Ok((stream, _)) = listener.accept().await else {
            sleep(BREATHER).await;
            continue;
        };
        let service = service.clone();
        tokio::spawn(async move {
            let answer = service_fn(async |request| Ok::<_, Infallible>(answer(&service, &request).await));
            let mut http = http1::Builder::new();
            http.timer(TokioTimer::new());
            // A reader that goes away has nothing to tell us.
            let _ = timeout(VISIT, http.serve_connection(TokioIo::new(stream), answer)).await;
            drop(permit);
        });
    }
}

async fn answer<B>(service: &Arc<Service>, request: &Request<B>) -> Response<Full<Bytes>> {
    let (status, text) = match (request.uri().path(), request.method()) {
        ("/metrics", &Method::GET | &Method::HEAD) => {
            (StatusCode::OK, render(service, service.ready().await.is_ok()))
        }
        ("/metrics", _) => (StatusCode::METHOD_NOT_ALLOWED, String::new()),
        _ => (StatusCode::NOT_FOUND, String::new()),
    };
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, OPENMETRICS);
    response
}
