//! From a request to its answer: the path's endpoint, the form of the answer, then the work itself.
//!
//! The order of the checks is the original service's: an unknown path is 404 whatever else is wrong, then `Accept`
//! (406), the method (405), the body (415, 400), and only then what the store knows.

mod answers;
mod body;
mod fields;
mod negotiation;
mod refusal;
mod routes;

use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode};

pub(crate) use answers::{AnswerBody, Reply};
pub(crate) use body::RequestBody;
pub(crate) use fields::Fields;
pub(crate) use refusal::Refusal;

use crate::api::wait::{PREFERENCE_APPLIED, Wait};
use crate::api::{clusters, keys};
use crate::service::Service;
use body::decode;
use routes::{Endpoint, Route};

/// Answers one request.
pub(crate) async fn answer(service: &Service, request: Request<impl RequestBody>) -> Response<AnswerBody> {
    let (head, body) = request.into_parts();
    let path = routes::normalize(head.uri.path());
    match routes::find(&path) {
        None => answers::nothing_there(&path),
        Some(Route::Root) => answers::see("/cluster_pairing"),
        Some(Route::Health) => answers::line(StatusCode::OK, "alive"),
        Some(Route::Ready) => match service.ready().await {
            Ok(()) => answers::line(StatusCode::OK, "ready"),
            Err(refusal) => answers::line(refusal.status(), &refusal.to_string()),
        },
        Some(Route::Api(endpoint)) => api(service, &head, body, endpoint).await,
    }
}

/// Answers a request to an endpoint of the API.
async fn api(
    service: &Service,
    head: &Parts,
    body: impl RequestBody,
    endpoint: Endpoint<'_>,
) -> Response<AnswerBody> {
    let wait = Wait::asked_for(head).filter(|_| matches!(endpoint, Endpoint::Key(..)));
    let (formats, methods) = (endpoint.formats(), endpoint.methods());
    let format = negotiation::negotiate(&head.headers, formats);
    let outcome = match format {
        None => Err(Refusal::NotAcceptable),
        Some(_) => perform(service, head, body, endpoint, wait).await,
    };
    let mut answer = answers::render(outcome, format.unwrap_or(formats[0]), methods);
    if let Some(wait) = wait {
        answer.headers_mut().insert(PREFERENCE_APPLIED, wait.granted());
    }
    answer
}

/// The contract, as a table.
async fn perform(
    service: &Service,
    Parts { method, headers, .. }: &Parts,
    body: impl RequestBody,
    endpoint: Endpoint<'_>,
    wait: Option<Wait>,
) -> Result<Reply, Refusal> {
    use Endpoint::{Cluster, Clusters, Key, Keys};
    match (method, endpoint) {
        (&Method::POST, Clusters) => clusters::create(service, decode(headers, body).await?).await,

        (&Method::GET | &Method::HEAD, Cluster(pin)) => clusters::show(service, &pin).await,
        (&Method::DELETE, Cluster(pin)) => clusters::delete(service, &pin).await,

        (&Method::GET | &Method::HEAD, Keys(pin)) => keys::list(service, &pin).await,
        (&Method::POST, Keys(pin)) => keys::create(service, &pin, decode(headers, body).await?).await,

        (&Method::GET | &Method::HEAD, Key(pin, key)) => keys::show(service, &pin, key, wait).await,
        (&Method::PUT, Key(pin, key)) => keys::replace(service, &pin, key, decode(headers, body).await?).await,
        (&Method::PATCH, Key(pin, key)) => keys::change(service, &pin, key, decode(headers, body).await?).await,
        (&Method::DELETE, Key(pin, key)) => keys::delete(service, &pin, key).await,

        (&Method::OPTIONS, endpoint) => Ok(Reply::Options(endpoint.formats())),
        (method, _) => Err(Refusal::MethodNotAllowed(method.clone())),
    }
}
