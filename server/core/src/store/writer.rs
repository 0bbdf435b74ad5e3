//! The writer: it takes all the operations that wait as one batch, has the journal make the batch durable, publishes
//! it, and answers.
//!
//! There is no timer: a write that comes alone waits a turn of the runtime for others (`gather`), and what comes while a
//! commit runs is the next batch. The writer of a journal that blocks for as long as a disk takes has a thread of its own.
//! A task that committed its own write would save little: the way to the thread and back, with the evaluation, costs 6 µs
//! beside the sync. And while the disk hung, it could not be answered in time. A journal that never blocks has its writer in the
//! runtime.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::batch::Batch;
use super::changes::Changes;
use super::group::take_group;
use super::health::Health;
use super::journal::{CommitError, Foreign, Journal};
use super::operation::{Operation, Outcome};
use super::shared::Shared;
use super::snapshot::Snapshot;
use crate::Refused;

/// From so many requests on, no more are taken from the queue at a time.
const TAKEN: usize = 1024;

/// After a commit that failed, the journal is left alone for so long: opening a database anew costs time, and
/// writes that come meanwhile would fail too.
pub(super) const PAUSE: Duration = Duration::from_secs(1);

/// What the writer is asked for.
pub(super) enum Request {
    Write(Operation, oneshot::Sender<Result<Outcome, Refused>>),
    Snapshot(oneshot::Sender<Result<Snapshot, Refused>>),
}

impl Request {
    pub(super) fn operation(&self) -> Option<&Operation> {
        match self {
            Self::Write(operation, _) => Some(operation),
            Self::Snapshot(_) => None,
        }
    }
}

/// What the loop has.
pub(super) struct Writer<J> {
    shared: Arc<Shared>,
    journal: J,
    health: Health,
    queued: Arc<AtomicUsize>,
    /// A batch of which it is not known yet whether it became durable.
    in_doubt: Option<Changes>,
}

/// What comes next.
enum Next {
    /// `None`: the queue is dropped.
    Requests(Option<Vec<Request>>),
    Foreign(Vec<Foreign>),
}

impl<J: Journal> Writer<J> {
    pub(super) fn new(shared: Arc<Shared>, journal: J, health: Health, queued: Arc<AtomicUsize>) -> Self {
        Self { shared, journal, health, queued, in_doubt: None }
    }

    /// Works until the queue is dropped, and everything in it is answered.
    pub(super) async fn run(mut self, mut queue: mpsc::UnboundedReceiver<Vec<Request>>) {
        loop {
            let next = tokio::select! {
                biased;
                requests = queue.recv() => Next::Requests(requests),
                foreign = self.journal.foreign() => Next::Foreign(foreign),
            };
            match next {
                Next::Requests(None) => return self.close().await,
                Next::Requests(Some(mut requests)) => {
                    while requests.len() < TAKEN
                        && let Ok(more) = queue.try_recv()
                    {
                        requests.extend(more);
                    }
                    while J::SHARED && !requests.is_empty() {
                        let group = take_group(&mut requests, J::BATCH, Request::operation);
                        self.serve(group).await;
                    }
                    if !J::SHARED {
                        self.serve(requests).await;
                    }
                }
                Next::Foreign(foreign) => self.take_in(foreign, None),
            }
        }
    }

    /// Takes the mark back to the present: no cluster that expires later was called unknown.
    async fn close(&mut self) {
        let now = self.shared.clock.now();
        if !J::SHARED && self.in_doubt.is_none() && now < self.shared.mark() {
            // A mark that stays ahead does no harm but to clusters that are about to expire.
            let _ = self.journal.commit(&Changes::with_mark(now)).await;
        }
    }

    async fn serve(&mut self, requests: Vec<Request>) {
        let (mut writes, mut askers) =
            (Vec::with_capacity(requests.len()), Vec::with_capacity(requests.len()));
        let mut snapshots = Vec::new();
        for request in requests {
            match request {
                Request::Write(operation, asker) => {
                    self.queued.fetch_sub(operation.memory(), Ordering::Relaxed);
                    // Its connection is gone, perhaps for as long as the disk hung.
                    if !asker.is_closed() {
                        writes.push(operation);
                        askers.push(asker);
                    }
                }
                Request::Snapshot(asker) => snapshots.push(asker),
            }
        }
        let committed = self.commit_batch(&writes).await;
        for (asker, answer) in askers.into_iter().zip(committed) {
            // Fails where the request has ended.
            let _ = asker.send(answer);
        }
        for asker in snapshots {
            let _ = asker.send(self.journal.snapshot());
        }
    }

    /// Does all the writes in one batch, and says what each came to. Where there is no room for it, does those that
    /// make room.
    async fn commit_batch(&mut self, writes: &[Operation]) -> Vec<Result<Outcome, Refused>> {
        let err = match self.try_commit_batch(writes).await {
            Ok(outcomes) => return outcomes,
            Err(err) => err,
        };
        let frees: Vec<_> = writes.iter().filter(|operation| operation.frees()).cloned().collect();
        let mut freed = match &err {
            Refused::NoSpace(_) if !frees.is_empty() && frees.len() < writes.len() => {
                self.try_commit_batch(&frees).await.unwrap_or_default().into_iter()
            }
            _ => Vec::new().into_iter(),
        };
        let refused = || Err(err.clone());
        writes
            .iter()
            .map(|write| if write.frees() { freed.next().unwrap_or_else(refused) } else { refused() })
            .collect()
    }

    async fn try_commit_batch(
        &mut self,
        writes: &[Operation],
    ) -> Result<Vec<Result<Outcome, Refused>>, Refused> {
        self.resolve_in_doubt().await?;
        loop {
            let (outcomes, changes) = self.evaluate(writes);
            // What others have changed may make an operation possible that is refused here.
            if changes.is_empty() && !J::SHARED {
                return Ok(outcomes);
            }
            match self.health.recent() {
                // There may be room for this one.
                Some(Err(Refused::NoSpace(_))) if changes.frees() => {}
                Some(Err(err)) => return Err(err),
                _ => {}
            }
            let running = self.health.begin();
            let committed = self.journal.commit(&changes).await;
            drop(running);
            let committed = match committed {
                Ok(foreign) => {
                    self.shared.commits.fetch_add(u64::from(!changes.is_empty()), Ordering::Relaxed);
                    if J::SHARED {
                        self.take_in(foreign, Some(&changes));
                    } else {
                        self.shared.publish(changes, &mut self.shared.state.writer());
                    }
                    Ok(())
                }
                Err(CommitError::Outdated(foreign)) => {
                    self.take_in(foreign, None);
                    continue;
                }
                Err(CommitError::Undone(err)) => Err(err),
                Err(CommitError::InDoubt(err)) if J::SHARED => Err(err),
                Err(CommitError::InDoubt(err)) => {
                    self.in_doubt = Some(changes);
                    Err(err)
                }
            };
            self.health.note(&committed);
            return committed.map(|()| outcomes);
        }
    }

    /// Shows readers what a shared journal has delivered.
    fn take_in(&mut self, foreign: Vec<Foreign>, own: Option<&Changes>) {
        self.shared.take_in(foreign, own);
        self.journal.taken_in();
    }

    /// Evaluates writes against the state; nothing of it is seen yet.
    fn evaluate(&self, writes: &[Operation]) -> (Vec<Result<Outcome, Refused>>, Changes) {
        let mut batch = Batch::begin(&self.shared);
        let outcomes = writes.iter().map(|operation| batch.evaluate(operation)).collect();
        (outcomes, batch.into_changes())
    }

    /// Finds out what became of a batch whose commit failed in such a way that it may have happened.
    async fn resolve_in_doubt(&mut self) -> Result<(), Refused> {
        let Some(changes) = self.in_doubt.take() else { return Ok(()) };
        let happened = match self.health.recent() {
            Some(Err(err)) => Err(err),
            _ => {
                let running = self.health.begin();
                let happened = self.journal.resolve(&changes).await;
                drop(running);
                self.health.note(&happened.clone().map(drop));
                happened
            }
        };
        match happened {
            Ok(true) => self.shared.publish(changes, &mut self.shared.state.writer()),
            Ok(false) => {}
            Err(err) => {
                self.in_doubt = Some(changes);
                return Err(err);
            }
        }
        Ok(())
    }
}
