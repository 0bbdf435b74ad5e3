//! A store that forgets everything when the process ends: for trying things out, and for tests.

use std::sync::Arc;

#[cfg(any(test, fuzzing))]
use protocol::Pin;

use super::batch::{Batch, Core};
use super::local::Local;
use super::{Limits, Observer, StoreError};
#[cfg(any(test, fuzzing))]
use super::{pins::PinKey, state::Entry};
use crate::clock::Clock;
#[cfg(any(test, fuzzing))]
use crate::clock::Timestamp;

/// Clusters in memory and nowhere else.
pub struct Memory {
    core: Core,
}

impl Memory {
    /// An empty store.
    #[must_use]
    pub fn new(limits: Limits, clock: Arc<dyn Clock>, observer: Arc<dyn Observer>) -> Self {
        Self { core: Core::new(limits, clock, observer) }
    }

    /// Adds a cluster with a pin that is not drawn.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn insert(&self, pin: &Pin, created: Timestamp) {
        let mut ledger = self.core.state.ledger();
        let (id, expires) = (ledger.next_id, created.after(self.core.limits.lifetime));
        ledger.next_id += 1;
        let pin = PinKey::of(pin).expect("it is as long as ours");
        self.core.state.publish(&mut ledger, pin, Some(Entry { id, created, expires, keys: Vec::new() }));
    }
}

impl Local for Memory {
    fn core(&self) -> &Core {
        &self.core
    }

    async fn write<T: Send + 'static>(
        &self,
        operation: impl FnOnce(&mut Batch<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let mut batch = Batch::begin(&self.core);
        let answer = operation(&mut batch);
        batch.publish();
        answer
    }

    async fn writable(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::suite;

    #[derive(Default)]
    struct World;

    impl suite::World for World {
        type Store = Memory;
        const LASTS: bool = false;

        fn open(&self, limits: Limits, clock: Arc<dyn Clock>, observer: Arc<dyn Observer>) -> Memory {
            Memory::new(limits, clock, observer)
        }
    }

    suite::run!(World);
}
