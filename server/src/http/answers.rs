//! What goes back: the outcome of a request as an HTTP answer, with the headers that every answer of the API has.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION, RETRY_AFTER, VARY, WWW_AUTHENTICATE,
};
use hyper::{Response, StatusCode};
use protocol::bodies::{Cluster, KeyValue};
use serde::Serialize;

use super::negotiation::Format;
use super::refusal::Refusal;
use crate::store;

/// What a request that went well has to tell.
#[derive(Debug)]
pub(crate) enum Reply {
    /// A new cluster.
    ClusterCreated(store::Cluster),
    /// A cluster.
    Cluster(store::Cluster),
    /// The keys of a cluster.
    Keys(Vec<Arc<store::Key>>),
    /// A new key.
    KeyCreated(Arc<store::Key>),
    /// A key.
    Key(Arc<store::Key>),
    /// What was there is there no more.
    Deleted,
    /// What can be asked for: the answer to OPTIONS.
    Options(&'static [Format]),
}

/// The body of an answer: all of it, at once.
#[derive(Debug, Default)]
pub(crate) struct AnswerBody(Option<Bytes>);

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.take().map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.as_ref().map_or(0, |bytes| bytes.len() as u64))
    }
}

impl From<Vec<u8>> for AnswerBody {
    fn from(bytes: Vec<u8>) -> Self {
        Self((!bytes.is_empty()).then(|| bytes.into()))
    }
}

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// As the original has it; `Cookie` is what remains of its sessions.
const VARIES_WITH: HeaderValue = HeaderValue::from_static("Accept, Cookie");
/// What a pin stands for changes from one moment to the next, and is nobody else's business.
const NOT_TO_BE_KEPT: HeaderValue = HeaderValue::from_static("no-store");

/// The headers that all answers of an endpoint have, put together once.
pub(super) struct Headers {
    alone: HeaderMap,
    text: HeaderMap,
    json: HeaderMap,
}

impl Headers {
    /// For an endpoint with these methods.
    pub(super) fn new(methods: &'static str) -> Self {
        let alone = HeaderMap::from_iter([
            (ALLOW, HeaderValue::from_static(methods)),
            (VARY, VARIES_WITH),
            (CACHE_CONTROL, NOT_TO_BE_KEPT),
        ]);
        let with = |content_type| {
            let mut headers = alone.clone();
            headers.insert(CONTENT_TYPE, content_type);
            headers
        };
        Self { text: with(TEXT), json: with(JSON), alone }
    }
}

/// The answer of an API endpoint.
pub(super) fn render(
    outcome: &Result<Reply, Refusal>,
    format: Format,
    headers: &Headers,
) -> Response<AnswerBody> {
    let (status, body) = match outcome {
        Ok(reply) => (reply.status(), reply.render(format)),
        Err(refusal) => {
            let body = match format {
                Format::Json => refusal.to_json(),
                // An error has no line `key: value`, and clients that asked for one go by the status.
                Format::Text => Vec::new(),
            };
            (refusal.status(), body)
        }
    };
    let headers = match format {
        _ if body.is_empty() => &headers.alone,
        Format::Text => &headers.text,
        Format::Json => &headers.json,
    };
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    *response.headers_mut() = headers.clone();
    if let Err(refusal) = outcome {
        explain(refusal, response.headers_mut());
    }
    response
}

/// Adds what a client should know of a refusal besides its words.
fn explain(refusal: &Refusal, headers: &mut HeaderMap) {
    if let Some(seconds) = refusal.retry_after() {
        headers.insert(RETRY_AFTER, seconds.into());
    }
    if let Refusal::TokenMissing = refusal {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
}

/// The answer to a connection that there is no room for.
pub(crate) fn no_room() -> Response<AnswerBody> {
    let refusal = Refusal::TooManyConnections;
    let mut response = Response::new(refusal.to_json().into());
    *response.status_mut() = refusal.status();
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    explain(&refusal, response.headers_mut());
    response
}

impl Reply {
    fn status(&self) -> StatusCode {
        match self {
            Self::ClusterCreated(_) | Self::KeyCreated(_) => StatusCode::CREATED,
            Self::Cluster(_) | Self::Keys(_) | Self::Key(_) | Self::Options(_) => StatusCode::OK,
            Self::Deleted => StatusCode::NO_CONTENT,
        }
    }

    fn render(&self, format: Format) -> Vec<u8> {
        match (self, format) {
            (Self::Key(key) | Self::KeyCreated(key), Format::Text) => {
                protocol::key::to_line(&key.name, &key.value).into_bytes()
            }
            (Self::Key(key) | Self::KeyCreated(key), Format::Json) => to_json(&key_value(key)),
            (Self::Keys(keys), _) => to_json(&keys.iter().map(|key| key_value(key)).collect::<Vec<_>>()),
            (Self::Cluster(cluster) | Self::ClusterCreated(cluster), _) => to_json(&Cluster {
                pin: cluster.pin.reveal().into(),
                creation_time: cluster.created.to_string().into(),
            }),
            (Self::Options(formats), Format::Json) => to_json(&Options::of(formats)),
            (Self::Options(_), Format::Text) | (Self::Deleted, _) => Vec::new(),
        }
    }
}

/// What of the original's OPTIONS document a client could use.
#[derive(Serialize)]
struct Options {
    renders: Vec<String>,
    parses: [&'static str; 3],
}

impl Options {
    fn of(formats: &[Format]) -> Self {
        Self {
            renders: formats.iter().map(|format| format.to_string()).collect(),
            parses: super::body::MEDIA_TYPES,
        }
    }
}

fn key_value(key: &store::Key) -> KeyValue<'_> {
    KeyValue { key: key.name.as_str().into(), value: key.value.as_str().into() }
}

fn to_json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("strings under fixed names always serialise")
}

/// The answer outside the API: a line of text.
pub(super) fn line(status: StatusCode, text: &str) -> Response<AnswerBody> {
    let mut response = Response::new(format!("{text}\n").into_bytes().into());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, TEXT);
    response.headers_mut().insert(CACHE_CONTROL, NOT_TO_BE_KEPT);
    response
}

/// The answer where there is nothing. Under the API it is JSON, so that a mistyped pin and an unknown one look the
/// same to an agent, and neither looks like the 404 of some other web server.
pub(super) fn nothing_there(path: &str) -> Response<AnswerBody> {
    if !path.starts_with("/api/v1/") {
        return line(StatusCode::NOT_FOUND, "There is nothing here. The pairing page is /cluster_pairing.");
    }
    let mut response = Response::new(Refusal::UnknownPin.to_json().into());
    *response.status_mut() = StatusCode::NOT_FOUND;
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    response.headers_mut().insert(CACHE_CONTROL, NOT_TO_BE_KEPT);
    response
}

/// Leads a browser elsewhere.
pub(super) fn see(path: &'static str) -> Response<AnswerBody> {
    let mut response = line(StatusCode::FOUND, path);
    response.headers_mut().insert(LOCATION, HeaderValue::from_static(path));
    response
}
