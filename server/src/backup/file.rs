//! The file that a backup goes to: under another name in its directory until it is whole and on the disk.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use tempfile::{Builder, NamedTempFile};

use crate::error::Error;
use crate::store::FILE_NAME;

/// What a redb file begins with (redb's design document, "Super-header").
const MAGIC: &[u8] = b"redb\x1a\x0a\xa9\x0d\x0a";

/// The file in the making; gone when it is dropped.
pub(super) struct BackupFile {
    path: PathBuf,
    dir: PathBuf,
    temporary: NamedTempFile,
    /// The earlier backup, locked: it is no store that a service has open, and none opens it meanwhile.
    _earlier: Option<File>,
}

impl BackupFile {
    /// Makes the temporary file, for this user alone (0600).
    ///
    /// # Errors
    /// It cannot be made, or something is at `path` that a backup must not take the place of: whatever is no earlier
    /// backup, and any store that a service has open, which would go on writing to a file without a name.
    pub(super) fn new(path: &Path, data_dir: &Path) -> Result<Self, Error> {
        let refused = |err| Error::file("write", path, err);
        let taken = || Error::Taken { path: path.to_owned() };
        let mut earlier = None;
        match fs::symlink_metadata(path) {
            Err(err) if err.kind() == io::ErrorKind::NotFound => {}
            Err(err) => return Err(refused(err)),
            Ok(found) => {
                let store = fs::metadata(data_dir.join(FILE_NAME));
                let is_store =
                    store.is_ok_and(|store| (store.dev(), store.ino()) == (found.dev(), found.ino()));
                if is_store || !found.is_file() || !is_backup(path).map_err(refused)? {
                    return Err(taken());
                }
                let file = File::open(path).map_err(refused)?;
                match file.try_lock() {
                    Ok(()) => earlier = Some(file),
                    Err(TryLockError::WouldBlock) => return Err(Error::InUse { path: path.to_owned() }),
                    Err(TryLockError::Error(err)) => return Err(refused(err)),
                }
            }
        }
        let name = path.file_name().ok_or_else(taken)?;
        let dir = match path.parent() {
            Some(dir) if !dir.as_os_str().is_empty() => dir,
            _ => Path::new("."),
        };
        let mut prefix = name.to_owned();
        prefix.push(".");
        let temporary = Builder::new().prefix(&prefix).make_in(dir, create).map_err(refused)?;
        Ok(Self { path: path.to_owned(), dir: dir.to_owned(), temporary, _earlier: earlier })
    }

    /// The file, to be filled.
    pub(super) fn file(&self) -> Result<File, Error> {
        self.temporary.as_file().try_clone().map_err(|err| Error::file("write", &self.path, err))
    }

    /// What it will be called.
    pub(super) fn name(&self) -> String {
        self.path.display().to_string()
    }

    /// Renames the synced file to its final name, and syncs the directory.
    pub(super) fn keep(self) -> Result<(), Error> {
        let refused = |err| Error::file("write", &self.path, err);
        self.temporary.persist(&self.path).map_err(|err| refused(err.error))?;
        File::open(&self.dir).and_then(|dir| dir.sync_all()).map_err(refused)
    }
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)
}

/// Whether a file is an earlier backup, or empty.
fn is_backup(path: &Path) -> io::Result<bool> {
    let mut beginning = Vec::new();
    File::open(path)?.take(MAGIC.len() as u64).read_to_end(&mut beginning)?;
    Ok(beginning.is_empty() || beginning == MAGIC)
}
