//! What `/metrics` shows, as OpenMetrics text: the counters, and what others know anyway.

mod journal;

use std::fmt::{self, Formatter};
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

use crate::budget::Purpose;
use crate::console;
use crate::process;
use crate::service::Service;
use crate::tls::Certificate;

/// What everything is called begins so.
const PREFIX: &str = "cernvm_pairing";

/// All that there is to read; `ready` is what `/readyz` would say.
pub(crate) fn render(service: &Arc<Service>, certificate: Option<&Certificate>, ready: bool) -> String {
    let mut registry = Registry::with_prefix(PREFIX);
    registry.register_collector(Box::new(Collected {
        service: service.clone(),
        certificate: certificate.cloned(),
        ready,
    }));
    let mut text = String::new();
    encode(&mut text, &registry).expect("a string takes everything");
    text
}

struct Collected {
    service: Arc<Service>,
    certificate: Option<Certificate>,
    ready: bool,
}

impl fmt::Debug for Collected {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.service.metrics.fmt(f)
    }
}

impl Collector for Collected {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Service { metrics, store, hub, held_requests, connections, budget, .. } = &*self.service;
        let stats = store.stats();

        metrics.encode(&mut encoder)?;
        let build = [("version", protocol::VERSION)];
        encoder
            .encode_descriptor("build", "The program that runs", None, MetricType::Info)?
            .encode_info(&build)?;
        if let Some(certificate) = &self.certificate {
            encoder
                .encode_descriptor(
                    "certificate_expiry_timestamp",
                    "The end of the certificate's validity",
                    Some(&Unit::Seconds),
                    MetricType::Gauge,
                )?
                .encode_gauge(&(certificate.expires().0 / 1_000_000))?;
        }
        let held = |purpose| match purpose {
            Purpose::Writes => stats.queued as u64,
            _ => budget.used(purpose),
        };
        for (name, help, of) in [
            ("held_bytes", "Bytes that clients have the service hold", &held as &dyn Fn(Purpose) -> u64),
            (
                "held_bytes_limit",
                "Bytes that clients may have the service hold; answers, bodies and writes share theirs",
                &|purpose| budget.limit(purpose),
            ),
        ] {
            let mut gauge = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for (purpose, label) in Purpose::ALL {
                gauge.encode_family(&[("purpose", label)])?.encode_gauge(&of(purpose))?;
            }
        }
        for (name, help, value) in [
            ("ready", "1 if the store would take a write, as /readyz says; else 0", u64::from(self.ready)),
            ("pins", "Pins that the store holds", stats.pins as u64),
            ("keys", "Keys that the store holds", stats.keys as u64),
            ("nodes", "Nodes that the store holds", stats.nodes as u64),
            ("waiters", "Waits and event streams that are held", hub.waiters() as u64),
            ("held_requests_limit", "Waits and event streams that may be held", held_requests.limit()),
            ("connections", "Connections that are open", connections.count()),
            ("connections_limit", "Connections that may be open", connections.limit()),
            ("resident_memory_bytes", "Memory of the process", process::resident_bytes()),
            ("open_files", "Files and sockets that the process has open", process::open_files()),
        ] {
            encoder.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&value)?;
        }
        for (name, help, value) in [
            ("wake_ups", "Waits that were ended by a change", hub.woken()),
            ("store_commits", "Batches of writes that became durable", stats.commits),
            ("log_lines_dropped", "Log lines that were not read in time", console::dropped()),
            ("connections_evicted", "Idle connections that were closed to make room", connections.evicted()),
        ] {
            encoder
                .encode_descriptor(name, help, None, MetricType::Counter)?
                .encode_counter::<NoLabelSet, _, u64>(&value, None)?;
        }
        journal::encode(encoder, &self.service.journal.stats())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Harness;

    #[tokio::test]
    async fn tells_what_happened_and_no_pin() {
        let world = Harness::new().await;
        world.set("master_ip", "10.0.0.1").await;
        for path in [world.key("master_ip"), world.key("master_ip"), world.key("a"), "/else".to_owned()] {
            world.ask("GET", &path, &[], "").await;
        }
        let held = [("prefer", "wait=9")];
        let ready = world.key("master_ready");
        tokio::join!(world.ask("GET", &ready, &held, ""), async {
            while world.service.hub.waiters() == 0 {
                tokio::task::yield_now().await;
            }
            assert!(render(&world.service, None, true).contains("cernvm_pairing_waiters 1\n"));
            world.set("master_ready", "10.0.0.1").await;
        });
        let text = render(&world.service, None, true);
        for line in [
            "# TYPE cernvm_pairing_requests counter",
            "cernvm_pairing_requests_total{route=\"key\",status=\"200\"} 3",
            "cernvm_pairing_requests_total{route=\"key\",status=\"404\"} 1",
            "cernvm_pairing_requests_total{route=\"nowhere\",status=\"404\"} 1",
            "cernvm_pairing_refusals_total{cause=\"unknown_key\"} 1",
            "cernvm_pairing_refusals_total{cause=\"store\"} 0",
            "cernvm_pairing_ready 1",
            "cernvm_pairing_latency_seconds_count 4",
            "cernvm_pairing_latency_seconds_bucket{le=\"+Inf\"} 4",
            "cernvm_pairing_pins 1",
            "cernvm_pairing_keys 2",
            "cernvm_pairing_nodes 0",
            "cernvm_pairing_waiters 0",
            "cernvm_pairing_wake_ups_total 1",
            "cernvm_pairing_store_commits_total 0",
            "cernvm_pairing_event_streams_cut_total 0",
            "# EOF",
        ] {
            assert!(text.lines().any(|shown| shown == line), "{line} is not in\n{text}");
        }
        assert!(!text.contains(world.pin.reveal()) && !text.contains("10.0.0.1"));
    }
}
