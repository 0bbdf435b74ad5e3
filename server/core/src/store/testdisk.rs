//! A disk in memory that behaves as badly as a disk may, with two files on it: for tests.
//!
//! It keeps what is safe apart from what was written and not yet synced. When its power is cut, each sector of 512
//! bytes keeps one of the states it had since the last sync, whatever its neighbours do, and so does the length.

use std::collections::HashSet;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use redb::{Durability, StorageBackend};

use super::database::Records;
use super::device::Device;
use super::embedded::Embedded;
use super::layout::guarded;
use super::logged::Logged;
use crate::Refused;

/// What a disk writes whole or not at all.
const SECTOR: usize = 512;
/// What a file system gives to a file at a time.
const BLOCK: usize = 4096;

/// What can be wrong with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trouble {
    /// Nothing is done any more until [`Disk::restart`].
    PowerCut,
    /// One write fails, and leaves a part of itself behind.
    Write,
    /// One sync fails. As on Linux, what it should have made safe is from then on taken to be so.
    Sync,
    /// The file cannot be made shorter, once: redb does that after a commit is durable.
    Shorten,
    /// The same, and from then on it is as if the power were cut.
    ShortenAndCut,
    /// There is no room for what was never written before, until [`Disk::heal`].
    Full,
    /// There is no room for any write, as when the file system never overwrites, until [`Disk::heal`].
    FullForAll,
}

#[derive(Debug)]
enum Unsynced {
    Write(usize, Vec<u8>),
    Length(usize),
}

/// A file.
#[derive(Debug, Default)]
struct Content {
    /// What is read.
    image: Vec<u8>,
    /// What a power cut leaves in any case.
    safe: Vec<u8>,
    unsynced: Vec<Unsynced>,
    /// The blocks that have room on the disk.
    blocks: HashSet<usize>,
}

#[derive(Debug, Default)]
struct Platter {
    files: [Content; 2],
    /// After how many changes and syncs which trouble begins.
    planned: Option<(u32, Trouble)>,
    trouble: Option<Trouble>,
    /// A sync does nothing, and says that it did.
    lies: bool,
    random: fastrand::Rng,
}

/// One of the files of a disk; a clone is the same one.
#[derive(Debug, Clone)]
pub(super) struct Disk {
    platter: Arc<Mutex<Platter>>,
    file: usize,
}

impl Disk {
    /// An empty disk.
    pub(super) fn new(seed: u64) -> Self {
        let platter = Platter { random: fastrand::Rng::with_seed(seed), ..Platter::default() };
        Self { platter: Arc::new(Mutex::new(platter)), file: 0 }
    }

    /// The other file.
    pub(super) fn log(&self) -> Self {
        Self { platter: self.platter.clone(), file: 1 }
    }

    /// One that says of a sync that it is done, and does nothing.
    pub(super) fn lying(seed: u64) -> Self {
        let disk = Self::new(seed);
        disk.platter().lies = true;
        disk
    }

    /// Opens the store on it; `half` says how long its log is, and whether it gets one.
    pub(super) fn journal(&self, durability: Durability, half: Option<u64>) -> Result<Embedded, Refused> {
        let name = "/data/pairing.redb";
        let logged = guarded(name, || {
            let records = Records::open(name.to_owned(), Device::new(self.clone()), durability)?;
            match half {
                Some(half) => Logged::on(records, "/data/pairing.log".to_owned(), self.log(), half),
                None => Ok(Logged::without_log(records)),
            }
        })?;
        Ok(Embedded::on(name, logged))
    }

    /// Lets trouble begin after `changes` more changes and syncs.
    pub(super) fn plan(&self, changes: u32, trouble: Trouble) {
        self.platter().planned = Some((changes, trouble));
    }

    /// Whether what was planned has begun.
    pub(super) fn is_struck(&self) -> bool {
        self.platter().planned.is_none()
    }

    /// Whether there is no trouble, neither planned nor begun.
    pub(super) fn is_in_order(&self) -> bool {
        let platter = self.platter();
        platter.planned.is_none() && platter.trouble.is_none()
    }

    /// Whether its power is cut.
    pub(super) fn has_no_power(&self) -> bool {
        self.platter().powered().is_err()
    }

    /// What is on it.
    pub(super) fn contents(&self) -> Vec<u8> {
        self.platter().files[self.file].image.clone()
    }

    /// Replaces what is on it.
    pub(super) fn replace(&self, contents: Vec<u8>) {
        let file = &mut self.platter().files[self.file];
        (file.safe, file.unsynced) = (contents.clone(), Vec::new());
        file.image = contents;
    }

    /// Ends all trouble.
    pub(super) fn heal(&self) {
        let mut platter = self.platter();
        (platter.planned, platter.trouble) = (None, None);
    }

    /// Cuts the power, and brings it back.
    pub(super) fn restart(&self) {
        self.heal();
        let mut platter = self.platter();
        for file in 0..platter.files.len() {
            platter.save_some(file);
            platter.files[file].image = platter.files[file].safe.clone();
        }
    }

    fn platter(&self) -> MutexGuard<'_, Platter> {
        self.platter.lock().unwrap()
    }
}

impl Platter {
    fn powered(&self) -> io::Result<()> {
        if self.trouble == Some(Trouble::PowerCut) { Err(io::Error::other("no power")) } else { Ok(()) }
    }

    /// Counts a change or sync, and gives the trouble it is in. Trouble that strikes once is asked for by its kind.
    fn strike(&mut self, once: Trouble) -> io::Result<()> {
        if let Some((left, trouble)) = self.planned {
            let begins = left == 0;
            self.planned = if begins { None } else { Some((left - 1, trouble)) };
            self.trouble = if begins { Some(trouble) } else { self.trouble };
        }
        self.powered()?;
        if self.trouble == Some(once) {
            self.trouble = None;
            return Err(io::Error::other("the disk failed"));
        }
        Ok(())
    }

    /// Whether there is room for all of a write.
    fn has_room(&self, file: usize, offset: usize, len: usize) -> bool {
        match self.trouble {
            Some(Trouble::FullForAll) => false,
            Some(Trouble::Full) => blocks(offset, len).all(|block| self.files[file].blocks.contains(&block)),
            _ => true,
        }
    }

    /// Makes a random part of what is unsynced safe. Now and then that is nothing and now and then everything, so that
    /// the ends are met as well as the middle.
    fn save_some(&mut self, file: usize) {
        let likely = [0.0, 0.5, 0.9, 1.0, self.random.f64()][self.random.usize(..5)];
        self.files[file].save(likely, &mut self.random);
    }
}

impl Content {
    fn write(&mut self, offset: usize, data: &[u8]) {
        self.blocks.extend(blocks(offset, data.len()));
        self.image[offset..offset + data.len()].copy_from_slice(data);
        self.unsynced.push(Unsynced::Write(offset, data.to_vec()));
    }

    /// Makes what is unsynced safe, each change as `likely` as that, and forgets the rest. A sector that missed one
    /// change gets none of the later ones.
    fn save(&mut self, likely: f64, random: &mut fastrand::Rng) {
        let mut missed = HashSet::new();
        let mut length_missed = false;
        for change in std::mem::take(&mut self.unsynced) {
            match change {
                Unsynced::Length(length) => {
                    length_missed |= random.f64() >= likely;
                    if !length_missed {
                        self.safe.resize(length, 0);
                    }
                }
                Unsynced::Write(offset, data) => {
                    for (at, piece) in sectors(offset, &data) {
                        if missed.contains(&(at / SECTOR)) || random.f64() >= likely {
                            missed.insert(at / SECTOR);
                        } else if let Some(place) = self.safe.get_mut(at..at + piece.len()) {
                            place.copy_from_slice(piece);
                        }
                    }
                }
            }
        }
    }
}

/// The sectors of a write, each with its place.
fn sectors(offset: usize, data: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let mut at = offset;
    let mut rest = data;
    std::iter::from_fn(move || {
        let (piece, left) = rest.split_at(rest.len().min(SECTOR - at % SECTOR));
        let place = at;
        (at, rest) = (at + piece.len(), left);
        (!piece.is_empty()).then_some((place, piece))
    })
}

fn blocks(offset: usize, len: usize) -> impl Iterator<Item = usize> {
    offset / BLOCK..(offset + len).div_ceil(BLOCK)
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        let platter = self.platter();
        platter.powered()?;
        Ok(platter.files[self.file].image.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let platter = self.platter();
        platter.powered()?;
        let offset = usize::try_from(offset).unwrap();
        let found = platter.files[self.file]
            .image
            .get(offset..offset + out.len())
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(found);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut platter = self.platter();
        platter.strike(Trouble::Write)?;
        let len = usize::try_from(len).unwrap();
        if len < platter.files[self.file].image.len()
            && let Some(trouble @ (Trouble::Shorten | Trouble::ShortenAndCut)) = platter.trouble
        {
            platter.trouble = (trouble == Trouble::ShortenAndCut).then_some(Trouble::PowerCut);
            return Err(io::Error::other("the disk failed"));
        }
        let file = &mut platter.files[self.file];
        file.blocks.retain(|block| block * BLOCK < len);
        file.image.resize(len, 0);
        file.unsynced.push(Unsynced::Length(len));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut platter = self.platter();
        if let Err(err) = platter.strike(Trouble::Sync) {
            if platter.powered().is_ok() {
                platter.save_some(self.file);
            }
            return Err(err);
        }
        if platter.lies {
            return Ok(());
        }
        let Platter { files, random, .. } = &mut *platter;
        files[self.file].save(1.0, random);
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut platter = self.platter();
        let offset = usize::try_from(offset).unwrap();
        let struck = platter.strike(Trouble::Write);
        if struck.is_err() && platter.powered().is_ok() {
            let some = platter.random.usize(..data.len());
            platter.files[self.file].write(offset, &data[..some]);
        }
        struck?;
        if !platter.has_room(self.file, offset, data.len()) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        platter.files[self.file].write(offset, data);
        Ok(())
    }
}
