//! The journal: the store's side of an etcd cluster.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use pairing_core::Refused;
use pairing_core::store::snapshot::Snapshot;
use pairing_core::store::{BatchLimits, Changes, CommitError, Foreign, Journal, PinKey, ReadIndex};
use tokio::runtime::Handle;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{Instant, sleep_until};

use crate::config::Config;
use crate::error::Failure;
use crate::layout::{Layout, TransactionId};
use crate::load::ClusterVersion;
use crate::members::Members;
use crate::read_index::{ReadIndexHandle, ReadIndexTask};
use crate::stats::Counters;
use crate::transaction::transaction;
use crate::watch::{Delivery, Watch};

/// How long a commit may take. What comes of it later is seen when the watch delivers it.
const COMMIT_TIME: Duration = Duration::from_secs(4);
/// How long the watch may take to deliver what made a comparison fail.
const CATCH_UP: Duration = Duration::from_millis(200);
/// Deliveries that wait for the store.
const DELIVERIES: usize = 1024;
/// Clusters between two lines that say how many were loaded.
const LOADED_STEP: usize = 100_000;
/// The net below: after its lifetime and this time, a pin is deleted by etcd itself.
const LEASE_MARGIN: Duration = Duration::from_secs(60 * 60);
/// Pins that are made within this time share a lease: each lease costs etcd memory and a commit of its own.
const LEASE_SHARED: Duration = Duration::from_secs(10 * 60);

/// An etcd cluster as the journal of a store.
pub struct Etcd {
    runtime: Handle,
    members: Arc<Members>,
    layout: Layout,
    lifetime: Duration,
    deliveries: mpsc::Receiver<Delivery>,
    /// The clusters in etcd, as far as they were delivered.
    versions: HashMap<PinKey, ClusterVersion>,
    /// The clusters of the load that is under way.
    loading: HashSet<PinKey>,
    /// Everything up to here was delivered.
    delivered: i64,
    /// What was delivered and is not in the store yet.
    backlog: Vec<Foreign>,
    /// The transaction that a commit waits for, and whether it was delivered.
    pending: Option<(TransactionId, bool)>,
    lease: Option<(Instant, i64)>,
    taken_in: watch::Sender<i64>,
    reads: Arc<ReadIndexHandle>,
    reload: Arc<Notify>,
    cut_off: watch::Receiver<bool>,
    /// Comparisons in a row that failed though nothing was delivered.
    unexplained: u32,
}

impl Etcd {
    /// Begins to watch, for a store that is opened next.
    pub(crate) fn begin(config: &Config, members: Arc<Members>) -> Self {
        let runtime = Handle::current();
        let layout = Layout::new(&config.prefix);
        let (sender, deliveries) = mpsc::channel(DELIVERIES);
        let (pending, asked) = mpsc::unbounded_channel();
        // Below every revision: until the store is loaded, nothing can be read.
        let (taken_in, wanted, cut_off) =
            (watch::Sender::new(-1), watch::Sender::new(0), watch::Sender::new(false));
        let reload = Arc::new(Notify::new());
        let watch = Watch {
            members: members.clone(),
            layout: layout.clone(),
            deliveries: sender,
            wanted: wanted.subscribe(),
            reload: reload.clone(),
        };
        let cut_off_seen = cut_off.subscribe();
        let indexer = ReadIndexTask {
            members: members.clone(),
            layout: layout.clone(),
            pending: asked,
            wanted,
            taken_in: taken_in.subscribe(),
            cut_off,
        };
        runtime.spawn(watch.run());
        runtime.spawn(indexer.run());
        Self {
            runtime,
            members,
            layout,
            lifetime: config.lifetime,
            deliveries,
            versions: HashMap::new(),
            loading: HashSet::new(),
            delivered: -1,
            backlog: Vec::new(),
            pending: None,
            lease: None,
            taken_in,
            reads: Arc::new(ReadIndexHandle { pending }),
            reload,
            cut_off: cut_off_seen,
            unexplained: 0,
        }
    }

    /// What the journal counts.
    #[must_use]
    pub fn counters(&self) -> Arc<Counters> {
        self.members.counters.clone()
    }

    /// Whether the majority of the members cannot be reached, so that nothing more can be told of what waits.
    #[must_use]
    pub fn cut_off(&self) -> watch::Receiver<bool> {
        self.cut_off.clone()
    }

    /// Takes note of a delivery, and keeps what the store has to take in.
    pub(crate) fn apply(&mut self, delivery: Delivery) {
        let foreign: Vec<Foreign> = match delivery {
            Delivery::Loading => {
                self.loading.clear();
                Vec::new()
            }
            Delivery::Page(clusters) => {
                let before = self.loading.len();
                let note = |cluster: crate::load::Loaded| {
                    self.loading.insert(cluster.pin);
                    self.versions.insert(cluster.pin, cluster.version);
                    cluster.into_foreign()
                };
                let taken = clusters.into_iter().flat_map(note).collect();
                if let Some(line) = progress(before, self.loading.len()) {
                    log::info!("{line}");
                }
                taken
            }
            Delivery::Loaded(revision) => {
                let loaded = std::mem::take(&mut self.loading);
                self.delivered = self.delivered.max(revision);
                let gone = self.versions.extract_if(|pin, _| !loaded.contains(pin));
                gone.map(|(pin, _)| Foreign::Cluster { pin, entry: None, expired: false }).collect()
            }
            Delivery::Revision(revision) => {
                self.delivered = revision.revision;
                if let (Some((pending, delivered)), Some(id)) = (&mut self.pending, &revision.transaction) {
                    *delivered |= pending == id;
                }
                for (pin, version) in revision.versions {
                    match version {
                        Some(version) => drop(self.versions.insert(pin, version)),
                        None => drop(self.versions.remove(&pin)),
                    }
                }
                revision.foreign
            }
        };
        self.backlog.extend(foreign);
    }

    /// Waits until a revision was delivered, or the deadline has come. Says whether it was.
    pub(crate) async fn deliver(&mut self, revision: i64, deadline: Instant) -> bool {
        let mut late = std::pin::pin!(sleep_until(deadline));
        while self.delivered < revision {
            tokio::select! {
                biased;
                delivery = self.deliveries.recv() => match delivery {
                    Some(delivery) => self.apply(delivery),
                    None => return false,
                },
                () = late.as_mut() => return false,
            }
        }
        true
    }

    /// Whether a cluster is in etcd, as far as was delivered.
    #[cfg(test)]
    pub(crate) fn has_cluster(&self, pin: PinKey) -> bool {
        self.versions.contains_key(&pin)
    }

    /// The lease for pins that are made now.
    async fn new_lease(&mut self, deadline: Instant) -> Result<i64, Failure> {
        if let Some((granted, lease)) = self.lease
            && granted.elapsed() < LEASE_SHARED
        {
            return Ok(lease);
        }
        let lasts = self.lifetime + LEASE_MARGIN + LEASE_SHARED;
        let lease = self.members.lease(deadline, lasts).await?;
        self.lease = Some((Instant::now(), lease));
        Ok(lease)
    }

    async fn try_commit(&mut self, changes: &Changes) -> Result<(), CommitError> {
        let begun = Instant::now();
        let deadline = begun + COMMIT_TIME;
        let undone = |failure: Failure| CommitError::Undone(failure.refused());
        let is_new = |pin: PinKey| !self.versions.contains_key(&pin);
        let makes = changes.of_clusters().any(|(pin, change)| {
            is_new(pin) && matches!(change, pairing_core::store::ClusterChange::Put { .. })
        });
        let lease = if makes { self.new_lease(deadline).await.map_err(undone)? } else { 0 };
        let mut id = TransactionId::default();
        getrandom::fill(&mut id)
            .map_err(|err| CommitError::Undone(Refused::Failed(format!("no random numbers: {err}"))))?;
        let txn = transaction(&self.layout, &self.versions, changes, &id, lease);
        self.pending = Some((id, false));
        // It may be sent more than once, when an answer is lost. It happens once, since it changes what it compares.
        let answer = self.members.txn(deadline, &txn).await;
        let answer = match answer {
            Ok(answer) => answer,
            Err(Failure::LeaseGone) => {
                self.lease = None;
                self.deliver(self.delivered + 1, Instant::now() + CATCH_UP).await;
                return Err(CommitError::Outdated(Vec::new()));
            }
            Err(failure @ Failure::Unreachable(_)) => return Err(CommitError::InDoubt(failure.refused())),
            Err(failure) => return Err(undone(failure)),
        };
        if answer.succeeded() {
            let wrote = !changes.is_empty();
            let revision = answer.header().map_or(0, etcd_client::ResponseHeader::revision);
            if wrote && !self.deliver(revision, deadline).await {
                return Err(CommitError::InDoubt(Refused::Unreachable(
                    "etcd has the write, but its watch has not delivered it".to_owned(),
                )));
            }
            if wrote {
                self.members.counters.update(|stats| stats.add_commit(begun.elapsed()));
            }
            return Ok(());
        }
        let before = self.delivered;
        let head = answer.op_responses().into_iter().find_map(|response| match response {
            etcd_client::TxnOpResponse::Get(head) => {
                head.kvs().first().map(etcd_client::KeyValue::mod_revision)
            }
            _ => None,
        });
        self.deliver(head.unwrap_or(0), deadline).await;
        if self.pending.is_some_and(|(_, delivered)| delivered) {
            // An answer was lost: it had happened when it was sent before.
            self.members.counters.update(|stats| stats.add_commit(begun.elapsed()));
            return Ok(());
        }
        self.members.counters.update(|stats| stats.conflicts += 1);
        if self.delivered == before {
            // What has changed was not written by this service: a lease has ended, or an admin has been at work.
            self.unexplained += 1;
            if self.unexplained.is_multiple_of(3) {
                self.reload.notify_one();
            }
            self.deliver(self.delivered + 1, Instant::now() + CATCH_UP).await;
        } else {
            self.unexplained = 0;
        }
        Err(CommitError::Outdated(Vec::new()))
    }
}

impl Journal for Etcd {
    const SHARED: bool = true;
    /// etcd takes 128 comparisons and 128 operations in a transaction, and 1.5 MiB, unless it is told otherwise. Of 40
    /// operations each may write a cluster and a key; those that make clusters may each remove an expired one, and a
    /// sweep 16.
    const BATCH: BatchLimits = BatchLimits { operations: 40, bytes: 1 << 20, swept: 16, removed: 16 };

    fn runtime(&self) -> Option<Handle> {
        Some(self.runtime.clone())
    }

    async fn commit(&mut self, changes: &Changes) -> Result<Vec<Foreign>, CommitError> {
        let committed = self.try_commit(changes).await;
        self.pending = None;
        // After another failure it comes with what is delivered next.
        match committed {
            Ok(()) => Ok(std::mem::take(&mut self.backlog)),
            Err(CommitError::Outdated(_)) => Err(CommitError::Outdated(std::mem::take(&mut self.backlog))),
            Err(err) => Err(err),
        }
    }

    async fn resolve(&mut self, _: &Changes) -> Result<bool, Refused> {
        Ok(false)
    }

    async fn foreign(&mut self) -> Vec<Foreign> {
        // A commit that failed may have left something behind.
        if self.backlog.is_empty() && *self.taken_in.borrow() >= self.delivered {
            match self.deliveries.recv().await {
                Some(delivery) => self.apply(delivery),
                None => std::future::pending().await,
            }
        }
        std::mem::take(&mut self.backlog)
    }

    fn taken_in(&mut self) {
        self.taken_in
            .send_if_modified(|taken_in| std::mem::replace(taken_in, self.delivered) != self.delivered);
    }

    fn read_index(&self) -> Option<Arc<dyn ReadIndex>> {
        Some(self.reads.clone())
    }

    fn snapshot(&self) -> Result<Snapshot, Refused> {
        Err(Refused::Failed(
            "a store in etcd is backed up by `copy --from etcd`, or with etcd's own tools".to_owned(),
        ))
    }
}

/// What to say when so many clusters are loaded, where it is time for it: a start with millions takes minutes.
fn progress(before: usize, loaded: usize) -> Option<String> {
    (loaded / LOADED_STEP > before / LOADED_STEP)
        .then(|| format!("loading the store: {loaded} clusters so far"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_how_far_the_load_has_come() {
        assert_eq!(progress(0, LOADED_STEP - 1), None);
        assert!(
            progress(LOADED_STEP - 1, LOADED_STEP + 5).is_some_and(|line| line.contains("100005 clusters"))
        );
        assert_eq!(progress(LOADED_STEP + 5, 2 * LOADED_STEP - 1), None);
        assert!(progress(LOADED_STEP, 4 * LOADED_STEP).is_some());
    }
}
