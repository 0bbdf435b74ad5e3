//! `GET …/events`: what happens to a cluster, as Server-Sent Events (HTML standard, section 9.2).
//!
//! The first event is the whole state. It is read after the place among those who watch is taken, so nothing falls in
//! between; what is told next may be in it already, and says the same again. An event that does not find its reader
//! is not kept: whoever comes back begins with the state.

#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use protocol::Pin;
use protocol::key::{MASTER_IP, MASTER_READY};
use serde::Serialize;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, sleep};

use crate::clock::{Clock, Timestamp};
use crate::holds::Hold;
use crate::http::{Refusal, Reply};
use crate::hub::{Counts, Heard, Seat};
use crate::service::Service;
use crate::store::{Change, Cluster, Key};

/// Between two comments, which keep middleboxes from closing a connection that looks idle; they do so after 60 s.
const COMMENT: Duration = Duration::from_secs(15);
/// Between two `counts`: ten thousand slaves that come at once are not ten thousand events.
const COUNTS: Duration = Duration::from_millis(250);

/// What one who watches is still going to be told.
pub(crate) struct Feed {
    seat: Seat,
    _hold: Hold,
    clock: Arc<dyn Clock>,
    expires: Timestamp,
    comment: Interval,
    counts_from: Instant,
    /// What is said next, whatever happens.
    ready: Option<Bytes>,
    over: bool,
}

/// The first event.
#[derive(Serialize)]
struct State<'a> {
    creation_time: String,
    expiry_time: String,
    keys: Vec<Shown<'a>>,
    #[serde(flatten)]
    counts: Shares,
}

/// How many have come.
#[derive(Serialize)]
struct Shares {
    waiting: usize,
    served: u64,
}

/// What those who watch are shown of a key.
#[derive(Serialize)]
struct Shown<'a> {
    key: &'a str,
    created: String,
    modified: String,
    /// Only an address is shown: other values may be secrets, and a page is shown to others.
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<&'a str>,
}

/// What has become of a key.
#[derive(Serialize)]
struct Changed<'a> {
    change: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<&'a str>,
    #[serde(flatten)]
    key: Shown<'a>,
}

/// Why there is nothing more to tell.
#[derive(Serialize)]
struct Gone {
    reason: &'static str,
}

/// Begins to tell.
pub(crate) async fn watch(service: &Service, client: IpAddr, pin: &Pin) -> Result<Reply, Refusal> {
    let hold = service.holds.hold(client)?;
    let mut seat = service.hub.watch(pin)?;
    let cluster = service.store.cluster(pin).await?;
    let keys = service.store.keys(pin).await?;
    let state = state(&cluster, &keys, seat.counts());
    let mut comment = interval_at(Instant::now() + COMMENT, COMMENT);
    comment.set_missed_tick_behavior(MissedTickBehavior::Delay);
    Ok(Reply::Events(Box::new(Feed {
        seat,
        _hold: hold,
        clock: service.clock.clone(),
        expires: cluster.expires,
        comment,
        counts_from: Instant::now(),
        ready: Some(state),
        over: false,
    })))
}

/// Takes note that somebody read a key: a slave reads `master_ready`, and then `master_ip`.
pub(crate) async fn note_read(service: &Service, pin: &Pin, name: &str) {
    if name == MASTER_IP {
        service.hub.given_address(pin);
    } else if name == MASTER_READY && service.hub.told_ready(pin) {
        // Boxed: it is seldom, and would be part of every request that is held.
        Box::pin(forget_if_gone(service, pin)).await;
    }
}

/// Should the pin go while we count, the hub may have heard of it before.
async fn forget_if_gone(service: &Service, pin: &Pin) {
    if service.store.cluster(pin).await.is_err() {
        service.hub.forget_served(pin);
    }
}

impl Feed {
    /// Waits for what is to be told next; `None` when that was all.
    pub(crate) async fn next(mut self: Box<Self>) -> Option<(Bytes, Box<Self>)> {
        if let Some(ready) = self.ready.take() {
            return Some((ready, self));
        }
        if self.over {
            return None;
        }
        let bytes = loop {
            let left = self.expires.since(self.clock.now());
            tokio::select! {
                biased;
                heard = self.seat.heard(self.counts_from) => match heard {
                    Heard::Change(change) => break self.change(&change),
                    Heard::Counts(counts) => {
                        self.counts_from = Instant::now() + COUNTS;
                        break event("counts", &Shares::from(counts));
                    }
                    Heard::End => return None,
                },
                () = sleep(left) => {
                    // The clock may have been set back meanwhile.
                    if self.clock.now() >= self.expires {
                        break self.gone("expired");
                    }
                }
                _ = self.comment.tick() => break Bytes::from_static(b": still here\n\n"),
            }
        };
        Some((bytes, self))
    }

    fn change(&mut self, change: &Change) -> Bytes {
        let (change, from, key) = match change {
            Change::KeySet(key) => ("set", None, key),
            Change::KeyRenamed { from, key } => ("renamed", Some(from.as_str()), key),
            Change::KeyDeleted(key) => ("deleted", None, key),
            Change::Deleted => return self.gone("deleted"),
            Change::Expired => return self.gone("expired"),
        };
        event("key", &Changed { change, from, key: Shown::of(key) })
    }

    fn gone(&mut self, reason: &'static str) -> Bytes {
        self.over = true;
        event("gone", &Gone { reason })
    }
}

impl<'a> Shown<'a> {
    fn of(key: &'a Key) -> Self {
        Self {
            key: &key.name,
            created: key.created.to_string(),
            modified: key.modified.to_string(),
            value: (key.name == MASTER_IP).then_some(&key.value),
        }
    }
}

impl From<Counts> for Shares {
    fn from(Counts { waiting, served }: Counts) -> Self {
        Self { waiting, served }
    }
}

fn state(cluster: &Cluster, keys: &[Arc<Key>], counts: Counts) -> Bytes {
    let state = State {
        creation_time: cluster.created.to_string(),
        expiry_time: cluster.expires.to_string(),
        keys: keys.iter().map(|key| Shown::of(key)).collect(),
        counts: counts.into(),
    };
    event("state", &state)
}

/// One event. JSON has no line breaks, so its data is one line.
fn event(name: &str, data: &impl Serialize) -> Bytes {
    let data = serde_json::to_string(data).expect("strings and numbers under fixed names always serialise");
    format!("event: {name}\ndata: {data}\n\n").into()
}
