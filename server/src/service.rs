//! What every request needs: the store, the hub and the limits.

use std::sync::Arc;
use std::time::Duration;

use pairing_core::Refused;
use protocol::url::ServiceUrl;
use tokio::time::timeout;

use crate::budget::MemoryBudget;
use crate::connections::Connections;
use crate::held_requests::HeldRequests;
use crate::hub::Hub;
use crate::metrics::Metrics;
use crate::page::Page;
use crate::rate_limits::RateLimits;
use crate::return_times::{RetryAfter, ReturnTimes};
use crate::slave_contexts::SlaveContexts;
use crate::store::Store;
use crate::token::CreateToken;

/// How long the store may take to tell whether it works. Probes are to be answered within a second.
const READY_TIME: Duration = Duration::from_millis(800);

/// The service behind the endpoints.
pub(crate) struct Service {
    /// Clusters and keys.
    pub(crate) store: Arc<Store>,
    /// How many may wait and watch.
    pub(crate) held_requests: HeldRequests,
    /// Which clusters have a context for slaves without the agent.
    pub(crate) slave_contexts: Arc<SlaveContexts>,
    /// Who waits for what.
    pub(crate) hub: Arc<Hub>,
    /// Longest value, in characters.
    pub(crate) value_max_chars: usize,
    /// What is counted.
    pub(crate) metrics: Arc<Metrics>,
    /// How fast one address may guess and make pins.
    pub(crate) rate_limits: RateLimits,
    /// The open connections.
    pub(crate) connections: Arc<Connections>,
    /// How many bytes clients may make the service hold.
    pub(crate) budget: Arc<MemoryBudget>,
    /// What it takes to make a pin, if anything.
    pub(crate) create_token: Option<CreateToken>,
    /// How contexts describe this service.
    pub(crate) announced: AnnouncedService,
    /// Held while contexts are made.
    pub(crate) contexts_turn: Arc<tokio::sync::Mutex<()>>,
    /// The page for browsers.
    pub(crate) page: Page,
    /// When clients that were refused may try again.
    pub(crate) return_times: ReturnTimes,
    /// What a journal in etcd counts; nothing without one.
    pub(crate) journal: Arc<pairing_etcd::Counters>,
}

/// How contexts describe this service.
#[derive(Debug, Clone, Default)]
pub(crate) struct AnnouncedService {
    /// Where the VMs reach it, if that is known.
    pub(crate) url: Option<ServiceUrl>,
    /// What its certificate is known by, if it is not signed by an authority.
    pub(crate) fingerprint: Option<String>,
}

impl Service {
    /// A service with limits that a test or a fuzzer reaches.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn with_test_limits(store: Arc<Store>, hub: Arc<Hub>) -> Self {
        Self {
            store,
            held_requests: HeldRequests::among(200, 200),
            slave_contexts: Arc::default(),
            hub,
            value_max_chars: protocol::limits::VALUE_MAX_CHARS,
            metrics: Arc::default(),
            rate_limits: RateLimits::new(crate::rate_limits::CREATIONS_PER_HOUR),
            connections: Connections::new(200, 200),
            budget: MemoryBudget::new(1 << 30),
            create_token: None,
            announced: AnnouncedService::default(),
            contexts_turn: Arc::default(),
            page: Page::default(),
            return_times: ReturnTimes::new(false, 1),
            journal: Arc::default(),
        }
    }

    /// The seconds that `Retry-After` says.
    pub(crate) fn seconds_until(&self, retry: RetryAfter) -> u64 {
        let spread =
            |least, clients| self.return_times.retry_after(least, clients, &mut fastrand::Rng::new());
        match retry {
            RetryAfter::Exactly(seconds) => seconds,
            RetryAfter::SentAway(least) => spread(least, self.hub.sent_away()),
            RetryAfter::NoRoom(least) => spread(least, self.hub.waiters()),
        }
    }

    /// Whether a write would go through now.
    ///
    /// # Errors
    /// Why it would not.
    pub(crate) async fn ready(&self) -> Result<(), Refused> {
        if self.hub.is_closed() {
            return Err(Refused::ShuttingDown);
        }
        timeout(READY_TIME, self.store.ready()).await.unwrap_or_else(|_| {
            let time = READY_TIME.as_millis();
            Err(Refused::Unreachable(format!("the store has not confirmed a write within {time} ms")))
        })
    }
}
