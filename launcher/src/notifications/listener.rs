//! Takes notifications for as long as the launcher runs: connects, connects again, and tells what is to be looked at.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::time::sleep;

use super::broker::{Broker, BrokerError};
use super::pause::Pauses;
use super::session::BrokerSession;
use super::{Event, Message, Stats};

/// A connection that ends sooner is no reason to connect again sooner.
const STEADY: Duration = Duration::from_secs(30);

/// What is to be looked at.
#[derive(Debug)]
pub enum Wake<'a> {
    /// Every cluster: messages may have been missed.
    All,
    /// What a message is about.
    About(&'a Event),
}

/// What was logged last: the same is not logged again.
#[derive(PartialEq, Eq)]
enum Logged {
    Nothing,
    Trouble(BrokerError),
    Listens,
}

/// Takes notifications until `stop` changes, and calls `wake` for each.
pub async fn listen(
    broker: Broker,
    stats: Arc<Stats>,
    mut stop: watch::Receiver<bool>,
    wake: impl Fn(Wake<'_>) + Send + Sync,
) {
    let broker = Arc::new(broker);
    let mut pauses = Pauses::new();
    let mut logged = Logged::Nothing;
    loop {
        let trouble = tokio::select! {
            opened = connect(&broker) => match opened {
                Ok(session) => {
                    logged = Logged::Listens;
                    stats.connected();
                    let began = Instant::now();
                    let ended = follow(session, &stats, &mut stop, &wake).await;
                    stats.set_bound(None);
                    if began.elapsed() > STEADY {
                        pauses = Pauses::new();
                    }
                    match ended {
                        Some(trouble) => trouble,
                        None => return,
                    }
                }
                Err(trouble) => trouble,
            },
            _ = stop.changed() => return,
        };
        let trouble = Logged::Trouble(trouble);
        if trouble != logged
            && let Logged::Trouble(BrokerError { what, next }) = &trouble
        {
            log::warn!("no notifications, so changes show later: {what}\n  next: {next}");
        }
        logged = trouble;
        tokio::select! {
            () = sleep(pauses.next()) => (),
            _ = stop.changed() => return,
        }
    }
}

/// A connection to the first member that gives one.
async fn connect(broker: &Arc<Broker>) -> Result<BrokerSession, BrokerError> {
    let (last, others) = broker.address.members.split_last().expect("an address has a member");
    for member in others {
        if let Ok(session) = BrokerSession::open(broker, member).await {
            return Ok(session);
        }
    }
    BrokerSession::open(broker, last).await
}

/// Takes the messages of a connection until it ends, which gives the reason, or until `stop` changes.
async fn follow(
    mut session: BrokerSession,
    stats: &Stats,
    stop: &mut watch::Receiver<bool>,
    wake: &(impl Fn(Wake<'_>) + Send + Sync),
) -> Option<BrokerError> {
    tell(&session, stats);
    wake(Wake::All);
    let mut pauses = Pauses::new();
    let mut again = Box::pin(sleep(pauses.next()));
    loop {
        tokio::select! {
            first = session.next() => match session.take(first).await {
                Ok(messages) => {
                    for message in &messages {
                        stats.received(message);
                        if let Message::Event(event) = message {
                            wake(Wake::About(event));
                        }
                    }
                }
                Err(trouble) => return Some(trouble),
            },
            () = &mut again, if !session.missing.is_empty() => {
                let bound = session.bound.len();
                if session.bind_missing().await {
                    tell(&session, stats);
                }
                if session.bound.len() > bound {
                    wake(Wake::All);
                }
                again.set(sleep(pauses.next()));
            },
            _ = stop.changed() => {
                session.close().await;
                return None;
            }
        }
    }
}

/// Says what is listened to.
fn tell(session: &BrokerSession, stats: &Stats) {
    stats.set_bound(Some(session.bound.clone()));
    let bound: Vec<_> = session.bound.iter().map(String::as_str).collect();
    if !bound.is_empty() {
        log::info!("notifications come from RabbitMQ at {}: exchange {}", session.member(), bound.join(", "));
    }
    for (exchange, reason) in &session.missing {
        log::warn!(
            "no notifications of the exchange {exchange} at RabbitMQ: {}\n  next: {}",
            crate::openstack::one_line(reason),
            "check --notifications-exchange and the user's permissions; an exchange comes when its service starts"
        );
    }
}
