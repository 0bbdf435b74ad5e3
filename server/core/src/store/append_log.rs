//! The log in front of the database: a file of two halves, made at its full length, so that a commit is one write at one
//! place and one sync that has no length to note.
//!
//! Frames are appended to one half until the next does not fit, then to the other, whose frames are in the database by
//! then. What is in a frame is `frame`'s. After a frame that is not whole, which no sync has covered, nothing counts;
//! a whole one behind it shows that it was damaged later, since a frame is written only when the one before is safe.

use std::io;

use redb::StorageBackend as _;

use super::device::Device;
use super::frame;
use super::layout::LogState;
use super::pending::Pending;

/// Bytes of a half: some ten thousand writes of a key.
pub(super) const HALF_BYTES: u64 = 1 << 20;

/// The open log.
pub(super) struct AppendLog {
    device: Device,
    id: u64,
    half: u64,
    /// Which half is written to, 0 or 1, and how far it is full.
    active: u64,
    end: u64,
    /// The number of the next frame.
    next: u64,
    /// Whether a commit is synced: always but in a test that wants to see what is lost.
    syncs: bool,
    /// A frame was written in part, or not synced: it must never be taken for one that counts.
    torn: bool,
}

impl AppendLog {
    /// Begins the log, with room for two halves, and has that on the disk. One of that length may have been there before.
    ///
    /// # Errors
    /// There is no room for it, or it cannot be written.
    pub(super) fn begin(device: Device, id: u64, half: u64, syncs: bool) -> io::Result<Self> {
        let log = Self { device, id, half, active: 0, end: 0, next: 1, syncs, torn: false };
        if log.device.len()? != 2 * half {
            log.device.set_len(2 * half)?;
            // Room that was only allocated costs a note in the file system's journal when it is first written.
            let zeros = vec![0; usize::try_from(half).map_err(io::Error::other)?];
            log.device.write(0, &zeros)?;
            log.device.write(half, &zeros)?;
            log.device.sync_data()?;
        }
        Ok(log)
    }

    /// Opens the log that a database speaks of, and reads what is not in the database yet.
    ///
    /// # Errors
    /// It cannot be read. Within: it is damaged, or of another version.
    pub(super) fn open(
        device: Device,
        state: LogState,
        half: u64,
        syncs: bool,
    ) -> io::Result<Result<(Self, Pending), String>> {
        let next = state.folded + 1;
        let mut log = Self { device, id: state.id, half, active: 0, end: 0, next, syncs, torn: false };
        let length = log.device.len()?;
        if length != 2 * half {
            return Ok(Err(format!("the log has {length} bytes, and was made with {}", 2 * half)));
        }
        let mut halves = Vec::new();
        for number in 0..2 {
            let mut bytes = vec![0; usize::try_from(half).map_err(io::Error::other)?];
            log.device.read(number * half, &mut bytes)?;
            halves.push((number, bytes));
        }
        let mut pending = Pending { last: state.folded, ..Pending::default() };
        Ok(log.take_in(&halves, &mut pending).map(|()| (log, pending)))
    }

    fn take_in(&mut self, halves: &[(u64, Vec<u8>)], pending: &mut Pending) -> Result<(), String> {
        let mut chains = Vec::new();
        for (number, bytes) in halves {
            chains.push((*number, chain(self.id, bytes)?));
        }
        chains.sort_by_key(|(_, frames)| frames.first().map(|(frame, _)| frame.last));
        for (number, frames) in chains {
            for (frame, end) in frames {
                if frame.last == self.next {
                    (self.active, self.end, self.next) = (number, end, self.next + 1);
                    pending.add(frame);
                }
            }
        }
        if halves.iter().any(|(_, bytes)| frame::has_later(self.id, self.next, bytes)) {
            return Err(format!("frame {} of the log is damaged, and later ones are not", self.next));
        }
        Ok(())
    }

    /// The identifier.
    pub(super) fn id(&self) -> u64 {
        self.id
    }

    /// The number of the next frame.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// Whether a frame of so many bytes goes into the present half.
    pub(super) fn fits(&self, bytes: usize) -> bool {
        self.end + bytes as u64 <= self.half
    }

    /// Whether it would go into an empty half.
    pub(super) fn ever_fits(&self, bytes: usize) -> bool {
        bytes as u64 <= self.half
    }

    /// Goes on in the other half, whose frames are in the database.
    pub(super) fn turn(&mut self) {
        (self.active, self.end) = (1 - self.active, 0);
    }

    /// Appends a frame that fits, and makes it safe.
    ///
    /// # Errors
    /// It is not known whether it will be found: see [`AppendLog::erase`].
    pub(super) fn append(&mut self, frame: &[u8]) -> io::Result<()> {
        self.torn = true;
        self.device.write(self.place(), frame)?;
        self.sync()?;
        self.torn = false;
        self.end += frame.len() as u64;
        self.next += 1;
        Ok(())
    }

    /// Whether the last frame failed, and was not erased.
    pub(super) fn is_torn(&self) -> bool {
        self.torn
    }

    /// Sees to it that a frame that failed is never found.
    ///
    /// # Errors
    /// It may be.
    pub(super) fn erase(&mut self) -> io::Result<()> {
        self.device.write(self.place(), &[0; frame::HEADER])?;
        self.device.sync_data()?;
        self.torn = false;
        Ok(())
    }

    /// Makes safe what was read.
    ///
    /// # Errors
    /// The disk cannot.
    pub(super) fn sync(&self) -> io::Result<()> {
        if self.syncs { self.device.sync_data() } else { Ok(()) }
    }

    fn place(&self) -> u64 {
        self.active * self.half + self.end
    }
}

/// The frames with which a half begins, each with the place where it ends.
fn chain(log: u64, bytes: &[u8]) -> Result<Vec<(Pending, u64)>, String> {
    let (mut frames, mut at): (Vec<(Pending, u64)>, usize) = (Vec::new(), 0);
    while let Some((frame, length)) = frame::decode(log, &bytes[at..])? {
        if frames.last().is_some_and(|(last, _)| last.last.checked_add(1) != Some(frame.last)) {
            break;
        }
        at += length;
        frames.push((frame, at as u64));
    }
    Ok(frames)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::testdisk::Disk;
    use super::*;
    use crate::clock::Timestamp;

    const ID: u64 = 0x0123_4567_89ab_cdef;
    const HALF: u64 = 1 << 12;

    /// A log of frames that move the mark to their own number, as many as fit before it must have turned twice.
    fn filled(disk: &Disk, frames: u64) -> AppendLog {
        let mut log = AppendLog::begin(Device::new(disk.clone()), ID, HALF, true).unwrap();
        for number in 1..=frames {
            let frame = frame::encode(ID, number, &BTreeMap::new(), Some(Timestamp(number)));
            if !log.fits(frame.len()) {
                log.turn();
            }
            log.append(&frame).unwrap();
        }
        log
    }

    /// The last frame that is found after those that are folded; else what is said.
    fn found(disk: &Disk, folded: u64) -> Result<(Option<u64>, u64), String> {
        let state = LogState { id: ID, folded };
        let (log, pending) = AppendLog::open(Device::new(disk.clone()), state, HALF, true).unwrap()?;
        assert_eq!((pending.last + 1, log.place() > 0), (log.next(), pending.last > folded));
        Ok((pending.mark.map(|mark| mark.0), log.next()))
    }

    /// As many frames as a half takes.
    fn per_half() -> u64 {
        HALF / frame::encode(ID, 1, &BTreeMap::new(), Some(Timestamp(1))).len() as u64
    }

    #[test]
    fn gives_what_is_not_folded_in_both_halves_and_nothing_of_earlier_turns() {
        let (disk, half) = (Disk::new(1), per_half());
        filled(&disk, 2 * half + 3);
        // The third turn has written over the beginning of the first half, whose rest is stale.
        assert_eq!(found(&disk, half), Ok((Some(2 * half + 3), 2 * half + 4)));
        assert_eq!(found(&disk, 2 * half), Ok((Some(2 * half + 3), 2 * half + 4)));
        assert_eq!(found(&disk, 2 * half + 3), Ok((None, 2 * half + 4)));
    }

    #[test]
    fn ends_before_a_frame_that_is_not_whole_unless_a_later_one_is() {
        for frames in [10, per_half(), per_half() + 10] {
            let disk = Disk::new(1);
            let end = usize::try_from(filled(&disk, frames).place()).unwrap();
            let whole = disk.contents();
            let spoiled = |at: usize| {
                let mut contents = whole.clone();
                contents[at] ^= 1;
                disk.replace(contents);
                found(&disk, 0)
            };
            assert_eq!(spoiled(end - 1), Ok((Some(frames - 1), frames)));
            let damaged = spoiled(100);
            assert!(
                damaged.as_ref().is_err_and(|why| why.contains("frame 4 of the log is damaged")),
                "{damaged:?}"
            );
        }
    }

    #[test]
    fn a_frame_that_failed_is_never_found_once_it_is_erased() {
        let (disk, frame) = (Disk::new(1), |number| frame::encode(ID, number, &BTreeMap::new(), None));
        let mut log = filled(&disk, 3);
        disk.plan(1, super::super::testdisk::Trouble::Write);
        // The write goes through, and the sync is the change after it.
        log.append(&frame(4)).unwrap();
        disk.heal();
        disk.plan(0, super::super::testdisk::Trouble::Write);
        log.append(&[frame(5), vec![0; 100]].concat()).unwrap_err();
        assert!(log.is_torn());
        log.erase().unwrap();
        assert_eq!(found(&disk, 0).map(|(_, next)| next), Ok(5));
        log.append(&frame(5)).unwrap();
        assert_eq!(found(&disk, 0).map(|(_, next)| next), Ok(6));
    }
}
