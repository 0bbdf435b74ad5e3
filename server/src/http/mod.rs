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
pub(crate) use refusal::Refusal;

use crate::api::wait::{self, Wait};
use crate::api::{clusters, keys};
use crate::service::Service;
use body::decode;
use negotiation::Format;
use routes::Route;

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
        Some(route) => api(service, &head, body, route).await,
    }
}

/// Answers a request to an endpoint of the API.
async fn api(service: &Service, head: &Parts, body: impl RequestBody, route: Route<'_>) -> Response<AnswerBody> {
    let (formats, allow) = contract(&route);
    let wait = match route {
        Route::Key(..) => Wait::asked_for(head),
        _ => None,
    };
    let format = negotiation::negotiate(&head.headers, formats);
    let outcome = match format {
        None => Err(Refusal::NotAcceptable),
        Some(_) => perform(service, head, body, route, wait).await,
    };
    let mut answer = answers::render(outcome, format.unwrap_or(formats[0]), allow);
    if let Some(wait) = wait {
        answer.headers_mut().insert(wait::PREFERENCE_APPLIED, wait.granted());
    }
    answer
}

/// What an endpoint can answer in, the default first, and the methods that it has.
fn contract(route: &Route<'_>) -> (&'static [Format], &'static str) {
    match route {
        Route::Clusters => (&[Format::Json], "POST, OPTIONS"),
        Route::Cluster(_) => (&[Format::Json], "GET, DELETE, HEAD, OPTIONS"),
        Route::Keys(_) => (&[Format::Json], "GET, POST, HEAD, OPTIONS"),
        Route::Key(..) => (&[Format::Text, Format::Json], "GET, PUT, PATCH, DELETE, HEAD, OPTIONS"),
        Route::Health | Route::Ready | Route::Root => (&[Format::Text], "GET, HEAD"),
    }
}

/// The contract, as a table.
async fn perform(
    service: &Service,
    head: &Parts,
    body: impl RequestBody,
    route: Route<'_>,
    wait: Option<Wait>,
) -> Result<Reply, Refusal> {
    let headers = &head.headers;
    match (&head.method, route) {
        (&Method::POST, Route::Clusters) => clusters::create(service, decode(headers, body).await?).await,

        (&Method::GET | &Method::HEAD, Route::Cluster(pin)) => clusters::show(service, &pin).await,
        (&Method::DELETE, Route::Cluster(pin)) => clusters::delete(service, &pin).await,

        (&Method::GET | &Method::HEAD, Route::Keys(pin)) => keys::list(service, &pin).await,
        (&Method::POST, Route::Keys(pin)) => keys::create(service, &pin, decode(headers, body).await?).await,

        (&Method::GET | &Method::HEAD, Route::Key(pin, key)) => keys::show(service, &pin, key, wait).await,
        (&Method::PUT, Route::Key(pin, key)) => keys::replace(service, &pin, key, decode(headers, body).await?).await,
        (&Method::PATCH, Route::Key(pin, key)) => keys::change(service, &pin, key, decode(headers, body).await?).await,
        (&Method::DELETE, Route::Key(pin, key)) => keys::delete(service, &pin, key).await,

        (&Method::OPTIONS, route) => Ok(Reply::Options(contract(&route).0)),
        (method, _) => Err(Refusal::MethodNotAllowed(method.clone())),
    }
}
