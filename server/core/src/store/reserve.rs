//! Room on the disk that is kept for the day when it is full: to delete something takes some room, too.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::fcntl::posix_fallocate;

/// The file of the reserve in the data directory.
pub const RESERVE_NAME: &str = "pairing.reserve";
/// Bytes of the reserve: what the two halves of the log hold, and the pages of 4 KiB that some hundred changed records
/// are on.
const RESERVE_BYTES: i64 = 4 << 20;
/// After the reserve was used, it is filled again no sooner than this.
const REFILL_AFTER: Duration = Duration::from_secs(60);

/// A file that takes room until the room is needed.
pub(super) struct Reserve {
    file: File,
    /// When it was used, until it is filled again.
    used: Option<Instant>,
}

impl Reserve {
    /// Makes the file in the data directory, and fills it if there is room.
    ///
    /// # Errors
    /// It cannot be made.
    pub(super) fn open(dir: &Path) -> io::Result<Self> {
        let path = dir.join(RESERVE_NAME);
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
        let mut reserve = Self { file, used: None };
        reserve.fill();
        Ok(reserve)
    }

    /// Gives the room back to the disk. False if there is none to give.
    pub(super) fn release(&mut self) -> bool {
        let held = self.file.metadata().is_ok_and(|file| file.len() > 0);
        self.used = Some(Instant::now());
        held && self.file.set_len(0).and_then(|()| self.file.sync_all()).is_ok()
    }

    /// Fills it again once in a while after it was used; to be called when a commit has gone through.
    pub(super) fn refill(&mut self) {
        if self.used.is_some_and(|used| used.elapsed() >= REFILL_AFTER) {
            self.fill();
        }
    }

    fn fill(&mut self) {
        self.used = match self.try_fill() {
            Ok(()) => None,
            Err(_) => {
                // What could be had of it is not much use, and others need it.
                let _ = self.file.set_len(0);
                Some(Instant::now())
            }
        };
    }

    fn try_fill(&mut self) -> io::Result<()> {
        if self.file.metadata()?.len() >= RESERVE_BYTES.unsigned_abs() {
            return Ok(());
        }
        // Unlike a hole in the file, this takes the room.
        posix_fallocate(&self.file, 0, RESERVE_BYTES)?;
        self.file.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_its_room_once() {
        let dir = tempfile::tempdir().unwrap();
        let mut reserve = Reserve::open(dir.path()).unwrap();
        let length = || dir.path().join(RESERVE_NAME).metadata().unwrap().len();
        assert_eq!(length(), RESERVE_BYTES.unsigned_abs());
        assert!(reserve.release());
        assert_eq!(length(), 0);
        assert!(!reserve.release());
        reserve.refill();
        assert_eq!(length(), 0, "it is not filled at once");
        reserve.used = Instant::now().checked_sub(REFILL_AFTER);
        reserve.refill();
        assert_eq!(length(), RESERVE_BYTES.unsigned_abs());
    }
}
