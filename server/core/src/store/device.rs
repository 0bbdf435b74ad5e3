//! The disk under the database. It outlives one opening of the database, since redb wants to be opened anew after an
//! I/O error, and it remembers the one error after which that would be a lie.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use redb::StorageBackend;

/// What redb makes of an empty file has 1.5 MiB. A larger one that begins with zeros belongs to another program.
const UNFINISHED_BYTES: u64 = 4 << 20;

/// A disk that is opened once, and given to redb as often as it needs to be opened.
#[derive(Debug, Clone)]
pub(super) struct Device {
    disk: Arc<dyn StorageBackend>,
    sync_failed: Arc<AtomicBool>,
}

impl Device {
    pub(super) fn new(disk: impl StorageBackend) -> Self {
        Self { disk: Arc::new(disk), sync_failed: Arc::default() }
    }

    /// The disk of another file. A sync that failed there has failed here, too.
    pub(super) fn beside(&self, disk: impl StorageBackend) -> Self {
        Self { disk: Arc::new(disk), sync_failed: self.sync_failed.clone() }
    }

    /// Empties a file that redb had not finished making when the power was cut: nothing was ever promised of it. redb
    /// writes the magic number, with which the file begins, last and after a sync of all the rest.
    pub(super) fn empty_if_unfinished(&self) -> io::Result<()> {
        let length = self.disk.len()?;
        let mut magic = [0; 9];
        if !(magic.len() as u64..=UNFINISHED_BYTES).contains(&length) {
            return Ok(());
        }
        self.disk.read(0, &mut magic)?;
        if magic == [0; 9] { self.disk.set_len(0) } else { Ok(()) }
    }

    /// Whether a sync has ever failed. Linux reports that once and then takes the pages for clean: what is read back
    /// may not be on the disk, and a later sync that succeeds says nothing about it.
    pub(super) fn sync_failed(&self) -> bool {
        self.sync_failed.load(Ordering::Acquire)
    }
}

/// Locks are not passed on: the process that opened the disk holds its lock, also between two openings of the database.
impl StorageBackend for Device {
    fn len(&self) -> io::Result<u64> {
        self.disk.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.disk.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.disk.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.disk.sync_data().inspect_err(|_| self.sync_failed.store(true, Ordering::Release))
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.disk.write(offset, data)
    }
}
