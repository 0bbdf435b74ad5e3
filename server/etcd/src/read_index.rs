//! Read indexes: how far the watch must have come before a read may be answered.
//!
//! Reads that come while one is under way share the next. It is a linearizable read of `head`: the revision of the last
//! transaction. While nothing reads, one is asked for now and then, so that a server that is cut off notices it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use pairing_core::Refused;
use pairing_core::gather::gather;
use pairing_core::store::ReadIndex;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep, timeout};

use crate::error::Failure;
use crate::layout::Layout;
use crate::members::Members;
use crate::stats::micros;

/// How long a read may wait. With what one attempt may take it is less than the five seconds that are promised.
const LONGEST: Duration = Duration::from_millis(3500);
/// How long an attempt may take, and so how long the watch may take to come after it.
const ATTEMPT: Duration = Duration::from_secs(1);
/// How often one is asked for while nothing reads.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// Pause after an attempt that failed.
const PAUSE: Duration = Duration::from_millis(50);

/// A read that waits, and since when.
type PendingRead = (Instant, oneshot::Sender<Result<(), Refused>>);

/// The store's side.
pub(crate) struct ReadIndexHandle {
    pub(crate) pending: mpsc::UnboundedSender<PendingRead>,
}

impl ReadIndex for ReadIndexHandle {
    fn reached(&self) -> Pin<Box<dyn Future<Output = Result<(), Refused>> + Send + '_>> {
        let (sender, answer) = oneshot::channel();
        let closed = || Refused::Unreachable("the journal is closed".to_owned());
        let asked = self.pending.send((Instant::now(), sender)).map_err(|_| closed());
        Box::pin(async move {
            asked?;
            answer.await.unwrap_or_else(|_| Err(closed()))
        })
    }
}

/// The task's side.
pub(crate) struct ReadIndexTask {
    pub(crate) members: Arc<Members>,
    pub(crate) layout: Layout,
    pub(crate) pending: mpsc::UnboundedReceiver<PendingRead>,
    /// The newest revision that etcd is known to have.
    pub(crate) wanted: watch::Sender<i64>,
    /// What readers can see.
    pub(crate) taken_in: watch::Receiver<i64>,
    /// Whether the majority cannot be reached.
    pub(crate) cut_off: watch::Sender<bool>,
}

impl ReadIndexTask {
    /// Answers until the store is closed.
    pub(crate) async fn run(mut self) {
        let mut waiting: Vec<PendingRead> = Vec::new();
        let mut reached = Instant::now();
        loop {
            if waiting.is_empty() {
                match timeout(HEARTBEAT, self.pending.recv()).await {
                    Ok(Some(read)) => waiting.push(read),
                    Ok(None) => return,
                    Err(_) => {}
                }
            }
            self.gather(&mut waiting).await;
            match self.attempt().await {
                Ok(()) => {
                    reached = Instant::now();
                    self.set_cut_off(false);
                    self.members.counters.update(|stats| {
                        stats.read_indexes += 1;
                        stats.reads += waiting.len() as u64;
                    });
                    for (_, read) in waiting.drain(..) {
                        // Fails where the read has ended.
                        let _ = read.send(Ok(()));
                    }
                }
                Err(failure) => {
                    if reached.elapsed() > LONGEST {
                        self.set_cut_off(true);
                    }
                    let refused = failure.refused();
                    for (_, read) in waiting.extract_if(.., |(since, _)| since.elapsed() > LONGEST) {
                        let _ = read.send(Err(refused.clone()));
                    }
                    sleep(PAUSE).await;
                }
            }
        }
    }

    /// Takes what is pending by the time that no more comes.
    async fn gather(&mut self, waiting: &mut Vec<PendingRead>) {
        gather(|| self.pending.len()).await;
        while let Ok(read) = self.pending.try_recv() {
            waiting.push(read);
        }
    }

    /// One read index: asks for it, and waits until readers can see it.
    async fn attempt(&mut self) -> Result<(), Failure> {
        let head = self.members.get(Instant::now() + ATTEMPT, &self.layout.head(), None).await?;
        let begun = Instant::now();
        let revision = head.kvs().first().map_or(0, etcd_client::KeyValue::mod_revision);
        self.wanted.send_if_modified(|wanted| {
            let newer = revision > *wanted;
            *wanted = revision.max(*wanted);
            newer
        });
        let seen = timeout(ATTEMPT, self.taken_in.wait_for(|taken_in| *taken_in >= revision)).await;
        self.members.counters.update(|stats| stats.lag_micros = micros(begun.elapsed()));
        match seen {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(Failure::Unreachable("the journal is closed".to_owned())),
            Err(_) => Err(Failure::Unreachable("the watch is behind what etcd has".to_owned())),
        }
    }

    fn set_cut_off(&self, cut_off: bool) {
        self.members.counters.update(|stats| stats.cut_off = cut_off);
        self.cut_off.send_if_modified(|before| std::mem::replace(before, cut_off) != cut_off);
    }
}
