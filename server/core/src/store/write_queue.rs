//! The way to the writer: a bounded queue, in which a write waits no longer than a client would.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::block_on::block_on;
use super::health::Health;
use super::journal::Journal;
use super::operation::{Operation, Outcome};
use super::shared::Shared;
use super::snapshot::Snapshot;
use super::writer::{Request, Writer};
use crate::Refused;
use crate::gather::gather;

/// How long a write waits for the journal. The agents give a request 15 s, so they get an answer in words. While a commit
/// has been running for as long, the disk or etcd hangs, and writes are refused at once.
const LONGEST: Duration = Duration::from_secs(10);

/// While a commit has been running for so long, the store is not ready.
const SLOW: Duration = Duration::from_secs(1);

/// The way to the writer. Dropping it has everything that is queued answered; where the writer has a thread, it waits for
/// that.
pub(super) struct WriteQueue {
    gathered: Arc<Mutex<Gathered>>,
    /// Bytes of the operations that wait, and how many they may be.
    queued: Arc<AtomicUsize>,
    queued_max: usize,
    health: Health,
    /// Whose timer ends the wait of a write, and whose turns gather writes; `None`, in tests: a write waits for as long as the
    /// journal takes, and goes to the writer by itself.
    runtime: Option<Handle>,
    /// `None`: it is a task.
    writer: Option<JoinHandle<()>>,
}

/// What is sent to the writer next, together.
struct Gathered {
    requests: Vec<Request>,
    /// `None` once the queue is dropped.
    writer: Option<mpsc::UnboundedSender<Vec<Request>>>,
}

impl WriteQueue {
    /// Starts a writer for this journal. For `pause` after a commit, its outcome counts for the next one: [`PAUSE`](super::writer::PAUSE),
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
        let task_of = journal.runtime();
        let work = Writer::new(shared, journal, health.clone(), queued.clone()).run(queue);
        let writer = match task_of {
            Some(runtime) => {
                runtime.spawn(work);
                None
            }
            None => {
                let thread = std::thread::Builder::new().name("store".to_owned());
                let thread = thread.spawn(move || block_on(work));
                Some(thread.map_err(|err| Refused::Failed(format!("no thread for the store: {err}")))?)
            }
        };
        let runtime = Handle::try_current().ok();
        let gathered = Arc::new(Mutex::new(Gathered { requests: Vec::new(), writer: Some(requests) }));
        Ok(Self { gathered, queued, queued_max, health, runtime, writer })
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
        self.send(Request::Write(operation, asker));
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
        self.send(Request::Snapshot(asker));
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

    /// Sends a request, together with those that come before [`gather`] ends. If the writer has ended, no answer comes.
    fn send(&self, request: Request) {
        let mut gathered = lock(&self.gathered);
        gathered.requests.push(request);
        match &self.runtime {
            None => gathered.send(),
            Some(runtime) if gathered.requests.len() == 1 => {
                let gathered = self.gathered.clone();
                runtime.spawn(async move {
                    gather(|| lock(&gathered).requests.len()).await;
                    lock(&gathered).send();
                });
            }
            Some(_) => {}
        }
    }
}

impl Gathered {
    fn send(&mut self) {
        let requests = std::mem::take(&mut self.requests);
        // Where the writer has ended, they are dropped, which tells their askers.
        let _ = self.writer.as_ref().map(|writer| writer.send(requests));
    }
}

fn lock(gathered: &Mutex<Gathered>) -> MutexGuard<'_, Gathered> {
    gathered.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for WriteQueue {
    fn drop(&mut self) {
        let mut gathered = lock(&self.gathered);
        gathered.send();
        gathered.writer = None;
        drop(gathered);
        if let Some(writer) = self.writer.take() {
            // If it panicked, those that waited for it have been told.
            let _ = writer.join();
        }
    }
}

fn ended() -> Refused {
    Refused::Failed("what writes has ended: restart the service".to_owned())
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use tokio::task::yield_now;
    use tokio::time::{Instant, advance};

    use super::*;
    use crate::clock::{ManualClock, SteadyClock, Timestamp};
    use crate::store::changes::Changes;
    use crate::store::journal::{CommitError, Foreign};
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
    }

    /// Begins a write, which the journal is at from now on. The clock stands still as long as there is something to do.
    async fn hang<'a>(
        queue: &'a WriteQueue,
        begun: &Receiver<()>,
    ) -> impl Future<Output = Result<Outcome, Refused>> + use<'a> {
        let mut write = Box::pin(queue.write(Operation::CreateCluster));
        while begun.try_recv().is_err() {
            tokio::select! {
                biased;
                done = write.as_mut() => panic!("{done:?}"),
                () = yield_now() => {}
            }
        }
        write
    }

    fn is_unreachable<T>(answer: &Result<T, Refused>) -> bool {
        matches!(answer, Err(Refused::Unreachable(_)))
    }

    #[tokio::test(start_paused = true)]
    async fn refuses_writes_in_time_while_the_journal_hangs_and_goes_on_after() {
        let Fixture { queue, begun, end } = Fixture::new(usize::MAX);
        let first = hang(&queue, &begun).await;
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
        end.send(()).unwrap();
        while queue.bytes() > 0 || queue.recent().is_some() {
            std::thread::yield_now();
        }
        // A clock that stands still would go on to the end of the wait at once.
        tokio::time::resume();
        let third = hang(&queue, &begun).await;
        end.send(()).unwrap();
        let Ok(Outcome::Cluster(third)) = third.await else { panic!("it is refused") };
        assert!(PinKey::of(&third.pin).is_some());
        assert!(begun.try_recv().is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn bounds_what_waits_also_of_what_deletes() {
        let most = 10 * Operation::CreateCluster.memory();
        let Fixture { queue, begun, end } = Fixture::new(most);
        let first = hang(&queue, &begun).await;
        let mut waiting = Vec::new();
        for operation in [Operation::CreateCluster, Operation::Sweep] {
            let refused = loop {
                let mut write = Box::pin(queue.write(operation.clone()));
                tokio::select! {
                    biased;
                    done = write.as_mut() => break done,
                    () = std::future::ready(()) => waiting.push(write),
                }
            };
            assert!(matches!(refused, Err(Refused::OutOfMemory)), "{refused:?}");
        }
        assert_eq!((waiting.len(), queue.bytes()), (20, 2 * most));
        drop((first, waiting));
        end.send(()).unwrap();
    }
}
