//! The JSON bodies of API v1. Members are in the order in which the original service sends them.

use serde::{Deserialize, Serialize};

/// A cluster: the answer to POST `/clusters` and GET `/clusters/<pin>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cluster<'a> {
    /// The pin, in full: the client has asked with it, or for it.
    #[serde(borrow)]
    pub pin: std::borrow::Cow<'a, str>,
    /// RFC 3339 in UTC with `Z`; the original service leaves the fraction out when it is zero.
    #[serde(borrow)]
    pub creation_time: std::borrow::Cow<'a, str>,
}

/// A key and its value: what POST and PUT send, and what the service answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyValue<'a> {
    /// Name of the key.
    #[serde(borrow)]
    pub key: std::borrow::Cow<'a, str>,
    /// Its value.
    #[serde(borrow)]
    pub value: std::borrow::Cow<'a, str>,
}

/// An error that concerns the request as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Detail<'a> {
    /// A sentence for people; clients go by the status.
    #[serde(borrow)]
    pub detail: std::borrow::Cow<'a, str>,
}
