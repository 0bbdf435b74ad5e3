//! Putting a new file in the place of another.
//!
//! Until it is whole the new file lies in a directory of its own beside the old one, `.cernvm-cluster-XXXXXX`, which
//! root alone may enter. So the directories whose files some program runs or reads (cloud-init's scripts, `cron.d`,
//! `sudoers.d`, `profile.d`, systemd's drop-ins) never hold half a file, nor the same file twice: such programs pass over
//! directories and hidden names. It has its final owner, mode and attributes when it is renamed.
//!
//! A directory that is in use is locked, and the lock ends with its process. So a later run knows what an earlier one
//! left behind when the machine lost its power or the process was killed.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use rustix::fs::{AtFlags, Dir, FallocateFlags, FlockOperation, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::resolve::{Location, is_own};
use super::{Refused, attributes};

/// What the directories of replacements are called; earlier versions had files of this name.
const PREFIX: &str = ".cernvm-cluster-";
const NEW: &str = "new";
/// A name is drawn again when it is taken, or when a run that cleans up has removed the directory before it was locked.
const ATTEMPTS: usize = 8;

/// What a file is to become.
#[derive(Debug)]
pub(super) struct NewContent<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) mode: u32,
    /// User and group; `None`: the agent's own.
    pub(super) owner: Option<(u32, u32)>,
}

/// The file that is to be replaced, as it was read.
#[derive(Debug)]
pub(super) struct OldFile {
    pub(super) fd: OwnedFd,
    pub(super) stat: Stat,
}

/// Whether the file was replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Replacement {
    Done,
    /// It is no longer what was read; nothing was written.
    ChangedMeanwhile,
}

/// Puts a file in the place of `old`, or makes it where there is none.
///
/// # Errors
/// What the system says; then the old file is as it was.
pub(super) fn put(
    location: &Location,
    old: Option<&OldFile>,
    desired: &NewContent<'_>,
) -> io::Result<Replacement> {
    match swap(location, old, desired) {
        // EBUSY, EXDEV: it is a mount point. EROFS: it may be one in a read-only directory.
        Err(error) if may_be_a_mount(&error) && location.only_root_changes_names() && old.is_some() => {
            rewrite(location, desired.bytes).map(|()| Replacement::Done)
        }
        outcome => outcome,
    }
}

fn may_be_a_mount(error: &io::Error) -> bool {
    [Errno::BUSY, Errno::XDEV, Errno::ROFS].contains(&errno(error))
}

pub(super) fn errno(error: &io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

/// Renames a new file over the old one.
fn swap(location: &Location, old: Option<&OldFile>, desired: &NewContent<'_>) -> io::Result<Replacement> {
    let private = PrivateDirectory::make(location)?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let new = rustix::fs::openat(&private.fd, NEW, flags, Mode::from_raw_mode(0o600))?;
    let mut new = File::from(new);
    new.write_all(desired.bytes)?;
    if let Some((uid, gid)) = desired.owner {
        let made = rustix::fs::fstat(&new)?;
        if (uid, gid) != (made.st_uid, made.st_gid) {
            std::os::unix::fs::fchown(&new, Some(uid), Some(gid))?;
        }
    }
    rustix::fs::fchmod(&new, Mode::from_raw_mode(desired.mode & 0o7777))?;
    if let Some(old) = old {
        attributes::copy(&old.fd, &new)?;
    }
    new.sync_all()?;
    if let Some(old) = old
        && !is_the_same(&old.stat, location)
    {
        return Ok(Replacement::ChangedMeanwhile);
    }
    rustix::fs::renameat(&private.fd, NEW, location.directory(), &location.name)?;
    drop(private);
    sync_directory(location)?;
    Ok(Replacement::Done)
}

/// Whether what lies there is still the file that was read, with the content that was read.
fn is_the_same(read: &Stat, location: &Location) -> bool {
    let what = |stat: &Stat| {
        (
            stat.st_dev,
            stat.st_ino,
            stat.st_size,
            stat.st_mtime,
            stat.st_mtime_nsec,
            stat.st_ctime,
            stat.st_ctime_nsec,
        )
    };
    location.stat().is_ok_and(|now| what(&now) == what(read))
}

/// Makes sure that the names in the directory last.
pub(super) fn sync_directory(location: &Location) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = rustix::fs::openat(location.directory(), ".", flags, Mode::empty())?;
    match rustix::fs::fsync(&directory) {
        // Some file systems have no such thing as a directory's sync (fsync(2)).
        Ok(()) | Err(Errno::INVAL) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Writes over the content of a file that cannot be renamed over.
fn rewrite(location: &Location, bytes: &[u8]) -> io::Result<()> {
    let (fd, _) = location.open(OFlags::RDWR)?;
    let mut file = File::from(fd);
    let mut old = Vec::new();
    file.read_to_end(&mut old)?;
    reserve(&file, bytes.len())?;
    overwrite(&mut file, bytes).inspect_err(|_| {
        // Its blocks are still there, so that this takes no room.
        let _ = overwrite(&mut file, &old);
    })
}

/// Makes sure of room for so many bytes, where the file system can.
fn reserve(file: &File, length: usize) -> io::Result<()> {
    let length = u64::try_from(length).map_err(|_| Errno::FBIG)?;
    match rustix::fs::fallocate(file, FallocateFlags::KEEP_SIZE, 0, length) {
        Err(Errno::NOSPC) => Err(Errno::NOSPC.into()),
        _ => Ok(()),
    }
}

fn overwrite(file: &mut File, bytes: &[u8]) -> io::Result<()> {
    file.rewind()?;
    file.write_all(bytes)?;
    file.set_len(u64::try_from(bytes.len()).map_err(|_| Errno::FBIG)?)?;
    file.sync_all()
}

/// The directory in which a new file lies until it is whole. It is removed with all that is in it when this is dropped.
struct PrivateDirectory<'a> {
    location: &'a Location,
    name: String,
    fd: OwnedFd,
}

impl<'a> PrivateDirectory<'a> {
    fn make(location: &'a Location) -> io::Result<Self> {
        for _ in 0..ATTEMPTS {
            let mut name = PREFIX.to_owned();
            name.extend(std::iter::repeat_with(fastrand::alphanumeric).take(6));
            match rustix::fs::mkdirat(location.directory(), &name, Mode::RWXU) {
                Err(Errno::EXIST) => continue,
                made => made?,
            }
            if let Some(fd) = open_own(location, &name)? {
                return Ok(Self { location, name, fd });
            }
        }
        Err(io::Error::other("no temporary directory can be made beside it"))
    }
}

impl Drop for PrivateDirectory<'_> {
    fn drop(&mut self) {
        remove(self.location, &self.name, &self.fd);
    }
}

/// Opens and locks a private directory; `None` when it is none, is in use, or is there no more.
fn open_own(location: &Location, name: &str) -> io::Result<Option<OwnedFd>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = match rustix::fs::openat(location.directory(), name, flags, Mode::empty()) {
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(None),
        fd => fd?,
    };
    let stat = rustix::fs::fstat(&fd)?;
    if !is_own(&stat) || stat.st_mode & 0o077 != 0 {
        return Err(Refused::Temporary.into());
    }
    match rustix::fs::flock(&fd, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK) => return Ok(None),
        // A file system without locks: two runs at once are not to be expected.
        Err(_) => log::debug!("{name} cannot be locked"),
    }
    // Between being made and being locked it may have been taken for a leftover.
    let there = rustix::fs::statat(location.directory(), name, AtFlags::SYMLINK_NOFOLLOW);
    Ok(there.is_ok_and(|there| there.st_ino == stat.st_ino).then_some(fd))
}

fn remove(location: &Location, name: &str, fd: impl AsFd) {
    // What is not there, or not empty, stays as it is; the next run will name it.
    let _ = rustix::fs::unlinkat(fd, NEW, AtFlags::empty());
    let _ = rustix::fs::unlinkat(location.directory(), name, AtFlags::REMOVEDIR);
}

/// Removes what earlier runs have left in the directory of `location`, and returns its names.
pub(super) fn remove_leftovers(location: &Location) -> io::Result<Vec<PathBuf>> {
    let mut removed = Vec::new();
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = rustix::fs::openat(location.directory(), ".", flags, Mode::empty())?;
    for entry in Dir::read_from(&directory)? {
        let entry = entry?;
        let Some(name) = entry.file_name().to_str().ok().filter(|name| name.starts_with(PREFIX)) else {
            continue;
        };
        let stat = rustix::fs::statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
        if !is_own(&stat) {
            continue;
        }
        if let Some(fd) = open_own(location, name).ok().flatten() {
            remove(location, name, fd);
        } else if stat.st_mode & 0o170_000 == 0o100_000 {
            // A file of an earlier version.
            rustix::fs::unlinkat(&directory, name, AtFlags::empty())?;
        } else {
            continue;
        }
        removed.push(location.path.with_file_name(name));
    }
    Ok(removed)
}
