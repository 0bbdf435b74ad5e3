//! What stands behind the state: something that makes changes durable.

use std::future::Future;

use super::batch::Changes;
use super::machine::Foreign;
use super::snapshot::Snapshot;
use crate::Refused;

/// Makes batches of changes durable. The store evaluates operations in memory, gives the journal what they change, and
/// shows readers the changes once the journal has them.
///
/// A journal may be shared with other processes. Then [`Journal::foreign`] yields what the others changed, and a commit
/// whose comparison is lost is [`CommitError::Outdated`]: the store takes in what the others changed and evaluates the
/// same operations again.
pub trait Journal: Send + 'static {
    /// Makes changes durable, all or none. Without changes it is a commit all the same, which shows that a write would
    /// go through.
    ///
    /// # Errors
    /// See [`CommitError`].
    fn commit(&mut self, changes: &Changes) -> impl Future<Output = Result<(), CommitError>> + Send;

    /// Finds out whether changes happened whose commit ended [`CommitError::InDoubt`].
    ///
    /// # Errors
    /// It still cannot be told.
    fn resolve(&mut self, changes: &Changes) -> impl Future<Output = Result<bool, Refused>> + Send;

    /// The next changes of another process. A journal without others never ends this. May be dropped at any time
    /// without a loss.
    fn foreign(&mut self) -> impl Future<Output = Vec<Foreign>> + Send {
        std::future::pending()
    }

    /// What is durable now, for a backup.
    ///
    /// # Errors
    /// The journal cannot say it, now or ever.
    fn snapshot(&self) -> Result<Snapshot, Refused>;
}

/// What came of a commit that failed.
#[derive(Debug)]
pub enum CommitError {
    /// Nothing was changed.
    Undone(Refused),
    /// Only [`Journal::resolve`] can tell whether it happened.
    InDoubt(Refused),
    /// Another process changed a pin in between. Nothing of this commit happened.
    Outdated(Vec<Foreign>),
}
