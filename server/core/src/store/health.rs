//! How the journal does: what the last commit came to, and how long the present one has been running.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::Refused;

/// Shared by the thread that commits and those that ask; a clone is the same.
#[derive(Clone)]
pub(super) struct Health {
    state: Arc<Mutex<HealthState>>,
    pause: Duration,
}

struct HealthState {
    /// When the last commit ended, and how.
    last: (Instant, Result<(), Refused>),
    /// Since when the journal has been at work; `None`: it is not.
    running: Option<Instant>,
}

/// The journal is at work until this is dropped.
pub(super) struct Running<'a>(&'a Health);

impl Health {
    /// For `pause` after a commit, its outcome counts for the next one.
    pub(super) fn new(pause: Duration) -> Self {
        let state = HealthState { last: (Instant::now(), Ok(())), running: None };
        Self { state: Arc::new(Mutex::new(state)), pause }
    }

    /// How the last commit went, if it is so recent that another one would go the same way.
    pub(super) fn recent(&self) -> Option<Result<(), Refused>> {
        let (at, outcome) = &self.state().last;
        (at.elapsed() < self.pause).then(|| outcome.clone())
    }

    /// A commit has ended.
    pub(super) fn note(&self, outcome: &Result<(), Refused>) {
        self.state().last = (Instant::now(), outcome.clone());
    }

    /// The journal goes to work.
    pub(super) fn begin(&self) -> Running<'_> {
        self.state().running = Some(Instant::now());
        Running(self)
    }

    /// Says whether what the journal is at has been running for less than `longest`.
    ///
    /// # Errors
    /// It has not: the disk, or etcd, hangs.
    pub(super) fn runs_less_than(&self, longest: Duration) -> Result<(), Refused> {
        match self.state().running {
            Some(since) if since.elapsed() >= longest => Err(Refused::Unreachable(format!(
                "a commit has been running for {} s; nothing else is written meanwhile",
                since.elapsed().as_secs()
            ))),
            _ => Ok(()),
        }
    }

    fn state(&self) -> MutexGuard<'_, HealthState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.state().running = None;
    }
}
