//! The right to begin a launch of a name, until it is dropped or the program ends.

use std::fs::File;

use pairing_etcd::{Documents, Lock};
use tokio::runtime::Handle;
use tokio::sync::OwnedMutexGuard;

/// A claim to a name.
pub struct Claim(Held);

enum Held {
    /// The kernel ends the lock with the file.
    File(#[expect(dead_code, reason = "it is held, not used")] File),
    Memory(#[expect(dead_code, reason = "it is held, not used")] OwnedMutexGuard<()>),
    Etcd {
        lock: Option<Lock>,
        documents: Documents,
        runtime: Handle,
    },
}

impl Claim {
    pub(super) fn of_file(file: File) -> Self {
        Self(Held::File(file))
    }

    pub(super) fn of_memory(guard: OwnedMutexGuard<()>) -> Self {
        Self(Held::Memory(guard))
    }

    pub(super) fn of_lock(lock: Lock, documents: Documents, runtime: Handle) -> Self {
        Self(Held::Etcd { lock: Some(lock), documents, runtime })
    }

    /// The lock in etcd, if it is there.
    pub(super) fn lock(&self) -> Option<&Lock> {
        match &self.0 {
            Held::File(_) | Held::Memory(_) => None,
            Held::Etcd { lock, .. } => lock.as_ref(),
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if let Held::Etcd { lock, documents, runtime } = &mut self.0
            && let Some(lock) = lock.take()
        {
            runtime.block_on(documents.release(lock));
        }
    }
}
