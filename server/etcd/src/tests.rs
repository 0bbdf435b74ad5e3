//! The promises, over a real etcd.

mod copy;
mod documents;
mod etcd;
mod faults;

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use pairing_core::clock::Clock;
use pairing_core::store::suite::{self, Backend};
use pairing_core::store::{Journal, Limits, Observer, Store};
use tokio::runtime::Runtime;

use crate::{Config, Etcd, connect};

/// One for all stores, as a server has one.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());

fn config(url: &str, prefix: &str) -> Config {
    Config {
        urls: vec![url.to_owned()],
        tls: None,
        user: None,
        prefix: prefix.to_owned(),
        timeout: Duration::from_secs(30),
        lifetime: Limits::default().lifetime,
    }
}

fn journal(url: &str, prefix: &str) -> Etcd {
    RUNTIME.block_on(connect(&config(url, prefix))).unwrap()
}

/// A part of an etcd that nothing else uses.
struct Prefix(String);

impl Default for Prefix {
    fn default() -> Self {
        Self(format!("/{:016x}/", getrandom::u64().unwrap()))
    }
}

impl Backend for Prefix {
    const LASTS: bool = true;
    const SHARED: bool = true;
    const SWEPT: usize = Etcd::BATCH.swept;

    fn is_there() -> bool {
        etcd::is_installed()
    }

    fn open(&self, limits: Limits, clock: Arc<dyn Clock>, observer: Arc<dyn Observer>) -> Store {
        Store::with_journal(journal(etcd::shared(), &self.0), limits, clock, observer).unwrap()
    }
}

suite::run!(Prefix);
