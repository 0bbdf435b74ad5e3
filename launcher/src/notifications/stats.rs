//! What is counted of notifications, in Prometheus' text format.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use time::OffsetDateTime;

use super::{Event, Message, Subject};

/// What is counted.
#[derive(Debug, Default)]
pub struct Stats {
    /// The exchanges that are bound to; `None` without a connection.
    bound: Mutex<Option<BTreeSet<String>>>,
    connections: AtomicU64,
    stacks: AtomicU64,
    servers: AtomicU64,
    foreign: AtomicU64,
    malformed: AtomicU64,
    woken: AtomicU64,
    lag_milliseconds: AtomicU64,
}

impl Stats {
    /// A connection was made.
    pub(super) fn connected(&self) {
        self.connections.fetch_add(1, Relaxed);
    }

    /// The exchanges that are bound to now; `None` without a connection.
    pub(super) fn set_bound(&self, exchanges: Option<BTreeSet<String>>) {
        *self.bound.lock().unwrap_or_else(PoisonError::into_inner) = exchanges;
    }

    /// A message was received, now.
    pub(super) fn received(&self, message: &Message) {
        let counter = match message {
            Message::Event(Event { subject: Subject::Stack { .. }, .. }) => &self.stacks,
            Message::Event(Event { subject: Subject::Server { .. }, .. }) => &self.servers,
            Message::Foreign => &self.foreign,
            Message::Malformed => &self.malformed,
        };
        counter.fetch_add(1, Relaxed);
        if let Message::Event(Event { sent: Some(sent), .. }) = message {
            // A clock that goes behind the sender's makes no negative lag.
            let lag = Duration::try_from(OffsetDateTime::now_utc() - *sent).unwrap_or_default();
            self.lag_milliseconds.store(u64::try_from(lag.as_millis()).unwrap_or(u64::MAX), Relaxed);
        }
    }

    /// So many clusters are looked at because of a message.
    pub(crate) fn woken(&self, clusters: usize) {
        self.woken.fetch_add(clusters as u64, Relaxed);
    }

    /// Adds them to a text. `exchanges` are those that are to be bound to.
    pub(crate) fn show(&self, exchanges: &[String], text: &mut String) {
        let bound = self.bound.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut family = |name: &str, kind: &str, help: &str, values: &[(String, String)]| {
            let _ = writeln!(text, "# HELP cluster_launcher_notifications_{name} {help}");
            let _ = writeln!(text, "# TYPE cluster_launcher_notifications_{name} {kind}");
            for (label, value) in values {
                let _ = writeln!(text, "cluster_launcher_notifications_{name}{label} {value}");
            }
        };
        let alone = |value: String| [(String::new(), value)];
        family(
            "connected",
            "gauge",
            "Whether there is a connection to RabbitMQ.",
            &alone(u8::from(bound.is_some()).to_string()),
        );
        let bound = bound.unwrap_or_default();
        let values: Vec<_> = exchanges
            .iter()
            .map(|name| {
                let label = name.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
                (format!("{{exchange=\"{label}\"}}"), u8::from(bound.contains(name)).to_string())
            })
            .collect();
        family("bound", "gauge", "Whether the messages of an exchange are received.", &values);
        let count = |counter: &AtomicU64| counter.load(Relaxed).to_string();
        family(
            "connections_total",
            "counter",
            "Connections to RabbitMQ that were made.",
            &alone(count(&self.connections)),
        );
        let kinds = [
            ("stack", &self.stacks),
            ("server", &self.servers),
            ("foreign", &self.foreign),
            ("malformed", &self.malformed),
        ];
        let values: Vec<_> =
            kinds.iter().map(|(kind, counter)| (format!("{{kind=\"{kind}\"}}"), count(counter))).collect();
        family("received_total", "counter", "Messages that were received, by what they are about.", &values);
        family(
            "woken_total",
            "counter",
            "Clusters that a message made the launcher look at.",
            &alone(count(&self.woken)),
        );
        let lag = self.lag_milliseconds.load(Relaxed);
        family(
            "lag_seconds",
            "gauge",
            "Age of the last message about a stack or a server when it was received.",
            &alone(format!("{}.{:03}", lag / 1000, lag % 1000)),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_what_was_counted() {
        let stats = Stats::default();
        let exchanges = ["heat".to_owned(), "no\"va".to_owned()];
        stats.received(&Message::Malformed);
        let sent = OffsetDateTime::now_utc() - Duration::from_millis(2500);
        let subject = Subject::Server { id: "s".into() };
        stats.received(&Message::Event(Event { subject, project: None, sent: Some(sent) }));
        stats.connected();
        stats.set_bound(Some(BTreeSet::from(["heat".to_owned()])));
        let mut text = String::new();
        stats.show(&exchanges, &mut text);
        for line in [
            "connected 1",
            "bound{exchange=\"heat\"} 1",
            "bound{exchange=\"no\\\"va\"} 0",
            "connections_total 1",
            "received_total{kind=\"server\"} 1",
            "received_total{kind=\"malformed\"} 1",
            "received_total{kind=\"stack\"} 0",
            "lag_seconds 2.5",
        ] {
            assert!(text.contains(&format!("\ncluster_launcher_notifications_{line}")), "{line} in {text}");
        }
        stats.set_bound(None);
        text.clear();
        stats.show(&exchanges, &mut text);
        assert!(
            text.contains("_connected 0\n") && !text.contains("\"} 1\ncluster_launcher_notifications_bound")
        );
    }
}
