//! A disk that behaves as badly as a disk may: files in one directory, of which a power cut leaves what was synced and
//! any part of the rest.
//!
//! A name is safe once the directory was synced; of the changes after that a cut leaves the first few, as a file system
//! with a journal does. Each file keeps its own sectors, so what was written later may survive what was written earlier.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use fuser::{Errno, FileType};

use crate::content::Content;

/// What can be wrong with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// Nothing is answered any more until [`Disk::give_up`].
    PowerCut,
    /// One write fails, and leaves a part of itself behind.
    Write,
    /// One sync fails. As on Linux, what it should have made safe is from then on taken to be so.
    Sync,
    /// There is no room for what was never written before, until [`Disk::heal`].
    Full,
    /// Nothing can be read, until [`Disk::heal`].
    Read,
}

/// What its syncs are worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Syncs {
    /// They do what they say.
    Honest,
    /// They do nothing, and say that it is done.
    Lying,
    /// They lose a sector of twenty.
    Leaking,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Power {
    On,
    /// Who asks for something waits.
    Off,
    /// Who asks for something gets an error: the processes have been killed.
    GivenUp,
}

/// A file, or a socket.
#[derive(Debug)]
pub(crate) struct Inode {
    pub(crate) kind: FileType,
    pub(crate) mode: u16,
    pub(crate) content: Content,
}

/// What one call does to names, whole or not at all; `None`: the name is gone.
type Renaming = Vec<(OsString, Option<u64>)>;

#[derive(Debug)]
pub(crate) struct Platter {
    pub(crate) inodes: BTreeMap<u64, Inode>,
    pub(crate) names: BTreeMap<OsString, u64>,
    safe_names: BTreeMap<OsString, u64>,
    unsynced_names: Vec<Renaming>,
    next: u64,
    power: Power,
    planned: Option<(u32, Trouble)>,
    trouble: Option<Trouble>,
    syncs: Syncs,
    random: fastrand::Rng,
}

/// A disk; a clone is the same disk.
#[derive(Debug, Clone)]
pub(crate) struct Disk(Arc<(Mutex<Platter>, Condvar)>);

impl Disk {
    /// An empty one.
    pub(crate) fn new(seed: u64, syncs: Syncs) -> Self {
        let platter = Platter {
            inodes: BTreeMap::new(),
            names: BTreeMap::new(),
            safe_names: BTreeMap::new(),
            unsynced_names: Vec::new(),
            // The directory is the first.
            next: 2,
            power: Power::On,
            planned: None,
            trouble: None,
            syncs,
            random: fastrand::Rng::with_seed(seed),
        };
        Self(Arc::new((Mutex::new(platter), Condvar::new())))
    }

    /// Lets trouble begin after `changes` more changes and syncs.
    pub(crate) fn plan(&self, changes: u32, trouble: Trouble) {
        self.platter().planned = Some((changes, trouble));
    }

    /// Whether what was planned has begun.
    pub(crate) fn is_struck(&self) -> bool {
        self.platter().planned.is_none()
    }

    /// Ends all trouble. Who waits for the power goes on.
    pub(crate) fn heal(&self) {
        let mut platter = self.platter();
        (platter.planned, platter.trouble, platter.power) = (None, None, Power::On);
        self.0.1.notify_all();
    }

    /// Cuts the power.
    pub(crate) fn cut(&self) {
        self.platter().power = Power::Off;
    }

    /// Lets those go that wait for the power: they have been killed.
    pub(crate) fn give_up(&self) {
        self.platter().power = Power::GivenUp;
        self.0.1.notify_all();
    }

    /// Random numbers that follow from its seed.
    pub(crate) fn random(&self) -> fastrand::Rng {
        self.platter().random.fork()
    }

    /// Brings the power back. There is what was safe, and some of the rest.
    pub(crate) fn restart(&self) {
        self.heal();
        self.platter().lose_unsynced();
    }

    /// Forgets everything.
    pub(crate) fn wipe(&self) {
        let mut platter = self.platter();
        (platter.names, platter.safe_names) = (BTreeMap::new(), BTreeMap::new());
        platter.unsynced_names.clear();
    }

    /// What is there, for a look without trouble.
    pub(crate) fn platter(&self) -> MutexGuard<'_, Platter> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is there, once there is power.
    pub(crate) fn look(&self) -> Result<MutexGuard<'_, Platter>, Errno> {
        self.powered(self.platter())
    }

    /// The same for a read of contents.
    pub(crate) fn read(&self) -> Result<MutexGuard<'_, Platter>, Errno> {
        let platter = self.look()?;
        if platter.trouble == Some(Trouble::Read) { Err(Errno::EIO) } else { Ok(platter) }
    }

    /// Counts a change or a sync, and says whether it is the one that fails by a trouble of this kind.
    pub(crate) fn change(&self, kind: Trouble) -> Result<(MutexGuard<'_, Platter>, bool), Errno> {
        let mut platter = self.platter();
        if let Some((left, trouble)) = platter.planned.filter(|_| platter.power == Power::On) {
            platter.planned = left.checked_sub(1).map(|left| (left, trouble));
            match (left, trouble) {
                (0, Trouble::PowerCut) => platter.power = Power::Off,
                (0, trouble) => platter.trouble = Some(trouble),
                _ => {}
            }
        }
        let mut platter = self.powered(platter)?;
        let fails = platter.trouble == Some(kind);
        if fails {
            platter.trouble = None;
        }
        Ok((platter, fails))
    }

    fn powered<'a>(&self, mut platter: MutexGuard<'a, Platter>) -> Result<MutexGuard<'a, Platter>, Errno> {
        while platter.power == Power::Off {
            platter = self.0.1.wait(platter).unwrap_or_else(PoisonError::into_inner);
        }
        if platter.power == Power::GivenUp { Err(Errno::EIO) } else { Ok(platter) }
    }
}

impl Platter {
    pub(crate) fn inode(&mut self, number: u64) -> Result<&mut Inode, Errno> {
        self.inodes.get_mut(&number).ok_or(Errno::ENOENT)
    }

    pub(crate) fn number(&self, name: &OsStr) -> Result<u64, Errno> {
        self.names.get(name).copied().ok_or(Errno::ENOENT)
    }

    /// A new file or socket under a name.
    pub(crate) fn create(&mut self, name: &OsStr, kind: FileType, mode: u16) -> u64 {
        let number = self.next;
        self.next += 1;
        self.inodes.insert(number, Inode { kind, mode, content: Content::default() });
        self.rename(vec![(name.to_owned(), Some(number))]);
        number
    }

    pub(crate) fn rename(&mut self, renaming: Renaming) {
        apply(&mut self.names, &renaming);
        self.unsynced_names.push(renaming);
    }

    /// Writes, or a part of it if this is the write that fails.
    pub(crate) fn write(
        &mut self,
        number: u64,
        offset: usize,
        data: &[u8],
        fails: bool,
    ) -> Result<(), Errno> {
        let part = if fails { self.random.usize(..=data.len()) } else { data.len() };
        let full = self.trouble == Some(Trouble::Full);
        let content = &mut self.inode(number)?.content;
        if full && !content.has_blocks(offset, data.len()) {
            return Err(Errno::ENOSPC);
        }
        content.write(offset, &data[..part]);
        if fails { Err(Errno::EIO) } else { Ok(()) }
    }

    pub(crate) fn allocate(&mut self, number: u64, offset: usize, length: usize) -> Result<(), Errno> {
        let full = self.trouble == Some(Trouble::Full);
        let content = &mut self.inode(number)?.content;
        if full && !content.has_blocks(offset, length) {
            return Err(Errno::ENOSPC);
        }
        content.allocate(offset, length);
        Ok(())
    }

    /// Makes a file safe, or a part of it if this is the sync that fails.
    pub(crate) fn sync(&mut self, number: u64, fails: bool) -> Result<(), Errno> {
        let likely = match self.syncs {
            _ if fails => self.random.f64(),
            Syncs::Honest => 1.0,
            Syncs::Lying => return Ok(()),
            Syncs::Leaking => 0.95,
        };
        let Self { inodes, random, .. } = self;
        inodes.get_mut(&number).ok_or(Errno::ENOENT)?.content.save(likely, random);
        if fails { Err(Errno::EIO) } else { Ok(()) }
    }

    /// Makes the names safe.
    pub(crate) fn sync_names(&mut self, fails: bool) -> Result<(), Errno> {
        if fails {
            return Err(Errno::EIO);
        }
        for renaming in std::mem::take(&mut self.unsynced_names) {
            apply(&mut self.safe_names, &renaming);
        }
        Ok(())
    }

    fn lose_unsynced(&mut self) {
        let kept = self.random.usize(..=self.unsynced_names.len());
        for renaming in std::mem::take(&mut self.unsynced_names).into_iter().take(kept) {
            apply(&mut self.safe_names, &renaming);
        }
        self.names = self.safe_names.clone();
        let Self { inodes, names, random, .. } = self;
        inodes.retain(|number, _| names.values().any(|named| named == number));
        for inode in inodes.values_mut() {
            inode.content.cut(random);
        }
    }
}

fn apply(names: &mut BTreeMap<OsString, u64>, renaming: &Renaming) {
    for (name, number) in renaming {
        match number {
            Some(number) => drop(names.insert(name.clone(), *number)),
            None => drop(names.remove(name)),
        }
    }
}
