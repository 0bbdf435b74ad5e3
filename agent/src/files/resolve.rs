//! From a path to a name in a directory that is held open, without being led astray by other users.
//!
//! A program that runs as root and opens `/home/alice/x.conf` by its path goes wherever alice's links lead. So a path is
//! walked one directory at a time, each opened relative to the one before it and never through a link. A link is
//! followed only where no other user could have made it: in a directory that only root can change. Its target is taken
//! below the same root, so that no link leads out of it.
//!
//! The walk is done here on every kernel, and not by one `openat2` with `RESOLVE_NO_SYMLINKS`: that would refuse the links
//! that root made (`/var/run`, `/bin`), and CernVM 4 has Linux 3.10, which lacks it. Where it is there, it keeps single
//! steps in other users' directories out of file systems that they have mounted.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

use super::Refused;
use crate::root::Root;

/// How many links one path may lead through (path_resolution(7)).
const MAX_LINKS: usize = 40;
/// Of a directory that is made: as cloud-init makes those of `write_files`.
const DIRECTORY_MODE: Mode = Mode::from_raw_mode(0o755);

/// A name in a directory that is held open: it stays the same directory, whatever is done to the path meanwhile.
#[derive(Debug)]
pub(super) struct Location {
    directory: Directory,
    pub(super) name: OsString,
    /// For messages.
    pub(super) path: PathBuf,
}

/// What a walk does about a directory that is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum IfMissing {
    Refuse,
    Create,
}

/// A directory on the way.
#[derive(Debug)]
struct Directory {
    fd: OwnedFd,
    writers: Writers,
}

impl Directory {
    /// Opens what it holds. Where another user could have mounted a file system (FUSE), which answers when and what he
    /// likes, none is entered: `XDEV`. Linux before 5.6 has no means of knowing that without asking it.
    fn open(&self, name: &OsStr, flags: OFlags) -> rustix::io::Result<OwnedFd> {
        if self.writers == Writers::Others {
            let within = ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS | ResolveFlags::BENEATH;
            match rustix::fs::openat2(&self.fd, name, flags, Mode::empty(), within) {
                // Or a filter of system calls that is older than it.
                Err(Errno::NOSYS | Errno::PERM) => {}
                opened => return opened,
            }
        }
        rustix::fs::openat(&self.fd, name, flags, Mode::empty())
    }
}

/// Who can make, rename and remove what a directory holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Writers {
    /// Root alone.
    Root,
    /// Every user may add to it, and root's entries stay root's: `/tmp`.
    Sticky,
    /// Another user.
    Others,
}

impl Location {
    /// The place of a file below `root`. The file itself need not be there.
    pub(super) fn find(root: &Root, path: &Path, missing: IfMissing) -> io::Result<Self> {
        let (base, below) = root.split(path)?;
        let mut walk = Walk::new(&base, &below)?;
        loop {
            let Some(name) = walk.ahead.pop_front() else {
                return Err(io::Error::new(io::ErrorKind::IsADirectory, "it is a directory"));
            };
            if walk.ahead.is_empty() {
                match walk.link(&name) {
                    Ok(target) => walk.follow(&name, &target)?,
                    // EINVAL: it is there and no link.
                    Err(Errno::INVAL | Errno::NOENT) => {
                        let directory = walk.into_directory();
                        return Ok(Self { directory, name, path: path.to_owned() });
                    }
                    Err(error) => return Err(error.into()),
                }
            } else {
                walk.enter(&name, missing)?;
            }
        }
    }

    /// The directory that the file is in.
    pub(super) fn directory(&self) -> BorrowedFd<'_> {
        self.directory.fd.as_fd()
    }

    /// Whether root alone can put another file in its place.
    pub(super) fn only_root_changes_names(&self) -> bool {
        self.directory.writers == Writers::Root
    }

    /// What lies there now.
    pub(super) fn stat(&self) -> io::Result<Stat> {
        Ok(rustix::fs::statat(self.directory(), &self.name, AtFlags::SYMLINK_NOFOLLOW)?)
    }

    /// Opens the regular file that lies there. A link, a pipe or a device that took its place is refused and not acted
    /// upon.
    pub(super) fn open(&self, access: OFlags) -> io::Result<(OwnedFd, Stat)> {
        // NONBLOCK: opening a pipe would wait for its other end.
        let flags = access | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let fd = match self.directory.open(&self.name, flags) {
            Err(Errno::LOOP) => return Err(Refused::Link(self.path.clone()).into()),
            Err(Errno::XDEV) => return Err(Refused::Mount.into()),
            opened => opened?,
        };
        let stat = rustix::fs::fstat(&fd)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(Refused::NotRegular.into());
        }
        if stat.st_nlink != 1 && !self.only_root_changes_names() {
            return Err(Refused::OtherNames.into());
        }
        Ok((fd, stat))
    }
}

/// The state of a walk.
struct Walk {
    /// From the root down to where the walk is; never empty.
    stack: Vec<Directory>,
    ahead: VecDeque<OsString>,
    links: usize,
}

impl Walk {
    fn new(base: &Path, below: &Path) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(base, flags, Mode::empty())?;
        // The root is what the command line says it is.
        let stack = vec![Directory { fd, writers: Writers::Root }];
        Ok(Self { stack, ahead: names(below), links: 0 })
    }

    fn here(&self) -> &Directory {
        self.stack.last().expect("the root is never left")
    }

    fn into_directory(mut self) -> Directory {
        self.stack.pop().expect("the root is never left")
    }

    fn enter(&mut self, name: &OsStr, missing: IfMissing) -> io::Result<()> {
        if name == ".." {
            if self.stack.len() > 1 {
                self.stack.pop();
            }
            return Ok(());
        }
        match self.open_directory(name) {
            Ok(directory) => self.stack.push(directory),
            Err(Errno::NOTDIR | Errno::LOOP) => match self.link(name) {
                Ok(target) => self.follow(name, &target)?,
                Err(_) => return Err(Errno::NOTDIR.into()),
            },
            Err(Errno::NOENT) if missing == IfMissing::Create => {
                match rustix::fs::mkdirat(&self.here().fd, name, DIRECTORY_MODE) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(error) => return Err(error.into()),
                }
                let directory = self.open_directory(name)?;
                self.stack.push(directory);
            }
            Err(Errno::XDEV) => return Err(Refused::Mount.into()),
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    fn open_directory(&self, name: &OsStr) -> rustix::io::Result<Directory> {
        let here = self.here();
        let fd = here.open(name, directory_flags())?;
        let stat = rustix::fs::fstat(&fd)?;
        Ok(Directory { fd, writers: Writers::of(here.writers, &stat) })
    }

    /// Where the link of this name leads; `INVAL` when it is none.
    fn link(&self, name: &OsStr) -> rustix::io::Result<PathBuf> {
        if name == ".." {
            return Err(Errno::ISDIR);
        }
        let target = rustix::fs::readlinkat(&self.here().fd, name, Vec::new())?;
        Ok(PathBuf::from(OsString::from_vec(target.into_bytes())))
    }

    fn follow(&mut self, name: &OsStr, target: &Path) -> io::Result<()> {
        if self.here().writers != Writers::Root {
            return Err(Refused::Link(PathBuf::from(name)).into());
        }
        self.links += 1;
        if self.links > MAX_LINKS {
            return Err(Errno::LOOP.into());
        }
        if target.is_absolute() {
            self.stack.truncate(1);
        }
        let mut ahead = names(target);
        ahead.append(&mut self.ahead);
        self.ahead = ahead;
        Ok(())
    }
}

impl Writers {
    /// Of a directory, given that of the directory around it: what lies in another user's directory may be swapped, so
    /// it is that user's as well.
    fn of(around: Self, stat: &Stat) -> Self {
        if around == Self::Others || !is_own(stat) {
            Self::Others
        } else if !others_may_write(stat) {
            Self::Root
        } else if stat.st_mode & 0o1000 != 0 {
            Self::Sticky
        } else {
            Self::Others
        }
    }
}

/// Whether it is root's, or the agent's own where it does not run as root.
pub(super) fn is_own(stat: &Stat) -> bool {
    stat.st_uid == 0 || stat.st_uid == rustix::process::geteuid().as_raw()
}

/// Whether users other than its owner and members of root's group may write to it. Where it has an access control
/// list, the group's bits are the list's mask.
pub(super) fn others_may_write(stat: &Stat) -> bool {
    let group_is_own = stat.st_gid == 0 || stat.st_gid == rustix::process::getegid().as_raw();
    stat.st_mode & 0o002 != 0 || (stat.st_mode & 0o020 != 0 && !group_is_own)
}

fn directory_flags() -> OFlags {
    OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC
}

fn names(path: &Path) -> VecDeque<OsString> {
    let names = path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsStr::from_bytes(b"..").to_owned()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    });
    names.collect()
}
