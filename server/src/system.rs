//! What the service has to do with the system that runs it: sockets, signals, systemd, and the limit of open files.

use std::net::{SocketAddr, TcpListener};
use std::process;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use listenfd::ListenFd;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use sd_notify::NotifyState;
use tokio::select;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::interval;

use crate::connection_server::MAX_REJECTIONS;
use crate::error::Error;
use crate::listen;
use crate::tls::Certificate;
use crate::token::CreateToken;

/// Files that are open besides connections: the store, listeners, the runtime's own, some to spare, and connections
/// that are told that there is no room.
const OTHER_FILES: usize = 64 + MAX_REJECTIONS;

/// The sockets that systemd hands over; where there are none, new ones on these addresses.
///
/// # Errors
/// A socket cannot be used or made.
pub fn listeners(addresses: &[SocketAddr]) -> Result<Vec<TcpListener>, Error> {
    let mut handed = ListenFd::from_env();
    if handed.len() == 0 {
        return listen::bind_all(addresses);
    }
    let all = 0..handed.len();
    all.filter_map(|index| handed.take_tcp_listener(index).transpose())
        .collect::<Result<_, _>>()
        .map_err(Error::System)
}

/// How many of the connections that are wanted the system lets us have: each is an open file, and running out of
/// those would keep the store from working too. Raises the limit as far as it goes.
#[must_use]
pub fn connections(wanted: usize) -> usize {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return wanted };
    let raised = setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok();
    let files = usize::try_from(if raised { hard } else { soft }).unwrap_or(usize::MAX);
    let possible = files.saturating_sub(OTHER_FILES).max(1);
    if possible < wanted {
        log::warn!(
            "{wanted} connections are wanted, but the limit of open files leaves {possible} (ulimit -n)"
        );
    }
    wanted.min(possible)
}

/// Tells systemd that the service is there, and from then on that it is alive.
pub fn started() {
    notify(NotifyState::Ready);
    if let Some(patience) = sd_notify::watchdog_enabled() {
        tokio::spawn(async move {
            let mut ticks = interval(patience / 2);
            loop {
                ticks.tick().await;
                notify(NotifyState::Watchdog);
            }
        });
    }
}

/// How often systemd is told that the start goes on, and how much longer it should wait each time.
const STARTING_ROUND: Duration = Duration::from_secs(10);
const STARTING_EXTENSION_MICROS: u32 = 60_000_000;

/// Asks systemd to wait for as long as the value lives: reading a large store takes longer than its `TimeoutStartSec`.
#[must_use]
pub fn starting() -> Starting {
    let (over, ends) = mpsc::channel();
    std::thread::spawn(move || {
        while let Err(RecvTimeoutError::Timeout) = ends.recv_timeout(STARTING_ROUND) {
            notify(NotifyState::ExtendTimeoutUsec(STARTING_EXTENSION_MICROS));
        }
    });
    Starting { _over: over }
}

/// The start of the service; dropping it ends it.
pub struct Starting {
    _over: mpsc::Sender<()>,
}

fn notify(state: NotifyState<'_>) {
    if let Err(err) = sd_notify::notify(&[state]) {
        log::warn!("cannot notify systemd: {err}");
    }
}

/// Reads the certificate and the token for making pins again whenever SIGHUP comes.
///
/// # Errors
/// The signal cannot be had.
pub fn reload_on_hangup(certificate: Option<Certificate>, token: Option<CreateToken>) -> Result<(), Error> {
    // Caught in any case: without files there is nothing to reload, and no reason to die either.
    let mut hangups = listen_for(SignalKind::hangup())?;
    tokio::spawn(async move {
        while hangups.recv().await.is_some() {
            if certificate.is_none() && token.is_none() {
                log::info!(
                    "SIGHUP: nothing to read again: the service has neither a certificate nor a token"
                );
            }
            for (what, reloaded) in [
                ("certificate", certificate.as_ref().map(Certificate::reload)),
                ("token", token.as_ref().map(CreateToken::reload)),
            ] {
                if let Some(Err(err)) = reloaded {
                    log::error!("the old {what} stays in use: {err}; {}", err.next_step());
                }
            }
        }
    });
    Ok(())
}

/// Gives what is done once SIGTERM or SIGINT has come. A second one ends the process at once: every write that was
/// answered is on the disk.
///
/// # Errors
/// The signals cannot be had.
pub fn asked_to_stop() -> Result<impl Future<Output = ()>, Error> {
    let (mut terminate, mut interrupt) =
        (listen_for(SignalKind::terminate())?, listen_for(SignalKind::interrupt())?);
    Ok(async move {
        either(&mut terminate, &mut interrupt).await;
        notify(NotifyState::Stopping);
        log::info!("ending; a second signal ends it at once");
        tokio::spawn(async move {
            either(&mut terminate, &mut interrupt).await;
            process::exit(1);
        });
    })
}

async fn either(one: &mut Signal, other: &mut Signal) {
    select! {
        _ = one.recv() => {}
        _ = other.recv() => {}
    }
}

fn listen_for(kind: SignalKind) -> Result<Signal, Error> {
    signal(kind).map_err(Error::System)
}
