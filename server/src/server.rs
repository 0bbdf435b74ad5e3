//! The service as a whole: what it is made of, and its life from the first connection to the last.

use std::future::Future;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::config::{Config, Storage};
use crate::error::Error;
use crate::listen::{self, Gate};
use crate::service::Service;
use crate::store::Store;
use crate::store::embedded::Embedded;
use crate::store::memory::Memory;
use crate::tls::Certificate;
use crate::{expiry, hub};

/// How long open requests may take to finish once the service is to end. Waits are answered at once, so only writes
/// and slow readers need any of it; systemd's patience with us (`TimeoutStopSec=` of our unit) is a little longer.
const DRAIN: Duration = Duration::from_secs(20);

/// A service that is ready to serve.
pub struct Server {
    service: Arc<Service>,
    deliveries: mpsc::UnboundedReceiver<hub::Due>,
    gate: Arc<Gate>,
    certificate: Option<Certificate>,
}

impl Server {
    /// Opens the store and puts the service together.
    ///
    /// # Errors
    /// The store cannot be opened, or the certificate cannot be used.
    pub fn new(config: Config) -> Result<Self, Error> {
        let certificate = config.tls.map(Certificate::load).transpose()?;
        let (hub, deliveries) = hub::Hub::new(config.connections);
        let (limits, clock) = (config.limits, config.clock.clone());
        let store: Arc<dyn Store> = match &config.storage {
            Storage::Directory(dir) => Arc::new(Embedded::open(dir, limits, clock, hub.clone())?),
            Storage::Memory => Arc::new(Memory::new(limits, clock, hub.clone())),
        };
        let service =
            Arc::new(Service { store, hub, clock: config.clock, value_max_chars: config.value_max_chars });
        let acceptor = certificate.as_ref().map(Certificate::acceptor);
        let gate = Arc::new(Gate::new(service.clone(), config.connections, acceptor, config.access_log));
        Ok(Self { service, deliveries, gate, certificate })
    }

    /// The certificate that connections are protected with, for its fingerprint and to reload it.
    #[must_use]
    pub fn certificate(&self) -> Option<&Certificate> {
        self.certificate.as_ref()
    }

    /// Serves until `shutdown` is there, then ends in good order: no new connections, waits are answered, what is
    /// under way has 20 seconds to finish.
    ///
    /// # Errors
    /// A listener cannot be used.
    pub async fn serve(
        self,
        listeners: Vec<TcpListener>,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), Error> {
        let Self { service, deliveries, gate, .. } = self;
        for listener in listeners {
            gate.tasks.spawn(listen::accept(listen::adopt(listener)?, gate.clone()));
        }
        let background = [
            tokio::spawn(hub::deliver(deliveries)),
            tokio::spawn(expiry::sweep(service.store.clone(), service.clock.clone())),
        ];
        shutdown.await;
        gate.close();
        service.hub.close();
        if timeout(DRAIN, gate.tasks.wait()).await.is_err() {
            log::warn!("{} connections did not end in {} s", gate.tasks.len(), DRAIN.as_secs());
        }
        for task in background {
            task.abort();
        }
        Ok(())
    }
}
