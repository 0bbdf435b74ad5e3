//! The store as its callers see it: reads from the state, writes through a batch, with or without a journal.

mod access;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use protocol::Pin;

use super::embedded::Embedded;
use super::journal::{Journal, ReadIndex};
use super::nodes::{NodeClass, NodeListing};
use super::operation::{Operation, Outcome};
use super::pins::PinKey;
use super::shared::Shared;
use super::snapshot::Snapshot;
use super::state::{Entry, Lookup};
use super::write_queue::WriteQueue;
use super::writer::PAUSE;
use super::{Charge, Cluster, Key, Limits, Observer, Stats, Update};
use crate::Refused;
use crate::clock::{Clock, SteadyClock, Timestamp};
use access::unexpected;

/// Clusters and their keys. The promises are at the head of [the module](super). Dropping it answers what is queued
/// and closes the journal; it blocks for that long unless the journal names a [runtime](Journal::runtime).
pub struct Store {
    shared: Arc<Shared>,
    /// `None`: there is no journal, and a write is durable at once.
    queue: Option<WriteQueue>,
    /// Where a read learns how far the state must have come; `None`: it is always current.
    reads: Option<Arc<dyn ReadIndex>>,
}

impl Store {
    /// An empty store that forgets everything when it is dropped.
    #[must_use]
    pub fn in_memory(limits: Limits, clock: Arc<dyn Clock>, observer: Arc<dyn Observer>) -> Self {
        // Nothing is there after a restart, so nothing can come back.
        let shared =
            Shared::new(limits, SteadyClock::new(clock, Timestamp(0)), observer, Timestamp(u64::MAX));
        Self { shared: Arc::new(shared), queue: None, reads: None }
    }

    /// Opens the store in the data directory `dir`, for this process alone, and reads all of it. Directory and file
    /// are made if they are not there, for this user alone (0700 and 0600).
    ///
    /// # Errors
    /// [`Refused::Failed`] or [`Refused::NoSpace`] with a sentence that names the file: it cannot be made, read or
    /// written, is damaged, has another format, or is open in another process.
    pub fn open(
        dir: &Path,
        limits: Limits,
        clock: Arc<dyn Clock>,
        observer: Arc<dyn Observer>,
    ) -> Result<Self, Refused> {
        Self::with_embedded(Embedded::open(dir)?, PAUSE, limits, clock, observer)
    }

    /// A store with an embedded journal that is open.
    pub(super) fn with_embedded(
        journal: Embedded,
        pause: Duration,
        limits: Limits,
        clock: Arc<dyn Clock>,
        observer: Arc<dyn Observer>,
    ) -> Result<Self, Refused> {
        let mark = journal.mark()?;
        let shared = Shared::new(limits, SteadyClock::new(clock, mark), observer, mark);
        journal.load(&shared)?;
        Self::with_shared(shared, journal, pause)
    }

    /// A store with a journal of the caller's, which has nothing in it or yields what it has as [`Journal::foreign`]
    /// changes. It has all of that once it has [caught up](Store::caught_up).
    ///
    /// # Errors
    /// There is no thread for the writer.
    pub fn with_journal(
        journal: impl Journal,
        limits: Limits,
        clock: Arc<dyn Clock>,
        observer: Arc<dyn Observer>,
    ) -> Result<Self, Refused> {
        let clock = SteadyClock::new(clock, Timestamp(0));
        Self::with_shared(Shared::new(limits, clock, observer, Timestamp(0)), journal, PAUSE)
    }

    fn with_shared<J: Journal>(shared: Shared, journal: J, pause: Duration) -> Result<Self, Refused> {
        let shared = shared.behind::<J>();
        let (shared, reads) = (Arc::new(shared), journal.read_index());
        let queue = WriteQueue::start(shared.clone(), journal, pause)?;
        Ok(Self { shared, queue: Some(queue), reads })
    }

    /// The time as the store has it. It never steps back while the process lives.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.shared.clock.now()
    }

    /// Makes a cluster under a pin that cannot be guessed and that no live cluster has.
    ///
    /// # Errors
    /// [`Refused::TooManyPins`], or the journal's.
    pub async fn create_cluster(&self) -> Result<Cluster, Refused> {
        match self.write(Operation::CreateCluster).await? {
            Outcome::Cluster(cluster) => Ok(cluster),
            other => Err(unexpected(&other)),
        }
    }

    /// The cluster of a pin.
    ///
    /// # Errors
    /// [`Refused::UnknownPin`].
    pub async fn cluster(&self, pin: &Pin) -> Result<Cluster, Refused> {
        self.read(pin, |pin, entry| Ok(entry.cluster(pin))).await
    }

    /// Deletes a cluster and its keys.
    ///
    /// # Errors
    /// [`Refused::UnknownPin`], or the journal's.
    pub async fn delete_cluster(&self, pin: &Pin) -> Result<(), Refused> {
        self.write(Operation::DeleteCluster(pin.clone())).await.map(drop)
    }

    /// The keys of a pin in the order of their creation.
    ///
    /// # Errors
    /// [`Refused::UnknownPin`].
    pub async fn keys(&self, pin: &Pin) -> Result<Vec<Arc<Key>>, Refused> {
        self.read(pin, |_, entry| Ok(entry.keys.iter().map(|numbered| numbered.key.clone()).collect())).await
    }

    /// One key.
    ///
    /// # Errors
    /// [`Refused::UnknownPin`] or [`Refused::UnknownKey`].
    pub async fn key(&self, pin: &Pin, name: &str) -> Result<Arc<Key>, Refused> {
        self.read(pin, |_, entry| entry.key(name).cloned().ok_or(Refused::UnknownKey)).await
    }

    /// Whether there is a cluster to write to. With a shared journal one that was there a moment ago will do, since the
    /// write itself finds out whether it still is: to ask the journal twice would take twice as long.
    ///
    /// # Errors
    /// [`Refused::UnknownPin`].
    pub async fn expect_cluster(&self, pin: &Pin) -> Result<(), Refused> {
        match self.has(pin, |_| true) {
            true => Ok(()),
            false => self.read(pin, |_, _| Ok(())).await,
        }
    }

    /// The same of a key.
    ///
    /// # Errors
    /// [`Refused::UnknownPin`] or [`Refused::UnknownKey`].
    pub async fn expect_key(&self, pin: &Pin, name: &str) -> Result<(), Refused> {
        match self.has(pin, |entry| entry.key(name).is_some()) {
            true => Ok(()),
            false => self.key(pin, name).await.map(drop),
        }
    }

    /// What this process knows of a live cluster.
    fn has(&self, pin: &Pin, look: impl FnOnce(&Entry) -> bool) -> bool {
        let found = PinKey::of(pin).map(|key| self.shared.state.read(key, self.now(), look));
        matches!(found, Some(Lookup::Live(true)))
    }

    /// Creates a key.
    ///
    /// # Errors
    /// [`Refused::UnknownPin`], [`Refused::KeyExists`], a limit, or the journal's.
    pub async fn create_key(&self, pin: &Pin, name: &str, value: &str) -> Result<Arc<Key>, Refused> {
        self.create_charged_key(pin, name.to_owned(), value.to_owned(), None).await
    }

    /// Creates a key that costs its creator something for as long as it is there.
    ///
    /// # Errors
    /// As for [`Store::create_key`].
    pub async fn create_charged_key(
        &self,
        pin: &Pin,
        name: String,
        value: String,
        charge: Option<Charge>,
    ) -> Result<Arc<Key>, Refused> {
        self.write_key(Operation::CreateKey { pin: pin.clone(), name, value, charge }).await
    }

    /// Changes a key that exists. A new name that another key has is [`Refused::KeyExists`].
    ///
    /// # Errors
    /// [`Refused::UnknownPin`], [`Refused::UnknownKey`], [`Refused::KeyExists`], a limit, or the journal's.
    pub async fn update_key(&self, pin: &Pin, name: &str, update: Update) -> Result<Arc<Key>, Refused> {
        self.update_charged_key(pin, name, update, None).await
    }

    /// Changes a key whose new value costs something for as long as it is there.
    ///
    /// # Errors
    /// As for [`Store::update_key`].
    pub async fn update_charged_key(
        &self,
        pin: &Pin,
        name: &str,
        update: Update,
        charge: Option<Charge>,
    ) -> Result<Arc<Key>, Refused> {
        self.write_key(Operation::UpdateKey { pin: pin.clone(), name: name.to_owned(), update, charge }).await
    }

    /// Deletes a key.
    ///
    /// # Errors
    /// [`Refused::UnknownPin`], [`Refused::UnknownKey`], or the journal's.
    pub async fn delete_key(&self, pin: &Pin, name: &str) -> Result<(), Refused> {
        self.write(Operation::DeleteKey { pin: pin.clone(), name: name.to_owned() }).await.map(drop)
    }

    /// The pins that have a key of this name, among them those that have expired and are not removed yet. It looks at
    /// every pin: for the start of a server.
    #[must_use]
    pub fn pins_with_key(&self, name: &str) -> Vec<Pin> {
        self.shared.state.pins_with_key(name).into_iter().map(PinKey::pin).collect()
    }

    /// The nodes of a pin: those that have reported after a version that an earlier listing had, or all if that cannot be
    /// told.
    ///
    /// # Errors
    /// [`Refused::UnknownPin`].
    pub async fn nodes(&self, pin: &Pin, after: Option<u64>) -> Result<NodeListing, Refused> {
        let Some(key) = PinKey::of(pin) else { return Err(Refused::UnknownPin) };
        if let Some(reached) = self.behind() {
            reached.await?;
        }
        match self.live(pin, self.shared.state.list_nodes(key, self.now(), after)) {
            Ok(listing) => Ok(listing),
            Err(gone) => gone.await,
        }
    }

    /// Tells the versions of this store's listings from those of another process, or of another time.
    #[must_use]
    pub fn instance(&self) -> u64 {
        self.shared.state.instance
    }

    /// Keeps what a node reports, in the place of what it reported before.
    ///
    /// # Errors
    /// [`Refused::UnknownPin`], a limit, or the journal's.
    pub async fn put_node(
        &self,
        pin: &Pin,
        id: &str,
        report: String,
        class: NodeClass,
        charge: Option<Charge>,
    ) -> Result<(), Refused> {
        // A report is compared with nothing but whether its cluster is still there.
        self.expect_cluster(pin).await?;
        let (pin, id, report) = (pin.clone(), id.into(), report.into());
        self.write(Operation::PutNode { pin, id, report, class, charge }).await.map(drop)
    }

    /// Removes a node.
    ///
    /// # Errors
    /// [`Refused::UnknownPin`], [`Refused::UnknownNode`], or the journal's.
    pub async fn delete_node(&self, pin: &Pin, id: &str) -> Result<(), Refused> {
        if let Some(reached) = self.behind() {
            reached.await?;
        }
        self.write(Operation::DeleteNode { pin: pin.clone(), id: id.into() }).await.map(drop)
    }

    /// Removes a bounded number of clusters that have expired, in the order in which they did, and tells of each. Says
    /// when there is something to do again, which has passed if there was more to remove than one call does; `None`
    /// when no cluster is left. Reads are exact without it; it frees room, and tells of the clusters that are not asked
    /// for.
    ///
    /// # Errors
    /// The journal's.
    pub async fn sweep(&self) -> Result<Option<Timestamp>, Refused> {
        match self.write(Operation::Sweep).await? {
            Outcome::Next(next) => Ok(next),
            other => Err(unexpected(&other)),
        }
    }

    /// Waits until a cluster expires before the moment that the last [`Store::sweep`] has named.
    pub async fn sweep_earlier(&self) {
        self.shared.sweep_earlier.notified().await;
    }

    /// Makes a cluster older than it is, as if it had been created `by` earlier: for tests of what happens when it
    /// expires.
    ///
    /// # Errors
    /// As those of any write.
    #[doc(hidden)]
    pub async fn backdate(&self, pin: &Pin, by: Duration) -> Result<(), Refused> {
        self.write(Operation::Backdate(pin.clone(), by)).await.map(drop)
    }

    /// Adds a cluster with a pin that is not drawn, to a store in memory: for tests.
    ///
    /// # Panics
    /// If the pin is not like ours.
    #[doc(hidden)]
    pub fn insert(&self, pin: &Pin) {
        let mut writer = self.shared.state.writer();
        let (id, created) = (writer.next_id, self.now());
        writer.next_id += 1;
        let pin = PinKey::of(pin).expect("it is like ours");
        let entry =
            Entry { id, created, expires: created.after(self.shared.limits.lifetime), keys: Vec::new() };
        self.shared.state.publish(&mut writer, pin, Some(entry));
        self.shared.wake_sweeper(&writer);
    }

    /// How much there is: for `/metrics`.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let (pins, keys, nodes) = self.shared.state.population();
        Stats {
            pins,
            keys,
            nodes,
            bytes: self.shared.state.memory(),
            commits: self.shared.commits.load(Ordering::Relaxed),
            queued: self.queue.as_ref().map_or(0, WriteQueue::bytes),
        }
    }

    /// Whether a write would go through now: for `/readyz`. The last commit answers if it was a moment ago, else one
    /// that is made to find out.
    ///
    /// # Errors
    /// Why it would not.
    pub async fn ready(&self) -> Result<(), Refused> {
        match self.queue.as_ref().and_then(WriteQueue::recent) {
            Some(outcome) => outcome,
            None => self.write(Operation::Probe).await.map(drop),
        }
    }

    /// What is durable, and a moment: every write that was answered before it is in there. Later writes go on.
    ///
    /// # Errors
    /// There is no journal, or it cannot be read now.
    pub async fn snapshot(&self) -> Result<(Snapshot, Timestamp), Refused> {
        let now = self.now();
        let Some(queue) = &self.queue else {
            return Err(Refused::Failed("a store in memory has nothing durable".to_owned()));
        };
        Ok((queue.snapshot().await?, now))
    }

    /// Waits until the state holds what is durable now, in whichever process it was written. Reads do so by themselves.
    ///
    /// # Errors
    /// A shared journal cannot tell in a few seconds what is durable.
    pub async fn caught_up(&self) -> Result<(), Refused> {
        match self.behind() {
            Some(reached) => reached.await,
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::suite;

    #[derive(Default)]
    struct InMemory;

    impl suite::Backend for InMemory {
        const LASTS: bool = false;

        fn open(&self, limits: Limits, clock: Arc<dyn Clock>, observer: Arc<dyn Observer>) -> Store {
            Store::in_memory(limits, clock, observer)
        }
    }

    suite::run!(InMemory);
}
