//! Reading and writing the guest's files: the only place that does.
//!
//! A path is resolved as `resolve.rs` says, so that no other user leads the agent elsewhere. A file is read, edited and
//! replaced in one step: what has changed it meanwhile is read again, not undone. It is replaced as a whole or not at
//! all (`replacement.rs`) and keeps its owner, mode, access control list and extended attributes.
//!
//! What cannot be renamed over, a bind mount for one, is rewritten in place after room was reserved, and gets its old
//! content back should that fail; only a power cut in that moment can tear it. The other names of a hard-linked file keep
//! the old content.

mod attributes;
mod replacement;
mod resolve;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::root::Root;
use context::document::MAX_FILE_BYTES;
use protocol::error::{Error, Status};
use replacement::{NewContent, OldFile, Replacement, errno};
use resolve::{IfMissing, Location, is_own, others_may_write};

/// How often a file is read again that something else changes at the same time.
const ATTEMPTS: usize = 5;

/// A regular file as it was read.
#[derive(Debug)]
pub struct FileContent {
    /// All of it.
    pub bytes: Vec<u8>,
    /// Its user.
    pub uid: u32,
    /// Its permissions.
    pub mode: u32,
    /// Whether root alone can change it or put another in its place.
    pub only_root_writes: bool,
}

/// What a file is to become.
#[derive(Debug)]
pub struct Edited {
    /// All of its content.
    pub bytes: Vec<u8>,
    /// Other permissions, and another user and group, than it has now.
    pub owner_and_mode: Option<((u32, u32), u32)>,
}

impl From<Vec<u8>> for Edited {
    fn from(bytes: Vec<u8>) -> Self {
        Self { bytes, owner_and_mode: None }
    }
}

/// Reads a regular file.
///
/// # Errors
/// `File` when it is not there, is no regular file, is larger than [`MAX_FILE_BYTES`], or when another user leads there.
pub fn read(root: &Root, path: &Path) -> Result<FileContent, Error> {
    let read = || {
        let location = Location::find(root, path, IfMissing::Refuse)?;
        read_at(&location).map(|(content, _)| content)
    };
    read().map_err(|source| failed("read", path, source))
}

/// Whether a file of any length holds these bytes.
///
/// # Errors
/// As [`read`], but for the length.
pub fn contains(root: &Root, path: &Path, wanted: &[u8]) -> Result<bool, Error> {
    let search = || {
        let (fd, _) = Location::find(root, path, IfMissing::Refuse)?.open(OFlags::RDONLY)?;
        let (mut file, mut window) = (File::from(fd), Vec::new());
        let mut chunk = vec![0; 65_536];
        loop {
            let length = file.read(&mut chunk)?;
            window.extend_from_slice(&chunk[..length]);
            if window.windows(wanted.len()).any(|bytes| bytes == wanted) {
                return Ok(true);
            }
            if length == 0 {
                return Ok(false);
            }
            window.drain(..window.len().saturating_sub(wanted.len()));
        }
    };
    search().map_err(|source| failed("read", path, source))
}

/// Reads a file, lets `edit` say what it is to become, and replaces it; whether it did. With `None`, and with the content
/// that it has already, it is left alone. `edit` is asked again when the file has changed meanwhile.
///
/// # Errors
/// `File`, as [`read`] or when it cannot be written; those of `edit`. Then the file is as it was, and nothing lies beside
/// it.
pub fn edit(
    root: &Root,
    path: &Path,
    mut edit: impl FnMut(&FileContent) -> Result<Option<Edited>, Error>,
) -> Result<bool, Error> {
    for _ in 0..ATTEMPTS {
        let read = Location::find(root, path, IfMissing::Refuse).and_then(|location| {
            let (content, old) = read_at(&location)?;
            Ok((location, content, old))
        });
        let (location, content, old) = read.map_err(|source| failed("read", path, source))?;
        let Some(edited) = edit(&content)? else { return Ok(false) };
        if edited.bytes == content.bytes {
            return Ok(false);
        }
        let (owner, mode) =
            edited.owner_and_mode.unwrap_or(((old.stat.st_uid, old.stat.st_gid), old.stat.st_mode));
        let desired = NewContent { bytes: &edited.bytes, mode, owner: Some(owner) };
        match replacement::put(&location, Some(&old), &desired) {
            Ok(Replacement::Done) => return Ok(true),
            Ok(Replacement::ChangedMeanwhile) => {}
            Err(source) => return Err(failed("write", path, source)),
        }
    }
    Err(failed("write", path, Refused::KeepsChanging.into()))
}

/// Gives a file this content and this mode, be it there or not; directories that are missing are made.
///
/// # Errors
/// `File`; then the file, if there was one, is as it was.
pub fn create(root: &Root, path: &Path, bytes: &[u8], mode: u32) -> Result<(), Error> {
    let create = || {
        let location = Location::find(root, path, IfMissing::Create)?;
        let desired = NewContent { bytes, mode, owner: None };
        for _ in 0..ATTEMPTS {
            let old = match location.open(OFlags::RDONLY) {
                Ok((fd, stat)) => Some(OldFile { fd, stat }),
                Err(error) if errno(&error) == Errno::NOENT => None,
                Err(error) => return Err(error),
            };
            if replacement::put(&location, old.as_ref(), &desired)? == Replacement::Done {
                return Ok(());
            }
        }
        Err(Refused::KeepsChanging.into())
    };
    create().map_err(|source| failed("write", path, source))
}

/// Removes a file; one that is not there counts as removed.
///
/// # Errors
/// `File`.
pub fn remove(root: &Root, path: &Path) -> Result<(), Error> {
    let remove = || -> io::Result<()> {
        let location = Location::find(root, path, IfMissing::Refuse)?;
        Ok(rustix::fs::unlinkat(location.directory(), &location.name, rustix::fs::AtFlags::empty())?)
    };
    match remove() {
        Err(error) if errno(&error) != Errno::NOENT => Err(failed("write", path, error)),
        _ => Ok(()),
    }
}

/// Gives a file these permissions.
///
/// # Errors
/// `File`, as [`read`] or when the system cannot.
pub fn set_mode(root: &Root, path: &Path, mode: u32) -> Result<(), Error> {
    let set = || {
        let (fd, _) = Location::find(root, path, IfMissing::Refuse)?.open(OFlags::RDONLY)?;
        Ok(rustix::fs::fchmod(fd, rustix::fs::Mode::from_raw_mode(mode))?)
    };
    set().map_err(|source: io::Error| failed("write", path, source))
}

/// Makes sure that a file, as something else has written it, outlives a power cut.
///
/// # Errors
/// `File`, as [`read`] or when the system cannot.
pub fn sync(root: &Root, path: &Path) -> Result<(), Error> {
    let sync = || {
        let location = Location::find(root, path, IfMissing::Refuse)?;
        let (fd, _) = location.open(OFlags::RDONLY)?;
        File::from(fd).sync_all()?;
        replacement::sync_directory(&location)
    };
    sync().map_err(|source| failed("write", path, source))
}

/// Removes what runs that were cut off have left beside these files, and says so.
pub fn remove_leftovers<'a>(root: &Root, paths: impl IntoIterator<Item = &'a Path>) {
    let mut seen = BTreeSet::new();
    for path in paths.into_iter().filter(|path| seen.insert(path.parent())) {
        let removed = Location::find(root, path, IfMissing::Refuse)
            .and_then(|location| replacement::remove_leftovers(&location));
        for removed in removed.unwrap_or_default() {
            log::warn!(
                "{}: removed, an earlier run was cut off before it had replaced a file",
                removed.display()
            );
        }
    }
}

/// Opens a log to write at its end, made when it is not there.
///
/// # Errors
/// `File`, when that is not possible.
pub fn append(path: &Path) -> Result<File, Error> {
    let opened = OpenOptions::new().append(true).create(true).open(path);
    opened.map_err(|source| failed("write", path, source))
}

fn read_at(location: &Location) -> io::Result<(FileContent, OldFile)> {
    let (fd, stat) = location.open(OFlags::RDONLY)?;
    let mut file = File::from(fd);
    let mut bytes = Vec::new();
    let allowed = u64::try_from(MAX_FILE_BYTES).unwrap_or(u64::MAX).saturating_add(1);
    file.by_ref().take(allowed).read_to_end(&mut bytes)?;
    if bytes.len() > MAX_FILE_BYTES {
        let problem = format!("it is larger than {} MiB", MAX_FILE_BYTES >> 20);
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, problem));
    }
    let content = FileContent {
        bytes,
        uid: stat.st_uid,
        mode: stat.st_mode & 0o7777,
        only_root_writes: location.only_root_changes_names() && is_own(&stat) && !others_may_write(&stat),
    };
    Ok((content, OldFile { fd: file.into(), stat }))
}

/// Why the agent does not touch what lies at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// A symbolic link that another user may have made.
    Link(PathBuf),
    /// A directory, a pipe, a socket or a device.
    NotRegular,
    /// A hard link where another user may have made it.
    OtherNames,
    /// A file system that another user may have mounted.
    Mount,
    /// A directory for temporary files was swapped.
    Temporary,
    /// Something writes to it without pause.
    KeepsChanging,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Link(link) => write!(
                f,
                "{} is a symbolic link in a directory that users other than root can change",
                link.display()
            ),
            Self::NotRegular => f.write_str("it is not a regular file"),
            Self::OtherNames => {
                f.write_str("it is a hard link in a directory that users other than root can change")
            }
            Self::Mount => f.write_str(
                "a file system is mounted on the way, in a directory that users other than root can change",
            ),
            Self::Temporary => {
                f.write_str("another user has changed the directory for temporary files beside it")
            }
            Self::KeepsChanging => f.write_str("another program changes it all the time"),
        }
    }
}

impl std::error::Error for Refused {}

impl From<Refused> for io::Error {
    fn from(refused: Refused) -> Self {
        let kind = match refused {
            Refused::NotRegular => io::ErrorKind::InvalidInput,
            Refused::KeepsChanging => io::ErrorKind::ResourceBusy,
            Refused::Link(_) | Refused::OtherNames | Refused::Mount | Refused::Temporary => {
                io::ErrorKind::PermissionDenied
            }
        };
        Self::new(kind, refused)
    }
}

fn failed(verb: &str, path: &Path, source: io::Error) -> Error {
    let refused = source.get_ref().and_then(|source| source.downcast_ref::<Refused>());
    match refused {
        Some(Refused::Link(_) | Refused::OtherNames | Refused::Mount | Refused::Temporary) => Error::new(
            Status::File,
            format!("cannot {verb} {}: {source}", path.display()),
            "put a regular file there, or give the directory to root, and boot again",
        ),
        _ if verb == "read" => Error::cannot_read(path, source),
        _ => Error::cannot_write(path, source),
    }
}
