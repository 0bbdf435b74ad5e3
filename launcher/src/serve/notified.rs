//! Notifications of the cloud: the clusters that they are about are looked at at once.

use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::Service;
use crate::notifications::{Broker, Stats, listen};

/// What is known of the notifications.
pub(super) struct Notified {
    stats: Arc<Stats>,
    exchanges: Vec<String>,
}

impl Notified {
    /// Before any came.
    pub(super) fn new(broker: &Broker) -> Self {
        Self { stats: Arc::default(), exchanges: broker.exchanges().to_vec() }
    }

    /// Adds their metrics to a text.
    pub(super) fn show(&self, text: &mut String) {
        self.stats.show(&self.exchanges, text);
    }
}

/// Takes notifications until the service stops.
pub(super) fn begin(
    service: &Arc<Service>,
    broker: Broker,
    stop: watch::Receiver<bool>,
) -> Option<JoinHandle<()>> {
    let stats = Arc::clone(&service.notified.as_ref()?.stats);
    let service = Arc::clone(service);
    let counted = Arc::clone(&stats);
    Some(tokio::spawn(async move {
        listen(broker, stats, stop, |wake| counted.woken(service.followed.wake(&wake))).await;
    }))
}
