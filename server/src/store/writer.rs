//! The thread that owns the database: it takes all the writes that wait as one batch, makes the batch durable with one
//! commit, publishes it, and answers.
//!
//! There is no timer: a write that comes alone is committed at once, and what comes while a commit runs is the next
//! batch.

use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::StoreError;
use super::batch::{Batch, Core, Draft};
use super::database::{CommitError, Records};
use super::snapshot::Snapshot;

/// Most writes of one batch. A commit by itself costs 60 µs of processor time and a sync; each write in it costs 5 µs
/// more if it creates and 15 µs if it changes a random record among a million. So a full batch takes about 15 ms, and
/// with 512 writers a bound of 512 or 1024 gave a third more than one of 128, and several times what 32 gave.
const BATCH: usize = 1024;

/// After a commit that failed, the disk is left alone for so long: opening the database anew is not cheap, and the
/// writes that come in the meantime would fare no better.
pub(super) const PAUSE: Duration = Duration::from_secs(1);

/// A write that waits for its batch.
pub(super) trait Job: Send {
    /// Does the write in the batch, and keeps the answer.
    fn evaluate(&mut self, batch: &mut Batch<'_>);
    /// Gives the answer, or the reason why the batch did not become durable.
    fn answer(self: Box<Self>, committed: &Result<(), StoreError>, records: &Records);
}

/// An operation with an answer of any type.
pub(super) struct Write<F, T> {
    operation: Option<F>,
    answer: Option<Result<T, StoreError>>,
    asker: oneshot::Sender<Result<T, StoreError>>,
}

impl<F, T> Write<F, T> {
    pub(super) fn new(operation: F, asker: oneshot::Sender<Result<T, StoreError>>) -> Self {
        Self { operation: Some(operation), answer: None, asker }
    }
}

impl<F, T> Job for Write<F, T>
where
    F: FnOnce(&mut Batch<'_>) -> Result<T, StoreError> + Send,
    T: Send,
{
    fn evaluate(&mut self, batch: &mut Batch<'_>) {
        self.answer = self.operation.take().map(|operation| operation(batch));
    }

    fn answer(self: Box<Self>, committed: &Result<(), StoreError>, _: &Records) {
        let answer = match (self.answer, committed) {
            (Some(answer), Ok(())) => answer,
            (_, Err(err)) => Err(err.clone()),
            (None, Ok(())) => unreachable!("a job is evaluated before its batch is committed"),
        };
        // An asker that is gone does not want to know.
        let _ = self.asker.send(answer);
    }
}

/// Somebody wants to see what is durable, whether or not the batch of that moment becomes so.
pub(super) struct Look(pub(super) oneshot::Sender<Result<Snapshot, StoreError>>);

impl Job for Look {
    fn evaluate(&mut self, _: &mut Batch<'_>) {}

    fn answer(self: Box<Self>, _: &Result<(), StoreError>, records: &Records) {
        let _ = self.0.send(records.snapshot());
    }
}

/// How the last commit went, and when: shared with who asks whether a write would go through.
#[derive(Clone)]
pub(super) struct Health {
    last: Arc<Mutex<(Instant, Result<(), StoreError>)>>,
    pause: Duration,
}

impl Health {
    /// For `pause` after a commit, its outcome counts for the next one: [`PAUSE`], except in tests.
    pub(super) fn new(pause: Duration) -> Self {
        Self { last: Arc::new(Mutex::new((Instant::now(), Ok(())))), pause }
    }

    /// How the last commit went, if it is so recent that another one would go the same way.
    pub(super) fn recent(&self) -> Option<Result<(), StoreError>> {
        let (at, outcome) = &*self.last.lock().unwrap_or_else(PoisonError::into_inner);
        (at.elapsed() < self.pause).then(|| outcome.clone())
    }

    fn note(&self, outcome: &Result<(), StoreError>) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = (Instant::now(), outcome.clone());
    }
}

/// What the thread has.
pub(super) struct Writer {
    core: Arc<Core>,
    records: Records,
    health: Health,
    /// A batch of which nobody knows yet whether it became durable.
    undecided: Option<Draft>,
}

impl Writer {
    pub(super) fn new(core: Arc<Core>, records: Records, health: Health) -> Self {
        Self { core, records, health, undecided: None }
    }

    /// Works until every sender of the queue is gone, and everything in it is answered.
    pub(super) fn run(mut self, queue: &Receiver<Box<dyn Job>>) {
        while let Ok(first) = queue.recv() {
            let mut jobs = vec![first];
            jobs.extend(queue.try_iter().take(BATCH - 1));
            let committed = self.settle(&mut jobs);
            for job in jobs {
                job.answer(&committed, &self.records);
            }
        }
    }

    fn settle(&mut self, jobs: &mut [Box<dyn Job>]) -> Result<(), StoreError> {
        self.decide()?;
        let core = self.core.clone();
        let mut batch = Batch::begin(&core);
        for job in jobs {
            job.evaluate(&mut batch);
        }
        if batch.draft().writes_nothing() {
            return Ok(());
        }
        if let Some(Err(err)) = self.health.recent() {
            return Err(err);
        }
        let committed = match self.records.commit(batch.draft().records()) {
            Ok(()) => {
                self.core.commits.fetch_add(1, Ordering::Relaxed);
                batch.publish();
                Ok(())
            }
            Err(CommitError::Undone(err)) => Err(err),
            Err(CommitError::Undecided(err)) => {
                self.undecided = Some(batch.into_draft());
                Err(err)
            }
        };
        self.health.note(&committed);
        committed
    }

    /// Finds out what became of a batch that failed together with the attempt to open the database anew.
    fn decide(&mut self) -> Result<(), StoreError> {
        let Some(draft) = self.undecided.take() else { return Ok(()) };
        let decided = match self.health.recent() {
            Some(Err(err)) => Err(err),
            _ => {
                let decided = self.records.reopen().and_then(|()| self.records.holds(draft.records()));
                self.health.note(&decided.clone().map(|_| ()));
                decided
            }
        };
        match decided {
            Ok(true) => draft.publish(&self.core, &mut self.core.state.ledger()),
            Ok(false) => {}
            Err(err) => {
                self.undecided = Some(draft);
                return Err(err);
            }
        }
        Ok(())
    }
}
