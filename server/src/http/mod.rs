//! From a request to its answer: the path's route, the form of the answer, then the handler.
//!
//! The order of the checks is the original service's: an unknown path is 404 whatever else is wrong, then `Accept`
//! (406), the method (405), the pin and the key that a write needs (404), the body (415, 400), and only then the rest of
//! what the store knows.

mod answer_body;
mod answers;
mod bodies;
mod body;
mod clusters;
pub(crate) mod contexts;
mod etag;
mod events;
mod fields;
#[cfg(test)]
mod head_tests;
mod headers;
mod keys;
mod negotiation;
mod node_list;
mod nodes;
mod openapi;
mod page;
mod pieces;
mod prefer;
mod prepared;
mod refusal;
mod routes;
mod slave_context;
#[cfg(test)]
mod tests;
mod timed_body;
mod wait;

use std::net::IpAddr;
use std::pin::Pin as Pinned;
use tokio::time::Instant;

use hyper::header::{ACCEPT, HOST, HeaderValue, IF_NONE_MATCH};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method, Response, StatusCode, Version};
use protocol::Pin;

pub(crate) use answer_body::{AnswerBody, StreamCut};
pub(crate) use body::RequestBody;
pub(crate) use refusal::Refusal;
pub(crate) use routes::normalize;

use crate::metrics::RouteLabel;
use crate::service::Service;
use answers::Reply;
use negotiation::Accept;
use prefer::{PREFER, Wait};
use routes::{Handler, Target};
use timed_body::{BodyWait, TimedBody};

/// Answers one request of a client, once it is admitted; `finish` makes of the answer what is sent.
#[expect(clippy::manual_async_fn, reason = "an async fn has room for each argument twice")]
pub(crate) fn answer<T>(
    service: &Service,
    client: IpAddr,
    (head, body): (Parts, impl RequestBody),
    admit: impl AsyncFnOnce() -> Result<(), Refusal>,
    finish: impl FnOnce(Response<AnswerBody>) -> T,
) -> impl Future<Output = T> {
    async move {
        if let Err(refusal) = admit().await {
            return finish(refuse(service, &refusal));
        }
        let begun = Instant::now();
        let noted = Noted::of(&head.headers);
        let waited = BodyWait::default();
        let body = TimedBody::new(body, &waited);
        let path = head.uri.path();
        let normal;
        let target = match routes::find(path) {
            // No route has anything encoded in it.
            None if path.contains('%') => {
                normal = routes::normalize(path);
                routes::find(&normal)
            }
            target => target,
        };
        let label = target.as_ref().map_or(RouteLabel::Nowhere, |target| target.route().label);
        let target = match target {
            Some(target) if !target.route().formats.is_empty() && noted.names_host(head.version) => target,
            target => {
                let answer = Box::pin(beside_the_api(service, client, &head, body, target)).await;
                service.metrics.answered(label, answer.status(), Some(begun.elapsed()));
                return finish(answer);
            }
        };
        let (route, headers) = (target.route(), target.headers());
        let handler = route.handler(&head.method);
        let waits = matches!(handler, Some(Handler::ShowKey | Handler::ListNodes));
        let wait = if waits && noted.prefers { Wait::asked_for(&head) } else { None };
        let format = negotiation::negotiate(noted.accept, &head.headers, route.formats);
        let has_tags = noted.has_tags;
        let (format, mut outcome) = match format {
            None => (route.formats[0], Err(Refusal::NotAcceptable)),
            Some(format) => (format, perform(service, client, &head, body, handler, &target).await),
        };
        // The client's time to send a body, and the delay of a creation, say nothing of the service.
        let mut took = (!matches!(handler, Some(Handler::CreateCluster)))
            .then(|| begun.elapsed().saturating_sub(waited.time()));
        if let Ok(Reply::Key(key)) = &outcome
            && has_tags
            && handler == Some(Handler::ShowKey)
            && let Some(etag) = etag::known_etag(&head.headers, key)
        {
            outcome = Ok(Reply::Unchanged(etag));
        }
        if let Some(wait) = wait
            && let Some(awaited) = Awaited::after(&outcome, &target)
        {
            // The buffer that the head came in would be most of what a waiter takes.
            drop(head);
            outcome = awaited.wait(service, client, wait).await;
            took = None;
        }
        if let Err(Refusal::UnknownPin) = outcome {
            Box::pin(service.rate_limits.unknown_pin(client)).await;
        }
        if let Err(refusal) = &outcome {
            service.metrics.refused(refusal.cause());
        }
        let answer = answers::render(outcome, format, headers, wait, service);
        service.metrics.answered(label, answer.status(), took);
        finish(answer)
    }
}

/// What a request is held for, if it asks to wait.
enum Awaited {
    Key(Pin, Box<str>),
    /// Another key than that of this entity tag.
    Change(Pin, Box<str>, HeaderValue),
    Nodes(Pin, node_list::NodeQuery),
}

impl Awaited {
    fn after(outcome: &Result<Reply, Refusal>, target: &Target<'_>) -> Option<Self> {
        let pin = target.pin.as_ref()?;
        match outcome {
            Err(Refusal::UnknownKey) => Some(Self::Key(pin.clone(), target.key.into())),
            Ok(Reply::Unchanged(etag)) => Some(Self::Change(pin.clone(), target.key.into(), etag.clone())),
            Ok(Reply::Nodes(found)) => found.unmet.map(|query| Self::Nodes(pin.clone(), query)),
            _ => None,
        }
    }

    /// Waits for it, in a box of its own: a request that does not wait has no room for that.
    fn wait(self, service: &Service, client: IpAddr, wait: Wait) -> Waiting<'_> {
        match self {
            Self::Key(pin, key) => {
                Box::pin(async move { wait::for_key(service, client, pin, key, wait).await.map(Reply::Key) })
            }
            Self::Change(pin, key, etag) => Box::pin(wait::for_change(service, client, pin, key, etag, wait)),
            Self::Nodes(pin, query) => {
                Box::pin(
                    async move { nodes::wait(service, client, pin, query, wait).await.map(Reply::Nodes) },
                )
            }
        }
    }
}

type Waiting<'a> = Pinned<Box<dyn Future<Output = Result<Reply, Refusal>> + Send + 'a>>;

/// The answer to a request that is refused before it is looked at.
pub(crate) fn refuse(service: &Service, refusal: &Refusal) -> Response<AnswerBody> {
    service.metrics.refused(refusal.cause());
    answers::refuse(refusal, service)
}

/// What there is in a head, found in one pass: most requests have next to nothing.
#[derive(Default, Clone, Copy)]
struct Noted<'a> {
    hosts: u8,
    prefers: bool,
    has_tags: bool,
    accept: Accept<'a>,
}

impl<'a> Noted<'a> {
    fn of(headers: &'a HeaderMap) -> Self {
        let mut noted = Self::default();
        for (name, value) in headers {
            if *name == HOST {
                noted.hosts = noted.hosts.saturating_add(1);
            } else if *name == ACCEPT {
                noted.accept = noted.accept.and(value);
            } else {
                noted.prefers |= *name == PREFER;
                noted.has_tags |= *name == IF_NONE_MATCH;
            }
        }
        noted
    }

    /// Whether a request has the one `Host` that RFC 9112 section 3.2 wants; HTTP/1.0 knows none.
    fn names_host(self, version: Version) -> bool {
        self.hosts == 1 || (self.hosts == 0 && version == Version::HTTP_10)
    }
}

/// Answers what is asked beside the API, which can only be read, but for the page's form.
async fn beside_the_api(
    service: &Service,
    client: IpAddr,
    head: &Parts,
    body: impl RequestBody,
    target: Option<Target<'_>>,
) -> Response<AnswerBody> {
    if !Noted::of(&head.headers).names_host(head.version) {
        return refuse(service, &Refusal::HostMissing);
    }
    let Some(target) = target else {
        return answers::nothing_there(&routes::normalize(head.uri.path()));
    };
    match target.route().handler(&head.method) {
        Some(Handler::Home) => answers::redirect("cluster_pairing"),
        Some(Handler::Describe) => openapi::show(),
        Some(Handler::Page(file)) => page::show(&service.page, file),
        Some(Handler::CreateByForm) => page::form::create(service, client, head, body).await,
        Some(Handler::Alive) => answers::line(StatusCode::OK, "alive"),
        Some(Handler::Ready) => match service.ready().await.map_err(Refusal::from) {
            Ok(()) => answers::line(StatusCode::OK, "ready"),
            Err(refusal) => answers::line(refusal.status(), &refusal.to_string()),
        },
        Some(Handler::SlaveContext) => {
            let query = head.uri.query().unwrap_or_default();
            // In HTTP/1.0 the end of a body that was cut off looks like that of a whole one.
            let can_stream = head.version != Version::HTTP_10;
            slave_context::show(service, client, target.key, query, can_stream).await
        }
        _ => answers::not_allowed(&target.route().allow()),
    }
}

/// Runs the handler of a request to the API. Those that only read come first, without a box around them.
#[expect(clippy::manual_async_fn, reason = "an async fn has room for each argument twice")]
fn perform<'a>(
    service: &'a Service,
    client: IpAddr,
    head: &'a Parts,
    body: impl RequestBody + 'a,
    handler: Option<Handler>,
    target: &'a Target<'_>,
) -> impl Future<Output = Result<Reply, Refusal>> + 'a {
    async move {
        match (handler, &target.pin) {
            (Some(Handler::ShowKey), Some(pin)) => keys::show(service, pin, target.key).await,
            (Some(Handler::ShowCluster), Some(pin)) => clusters::show(service, pin).await,
            (Some(Handler::ListKeys), Some(pin)) => keys::list(service, pin).await,
            (Some(Handler::ListNodes), Some(pin)) => {
                Box::pin(nodes::list(service, pin, head.uri.query().unwrap_or_default())).await
            }
            (Some(Handler::WatchCluster), Some(pin)) => Box::pin(events::watch(service, client, pin)).await,
            (None, _) if head.method == Method::OPTIONS => Ok(Reply::Options(target.route().formats)),
            (None, _) => Err(Refusal::MethodNotAllowed(head.method.clone())),
            // Boxed: what it takes to read a body would otherwise be part of every request.
            (Some(handler), _) => Box::pin(write(service, client, head, body, handler, target)).await,
        }
    }
}

/// SECURITY: any web page can have its visitors' browsers send a form here. Browsers say so; agents never do.
fn is_cross_site(headers: &HeaderMap) -> bool {
    headers.get("sec-fetch-site").is_some_and(|site| site == "cross-site")
}

async fn write(
    service: &Service,
    client: IpAddr,
    Parts { method, headers, .. }: &Parts,
    body: impl RequestBody,
    handler: Handler,
    Target { pin, key, .. }: &Target<'_>,
) -> Result<Reply, Refusal> {
    if is_cross_site(headers) {
        return Err(Refusal::CrossSite);
    }
    match (handler, pin) {
        (Handler::CreateCluster, _) => clusters::create(service, client, headers, body).await,
        (Handler::MakeContexts, _) => contexts::make(service, client, headers, body).await,
        (Handler::DeleteCluster, Some(pin)) => clusters::delete(service, pin).await,
        (Handler::CreateKey, Some(pin)) => keys::create(service, client, pin, headers, body).await,
        (Handler::ReplaceKey, Some(pin)) => keys::replace(service, client, pin, key, headers, body).await,
        (Handler::ChangeKey, Some(pin)) => keys::change(service, client, pin, key, headers, body).await,
        (Handler::DeleteKey, Some(pin)) => keys::delete(service, pin, key).await,
        (Handler::PutNode, Some(pin)) => nodes::put(service, client, pin, key, headers, body).await,
        (Handler::DeleteNode, Some(pin)) => nodes::delete(service, pin, key).await,
        _ => Err(Refusal::MethodNotAllowed(method.clone())),
    }
}
