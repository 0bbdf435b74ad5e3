//! How a service is set up.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use protocol::url::ServiceUrl;

use crate::clock::{Clock, SystemClock};
pub use crate::origin::Network;
pub use crate::rate_limits::CREATIONS_PER_HOUR;
pub use crate::storage::Storage;
use crate::store::Limits;
pub use crate::tls::Tls;
use crate::token::CreateToken;

/// Connections by default: a cluster of 10,000 waiting slaves and room for others, in some 300 MB.
pub const CONNECTIONS: usize = 16_384;

/// What an operator can set. What needs no tuning is a named constant where it is used.
#[derive(Clone)]
pub struct Config {
    /// Where clusters are kept.
    pub storage: Storage,
    /// Where the admin's socket goes if the store is in no directory, and this one exists.
    pub admin_dir: Option<PathBuf>,
    /// What bounds the store.
    pub limits: Limits,
    /// Longest value, in characters.
    pub value_max_chars: usize,
    /// Most connections at a time; more are answered 503.
    pub connections: usize,
    /// Most of them from one address, other than those of `proxies`; `None`: three quarters. A whole cluster may sit
    /// behind one address, and some room is left for other clients.
    pub connections_per_address: Option<usize>,
    /// Most waits and event streams on one pin; `None`: three quarters of the connections, so that one
    /// cluster cannot use all of them.
    pub waiters_per_pin: Option<usize>,
    /// Most pins that an address may make in an hour; 0: as many as it likes.
    pub creations_per_hour: u32,
    /// What it takes to make a pin; `None`: nothing.
    pub create_token: Option<CreateToken>,
    /// Proxies whose `X-Forwarded-For` is believed.
    pub proxies: Vec<Network>,
    /// Where the VMs reach the service, for the contexts of the page; `None`: where the page was reached.
    pub public_url: Option<ServiceUrl>,
    /// How connections are protected; `None`: not at all.
    pub tls: Option<Tls>,
    /// Bytes that clients may make the service hold.
    pub memory_budget: u64,
    /// Whether each request has its line in the log.
    pub access_log: bool,
    /// Where the time comes from.
    pub clock: Arc<dyn Clock>,
}

/// In one line, for the log: where the data are, the limits that operators set, and what it takes to make a pin.
impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}, limits: {} connections, {} pins of {} h, values of {} characters",
            self.storage,
            self.connections,
            self.limits.pins,
            self.limits.lifetime.as_secs().div_ceil(3600),
            self.value_max_chars
        )?;
        match (&self.create_token, self.creations_per_hour) {
            (Some(_), _) => f.write_str("; a pin takes the token"),
            (None, 0) => f.write_str("; every client may make pins, without limit"),
            (None, most) => write!(f, "; every client may make pins, {most} per address and hour"),
        }
    }
}

/// A service that forgets everything when it ends.
impl Default for Config {
    fn default() -> Self {
        Self {
            storage: Storage::Memory,
            admin_dir: None,
            limits: Limits::default(),
            value_max_chars: protocol::limits::VALUE_MAX_CHARS,
            connections: CONNECTIONS,
            connections_per_address: None,
            waiters_per_pin: None,
            creations_per_hour: CREATIONS_PER_HOUR,
            create_token: None,
            proxies: Vec::new(),
            public_url: None,
            tls: None,
            memory_budget: crate::budget::default_budget(),
            access_log: false,
            clock: Arc::new(SystemClock),
        }
    }
}
