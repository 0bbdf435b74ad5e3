//! Every reason for which the API does not do what was asked: its status, and its sentence for the client. The sentences
//! name no file, peer or pin; what the admin must know goes to the log.

use hyper::{Method, StatusCode};
use pairing_core::Refused;
use serde::Serialize;

use super::fields::FieldErrors;
use crate::metrics::Cause;
use crate::return_times::RetryAfter;

/// Why a request was refused. The texts of the first group are the original service's.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("Not found.")]
    UnknownPin,
    #[error("Not found.")]
    UnknownKey,
    #[error("Not found.")]
    UnknownNode,
    #[error("Could not satisfy the request Accept header.")]
    NotAcceptable,
    #[error("Method \"{0}\" not allowed.")]
    MethodNotAllowed(Method),
    #[error("Unsupported media type \"{0}\" in request.")]
    UnsupportedMediaType(String),
    #[error("JSON parse error - {0}")]
    InvalidJson(String),
    #[error("Multipart form parse error - {0}")]
    InvalidMultipart(String),
    #[error("Invalid data. Expected a dictionary, but got {0}.")]
    NotAnObject(&'static str),
    #[error("a field is not valid")]
    InvalidFields(FieldErrors),
    #[error("Resource already exists, cannot be created again")]
    KeyExists,

    #[error("A request of HTTP/1.1 has one Host header.")]
    HostMissing,
    #[error("The body did not arrive whole: {0}")]
    BrokenBody(String),
    #[error("The body is longer than {0} bytes.")]
    BodyTooLarge(usize),
    #[error("The body took longer than {0} seconds.")]
    BodyTooSlow(u64),
    #[error("Another key of this cluster has that name.")]
    NameTaken,
    #[error("This cluster has too many keys.")]
    TooManyKeys,
    #[error("The keys and values of this cluster would be too long, all together.")]
    TooManyBytes,
    #[error("This cluster has too many nodes.")]
    TooManyNodes,
    #[error("The reports of this cluster's nodes would be too long, all together.")]
    TooManyNodeBytes,
    #[error("{0}")]
    Node(String),
    #[error("{0}")]
    Query(String),
    #[error("{0}")]
    Contexts(String),
    #[error("The service has too many clusters. Try again later.")]
    TooManyPins,
    #[error("This address has made too many clusters. Try again in {0} seconds.")]
    TooManyCreations(u64),
    #[error("Making a cluster needs the token of the service's admin (Authorization: Bearer).")]
    TokenMissing,
    #[error("The service has too many connections. Try again later.")]
    TooManyConnections,
    #[error("The service holds too many bytes, for this address or in all. Try again later.")]
    OutOfMemory,
    #[error("This address has used its share of processor time. Try again in {0} seconds.")]
    TooBusy(u64),
    #[error("This address has sent too many wrong tokens. Try again in {0} seconds.")]
    TooManyTokens(u64),
    #[error("A page of another site may not change anything here.")]
    CrossSite,
    #[error("Too many requests wait already. Try again later.")]
    TooManyWaiters,
    #[error("The service is shutting down. Try again in a moment.")]
    ShuttingDown,
    #[error("The service has no room left on its disk. Nothing was changed.")]
    NoSpace,
    #[error("The service cannot reach its store now. Try again in a moment.")]
    Unreachable,
    #[error("The service's store failed. Its log says why.")]
    StoreFailed,
}

/// The body of an error that concerns one thing as a whole.
#[derive(Serialize)]
struct Detail {
    detail: String,
}

/// The body of an error that concerns no field in particular, as the original has it beside those that do.
#[derive(Serialize)]
struct NonFieldErrors {
    non_field_errors: [String; 1],
}

impl Refusal {
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::HostMissing
            | Self::InvalidJson(_)
            | Self::InvalidMultipart(_)
            | Self::NotAnObject(_)
            | Self::InvalidFields(_)
            | Self::BrokenBody(_)
            | Self::Node(_)
            | Self::Query(_)
            | Self::Contexts(_)
            | Self::TooManyNodes
            | Self::TooManyNodeBytes
            // Not 409, which tells an agent that its key is there.
            | Self::TooManyKeys
            | Self::TooManyBytes => StatusCode::BAD_REQUEST,
            Self::UnknownPin | Self::UnknownKey | Self::UnknownNode => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::NotAcceptable => StatusCode::NOT_ACCEPTABLE,
            Self::BodyTooSlow(_) => StatusCode::REQUEST_TIMEOUT,
            Self::KeyExists | Self::NameTaken => StatusCode::CONFLICT,
            Self::BodyTooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::StoreFailed => StatusCode::INTERNAL_SERVER_ERROR,
            Self::TokenMissing => StatusCode::UNAUTHORIZED,
            Self::CrossSite => StatusCode::FORBIDDEN,
            Self::TooManyCreations(_) | Self::TooManyTokens(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::TooManyPins
            | Self::TooManyWaiters
            | Self::TooManyConnections
            | Self::Unreachable
            | Self::OutOfMemory
            | Self::TooBusy(_)
            | Self::ShuttingDown => StatusCode::SERVICE_UNAVAILABLE,
            Self::NoSpace => StatusCode::INSUFFICIENT_STORAGE,
        }
    }

    /// What it is counted as.
    pub(super) fn cause(&self) -> Cause {
        match self {
            Self::UnknownPin => Cause::UnknownPin,
            Self::UnknownKey => Cause::UnknownKey,
            Self::UnknownNode => Cause::UnknownNode,
            Self::KeyExists | Self::NameTaken => Cause::KeyExists,
            Self::NotAcceptable
            | Self::HostMissing
            | Self::MethodNotAllowed(_)
            | Self::UnsupportedMediaType(_)
            | Self::InvalidJson(_)
            | Self::InvalidMultipart(_)
            | Self::NotAnObject(_)
            | Self::InvalidFields(_)
            | Self::BrokenBody(_)
            | Self::BodyTooLarge(_)
            | Self::Node(_)
            | Self::Query(_)
            | Self::Contexts(_)
            | Self::BodyTooSlow(_) => Cause::Malformed,
            Self::TooManyKeys | Self::TooManyBytes | Self::TooManyNodes | Self::TooManyNodeBytes => {
                Cause::PinFull
            }
            Self::TooManyPins => Cause::PinsFull,
            Self::TooManyCreations(_) => Cause::Creations,
            Self::TokenMissing | Self::TooManyTokens(_) => Cause::Token,
            Self::CrossSite => Cause::CrossSite,
            Self::OutOfMemory => Cause::Memory,
            Self::TooBusy(_) => Cause::Processor,
            Self::TooManyConnections => Cause::Connections,
            Self::TooManyWaiters => Cause::Waiters,
            Self::ShuttingDown => Cause::ShuttingDown,
            Self::NoSpace => Cause::NoSpace,
            Self::StoreFailed | Self::Unreachable => Cause::Store,
        }
    }

    /// When it is worth asking again, where that is known. Agents add their own jitter.
    pub(super) fn retry_after(&self) -> Option<RetryAfter> {
        match self {
            // A restart takes about that long.
            Self::ShuttingDown | Self::Unreachable => Some(RetryAfter::SentAway(1)),
            // Waits end after 50 seconds at most, so room comes up all the time.
            Self::TooManyWaiters | Self::TooManyConnections | Self::OutOfMemory => {
                Some(RetryAfter::NoRoom(10))
            }
            Self::TooManyCreations(seconds) | Self::TooManyTokens(seconds) | Self::TooBusy(seconds) => {
                Some(RetryAfter::Exactly(*seconds))
            }
            // Room comes up when an admin acts or pins expire.
            Self::TooManyPins | Self::NoSpace => Some(RetryAfter::Exactly(60)),
            _ => None,
        }
    }

    /// The body that tells of it.
    pub(super) fn to_json(&self) -> Vec<u8> {
        let json = match self {
            Self::InvalidFields(errors) => serde_json::to_vec(errors),
            Self::NotAnObject(_) => {
                serde_json::to_vec(&NonFieldErrors { non_field_errors: [self.to_string()] })
            }
            _ => serde_json::to_vec(&Detail { detail: self.to_string() }),
        };
        json.expect("strings under fixed names always serialise")
    }
}

impl From<FieldErrors> for Refusal {
    fn from(errors: FieldErrors) -> Self {
        Self::InvalidFields(errors)
    }
}

impl From<Refused> for Refusal {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::UnknownPin => Self::UnknownPin,
            Refused::UnknownKey => Self::UnknownKey,
            Refused::UnknownNode => Self::UnknownNode,
            Refused::TooManyNodes => Self::TooManyNodes,
            Refused::TooManyNodeBytes => Self::TooManyNodeBytes,
            Refused::KeyExists => Self::KeyExists,
            Refused::TooManyKeys => Self::TooManyKeys,
            Refused::TooManyBytes => Self::TooManyBytes,
            Refused::TooManyPins => Self::TooManyPins,
            Refused::OutOfMemory => Self::OutOfMemory,
            Refused::TooManyWaiters => Self::TooManyWaiters,
            Refused::ShuttingDown => Self::ShuttingDown,
            Refused::NoSpace(_) | Refused::Unreachable(_) | Refused::LaterFormat(_) | Refused::Failed(_) => {
                log::error!("{refused}");
                match refused {
                    Refused::NoSpace(_) => Self::NoSpace,
                    Refused::Unreachable(_) => Self::Unreachable,
                    _ => Self::StoreFailed,
                }
            }
        }
    }
}
