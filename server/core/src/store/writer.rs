//! The writer: it takes all the operations that wait as one batch, has the journal make the batch durable, publishes
//! it, and answers.
//!
//! There is no timer: a write that comes alone is committed at once, and what comes while a commit runs is the next
//! batch. The writer has a thread of its own, since a journal may block it for as long as a disk takes.
//! A task that committed its own write would save little: the way to the thread and back, with the evaluation, costs 6 µs
//! beside 36 µs of redb's and the sync. And while the disk hung, it could not be answered in time.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{JoinHandle, Thread};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::batch::Batch;
use super::changes::Changes;
use super::group::take_group;
use super::health::Health;
use super::journal::{CommitError, Journal};
use super::operation::{Operation, Outcome};
use super::shared::{Foreign, Shared};
use super::snapshot::Snapshot;
use crate::Refused;

/// Most requests that are taken from the queue at a time.
const TAKEN: usize = 1024;

/// After a commit that failed, the journal is left alone for so long: opening a database anew is not cheap, and the
/// writes that come in the meantime would fare no better.
pub(super) const PAUSE: Duration = Duration::from_secs(1);

/// How long a write waits for the journal. The agents give a request 15 s, so they get an answer in words. While a commit
/// has been running for as long, the disk or etcd hangs, and writes are refused at once.
pub(super) const LONGEST: Duration = Duration::from_secs(10);

/// While a commit has been running for so long, the store is not ready.
const SLOW: Duration = Duration::from_secs(1);

/// What the writer is asked for.
enum Request {
    Write(Operation, oneshot::Sender<Result<Outcome, Refused>>),
    Snapshot(oneshot::Sender<Result<Snapshot, Refused>>),
}

impl Request {
    fn operation(&self) -> Option<&Operation> {
        match self {
            Self::Write(operation, _) => Some(operation),
            Self::Snapshot(_) => None,
        }
    }
}

/// The way to the writer. Dropping it has everything that is queued answered, and waits for that.
pub(super) struct WriteQueue {
    /// `None` only while it is dropped.
    requests: Option<mpsc::UnboundedSender<Request>>,
    /// Bytes of the operations that wait, and how many they may be.
    queued: Arc<AtomicUsize>,
    queued_max: usize,
    health: Health,
    /// Whose timer ends the wait of a write; `None`, in tests: a write waits for as long as the journal takes.
    runtime: Option<Handle>,
    writer: Option<JoinHandle<()>>,
}

impl WriteQueue {
    /// Starts a writer for this journal. For `pause` after a commit, its outcome counts for the next one: [`PAUSE`],
    /// except in tests. [`LONGEST`] holds where this is called inside a runtime.
    ///
    /// # Errors
    /// There is no thread for it.
    pub(super) fn start(
        shared: Arc<Shared>,
        journal: impl Journal,
        pause: Duration,
    ) -> Result<Self, Refused> {
        let (requests, queue) = mpsc::unbounded_channel();
        let health = Health::new(pause);
        let (queued, queued_max) = (Arc::new(AtomicUsize::new(0)), shared.limits.queued_bytes);
        let writer =
            Writer { shared, journal, health: health.clone(), queued: queued.clone(), in_doubt: None };
        let writer = std::thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || block_on(writer.run(queue)))
            .map_err(|err| Refused::Failed(format!("no thread for the store: {err}")))?;
        let runtime = Handle::try_current().ok();
        Ok(Self { requests: Some(requests), queued, queued_max, health, runtime, writer: Some(writer) })
    }

    /// Has an operation done.
    ///
    /// # Errors
    /// It is refused, or it is not durable within [`LONGEST`], after which it may still become so unless it was not begun.
    pub(super) async fn write(&self, operation: Operation) -> Result<Outcome, Refused> {
        self.health.runs_less_than(LONGEST)?;
        let memory = operation.memory();
        // What deletes has a bound of its own, since it is what makes room.
        let most = if operation.frees() { self.queued_max.saturating_mul(2) } else { self.queued_max };
        if self.queued.fetch_add(memory, Ordering::Relaxed) + memory > most {
            self.queued.fetch_sub(memory, Ordering::Relaxed);
            return Err(Refused::OutOfMemory);
        }
        let (asker, answer) = oneshot::channel();
        self.send(Request::Write(operation, asker))?;
        let answer = match &self.runtime {
            None => answer.await,
            Some(runtime) => {
                let answer = {
                    let _entered = runtime.enter();
                    timeout(LONGEST, answer)
                };
                answer.await.map_err(|_| {
                    let seconds = LONGEST.as_secs();
                    Refused::Unreachable(format!("a write was not durable within {seconds} s"))
                })?
            }
        };
        answer.unwrap_or_else(|_| Err(ended()))
    }

    pub(super) async fn snapshot(&self) -> Result<Snapshot, Refused> {
        self.health.runs_less_than(LONGEST)?;
        let (asker, answer) = oneshot::channel();
        self.send(Request::Snapshot(asker))?;
        answer.await.unwrap_or_else(|_| Err(ended()))
    }

    /// What is queued, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.queued.load(Ordering::Relaxed)
    }

    /// How the last commit went, if it is so recent that another one would go the same way, or that the next one takes
    /// too long.
    pub(super) fn recent(&self) -> Option<Result<(), Refused>> {
        self.health.runs_less_than(SLOW).map_or_else(|slow| Some(Err(slow)), |()| self.health.recent())
    }

    fn send(&self, request: Request) -> Result<(), Refused> {
        let requests = self.requests.as_ref().expect("it is there until the queue is dropped");
        requests.send(request).map_err(|_| ended())
    }
}

impl Drop for WriteQueue {
    fn drop(&mut self) {
        self.requests = None;
        if let Some(writer) = self.writer.take() {
            // If it panicked, those that waited for it have been told.
            let _ = writer.join();
        }
    }
}

fn ended() -> Refused {
    Refused::Failed("the thread that writes has ended: restart the service".to_owned())
}

/// What the thread has.
struct Writer<J> {
    shared: Arc<Shared>,
    journal: J,
    health: Health,
    queued: Arc<AtomicUsize>,
    /// A batch of which it is not known yet whether it became durable.
    in_doubt: Option<Changes>,
}

/// What comes next.
enum Next {
    Requests(usize),
    Foreign(Vec<Foreign>),
}

impl<J: Journal> Writer<J> {
    /// Works until the queue is dropped, and everything in it is answered.
    async fn run(mut self, mut queue: mpsc::UnboundedReceiver<Request>) {
        let mut requests = Vec::new();
        loop {
            let next = tokio::select! {
                biased;
                count = queue.recv_many(&mut requests, TAKEN) => Next::Requests(count),
                foreign = self.journal.foreign() => Next::Foreign(foreign),
            };
            match next {
                Next::Requests(0) => return self.close().await,
                Next::Requests(_) if J::SHARED => {
                    while !requests.is_empty() {
                        let mut group = take_group(&mut requests, J::BATCH, Request::operation);
                        self.serve(&mut group).await;
                    }
                }
                Next::Requests(_) => self.serve(&mut requests).await,
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

    async fn serve(&mut self, requests: &mut Vec<Request>) {
        let (mut writes, mut askers) =
            (Vec::with_capacity(requests.len()), Vec::with_capacity(requests.len()));
        let mut snapshots = Vec::new();
        for request in requests.drain(..) {
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
            // An asker that is gone does not want to know.
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
                        changes.publish(&self.shared, &mut self.shared.state.writer());
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
            Ok(true) => changes.publish(&self.shared, &mut self.shared.state.writer()),
            Ok(false) => {}
            Err(err) => {
                self.in_doubt = Some(changes);
                return Err(err);
            }
        }
        Ok(())
    }
}

/// Runs a future on this thread to its end.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(value) => return value,
            Poll::Pending => std::thread::park(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use tokio::time::{Instant, advance};

    use super::*;
    use crate::clock::{ManualClock, SteadyClock, Timestamp};
    use crate::store::{Limits, PinKey};

    /// A journal on a disk that hangs: a commit says that it has begun, and ends when it is told to.
    struct Hanging {
        begun: Sender<()>,
        end: Receiver<()>,
    }

    impl Journal for Hanging {
        async fn commit(&mut self, _: &Changes) -> Result<Vec<Foreign>, CommitError> {
            let _ = self.begun.send(());
            let _ = self.end.recv();
            Ok(Vec::new())
        }

        async fn resolve(&mut self, _: &Changes) -> Result<bool, Refused> {
            Ok(true)
        }

        fn snapshot(&self) -> Result<Snapshot, Refused> {
            Err(Refused::Failed("there is none".to_owned()))
        }
    }

    struct Fixture {
        queue: WriteQueue,
        begun: Receiver<()>,
        end: Sender<()>,
    }

    impl Fixture {
        fn new(queued_bytes: usize) -> Self {
            let (begun_here, begun) = channel();
            let (end, end_there) = channel();
            let limits = Limits { queued_bytes, ..Limits::default() };
            let clock = SteadyClock::new(Arc::new(ManualClock::at(Timestamp(1 << 50))), Timestamp(0));
            let shared = Arc::new(Shared::new(limits, clock, Arc::new(()), Timestamp(0)));
            let journal = Hanging { begun: begun_here, end: end_there };
            let queue = WriteQueue::start(shared, journal, Duration::ZERO).unwrap();
            Self { queue, begun, end }
        }

        /// Begins a write, which the journal is at from now on.
        async fn hang(&self) -> impl Future<Output = Result<Outcome, Refused>> + '_ {
            let mut write = Box::pin(self.queue.write(Operation::CreateCluster));
            tokio::select! {
                biased;
                done = write.as_mut() => panic!("{done:?}"),
                () = std::future::ready(()) => {}
            }
            self.begun.recv().unwrap();
            write
        }
    }

    fn is_unreachable<T>(answer: &Result<T, Refused>) -> bool {
        matches!(answer, Err(Refused::Unreachable(_)))
    }

    #[tokio::test(start_paused = true)]
    async fn refuses_writes_in_time_while_the_journal_hangs_and_goes_on_after() {
        let fixture = Fixture::new(usize::MAX);
        let queue = &fixture.queue;
        let first = fixture.hang().await;
        let asked = Instant::now();
        // Neither what is under way nor what waits behind it waits for ever.
        let (first, second) = tokio::join!(first, queue.write(Operation::CreateCluster));
        assert!(is_unreachable(&first) && is_unreachable(&second), "{first:?} {second:?}");
        assert_eq!(asked.elapsed(), LONGEST);
        // Then nothing is queued any more, whatever it is.
        advance(Duration::from_secs(1)).await;
        let asked = Instant::now();
        for operation in [Operation::CreateCluster, Operation::Sweep, Operation::Probe] {
            assert!(is_unreachable(&queue.write(operation).await));
        }
        assert!(is_unreachable(&queue.snapshot().await));
        assert!(queue.recent().is_some_and(|ready| is_unreachable(&ready)));
        assert_eq!(asked.elapsed(), Duration::ZERO);
        // What was begun is done once the disk answers; of what waited without an asker nothing is.
        fixture.end.send(()).unwrap();
        while queue.bytes() > 0 || queue.recent().is_some() {
            std::thread::yield_now();
        }
        // A clock that stands still would go on to the end of the wait at once.
        tokio::time::resume();
        let third = fixture.hang().await;
        fixture.end.send(()).unwrap();
        let Ok(Outcome::Cluster(third)) = third.await else { panic!("it is refused") };
        assert!(PinKey::of(&third.pin).is_some());
        assert!(fixture.begun.try_recv().is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn bounds_what_waits_also_of_what_deletes() {
        let most = 10 * Operation::CreateCluster.memory();
        let fixture = Fixture::new(most);
        let first = fixture.hang().await;
        let mut waiting = Vec::new();
        for operation in [Operation::CreateCluster, Operation::Sweep] {
            let refused = loop {
                let mut write = Box::pin(fixture.queue.write(operation.clone()));
                tokio::select! {
                    biased;
                    done = write.as_mut() => break done,
                    () = std::future::ready(()) => waiting.push(write),
                }
            };
            assert!(matches!(refused, Err(Refused::OutOfMemory)), "{refused:?}");
        }
        assert_eq!((waiting.len(), fixture.queue.bytes()), (20, 2 * most));
        drop((first, waiting));
        fixture.end.send(()).unwrap();
    }
}
