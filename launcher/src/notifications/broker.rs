//! Which RabbitMQ to take notifications from, and what it means when that fails.

use std::sync::Arc;

use amqprs::error::Error;
use client::tls_config;
use protocol::Trust;
use rustls::ClientConfig;

use super::{Address, Member};
use crate::openstack::{SecretString, one_line};

/// A RabbitMQ with what is needed to log in.
pub struct Broker {
    pub(super) address: Address,
    pub(super) password: SecretString,
    pub(super) tls: Option<Arc<ClientConfig>>,
    pub(super) exchanges: Vec<String>,
}

impl Broker {
    /// A RabbitMQ whose certificate is believed as `trust` says, if it is spoken to over TLS. `exchanges` are those that Heat
    /// and Nova publish to (their setting `control_exchange`).
    ///
    /// # Errors
    /// No certificate of `trust` can serve as a CA.
    pub fn new(
        address: Address,
        password: SecretString,
        trust: &Trust,
        exchanges: Vec<String>,
    ) -> Result<Self, String> {
        let tls = if address.secure { Some(tls_config(trust)?) } else { None };
        Ok(Self { address, password, tls, exchanges })
    }

    /// The exchanges that it listens to.
    #[must_use]
    pub fn exchanges(&self) -> &[String] {
        &self.exchanges
    }
}

/// Why no notifications come, in a sentence, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BrokerError {
    pub(super) what: String,
    pub(super) next: &'static str,
}

const NEXT_PLACE: &str =
    "check --notifications-url, and that RabbitMQ runs there and can be reached from here";
const NEXT_TLS: &str =
    "check --notifications-ca, and that the certificate is for the host of --notifications-url";
const NEXT_LOGIN: &str = "check the user and the virtual host of --notifications-url, and the file of --notifications-password-file";
const NEXT_LATER: &str = "nothing, unless this stays: it is tried again";

impl BrokerError {
    /// A connection that did not come to be. `said` is what RabbitMQ told when it closed it, if it did.
    pub(super) fn opening(member: &Member, secure: bool, error: &Error, said: Option<String>) -> Self {
        let cause = said.unwrap_or_else(|| cause(error));
        let of =
            |what: String, next| Self { what: format!("RabbitMQ at {member} {}", one_line(&what)), next };
        // amqprs has one kind of error for all that happens on the network, and tells the rest in text alone.
        let closed = ["peer shutdown", "connection interrupted", "Connection reset", "Broken pipe"];
        if closed.iter().any(|words| cause.contains(words)) {
            // RabbitMQ says no word to a user that it does not know.
            let why = if secure { "" } else { ", or this port is for TLS (amqps://)" };
            of(
                format!("closes the connection before the login is done: user or password is wrong{why}"),
                NEXT_LOGIN,
            )
        } else if cause.contains("NOT_ALLOWED") || cause.contains("ACCESS_REFUSED") {
            of(format!("refuses the login: {cause}"), NEXT_LOGIN)
        } else if cause.contains("certificate") {
            of(format!("cannot be trusted: {cause}"), NEXT_TLS)
        } else if cause.contains("framing error")
            || cause.contains("corrupt")
            || cause.contains("serde error")
        {
            let next = if secure {
                NEXT_PLACE
            } else {
                "check the port of --notifications-url; amqps:// is for TLS"
            };
            of("does not speak AMQP, or not as --notifications-url says".into(), next)
        } else {
            of(format!("cannot be reached: {cause}"), NEXT_PLACE)
        }
    }

    /// No answer in time.
    pub(super) fn silent(member: &Member) -> Self {
        Self { what: format!("RabbitMQ at {member} does not answer in time"), next: NEXT_PLACE }
    }

    /// The crate gave up on what the other end sent.
    pub(super) fn nonsense(member: &Member) -> Self {
        Self { what: format!("RabbitMQ at {member} does not speak AMQP 0-9-1"), next: NEXT_PLACE }
    }

    /// A queue that cannot be had.
    pub(super) fn queue(member: &Member, error: &Error, said: Option<String>) -> Self {
        let cause = one_line(&said.unwrap_or_else(|| cause(error)));
        let next = "give the user the permissions that docs/launcher.md names";
        Self { what: format!("RabbitMQ at {member} gives no queue: {cause}"), next }
    }

    /// A connection that ended.
    pub(super) fn lost(member: &Member, said: Option<String>) -> Self {
        let why = said.map_or("it ended".to_owned(), |said| one_line(&said));
        Self { what: format!("the connection to RabbitMQ at {member} is lost: {why}"), next: NEXT_LATER }
    }
}

/// What an error says, without the crate's own words before it.
fn cause(error: &Error) -> String {
    let text = match error {
        Error::NetworkError(text) | Error::ConnectionOpenError(text) => text.clone(),
        other => other.to_string(),
    };
    let text = text.strip_prefix("network io error: ").map(str::to_owned).unwrap_or(text);
    // The reply of a `Close` that it shows as Rust does.
    let reply = text.split_once("reply_text: ShortStr(").and_then(|(_, rest)| rest.split('"').nth(1));
    reply.map(str::to_owned).unwrap_or(text)
}
