//! What the service counts about itself.
//!
//! Counting is an atomic addition into an array: nothing is looked up, allocated or locked on the way of a request.
//! What others know anyway (pins, keys, waiters, commits) is asked for when `/metrics` is read.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hyper::StatusCode;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

/// An enum whose variants have labels. A variant without a label does not compile.
macro_rules! labelled {
    ($(#[$doc:meta])* enum $name:ident { $($(#[$variant_doc:meta])* $variant:ident: $label:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum $name {
            $($(#[$variant_doc])* $variant,)*
        }

        impl $name {
            pub(crate) const ALL: [(Self, &'static str); [$($label),*].len()] = [$((Self::$variant, $label)),*];
        }
    };
}

/// The counters without labels. One is declared here alone: its name in `/metrics`, and its help.
macro_rules! counters {
    ($($variant:ident: $name:literal, $help:literal;)*) => {
        #[derive(Debug, Clone, Copy)]
        pub(crate) enum Counter {
            $(#[doc = $help] $variant,)*
        }

        impl Counter {
            /// Name and help of each, in the order of the variants.
            pub(crate) const ALL: [(&'static str, &'static str); [$($name),*].len()] = [$(($name, $help)),*];
        }
    };
}

counters! {
    StreamsCut: "event_streams_cut", "Event streams that were ended since their client was too far behind";
}

labelled! {
    /// Where a request went.
    enum RouteLabel {
        Clusters: "clusters",
        Cluster: "cluster",
        Keys: "keys",
        Key: "key",
        Nodes: "nodes",
        Node: "node",
        Events: "events",
        Contexts: "contexts",
        Description: "openapi",
        SlaveContext: "slave_context",
        Page: "page",
        Health: "health",
        Nowhere: "nowhere",
    }
}

labelled! {
    /// Why a request was refused, as far as an admin would act on it.
    enum Cause {
        UnknownPin: "unknown_pin",
        UnknownKey: "unknown_key",
        UnknownNode: "unknown_node",
        KeyExists: "key_exists",
        Malformed: "malformed",
        /// A head that hyper answered by itself: no HTTP, too long, or too many headers.
        Head: "head",
        PinFull: "pin_full",
        PinsFull: "pins_full",
        Creations: "creations",
        Token: "token",
        Connections: "connections",
        Waiters: "waiters",
        Memory: "memory",
        Processor: "processor",
        CrossSite: "cross_site",
        ShuttingDown: "shutting_down",
        NoSpace: "no_space",
        Store: "store",
    }
}

/// The statuses that the service answers with; the last stands for any other.
const STATUSES: [u16; 20] =
    [200, 201, 204, 302, 304, 400, 401, 403, 404, 405, 406, 408, 409, 413, 415, 429, 500, 503, 507, 0];

/// Upper bounds of the latency buckets, in microseconds: from a read in memory to a write on a slow disk.
const BOUNDS: [u64; 13] =
    [50, 100, 250, 500, 1000, 2500, 5000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000];

/// The counters.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    requests: [[AtomicU64; STATUSES.len()]; RouteLabel::ALL.len()],
    refusals: [AtomicU64; Cause::ALL.len()],
    counters: [AtomicU64; Counter::ALL.len()],
    /// By bucket; the last has no bound.
    latencies: [AtomicU64; BOUNDS.len() + 1],
    latency_nanos: AtomicU64,
}

impl Metrics {
    /// A request was answered; `took` is how long that took, unless it was held on purpose.
    pub(crate) fn answered(&self, route: RouteLabel, status: StatusCode, took: Option<Duration>) {
        let status = status.as_u16();
        let column = STATUSES.iter().position(|&known| known == status).unwrap_or(STATUSES.len() - 1);
        add(&self.requests[route as usize][column], 1);
        if let Some(took) = took {
            let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
            let bucket = BOUNDS.iter().position(|&bound| nanos <= bound * 1000).unwrap_or(BOUNDS.len());
            add(&self.latencies[bucket], 1);
            add(&self.latency_nanos, nanos);
        }
    }

    /// A request was refused.
    pub(crate) fn refused(&self, cause: Cause) {
        add(&self.refusals[cause as usize], 1);
    }

    /// One more of what a counter counts.
    pub(crate) fn count(&self, counter: Counter) {
        add(&self.counters[counter as usize], 1);
    }

    /// Shows all of it. Of the many kinds of answers only those are shown that there were; of the causes of refusals all,
    /// since Prometheus sees a counter move only once it has seen where it stood.
    pub(crate) fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut requests = encoder.encode_descriptor(
            "requests",
            "Requests that were answered",
            None,
            MetricType::Counter,
        )?;
        for ((_, place), row) in RouteLabel::ALL.iter().zip(&self.requests) {
            for (status, counter) in STATUSES.iter().zip(row).filter(|(_, counter)| read(counter) > 0) {
                let labels = [("route", (*place).to_owned()), ("status", status.to_string())];
                requests
                    .encode_family(&labels)?
                    .encode_counter::<NoLabelSet, _, u64>(&read(counter), None)?;
            }
        }

        let mut refusals =
            encoder.encode_descriptor("refusals", "Requests that were refused", None, MetricType::Counter)?;
        for ((_, cause), counter) in Cause::ALL.iter().zip(&self.refusals) {
            let labels = [("cause", *cause)];
            refusals.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&read(counter), None)?;
        }

        let seconds = |micros: u64| Duration::from_micros(micros).as_secs_f64();
        let bounds = BOUNDS.iter().map(|&bound| seconds(bound)).chain([f64::INFINITY]);
        let buckets: Vec<_> = bounds.zip(self.latencies.iter().map(read)).collect();
        let sum = Duration::from_nanos(read(&self.latency_nanos)).as_secs_f64();
        let count = buckets.iter().map(|(_, count)| count).sum();
        encoder
            .encode_descriptor(
                "latency",
                "Time to answer a request that was not held",
                Some(&Unit::Seconds),
                MetricType::Histogram,
            )?
            .encode_histogram::<NoLabelSet>(sum, count, &buckets, None)?;

        for (&(name, help), counter) in Counter::ALL.iter().zip(&self.counters) {
            encoder
                .encode_descriptor(name, help, None, MetricType::Counter)?
                .encode_counter::<NoLabelSet, _, u64>(&read(counter), None)?;
        }
        Ok(())
    }
}

fn add(counter: &AtomicU64, more: u64) {
    // No other memory access depends on the order of these additions.
    counter.fetch_add(more, Ordering::Relaxed);
}

fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_at_its_own_place() {
        for (at, (place, _)) in RouteLabel::ALL.iter().enumerate() {
            assert_eq!(*place as usize, at);
        }
        for (at, (cause, _)) in Cause::ALL.iter().enumerate() {
            assert_eq!(*cause as usize, at);
        }
    }

    #[test]
    fn the_documentation_names_every_counter() {
        let documentation = include_str!("../../docs/api.md");
        for (name, _) in Counter::ALL {
            assert!(
                documentation.contains(&format!("`{name}_total`")),
                "docs/api.md does not name {name}_total"
            );
        }
    }

    #[test]
    fn a_latency_falls_into_the_first_bucket_that_holds_it() {
        let metrics = Metrics::default();
        for (micros, bucket) in [(0, 0), (50, 0), (51, 1), (1_000_000, 12), (1_000_001, 13)] {
            let before = read(&metrics.latencies[bucket]);
            metrics.answered(RouteLabel::Key, StatusCode::OK, Some(Duration::from_micros(micros)));
            assert_eq!(read(&metrics.latencies[bucket]), before + 1, "{micros}");
        }
        metrics.answered(RouteLabel::Key, StatusCode::IM_A_TEAPOT, None);
        assert_eq!(read(&metrics.requests[RouteLabel::Key as usize][STATUSES.len() - 1]), 1);
        assert_eq!(metrics.latencies.iter().map(read).sum::<u64>(), 5);
    }
}
