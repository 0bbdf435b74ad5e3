//! One service, one request at a time: what is asked of it and what it answers, in the words of API v1.
//!
//! Nothing here tries again, waits or chooses between services; that is the agent's `session.rs`. The trait [`Service`] is what the
//! rules of master and slave are written against, so that a test can play every order of their requests.

use std::fmt;
use std::time::Duration;

use protocol::url::ServiceUrl;

mod answer;
mod connection;
mod connector;
mod crypto;
mod events;
mod failure;
mod http;
mod media_type;
pub mod members;
#[cfg(test)]
pub(crate) mod mock_server;
mod pins;
mod proxy;
mod redirect;
pub mod seal;
mod sealing;
mod system_roots;
mod tls;
pub mod watch;
mod web;

pub use connector::Reached;
pub use crypto::{digest, digest_of};
pub use events::{ClusterEvent, ClusterState, KeyEvent, WatchedKey};
pub use failure::{AdviceTerms, Failure, FailureKind, SealFault, TlsFault};
pub use http::HttpService;
pub use pins::{PinContents, Pins};
pub use sealing::{Sealing, node_name};
pub use tls::config as tls_config;
pub use ureq::http as types;
pub use web::{Web, WebAnswer, WebRequest};

/// A request of API v1, about the pin that the service was made with.
///
/// No `Debug`: a value must not get into a log by accident.
#[derive(Clone, PartialEq, Eq, Hash)]
#[cfg_attr(test, derive(Debug))]
pub enum Request<'a> {
    /// Does the pin exist? GET `/clusters/<pin>`.
    Cluster,
    /// The value of a key. GET `…/keys/<key>` as text.
    Get {
        /// Its name.
        key: &'a str,
        /// Seconds for which the service may hold the request while the key is not there; 0 asks for no wait.
        wait: u64,
    },
    /// The value of a key, if it is another one than the client has. GET `…/keys/<key>` with `If-None-Match`.
    Changed {
        /// Its name.
        key: &'a str,
        /// The entity tag of the value that the client has.
        etag: &'a str,
        /// Seconds for which the service may hold the request while the value is that one.
        wait: u64,
    },
    /// Create a key. POST `…/keys`.
    Create {
        /// Its name.
        key: &'a str,
        /// Its value.
        value: &'a str,
    },
    /// Change a key that exists. PUT `…/keys/<key>`.
    Replace {
        /// Its name.
        key: &'a str,
        /// Its new value.
        value: &'a str,
    },
    /// Report a node. PUT `…/nodes/<id>`.
    Report {
        /// What identifies it.
        id: &'a str,
        /// What it says: JSON, or sealed.
        report: &'a str,
    },
    /// The nodes that have reported. GET `…/nodes`.
    Nodes {
        /// What of them, and what to wait for, as a query has it.
        query: &'a str,
        /// Seconds for which the service may hold the request while they are not as the query wants them.
        wait: u64,
    },
    /// Delete a key. DELETE `…/keys/<key>`.
    Delete {
        /// Its name.
        key: &'a str,
    },
}

/// An answer that API v1 gives to a request.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Answer {
    /// What it says.
    pub outcome: Outcome,
    /// The seconds of `Preference-Applied: wait`, which a service that knows how to wait sends with whatever status;
    /// `None` from one that does not know, or was not asked.
    pub granted: Option<u64>,
}

/// What an answer says.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The pin exists, or the write is done.
    Done,
    /// The value of the key; whether it is safe is still to be looked at.
    Value(String),
    /// To [`Request::Changed`]: the value is the one that the client has.
    Unchanged,
    /// A list of nodes in JSON, as the service sent it.
    Nodes(String),
    /// To [`Request::Cluster`]: the pin is unknown. To the others: the key is not there, which says nothing of the pin.
    Missing,
    /// To [`Request::Create`]: the key exists.
    Exists,
}

/// Shows no value: it must not get into a log by accident.
impl fmt::Debug for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Done => "Done",
            Self::Value(_) => "Value(…)",
            Self::Unchanged => "Unchanged",
            Self::Nodes(_) => "Nodes(…)",
            Self::Missing => "Missing",
            Self::Exists => "Exists",
        })
    }
}

/// Something that answers requests: a service over HTTP, or a test's.
pub trait Service {
    /// Sends a request and awaits its answer for at most `limit`.
    ///
    /// # Errors
    /// Why there is no answer that API v1 knows.
    fn send(&mut self, request: &Request<'_>, limit: Duration) -> Result<Answer, Failure>;

    /// Whether its last answer told that nodes can report to it. One that has not told gets no such request.
    fn offers_nodes(&self) -> bool {
        false
    }

    /// The entity tag of the value in the last answer, if it had one.
    fn etag(&self) -> Option<String> {
        None
    }

    /// Where it is.
    fn url(&self) -> &ServiceUrl;

    /// How old the value of the last answer is, by the service's clock; `None` where the service does not say.
    fn age(&self) -> Option<Duration> {
        None
    }

    /// How the last connection reached it; `None` while none did.
    fn reached(&self) -> Option<Reached>;
}
