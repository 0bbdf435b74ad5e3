//! A commit of the database by a thread of its own, while the writer goes on.

use std::sync::Arc;
use std::thread::JoinHandle;

use redb::Error;

use super::layout::Header;
use super::pending::Pending;

/// Such a commit.
pub(super) struct Folding {
    /// What becomes of the records.
    pub(super) pending: Arc<Pending>,
    /// What the file says of itself afterwards.
    pub(super) header: Header,
    pub(super) thread: JoinHandle<Result<(), Error>>,
}

impl Folding {
    /// Whether it would not have to be waited for.
    pub(super) fn is_over(&self) -> bool {
        self.thread.is_finished()
    }
}
