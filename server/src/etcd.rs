//! A store in an etcd cluster: how it is opened, what to do when that fails, and what happens when it is cut off.

use std::sync::Arc;

use pairing_etcd::{Config, Counters, Error as EtcdError, connect};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use crate::clock::Clock;
use crate::error::Error;
use crate::hub::Hub;
use crate::store::{Limits, Observer, Store};

/// What the service needs of the journal besides the store; nothing without one in etcd.
#[derive(Default)]
pub(crate) struct EtcdStatus {
    /// What it counts.
    pub(crate) counters: Arc<Counters>,
    /// Whether it is cut off from etcd.
    pub(crate) cut_off: Option<watch::Receiver<bool>>,
}

/// Opens the store, and waits until it is loaded.
///
/// # Errors
/// etcd cannot be used, or the store is not loaded in time.
pub(crate) async fn open(
    config: Config,
    limits: Limits,
    clock: Arc<dyn Clock>,
    observer: Arc<dyn Observer>,
) -> Result<(Store, EtcdStatus), Error> {
    let journal = connect(&Config { lifetime: limits.lifetime, ..config.clone() }).await?;
    let (counters, cut_off) = (journal.counters(), journal.cut_off());
    let store = Store::with_journal(journal, limits, clock, observer)?;
    let deadline = Instant::now() + config.timeout;
    while let Err(err) = timeout_at(deadline, store.caught_up()).await.unwrap_or_else(|_| {
        Err(pairing_core::Refused::Unreachable("the store is not loaded yet; the log may say why".to_owned()))
    }) {
        if Instant::now() >= deadline {
            let (seconds, problems) = (config.timeout.as_secs(), err.to_string());
            return Err(EtcdError::Unreachable { seconds, problems }.into());
        }
    }
    Ok((store, EtcdStatus { counters, cut_off: Some(cut_off) }))
}

/// The exit status (sysexits.h) of each failure. There is no catch-all, so a new failure does not compile without one.
impl From<EtcdError> for Error {
    fn from(err: EtcdError) -> Self {
        const UNAVAILABLE: u8 = 69;
        const IO: u8 = 74;
        const CONFIG: u8 = 78;
        let code = match &err {
            EtcdError::Unreachable { .. } => UNAVAILABLE,
            EtcdError::Access { .. }
            | EtcdError::Tls { .. }
            | EtcdError::Foreign { .. }
            | EtcdError::Format { .. }
            | EtcdError::TwoClusters { .. }
            | EtcdError::NotEmpty { .. } => CONFIG,
            EtcdError::Damaged { .. } | EtcdError::Store(_) => IO,
        };
        Self::RemoteStore { problem: err.to_string(), next: err.next_step(), code }
    }
}

/// Sends those away that wait, whenever the server is cut off from the majority: another server may know more.
pub(crate) async fn interrupt_when_cut_off(mut cut_off: watch::Receiver<bool>, hub: Arc<Hub>) {
    while cut_off.wait_for(|cut_off| *cut_off).await.is_ok() {
        log::error!("etcd cannot be reached: {} waits are sent away", hub.waiters());
        hub.interrupt();
        if cut_off.wait_for(|cut_off| !*cut_off).await.is_err() {
            return;
        }
        log::info!("etcd can be reached again");
    }
}
