//! What goes back: the outcome of a request as an HTTP answer, with the headers that every answer of the API has.

use std::sync::Arc;

use hyper::header::{
    ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, ETAG, HeaderMap, HeaderValue,
    LAST_MODIFIED, LOCATION, RETRY_AFTER, WWW_AUTHENTICATE,
};
use hyper::{Response, StatusCode};
use pairing_core::store;
use protocol::bodies::Cluster;
use serde::Serialize;

use super::answer_body::{AnswerBody, PIECE};
use super::bodies::{key_bytes, key_value, to_json};
use super::body::MEDIA_TYPES;
use super::etag;
use super::headers::{Headers, JSON, NO_STORE, TEXT, http_date};
use super::negotiation::Format;
use super::node_list::NodeList;
use super::pieces;
use super::prefer::{PREFERENCE_APPLIED, Wait};
use super::prepared;
use super::refusal::Refusal;
use crate::service::Service;

/// What a request that went well has to tell.
pub(super) enum Reply {
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
    /// The key that the client has, with its entity tag.
    Unchanged(HeaderValue),
    /// What happens to a cluster, as it happens.
    Events(AnswerBody),
    /// Nodes of a cluster.
    Nodes(Box<NodeList>),
    /// The contexts of a cluster, as JSON.
    Contexts(Vec<u8>),
    /// It is done: what was to be there is there, or what was there is there no more.
    Done,
    /// What can be asked for: the answer to OPTIONS.
    Options(&'static [Format]),
}

/// The answer of an API endpoint; `wait` is how long it may have been held.
pub(super) fn render(
    outcome: Result<Reply, Refusal>,
    format: Format,
    headers: &'static Headers,
    wait: Option<Wait>,
    service: &Service,
) -> Response<AnswerBody> {
    if let Ok(Reply::Key(key)) = &outcome
        && etag::is_tagged(key)
    {
        return prepared::show(key, format, headers, wait);
    }
    let (mut length, mut last_modified, mut etag) = (None, None, None);
    let (status, body, refusal) = match outcome {
        Ok(reply) => {
            length = reply.length(format);
            last_modified = reply.last_modified();
            etag = reply.etag();
            (reply.status(), reply.render(format), None)
        }
        Err(refusal) => {
            let body = match format {
                Format::Json | Format::Events => refusal.to_json().into(),
                // An error has no line `key: value`, and clients that asked for one go by the status.
                Format::Text => AnswerBody::default(),
            };
            (refusal.status(), body, Some(refusal))
        }
    };
    let headers = match (&body, format) {
        (AnswerBody::Pieces(_), Format::Events) => &headers.events,
        (body, _) if body.is_empty() && status == StatusCode::NO_CONTENT => &headers.bodiless,
        (body, _) if body.is_empty() => &headers.empty,
        (_, format) => headers.with_body(format),
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers.clone();
    if let Some(length) = length {
        response.headers_mut().insert(CONTENT_LENGTH, length.into());
    }
    response.headers_mut().extend(last_modified.map(|value| (LAST_MODIFIED, value)));
    response.headers_mut().extend(etag.map(|value| (ETAG, value)));
    if let Some(refusal) = refusal {
        explain(&refusal, service, response.headers_mut());
    }
    response.headers_mut().extend(wait.map(|wait| (PREFERENCE_APPLIED, wait.granted())));
    response
}

/// Adds what a client should know of a refusal besides its words.
pub(super) fn explain(refusal: &Refusal, service: &Service, headers: &mut HeaderMap) {
    if let Some(seconds) = refusal.retry_after().map(|retry| service.seconds_until(retry)) {
        headers.insert(RETRY_AFTER, seconds.into());
    }
    match refusal {
        Refusal::TokenMissing => headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer")),
        // Its connection is what there is no room for.
        Refusal::TooManyWaiters => headers.insert(CONNECTION, HeaderValue::from_static("close")),
        _ => None,
    };
}

/// A refusal that comes before the path is looked at.
pub(super) fn refuse(refusal: &Refusal, service: &Service) -> Response<AnswerBody> {
    let mut response = Response::new(AnswerBody::from(refusal.to_json()));
    *response.status_mut() = refusal.status();
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    response.headers_mut().insert(CACHE_CONTROL, NO_STORE);
    explain(refusal, service, response.headers_mut());
    response
}

impl Reply {
    fn etag(&self) -> Option<HeaderValue> {
        match self {
            Self::Unchanged(etag) => Some(etag.clone()),
            _ => None,
        }
    }

    /// When the value of the one key that it shows was set.
    fn last_modified(&self) -> Option<HeaderValue> {
        match self {
            Self::Key(key) => http_date(key.modified),
            _ => None,
        }
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::ClusterCreated(_) | Self::KeyCreated(_) => StatusCode::CREATED,
            Self::Cluster(_)
            | Self::Keys(_)
            | Self::Key(_)
            | Self::Nodes(_)
            | Self::Contexts(_)
            | Self::Events(_)
            | Self::Options(_) => StatusCode::OK,
            Self::Unchanged(_) => StatusCode::NOT_MODIFIED,
            Self::Done => StatusCode::NO_CONTENT,
        }
    }

    /// The length of a body that is sent in pieces, where it is known without making it.
    fn length(&self, format: Format) -> Option<usize> {
        match self {
            Self::Key(key) | Self::KeyCreated(key) if format == Format::Text && is_long(key) => {
                Some(protocol::key::to_line(&key.name, "").len() + key.value.len())
            }
            _ => None,
        }
    }

    fn render(self, format: Format) -> AnswerBody {
        let bytes = match (self, format) {
            (Self::Events(events), _) => return events,
            (Self::Key(key) | Self::KeyCreated(key), format) if is_long(&key) => {
                return match format {
                    Format::Text => AnswerBody::pieces(pieces::line(key)),
                    Format::Json | Format::Events => AnswerBody::pieces(pieces::object(key)),
                };
            }
            (Self::Keys(keys), _) if keys.iter().map(|key| bytes(key)).sum::<usize>() > PIECE => {
                return AnswerBody::pieces(pieces::list(keys));
            }
            (Self::Key(key) | Self::KeyCreated(key), format) => key_bytes(&key, format),
            (Self::Keys(keys), _) => to_json(&keys.iter().map(|key| key_value(key)).collect::<Vec<_>>()),
            (Self::Cluster(cluster) | Self::ClusterCreated(cluster), _) => to_json(&Cluster {
                pin: cluster.pin.reveal().into(),
                creation_time: cluster.created.to_string().into(),
            }),
            (Self::Contexts(contexts), _) => contexts,
            (Self::Nodes(nodes), _) => return nodes.into_body(),
            (Self::Options(_), Format::Text) | (Self::Done | Self::Unchanged(_), _) => Vec::new(),
            (Self::Options(formats), _) => to_json(&Options::of(formats)),
        };
        bytes.into()
    }
}

fn bytes(key: &store::Key) -> usize {
    key.name.len() + key.value.len()
}

/// Whether a key is sent in pieces.
fn is_long(key: &store::Key) -> bool {
    bytes(key) > PIECE
}

/// What of the original's OPTIONS document a client could use.
#[derive(Serialize)]
struct Options {
    renders: Vec<String>,
    parses: [&'static str; 3],
}

impl Options {
    fn of(formats: &[Format]) -> Self {
        Self { renders: formats.iter().map(|format| format.to_string()).collect(), parses: MEDIA_TYPES }
    }
}

/// The answer outside the API: a line of text.
pub(super) fn line(status: StatusCode, text: &str) -> Response<AnswerBody> {
    let mut response = Response::new(format!("{text}\n").into_bytes().into());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, TEXT);
    response.headers_mut().insert(CACHE_CONTROL, NO_STORE);
    response
}

/// The answer where there is nothing. Under the API it is JSON, so that a mistyped pin and an unknown one look the
/// same to an agent, and neither looks like the 404 of another web server.
pub(super) fn nothing_there(path: &str) -> Response<AnswerBody> {
    if !path.starts_with("/api/v1/") {
        return line(StatusCode::NOT_FOUND, "There is nothing here. The pairing page is /cluster_pairing.");
    }
    let mut response = Response::new(Refusal::UnknownPin.to_json().into());
    *response.status_mut() = StatusCode::NOT_FOUND;
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    response.headers_mut().insert(CACHE_CONTROL, NO_STORE);
    response
}

/// The answer outside the API to a method that a route has not; `methods` are those that it has.
pub(super) fn not_allowed(methods: &str) -> Response<AnswerBody> {
    let mut response = line(StatusCode::METHOD_NOT_ALLOWED, &format!("This takes {methods}."));
    let methods = HeaderValue::from_str(methods).expect("the names of methods make a header");
    response.headers_mut().insert(ALLOW, methods);
    response
}

/// Sends a browser to another path.
pub(super) fn redirect(path: &'static str) -> Response<AnswerBody> {
    let mut response = line(StatusCode::FOUND, path);
    response.headers_mut().insert(LOCATION, HeaderValue::from_static(path));
    response
}
