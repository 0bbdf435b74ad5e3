//! The service as a whole: what it is made of, and its life from the first connection to the last.

use std::future::Future;
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::select;
use tokio::sync::{mpsc, watch};
use tokio::time::{interval, sleep, timeout};
use tokio_util::task::TaskTracker;

use crate::admin::AdminServer;
use crate::backup::{self, socket::AdminSocket};
use crate::budget::{MemoryBudget, Purpose, connections_within};
use crate::config::{Config, Tls};
use crate::connection_server::ConnectionServer;
use crate::connections::Connections;
use crate::error::Error;
use crate::etcd;
use crate::held_requests::HeldRequests;
use crate::listen;
use crate::origin::Proxies;
use crate::page::Page;
use crate::rate_limits::RateLimits;
use crate::return_times::ReturnTimes;
use crate::service::{AnnouncedService, Service};
use crate::slave_contexts::{Observers, SlaveContexts};
use crate::store::Limits;
use crate::tls::Certificate;
use crate::tls::tickets::Tickets;
use crate::token::CreateToken;
use crate::{hub, sweeper};

/// How long open requests may take to finish once the service is to end. Waits are answered at once, so only writes
/// and slow readers need any of it; the unit's `TimeoutStopSec=` is a little longer.
const DRAIN: Duration = Duration::from_secs(20);
/// How long clients may take to read their answers and to send the rest of their requests, once the service is to end.
const CLIENTS_DRAIN: Duration = Duration::from_secs(2);

/// A service that is ready to serve.
pub struct Server {
    service: Arc<Service>,
    deliveries: mpsc::UnboundedReceiver<hub::Delivery>,
    acceptor: ConnectionServer,
    /// Every connection.
    tasks: TaskTracker,
    certificate: Option<Certificate>,
    /// What seals TLS sessions, with TLS.
    tickets: Option<Arc<Tickets>>,
    admin: Option<TcpListener>,
    /// The admin's socket in the data directory, if there is one.
    socket: Option<AdminSocket>,
    /// Whether a store in etcd is cut off from it.
    cut_off: Option<watch::Receiver<bool>>,
}

impl Server {
    /// Opens the store and puts the service together. With a store in etcd, it waits until all of that is loaded.
    ///
    /// # Errors
    /// The store cannot be opened, or the certificate cannot be used.
    pub async fn new(config: Config) -> Result<Self, Error> {
        let self_signed = matches!(config.tls, Some(Tls::SelfSigned { .. }));
        let certificate = config.tls.map(Certificate::load).transpose()?;
        let fingerprint = certificate.as_ref().filter(|_| self_signed).and_then(Certificate::fingerprint);
        let page = Page::new(config.public_url.as_ref());
        let announced = AnnouncedService { url: config.public_url.clone(), fingerprint };
        let budget = MemoryBudget::new(config.memory_budget);
        let limit = config.connections.min(connections_within(config.memory_budget));
        if limit < config.connections {
            log::info!("{limit} connections, since the memory budget has no room for {}", config.connections);
        }
        let most = (limit * 3 / 4).max(1);
        let (hub, deliveries) = hub::Hub::new(config.waiters_per_pin.unwrap_or(most));
        let slave_contexts = Arc::new(SlaveContexts::default());
        let observers = Arc::new(Observers::new(slave_contexts.clone(), hub.clone()));
        let limits = Limits {
            bytes: budget_bytes(&budget, Purpose::Stored),
            queued_bytes: budget_bytes(&budget, Purpose::Writes) / 4,
            ..config.limits
        };
        let (store, journal) = config.storage.open(limits, config.clock, observers.clone()).await?;
        observers.end_loading();
        let admin_dir = config.admin_dir.as_deref().filter(|dir| dir.is_dir());
        let socket = config.storage.directory().or(admin_dir).and_then(open_socket);
        let per_address = config.connections_per_address.unwrap_or(most);
        slave_contexts.load(&store);
        let service = Arc::new(Service {
            store,
            slave_contexts,
            held_requests: HeldRequests::among(limit, per_address),
            hub,
            value_max_chars: config.value_max_chars,
            rate_limits: RateLimits::new(config.creations_per_hour),
            connections: Connections::new(limit, per_address),
            budget,
            create_token: config.create_token,
            announced,
            contexts_turn: Arc::default(),
            page,
            metrics: Arc::default(),
            return_times: ReturnTimes::here(certificate.is_some()),
            journal: journal.counters,
        });
        // After the store: the keys of another service that runs on this directory stay as they are.
        let tickets = certificate.as_ref().map(|_| Tickets::open(config.storage.directory()));
        let tickets = tickets.transpose().map_err(Error::System)?.map(Arc::new);
        let acceptor =
            certificate.as_ref().zip(tickets.clone()).map(|(certificate, keys)| certificate.acceptor(keys));
        let tasks = TaskTracker::new();
        let acceptor = ConnectionServer::new(
            service.clone(),
            acceptor,
            Proxies::new(config.proxies),
            config.access_log,
            tasks.clone(),
        );
        Ok(Self {
            service,
            deliveries,
            acceptor,
            tasks,
            certificate,
            tickets,
            admin: None,
            socket,
            cut_off: journal.cut_off,
        })
    }

    /// The certificate that connections are protected with, for its fingerprint and to reload it.
    #[must_use]
    pub fn certificate(&self) -> Option<&Certificate> {
        self.certificate.as_ref()
    }

    /// The token that it takes to make a pin, to reload it.
    #[must_use]
    pub fn create_token(&self) -> Option<&CreateToken> {
        self.service.create_token.as_ref()
    }

    /// Answers `/metrics`, `/readyz` and `/healthz` there, and nothing else.
    #[must_use]
    pub fn with_metrics(self, listener: TcpListener) -> Self {
        Self { admin: Some(listener), ..self }
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
        let Self { service, deliveries, acceptor, tasks, certificate, tickets, admin, socket, cut_off } =
            self;
        let connections = service.connections.clone();
        let mut accepting = Vec::new();
        for listener in listeners {
            let (listener, acceptor) = (listen::adopt(listener)?, acceptor.clone());
            accepting.push(tokio::spawn(async move { listen::accept(&listener, &acceptor).await }));
        }
        let mut background = vec![
            tokio::spawn(hub::deliver(deliveries)),
            tokio::spawn(connections.clone().watch()),
            tokio::spawn(sweeper::sweep(service.store.clone())),
        ];
        if let Some(tickets) = tickets {
            background.push(tokio::spawn(tickets.rotate()));
        }
        if let Some(cut_off) = cut_off {
            background.push(tokio::spawn(etcd::interrupt_when_cut_off(cut_off, service.hub.clone())));
        }
        let admin_server = AdminServer::new(service.clone(), certificate);
        if let Some(socket) = &socket {
            let (listener, server) =
                (socket.listener().map_err(Error::System)?, admin_server.clone().with_backups());
            background.push(tokio::spawn(async move { listen::accept(&listener, &server).await }));
        }
        if let Some(listener) = admin {
            let listener = listen::adopt(listener)?;
            background.push(tokio::spawn(async move { listen::accept(&listener, &admin_server).await }));
        }
        shutdown.await;
        log::info!("{} waits are sent away", service.hub.waiters());
        for task in accepting {
            task.abort();
            // Until it is closed, the next service cannot listen.
            let _ = task.await;
        }
        connections.close();
        service.hub.close();
        tasks.close();
        if timeout(CLIENTS_DRAIN, tasks.wait()).await.is_err() {
            let mut rounds = interval(Duration::from_secs(1));
            let cut = async {
                loop {
                    rounds.tick().await;
                    connections.cut_idle();
                }
            };
            select! {
                () = tasks.wait() => {}
                () = cut => {}
                () = sleep(DRAIN - CLIENTS_DRAIN) => {
                    log::warn!("{} connections did not end in {} s", tasks.len(), DRAIN.as_secs());
                }
            }
        }
        for task in background {
            task.abort();
        }
        // Before the store is closed: after that, the name may be that of the next service's socket.
        drop(socket);
        Ok(())
    }
}

fn budget_bytes(budget: &MemoryBudget, purpose: Purpose) -> usize {
    usize::try_from(budget.limit(purpose)).unwrap_or(usize::MAX)
}

/// A service whose admin cannot ask it is still a service.
fn open_socket(dir: &Path) -> Option<AdminSocket> {
    AdminSocket::open(dir)
        .inspect_err(|err| {
            let socket = dir.join(backup::SOCKET);
            log::warn!("{}: {err}; `health` and `backup` cannot ask this service", socket.display());
        })
        .ok()
}

#[cfg(test)]
mod tests;
