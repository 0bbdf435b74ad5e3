//! The watch: a task that loads the store, then delivers each revision as etcd reports it; when a watch is lost it goes on
//! with the next revision at another member, and when that was compacted it loads the store again.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use etcd_client::{Event, EventType, WatchOptions, WatchResponse, WatchStream};
use pairing_core::store::{Foreign, Id, Node, NumberedKey, PinKey};
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{Instant, interval, sleep, timeout};

use crate::error::Failure;
use crate::layout::{ClusterRecord, Layout, RecordKey, TransactionId, decode_head, decode_key, decode_node};
use crate::load::{ClusterVersion, LoadError, Loaded, Pages};
use crate::members::Members;

/// How long a watch may take to deliver what etcd is known to have.
const STALL_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a member may take to begin a watch.
const BEGIN_TIMEOUT: Duration = Duration::from_secs(2);
/// Pause after a failure.
const PAUSE: Duration = Duration::from_millis(100);
/// Largest message of a watch, in bytes.
const MESSAGE: usize = 256 << 20;

/// What the watch hands to the journal.
#[derive(Debug)]
pub(crate) enum Delivery {
    /// Pages follow. Those of a load before that failed half-way no longer count.
    Loading,
    /// Some of the whole store.
    Page(Vec<Loaded>),
    /// The pages were all of the store, as of a revision.
    Loaded(i64),
    /// What happened at a revision.
    Revision(Revision),
}

/// One transaction.
#[derive(Debug, Default)]
pub(crate) struct Revision {
    pub(crate) revision: i64,
    pub(crate) transaction: Option<TransactionId>,
    pub(crate) versions: Vec<(PinKey, Option<ClusterVersion>)>,
    pub(crate) foreign: Vec<Foreign>,
}

pub(crate) struct Watch {
    pub(crate) members: Arc<Members>,
    pub(crate) layout: Layout,
    pub(crate) deliveries: mpsc::Sender<Delivery>,
    /// The newest revision that etcd is known to have.
    pub(crate) wanted: watch::Receiver<i64>,
    /// Asks for the store to be loaded again.
    pub(crate) reload: Arc<Notify>,
}

/// Why a watch ended.
enum WatchEnd {
    /// It goes on at another member.
    Lost(String),
    /// What comes next was compacted, or is not what this service writes.
    Reload(String),
    /// The journal is closed.
    Closed,
}

impl Watch {
    /// Watches until the journal is closed.
    pub(crate) async fn run(mut self) {
        let (mut delivered, mut lost) = (None, false);
        loop {
            let from = match delivered {
                Some(revision) => revision,
                None => match self.load().await {
                    Ok(revision) => revision,
                    Err(LoadError::Etcd(failure)) => {
                        log::warn!("cannot load the store from etcd: {}", failure.text());
                        sleep(PAUSE).await;
                        continue;
                    }
                    Err(LoadError::Store(err)) => {
                        log::error!("cannot load the store from etcd: {err}");
                        sleep(Duration::from_secs(5)).await;
                        continue;
                    }
                },
            };
            let mut reached = from;
            let member = self.members.current();
            let begun = self.members.counters.stats().watches;
            match self.watch(member, &mut reached).await {
                WatchEnd::Closed => return,
                WatchEnd::Lost(why) => {
                    // Until one has begun again, the log says it once.
                    let had_begun = self.members.counters.stats().watches > begun;
                    let level = if had_begun || !lost { log::Level::Warn } else { log::Level::Debug };
                    log::log!(level, "{}: the watch was lost: {why}", self.members.url(member));
                    lost = true;
                    self.members.leave(member);
                    delivered = Some(reached);
                }
                WatchEnd::Reload(why) => {
                    log::warn!("{}: the store is loaded again: {why}", self.members.url(member));
                    delivered = None;
                }
            }
            if self.deliveries.is_closed() {
                return;
            }
            sleep(PAUSE).await;
        }
    }

    async fn load(&mut self) -> Result<i64, LoadError> {
        self.members.counters.update(|stats| stats.reloads += 1);
        let _ = self.deliveries.send(Delivery::Loading).await;
        let mut pages = Pages::new(&self.members, &self.layout);
        while let Some(page) = pages.next().await? {
            // A journal that is closed is noticed later.
            let _ = self.deliveries.send(Delivery::Page(page)).await;
        }
        let _ = self.deliveries.send(Delivery::Loaded(pages.revision())).await;
        Ok(pages.revision())
    }

    /// Watches one member from the revision after `reached` on.
    async fn watch(&mut self, member: usize, reached: &mut i64) -> WatchEnd {
        let mut stream = match self.begin(member, *reached + 1).await {
            Ok(stream) => stream,
            Err(failure) => return WatchEnd::Lost(failure.text().to_owned()),
        };
        self.members.counters.update(|stats| stats.watches += 1);
        let mut checks = interval(STALL_TIMEOUT / 4);
        let mut progress = Instant::now();
        loop {
            tokio::select! {
                message = stream.message() => match message {
                    Ok(Some(response)) if response.canceled() => {
                        return if response.compact_revision() > 0 {
                            WatchEnd::Reload(format!("revisions up to {} were compacted", response.compact_revision()))
                        } else {
                            WatchEnd::Lost(response.cancel_reason().to_owned())
                        };
                    }
                    Ok(Some(response)) => {
                        progress = Instant::now();
                        match self.deliver(&response, reached).await {
                            Ok(true) => {}
                            Ok(false) => return WatchEnd::Closed,
                            Err(why) => return WatchEnd::Reload(why),
                        }
                    }
                    Ok(None) => return WatchEnd::Lost("the member has ended it".to_owned()),
                    Err(err) => return WatchEnd::Lost(Failure::from(err).text().to_owned()),
                },
                _ = checks.tick() => {
                    if self.deliveries.is_closed() {
                        return WatchEnd::Closed;
                    }
                    if *self.wanted.borrow() <= *reached {
                        progress = Instant::now();
                    } else if progress.elapsed() > STALL_TIMEOUT {
                        return WatchEnd::Lost("it does not deliver what etcd has".to_owned());
                    }
                }
                () = self.reload.notified() => return WatchEnd::Reload("a record does not agree with it".to_owned()),
            }
        }
    }

    async fn begin(&self, member: usize, from: i64) -> Result<WatchStream, Failure> {
        let client = self.members.client(member).await?;
        let options = WatchOptions::new().with_prefix().with_start_revision(from);
        let mut watches = client.watch_client().max_decoding_message_size(MESSAGE);
        let begun = timeout(BEGIN_TIMEOUT, watches.watch(self.layout.prefix(), Some(options))).await;
        Ok(begun.unwrap_or_else(|_| Err(etcd_client::Error::WatchError("no answer".to_owned())))?)
    }

    /// Hands over each revision of a message. Says whether the journal is still there.
    async fn deliver(&self, response: &WatchResponse, reached: &mut i64) -> Result<bool, String> {
        // A message holds all events of each revision that it has any of.
        for events in response.events().chunk_by(|one, other| revision_of(one) == revision_of(other)) {
            let revision = self.read(events)?;
            let number = revision.revision;
            if number <= *reached {
                continue;
            }
            if self.deliveries.send(Delivery::Revision(revision)).await.is_err() {
                return Ok(false);
            }
            *reached = number;
        }
        Ok(true)
    }

    /// Reads the events of one revision.
    fn read(&self, events: &[Event]) -> Result<Revision, String> {
        let mut revision =
            Revision { revision: events.first().map_or(0, revision_of), ..Revision::default() };
        let mut expired = Vec::new();
        let mut clusters: HashMap<PinKey, ClusterEvents> = HashMap::new();
        for event in events {
            let Some(kv) = event.kv() else { continue };
            let place = self.layout.parse(kv.key());
            let damaged = || format!("the record {} is damaged", self.layout.shown(kv.key()));
            let put = event.event_type() == EventType::Put;
            match place {
                Some(RecordKey::Head) if put => {
                    let (transaction, gone) = decode_head(kv.value()).ok_or_else(damaged)?;
                    revision.transaction = Some(transaction);
                    expired = gone;
                }
                Some(RecordKey::Cluster(pin)) => {
                    let record = match put {
                        true => Some((
                            ClusterRecord::decode(kv.value()).ok_or_else(damaged)?,
                            ClusterVersion { revision: kv.mod_revision(), lease: kv.lease() },
                        )),
                        false => None,
                    };
                    clusters.entry(pin).or_default().record = Some(record);
                }
                Some(RecordKey::Key(pin, id)) => {
                    let cluster = clusters.entry(pin).or_default();
                    if put {
                        let key = decode_key(kv.value()).ok_or_else(damaged)?;
                        cluster.set.push(NumberedKey { id, key, charge: None });
                    } else {
                        cluster.deleted.push(id);
                    }
                }
                Some(RecordKey::Node(pin, id)) => {
                    let node = match put {
                        true => Some(decode_node(&id, kv.value()).ok_or_else(damaged)?),
                        false => None,
                    };
                    clusters.entry(pin).or_default().nodes.push((id, node));
                }
                Some(RecordKey::Head | RecordKey::Format) => {}
                None => return Err(damaged()),
            }
        }
        for (pin, cluster) in clusters {
            cluster.add_to(&mut revision, pin, &expired)?;
        }
        Ok(revision)
    }
}

/// What one revision has changed of a cluster.
#[derive(Default)]
struct ClusterEvents {
    /// Its record, if that has changed; in it `None` if the cluster is gone.
    record: Option<Option<(ClusterRecord, ClusterVersion)>>,
    set: Vec<NumberedKey>,
    deleted: Vec<Id>,
    nodes: Vec<(Box<str>, Option<Arc<Node>>)>,
}

impl ClusterEvents {
    fn add_to(self, revision: &mut Revision, pin: PinKey, expired: &[PinKey]) -> Result<(), String> {
        match self.record {
            Some(None) => {
                revision.versions.push((pin, None));
                let expired = expired.contains(&pin);
                revision.foreign.push(Foreign::Cluster { pin, entry: None, expired });
                return Ok(());
            }
            Some(Some((ClusterRecord { created, expires, next_id }, version))) => {
                revision.versions.push((pin, Some(version)));
                revision.foreign.push(Foreign::NextId(next_id));
                let (set, deleted) = (self.set, self.deleted);
                revision.foreign.push(Foreign::Keys { pin, created, expires, set, deleted });
            }
            None if !self.set.is_empty() || !self.deleted.is_empty() => {
                return Err("a key was changed and not its cluster".to_owned());
            }
            None => {}
        }
        let nodes = self.nodes.into_iter().map(|(id, node)| Foreign::Node { pin, id, node });
        revision.foreign.extend(nodes);
        Ok(())
    }
}

fn revision_of(event: &Event) -> i64 {
    event.kv().map_or(0, etcd_client::KeyValue::mod_revision)
}
