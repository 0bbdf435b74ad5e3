//! A launch, as it is kept.

use std::time::Duration;

use protocol::{Pin, Secret};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::Written;

/// Most lines of a launch's log.
const LOG_MAX: usize = 200;

/// A line of a launch's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// When: RFC 3339 in UTC.
    pub time: String,
    /// What happened.
    pub text: String,
}

/// What a cluster pairs with.
///
/// No `Debug`: the pin and the secret must not get into a log by accident.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Paired {
    /// The pairing service, as the launcher reaches it.
    pub url: String,
    pin: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
}

impl Paired {
    /// A pin of a service, and perhaps the secret that seals its values.
    #[must_use]
    pub fn new(url: String, pin: &Pin, secret: Option<&Secret>) -> Self {
        Self { url, pin: pin.reveal().to_owned(), secret: secret.map(Secret::reveal) }
    }

    /// The pin.
    #[must_use]
    pub fn pin(&self) -> Option<Pin> {
        Pin::parse(&self.pin).ok()
    }

    /// A text that others made, without the pin and the secret: Heat shows the value of a parameter that it refuses.
    #[must_use]
    pub fn masked(&self, text: &str) -> String {
        let secrets = [Some(self.pin.as_str()), self.secret.as_deref()];
        let secrets = secrets.into_iter().flatten().filter(|secret| !secret.is_empty());
        secrets.fold(text.to_owned(), |text, secret| text.replace(secret, "…"))
    }

    /// The secret.
    #[must_use]
    pub fn secret(&self) -> Option<Secret> {
        Secret::parse(self.secret.as_deref()?).ok()
    }
}

/// A launch.
#[derive(Clone, Serialize, Deserialize)]
pub struct Record {
    /// What the cluster is called.
    pub name: String,
    /// What its stack is called.
    pub stack_name: String,
    /// The id of the stack; `None` before Heat has given one.
    pub stack_id: Option<String>,
    /// The id of the cluster's type.
    pub cluster_type: String,
    /// Keystone's address.
    pub auth_url: String,
    /// The id of the project.
    pub project_id: String,
    /// When it was asked for: RFC 3339 in UTC.
    pub created: String,
    /// What it pairs with, if it does.
    pub paired: Option<Paired>,
    /// Whether the launch was answered with an error although its stack may come: then that is to be deleted.
    #[serde(default)]
    pub abandoned: bool,
    /// How it looked when it was looked at last, as the view has it.
    #[serde(default)]
    pub last_view: Value,
    /// What has happened.
    #[serde(default)]
    pub log: Vec<LogLine>,
    /// Which writing of it this is. It is written only over the one that was read.
    #[serde(default)]
    pub revision: i64,
}

impl Record {
    /// Adds a line to the log. The oldest lines but the first go when there are too many.
    pub fn note(&mut self, text: impl Into<String>) {
        self.log.push(LogLine { time: now(), text: text.into() });
        if self.log.len() > LOG_MAX {
            self.log.remove(1);
        }
    }

    /// Whether it was asked for longer ago than this.
    #[must_use]
    pub fn is_older_than(&self, age: Duration) -> bool {
        let created = OffsetDateTime::parse(&self.created, &Rfc3339);
        created.is_ok_and(|created| OffsetDateTime::now_utc() - created > age)
    }

    /// What is to be written in the place of what is there, where this process alone decides; or why nothing is.
    pub(super) fn over(&self, there: Option<&Self>, is_new: bool) -> Result<Self, Written> {
        match (there, is_new) {
            (None, false) => Err(Written::Gone),
            (Some(_), true) => Err(Written::Changed),
            (Some(there), false) if there.revision != self.revision => Err(Written::Changed),
            _ => Ok(Self { revision: self.revision + 1, ..self.clone() }),
        }
    }

    /// Whether a name means it: the cluster's, its stack's, or the stack's id.
    #[must_use]
    pub fn is_called(&self, name: &str) -> bool {
        self.name == name || self.stack_name == name || self.stack_id.as_deref() == Some(name)
    }
}

/// The time now: RFC 3339 in UTC, in whole seconds.
pub(crate) fn now() -> String {
    let now = OffsetDateTime::now_utc();
    now.replace_nanosecond(0).unwrap_or(now).format(&Rfc3339).unwrap_or_default()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(crate) fn record(name: &str, suffix: &str, created: &str) -> Record {
        Record {
            name: name.into(),
            stack_name: format!("{name}--{suffix}"),
            stack_id: None,
            cluster_type: "t".into(),
            auth_url: "http://k".into(),
            project_id: "p".into(),
            created: created.into(),
            paired: Some(Paired::new("http://pair".into(), &Pin::parse("abcdefghijkl").unwrap(), None)),
            abandoned: false,
            last_view: Value::Null,
            log: Vec::new(),
            revision: 0,
        }
    }

    #[test]
    fn a_log_that_is_full_keeps_its_first_line() {
        let mut record = record("lab", "a", "1");
        for line in 0..LOG_MAX + 5 {
            record.note(format!("{line}"));
        }
        let texts: Vec<_> = record.log.iter().map(|line| line.text.as_str()).collect();
        assert_eq!((texts.len(), texts[0], texts[1]), (LOG_MAX, "0", "6"));
    }
}
