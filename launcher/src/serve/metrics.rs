//! What is counted, in Prometheus' text format.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};

use hyper::StatusCode;

use super::Service;
use super::answers::{self, Answer};
use super::routes::Handler;
use crate::view::ClusterState;

/// The requests that were answered, by what was asked for and by status.
#[derive(Default)]
pub(super) struct Metrics(Mutex<BTreeMap<(&'static str, u16), u64>>);

impl Metrics {
    /// Counts an answer.
    pub(super) fn count(&self, handler: Handler, status: u16) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.entry((name(handler), status)).or_default() += 1;
    }
}

fn name(handler: Handler) -> &'static str {
    match handler {
        Handler::ListTypes => "list_types",
        Handler::ShowType => "show_type",
        Handler::Launch => "launch",
        Handler::ListClusters => "list_clusters",
        Handler::ShowCluster => "show_cluster",
        Handler::DeleteCluster => "delete_cluster",
        Handler::Describe => "describe",
        Handler::Alive => "alive",
        Handler::Metrics => "metrics",
        Handler::Page(_) => "page",
    }
}

/// `GET /metrics`.
pub(super) fn show(service: &Service) -> Answer {
    let mut text = "# HELP cluster_launcher_requests_total Requests that were answered.\n\
                    # TYPE cluster_launcher_requests_total counter\n"
        .to_owned();
    for ((handler, status), count) in service.metrics.0.lock().unwrap_or_else(PoisonError::into_inner).iter()
    {
        let _ = writeln!(
            text,
            "cluster_launcher_requests_total{{request=\"{handler}\",status=\"{status}\"}} {count}"
        );
    }
    text += "# HELP cluster_launcher_clusters Clusters that are followed, by state.\n\
             # TYPE cluster_launcher_clusters gauge\n";
    let states = service.followed.states();
    for state in ClusterState::ALL {
        let count = states.get(&state).copied().unwrap_or_default();
        let _ = writeln!(text, "cluster_launcher_clusters{{state=\"{}\"}} {count}", state.as_str());
    }
    text += "# HELP cluster_launcher_launches_readable Whether what is known of launches could be read.\n\
             # TYPE cluster_launcher_launches_readable gauge\n";
    let _ = writeln!(text, "cluster_launcher_launches_readable {}", u8::from(service.followed.is_readable()));
    if let Some(notified) = &service.notified {
        notified.show(&mut text);
    }
    answers::typed(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", text)
}
