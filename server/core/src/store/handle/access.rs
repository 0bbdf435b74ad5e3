//! How a read waits until the state has come far enough, and where a write goes.

use std::sync::Arc;

use protocol::Pin;

use super::Store;
use crate::Refused;
use crate::store::Key;
use crate::store::batch::Batch;
use crate::store::operation::{Operation, Outcome};
use crate::store::pins::PinKey;
use crate::store::state::{Entry, Lookup};

/// Something to wait for.
type Waiting<'a, T = ()> = std::pin::Pin<Box<dyn Future<Output = Result<T, Refused>> + Send + 'a>>;

impl Store {
    /// What a read has to wait for first. It is part of every request that is held, so it is one pointer wide, and nothing
    /// without a shared journal.
    pub(super) fn behind(&self) -> Option<Waiting<'_>> {
        self.reads.as_ref().map(|reads| reads.reached())
    }

    /// Reads from a cluster.
    pub(super) async fn read<T>(
        &self,
        pin: &Pin,
        read: impl FnOnce(PinKey, &Entry) -> Result<T, Refused>,
    ) -> Result<T, Refused> {
        let Some(key) = PinKey::of(pin) else { return Err(Refused::UnknownPin) };
        if let Some(reached) = self.behind() {
            reached.await?;
        }
        let found = self.shared.state.read(key, self.now(), |entry| read(key, entry));
        match self.live(pin, found) {
            Ok(answer) => answer,
            Err(gone) => gone.await,
        }
    }

    /// What was found in a live cluster. The answer that one has expired waits until nothing can bring it back, which
    /// the sweeper has nearly always seen to before.
    pub(super) fn live<T, R>(&self, pin: &Pin, found: Lookup<T>) -> Result<T, Waiting<'_, R>> {
        let remove = match found {
            Lookup::Live(found) => return Ok(found),
            Lookup::Expired(at) if self.shared.is_final(at) => None,
            Lookup::Expired(_) if self.shared.journal_is_shared => {
                Some(Operation::RemoveExpired(pin.clone()))
            }
            Lookup::Expired(_) => Some(Operation::Sweep),
            Lookup::Unknown => None,
        };
        // Boxed: it is seldom, and would be part of every request that is held.
        Err(Box::pin(async move {
            if let Some(remove) = remove {
                self.write(remove).await?;
            }
            Err(Refused::UnknownPin)
        }))
    }

    pub(super) async fn write_key(&self, operation: Operation) -> Result<Arc<Key>, Refused> {
        match self.write(operation).await? {
            Outcome::Key(key) => Ok(key),
            other => Err(unexpected(&other)),
        }
    }

    pub(super) async fn write(&self, operation: Operation) -> Result<Outcome, Refused> {
        match &self.queue {
            Some(queue) => queue.write(operation).await,
            None => {
                let mut batch = Batch::begin(&self.shared);
                let outcome = batch.evaluate(&operation);
                batch.publish();
                outcome
            }
        }
    }
}

/// An operation came to something that it cannot come to.
pub(super) fn unexpected(outcome: &Outcome) -> Refused {
    Refused::Failed(format!("an operation came to {outcome:?}"))
}
