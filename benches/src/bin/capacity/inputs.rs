//! What the model takes from measurements, and what it assumes. Everything that can be argued about is here.
//!
//! Where `make bench` has left its results, they take the place of the figures here, one by one; the report says of
//! each where it comes from.

use std::path::Path;

use serde::Deserialize;

use crate::time::{Micros, SECOND};

/// A figure that was measured.
#[derive(Debug, Clone)]
pub(crate) struct Figure {
    /// What it is, with its unit.
    pub(crate) name: &'static str,
    /// Its value.
    pub(crate) value: f64,
    /// Where it comes from.
    pub(crate) source: String,
}

/// All of them.
#[derive(Debug, Clone)]
pub(crate) struct Inputs {
    /// CPU of a GET on an open connection, µs. Also of a wait until it is parked, of a 404 and of a 503.
    pub(crate) get: Figure,
    /// CPU of waking and answering a waiter, µs.
    pub(crate) wake: Figure,
    /// CPU of taking a connection in and letting it go, µs.
    pub(crate) accept: Figure,
    /// CPU of a full TLS handshake, µs.
    pub(crate) handshake: Figure,
    /// CPU of a TLS handshake that resumes a session, in percent of a full one.
    pub(crate) resumption: Figure,
    /// Durable writes a second, one client that writes all the time.
    pub(crate) writes_alone: Figure,
    /// The same with 64 clients.
    pub(crate) writes_grouped: Figure,
    /// Memory of the process a waiter, KB.
    pub(crate) waiter: Figure,
    /// The same over TLS, KB.
    pub(crate) waiter_tls: Figure,
}

/// Clients of [`Inputs::writes_grouped`].
const GROUP: f64 = 64.0;

/// From a VM to the service and back. A few time zones at most; ten times as much changes no table by a tenth.
pub(crate) const ROUND_TRIP: Micros = 10_000;

/// The service's `BACKLOG` (server/src/listen.rs), which the kernel cuts to net.core.somaxconn, 4096 by default.
pub(crate) const BACKLOG: usize = 4096;
/// The service's `CONNECTIONS` (server/src/config.rs), the default of `--max-connections`.
pub(crate) const CONNECTIONS: usize = pairing_server::config::CONNECTIONS;
/// The service's `FREE` (server/src/held_requests.rs): one in so many connections is kept free of waiters.
pub(crate) const FREE: usize = 32;
/// The service's `MAX_REJECTIONS` (server/src/connection_server.rs): those who are told at one time that there is no
/// room.
pub(crate) const MAX_REJECTIONS: usize = 64;
/// How long such a connection lasts: until the client has read its answer.
pub(crate) const APOLOGY: Micros = 2 * ROUND_TRIP;
/// The service's `HANDSHAKE_SECONDS` (server/src/connections.rs).
pub(crate) const HANDSHAKE: Micros = 15 * SECOND;
/// The least `Retry-After` where there is no room (server/src/http/refusal.rs).
pub(crate) const RETRY_AFTER_FULL: u64 = 10;
/// The least `Retry-After` of a shutdown (server/src/http/refusal.rs).
pub(crate) const RETRY_AFTER_SHUTDOWN: u64 = 1;
/// The service's `BATCH` (server/core/src/store/journal.rs): writes of one commit.
pub(crate) const BATCH: usize = 1024;

/// The agent's `CONNECT_LIMIT` (client/src/connection.rs).
pub(crate) const CONNECT_LIMIT: Micros = 10 * SECOND;
/// When curl gives a connection up: with the kernel, after six SYNs (net.ipv4.tcp_syn_retries).
pub(crate) const CONNECT_LIMIT_SHELL: Micros = 127 * SECOND;
/// How long the agent's HTTP client keeps a connection that it does not use (ureq 3, `max_idle_age`).
pub(crate) const IDLE_LIMIT: Micros = 15 * SECOND;
/// When a SYN without an answer is sent again, after the one before it: Linux waits 1 s and doubles (RFC 6298).
pub(crate) const SYN_RETRY: Micros = SECOND;

impl Default for Inputs {
    fn default() -> Self {
        let figure = |name, value, source: &str| Figure { name, value, source: source.to_owned() };
        Self {
            get: figure("CPU of a GET, µs", 10.0, "make bench, gets"),
            wake: figure("CPU of a woken waiter, µs", 12.0, "make bench, waiters"),
            accept: figure("CPU of a connection, µs", 62.0, "make bench, connects"),
            handshake: figure("CPU of a full TLS handshake, µs", 289.0, "make bench, connects"),
            resumption: figure(
                "CPU of a resumed TLS handshake, % of a full one",
                79.0,
                "make bench, connects",
            ),
            writes_alone: figure("durable writes/s, one client", 4000.0, "make bench, writes"),
            writes_grouped: figure("durable writes/s, 64 clients", 60_000.0, "make bench, writes"),
            waiter: figure("memory a waiter, KB", 12.2, "make bench, waiters"),
            waiter_tls: figure("memory a waiter over TLS, KB", 22.9, "make bench, waiters over TLS"),
        }
    }
}

/// What is read of `results.json` (benches/src/report).
#[derive(Debug, Deserialize)]
struct Results {
    plan: Plan,
    summaries: Vec<Summary>,
}

#[derive(Debug, Deserialize)]
struct Plan {
    /// A run that only shows that everything works.
    quick: bool,
}

#[derive(Debug, Deserialize)]
struct Summary {
    part: String,
    subject: String,
    figure: String,
    median: f64,
}

impl Inputs {
    /// The figures of a run of the comparisons, where it has them. `None` when there is no such file.
    ///
    /// # Errors
    /// The file is not what the comparisons write.
    pub(crate) fn read(path: &Path) -> Result<Option<Self>, String> {
        match std::fs::read_to_string(path) {
            Ok(text) => Self::parse(&text, path).map(Some),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(format!("read {}: {error}", path.display())),
        }
    }

    fn parse(text: &str, path: &Path) -> Result<Self, String> {
        let results: Results = serde_json::from_str(text)
            .map_err(|error| format!("{} is not what make bench writes: {error}", path.display()))?;
        let median = |part: &str, subject: &str, figure: &str| {
            let wanted =
                |s: &&Summary| s.part == part && s.subject == subject && s.figure.starts_with(figure);
            results.summaries.iter().find(wanted).map(|summary| summary.median)
        };
        let mut inputs = Self::default();
        if results.plan.quick {
            return Ok(inputs);
        }
        let set = |figure: &mut Figure, value: Option<f64>| {
            if let Some(value) = value {
                figure.value = value;
                figure.source = format!("{}, this run", figure.source);
            }
        };
        let (crowd, connects) = ("10000 waiters on a key", "a connection for each GET");
        let cpu = "server CPU, µs";
        set(&mut inputs.get, median("GET of a key, 16 clients", "ours", cpu));
        set(&mut inputs.wake, median(crowd, "ours", "server CPU a woken waiter"));
        set(&mut inputs.waiter, median(crowd, "ours", "memory a waiter (RSS)"));
        set(&mut inputs.waiter_tls, median(&format!("{crowd}, TLS"), "ours", "memory a waiter (RSS)"));
        set(&mut inputs.writes_alone, median("durable writes, 1 at a time", "ours", "acknowledged/s"));
        set(&mut inputs.writes_grouped, median("durable writes, 64 at a time", "ours", "acknowledged/s"));
        let plain = median(connects, "http", cpu);
        let both = plain.zip(median(connects, "https", cpu));
        set(&mut inputs.handshake, both.map(|(plain, tls)| tls - plain));
        let resumed = both.zip(median(connects, "https, resumed", cpu));
        set(
            &mut inputs.resumption,
            resumed.map(|((plain, tls), resumed)| 100.0 * (resumed - plain) / (tls - plain)),
        );
        let get = inputs.get.value;
        set(&mut inputs.accept, plain.map(|plain| plain - get));
        Ok(inputs)
    }

    /// In the order of the report.
    pub(crate) fn all(&self) -> [&Figure; 9] {
        let Self {
            get,
            wake,
            accept,
            handshake,
            resumption,
            writes_alone,
            writes_grouped,
            waiter,
            waiter_tls,
        } = self;
        [get, wake, accept, handshake, resumption, writes_alone, writes_grouped, waiter, waiter_tls]
    }

    /// How long a commit of so many writes takes: a fixed part and one for each write, so that one client and 64 come
    /// to the rates that were measured.
    pub(crate) fn commit(&self, writes: usize) -> Micros {
        let alone = 1e6 / self.writes_alone.value;
        let group = GROUP * 1e6 / self.writes_grouped.value;
        let each = ((group - alone) / (GROUP - 1.0)).max(0.0);
        whole(alone + each * (writes as f64 - 1.0))
    }
}

impl Inputs {
    /// CPU of a handshake, in nanoseconds.
    pub(crate) fn handshake_nanoseconds(&self, resumed: bool) -> u64 {
        let share = if resumed { self.resumption.value / 100.0 } else { 1.0 };
        whole(self.handshake.value * share * 1000.0)
    }
}

impl Figure {
    /// Of one in microseconds: in nanoseconds.
    pub(crate) fn nanoseconds(&self) -> u64 {
        whole(self.value * 1000.0)
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small and not negative")]
fn whole(value: f64) -> u64 {
    value.max(0.0).round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn has_the_limits_of_service_and_agent() {
        let held = include_str!("../../../../server/src/held_requests.rs");
        let connections = include_str!("../../../../server/src/connections.rs");
        let connection_server = include_str!("../../../../server/src/connection_server.rs");
        let listen = include_str!("../../../../server/src/listen.rs");
        let refusal = include_str!("../../../../server/src/http/refusal.rs");
        let journal = include_str!("../../../../server/core/src/store/journal.rs");
        let client = include_str!("../../../../client/src/connection.rs");
        for (source, words) in [
            (held, "FREE: usize = 32;"),
            (connection_server, "MAX_REJECTIONS: usize = 64;"),
            (listen, "BACKLOG: i32 = 4096;"),
            (connections, "HANDSHAKE_SECONDS: u32 = 15;"),
            (refusal, "Self::ShuttingDown | Self::Unreachable => Some(RetryAfter::SentAway(1)),"),
            (refusal, "Some(RetryAfter::NoRoom(10))"),
            (journal, "LARGE: Self = Self { operations: 1024,"),
            (client, "CONNECT_LIMIT: Duration = Duration::from_secs(10);"),
        ] {
            assert!(source.contains(words), "no '{words}' any more: change it in the model too");
        }
    }

    #[test]
    fn commits_at_the_rates_that_were_measured() {
        let inputs = Inputs::default();
        assert_eq!(inputs.commit(1), 250);
        // 64 that take 1067 µs together: 60,000 a second.
        assert_eq!(inputs.commit(64), 1067);
    }

    #[test]
    fn takes_what_the_comparisons_found() {
        let summary = |part: &str, subject: &str, figure: &str, median: f64| {
            format!(
                r#"{{"part":"{part}","subject":"{subject}","figure":"{figure}","median":{median},"least":0}}"#
            )
        };
        let text = [
            summary("GET of a key, 16 clients", "ours", "server CPU, µs", 9.0),
            summary("a connection for each GET", "http", "server CPU, µs", 49.0),
            summary("a connection for each GET", "https", "server CPU, µs", 349.0),
            summary("a connection for each GET", "https, resumed", "server CPU, µs", 199.0),
        ];
        let path = Path::new("results.json");
        let results =
            |quick: bool| format!(r#"{{"plan":{{"quick":{quick}}},"summaries":[{}]}}"#, text.join(","));
        assert_eq!(Inputs::parse(&results(true), path).unwrap().get.value, 10.0);
        let inputs = Inputs::parse(&results(false), path).unwrap();
        let Inputs { get, accept, handshake, resumption, wake, .. } = &inputs;
        let values = [get, accept, handshake, resumption, wake].map(|figure| figure.value);
        assert_eq!(values, [9.0, 40.0, 300.0, 50.0, 12.0]);
        assert_eq!(inputs.get.source, "make bench, gets, this run");
        assert_eq!(inputs.wake.source, "make bench, waiters");
        Inputs::parse("{}", path).unwrap_err();
    }
}
