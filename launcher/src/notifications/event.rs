//! What a notification is about. Its content is not believed: it only says whose state to look at.
//!
//! The form is oslo.messaging's: a body of JSON, which has the message as text under `oslo.message` (driver
//! `messagingv2`), or is itself the message (driver `messaging`). The message has `event_type`, `timestamp` and `payload`,
//! and the caller's token beside them, so no message is logged.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Longest body that is read, in bytes. Nova's have some ten thousand.
const LONGEST: usize = 1 << 20;

/// What has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// A stack of Heat, or one that is nested in it.
    Stack {
        /// Its name; those that are nested begin with the name of the outer one and a hyphen.
        name: String,
    },
    /// A server of Nova.
    Server {
        /// Its id.
        id: String,
    },
}

/// A notification that concerns the view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// What has changed.
    pub subject: Subject,
    /// The id of its project, if the message names it.
    pub project: Option<String>,
    /// When it was sent.
    pub sent: Option<OffsetDateTime>,
}

/// What a message is.
#[derive(Debug, PartialEq, Eq)]
pub enum Message {
    /// One that concerns the view.
    Event(Event),
    /// One about something else.
    Foreign,
    /// One that is not in oslo.messaging's form.
    Malformed,
}

/// The body.
#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow, rename = "oslo.message")]
    message: Option<Cow<'a, str>>,
}

/// The message; what is not named here is not kept.
#[derive(Deserialize)]
struct Inner {
    event_type: String,
    #[serde(default)]
    timestamp: Value,
    #[serde(default)]
    payload: Value,
}

/// Reads a body.
#[must_use]
pub fn read(body: &[u8]) -> Message {
    let Some(message) = inner(body) else { return Message::Malformed };
    let kind = message.event_type.as_str();
    let text = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    let (subject, payload) = if kind.starts_with("orchestration.stack.") {
        let name = text(&message.payload["stack_name"]);
        (name.map(|name| Subject::Stack { name }), &message.payload)
    } else if kind.starts_with("compute.instance.") {
        let id = text(&message.payload["instance_id"]);
        (id.map(|id| Subject::Server { id }), &message.payload)
    } else if kind.starts_with("instance.") {
        // Nova's versioned form.
        let data = &message.payload["nova_object.data"];
        (text(&data["uuid"]).map(|id| Subject::Server { id }), data)
    } else {
        return Message::Foreign;
    };
    match subject {
        Some(subject) => Message::Event(Event {
            subject,
            project: text(&payload["tenant_id"]),
            sent: message.timestamp.as_str().and_then(moment),
        }),
        None => Message::Malformed,
    }
}

fn inner(body: &[u8]) -> Option<Inner> {
    if body.len() > LONGEST {
        return None;
    }
    let envelope: Envelope<'_> = serde_json::from_slice(body).ok()?;
    match envelope.message {
        Some(message) => serde_json::from_str(&message).ok(),
        None => serde_json::from_slice(body).ok(),
    }
}

/// `2026-11-27 05:52:10.123456`, in UTC, as Python prints a time.
fn moment(text: &str) -> Option<OffsetDateTime> {
    OffsetDateTime::parse(&format!("{}Z", text.replacen(' ', "T", 1)), &Rfc3339).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn wrapped(message: &Value) -> Vec<u8> {
        json!({ "oslo.version": "2.0", "oslo.message": message.to_string() }).to_string().into_bytes()
    }

    fn stack() -> Value {
        json!({
            "_context_auth_token": "gAAAA", "publisher_id": "orchestration.heat", "priority": "INFO",
            "event_type": "orchestration.stack.create.end", "timestamp": "2026-11-27 05:52:10.250000",
            "payload": { "stack_name": "lab--x", "stack_identity": "16053ead", "tenant_id": "p1", "state": "CREATE_COMPLETE" },
        })
    }

    #[test]
    fn reads_what_heat_and_nova_send() {
        let Message::Event(event) = read(&wrapped(&stack())) else { panic!("it is one of ours") };
        assert_eq!(event.subject, Subject::Stack { name: "lab--x".into() });
        assert_eq!(event.project.as_deref(), Some("p1"));
        assert_eq!(event.sent.map(|sent| sent.unix_timestamp_nanos()), Some(1_795_758_730_250_000_000));
        // Without an envelope, and with a whole second.
        let mut plain = stack();
        plain["timestamp"] = "2026-11-27 05:52:10".into();
        let Message::Event(plain) = read(plain.to_string().as_bytes()) else { panic!("it is one of ours") };
        assert_eq!(plain.sent.map(OffsetDateTime::unix_timestamp), Some(1_795_758_730));

        let legacy = json!({ "event_type": "compute.instance.update", "payload": { "instance_id": "s1", "tenant_id": "p1" } });
        let versioned = json!({ "event_type": "instance.update", "payload": {
            "nova_object.name": "InstanceUpdatePayload", "nova_object.data": { "uuid": "s1", "tenant_id": "p1" } } });
        for message in [legacy, versioned] {
            let wanted = Event {
                subject: Subject::Server { id: "s1".into() },
                project: Some("p1".into()),
                sent: None,
            };
            assert_eq!(read(&wrapped(&message)), Message::Event(wanted));
        }
    }

    #[test]
    fn leaves_what_is_foreign_or_malformed() {
        let foreign = json!({ "event_type": "scheduler.select_destinations.start", "payload": [1, 2] });
        assert_eq!(read(&wrapped(&foreign)), Message::Foreign);
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        let bodies: [&[u8]; 9] = [
            b"",
            b"null",
            b"{",
            b"\xff\xfe",
            b"{}",
            br#"{"oslo.message": 1}"#,
            br#"{"oslo.message": "no JSON"}"#,
            br#"{"event_type": "compute.instance.update", "payload": "text"}"#,
            deep.as_bytes(),
        ];
        for body in bodies {
            assert_eq!(
                read(body),
                Message::Malformed,
                "{}",
                String::from_utf8_lossy(&body[..body.len().min(80)])
            );
        }
        let long = wrapped(&json!({ "event_type": "x", "payload": "y".repeat(LONGEST) }));
        assert_eq!(read(&long), Message::Malformed);
    }
}
