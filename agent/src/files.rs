//! Writing the guest's files: the only place that does.
//!
//! A file is replaced as a whole or not at all: a temporary file beside it takes the content, the owner and the mode,
//! is synced, and is renamed over it. What cannot be renamed over, a bind mount for one, is rewritten in place after
//! room was reserved, and gets its old content back should that fail; only a power cut in that moment can tear it.
//! The content of a hard link's other names, and extended attributes, are not carried over by a rename.
//!
//! A symbolic link is followed, so that what an administrator keeps elsewhere stays there and stays linked. Who walks
//! directories of a guest below another root must skip links, as their absolute targets lead out of it.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};

use protocol::error::Error;

/// Gives an existing regular file other content; its mode and owner stay. One that has it already is left alone.
///
/// # Errors
/// `File`; then the file is as it was, and nothing lies beside it.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    replace_followed(path, bytes).map_err(|source| cannot_write(path, source))
}

/// Gives a file this content and this mode, be it there or not; directories that are missing are made.
///
/// # Errors
/// `File`; then the file, if there was one, is as it was.
pub fn create(path: &Path, bytes: &[u8], mode: u32) -> Result<(), Error> {
    let create = || {
        let directory = directory_of(path);
        fs::create_dir_all(directory)?;
        match path.canonicalize() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => swap(path, bytes, mode, None),
            target => {
                let target = target?;
                only_regular(&target)?;
                put(&target, bytes, mode, None)
            }
        }
    };
    create().map_err(|source| cannot_write(path, source))
}

fn cannot_write(path: &Path, source: io::Error) -> Error {
    Error::cannot_write(path, source)
}

fn replace_followed(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let target = path.canonicalize()?;
    let found = only_regular(&target)?;
    let same_length = u64::try_from(bytes.len()).is_ok_and(|length| length == found.len());
    if same_length && fs::read(&target)? == bytes {
        return Ok(());
    }
    put(&target, bytes, found.mode(), Some((found.uid(), found.gid())))
}

/// Opens a log to write at its end, made when it is not there.
///
/// # Errors
/// `File`, when that is not possible.
pub fn append(path: &Path) -> Result<File, Error> {
    let opened = OpenOptions::new().append(true).create(true).open(path);
    opened.map_err(|source| cannot_write(path, source))
}

fn only_regular(target: &Path) -> io::Result<fs::Metadata> {
    let found = target.metadata()?;
    if found.is_file() {
        return Ok(found);
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"))
}

fn put(target: &Path, bytes: &[u8], mode: u32, owner: Option<(u32, u32)>) -> io::Result<()> {
    match swap(target, bytes, mode, owner) {
        // EBUSY, EXDEV: it is a mount point. EROFS: it may be one in a read-only directory.
        Err(error) if matches!(errno(&error), Errno::EBUSY | Errno::EXDEV | Errno::EROFS) => {
            rewrite(target, bytes)
        }
        outcome => outcome,
    }
}

/// Renames a new file over `target`.
fn swap(target: &Path, bytes: &[u8], mode: u32, owner: Option<(u32, u32)>) -> io::Result<()> {
    let directory = directory_of(target);
    // Its mode is 0600 until all is in it: cloud-init runs whatever is executable in its scripts directories. Opened
    // here, since an error of tempfile's own opening hides what the system said.
    let mut new = tempfile::Builder::new()
        .prefix(".cernvm-cluster-")
        .make_in(directory, |path| OpenOptions::new().write(true).create_new(true).mode(0o600).open(path))?;
    new.as_file_mut().write_all(bytes)?;
    let made = new.as_file().metadata()?;
    if let Some((uid, gid)) = owner.filter(|owner| *owner != (made.uid(), made.gid())) {
        fchown(new.as_file(), Some(uid), Some(gid))?;
    }
    new.as_file().set_permissions(Permissions::from_mode(mode & 0o7777))?;
    new.as_file().sync_all()?;
    new.persist(target).map_err(|error| error.error)?;
    match File::open(directory)?.sync_all() {
        // Some file systems have no such thing as a directory's sync (fsync(2)).
        Err(error) if errno(&error) == Errno::EINVAL => Ok(()),
        outcome => outcome,
    }
}

/// Writes over the content of `target`.
fn rewrite(target: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().read(true).write(true).open(target)?;
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
    let length = length.try_into().map_err(|_| Errno::EFBIG)?;
    match fallocate(file, FallocateFlags::FALLOC_FL_KEEP_SIZE, 0, length) {
        Err(Errno::ENOSPC) => Err(Errno::ENOSPC.into()),
        _ => Ok(()),
    }
}

fn overwrite(file: &mut File, bytes: &[u8]) -> io::Result<()> {
    file.rewind()?;
    file.write_all(bytes)?;
    file.set_len(u64::try_from(bytes.len()).map_err(|_| Errno::EFBIG)?)?;
    file.sync_all()
}

/// The directory that a file is in; of a bare name, the current one.
fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|directory| !directory.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn errno(error: &io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::UnknownErrno, Errno::from_raw)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::mount::{MntFlags, MsFlags, mount, umount2};
    use nix::sched::{CloneFlags, unshare};
    use protocol::error::Status;
    use std::os::unix::fs::{chown, symlink};
    use std::path::PathBuf;

    /// A directory with the file `context` in it.
    struct Guest(tempfile::TempDir);

    impl Guest {
        fn new() -> Self {
            let guest = Self(tempfile::tempdir().unwrap());
            guest.fill();
            guest
        }

        fn fill(&self) {
            fs::write(self.context(), "old").unwrap();
        }

        fn context(&self) -> PathBuf {
            self.0.path().join("context")
        }

        fn inode(&self) -> u64 {
            self.context().metadata().unwrap().ino()
        }

        fn names(&self) -> Vec<String> {
            let entries = fs::read_dir(self.0.path()).unwrap();
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
        }

        fn refuses(&self, bytes: &[u8], expected: Errno) {
            let error = replace(&self.context(), bytes).unwrap_err();
            assert_eq!(error.io().map(errno), Some(expected), "{error}");
            assert_eq!(error.status(), Status::File);
            assert_eq!(fs::read(self.context()).unwrap(), b"old");
            assert_eq!(self.names(), ["context"]);
        }
    }

    impl Drop for Guest {
        fn drop(&mut self) {
            // What a test mounted here would keep the directory from being removed; mostly there is nothing.
            for path in [&self.context(), self.0.path()] {
                let _ = umount2(path, MntFlags::MNT_DETACH);
            }
        }
    }

    fn is_root() -> bool {
        nix::unistd::geteuid().is_root()
    }

    /// Runs with mounts of its own, which end with it. Only root may; anyone else is told what is left out.
    fn with_mounts(test: impl FnOnce() + Send + 'static) {
        if !is_root() {
            eprintln!("left out, since it needs root: a file system of the test's own");
            return;
        }
        let thread = std::thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNS).unwrap();
            mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)
                .unwrap();
            test();
        });
        thread.join().unwrap();
    }

    fn mount_small(guest: &Guest, flags: MsFlags) {
        mount(Some("tmpfs"), guest.0.path(), Some("tmpfs"), flags, Some("size=64k")).unwrap();
    }

    fn bind(from: &Path, to: &Path) {
        mount(Some(from), to, None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
    }

    #[test]
    fn replaces_the_content_and_keeps_mode_and_owner() {
        let guest = Guest::new();
        for mode in [0o600, 0o755, 0o640] {
            if is_root() {
                chown(guest.context(), Some(1234), Some(4321)).unwrap();
            }
            fs::set_permissions(guest.context(), Permissions::from_mode(mode)).unwrap();
            let (before, content) = (guest.context().metadata().unwrap(), format!("new {mode}"));
            replace(&guest.context(), content.as_bytes()).unwrap();
            let after = guest.context().metadata().unwrap();
            assert_eq!(fs::read_to_string(guest.context()).unwrap(), content);
            assert_eq!((after.mode(), after.uid(), after.gid()), (before.mode(), before.uid(), before.gid()));
            assert_eq!(guest.names(), ["context"]);
        }
    }

    #[test]
    fn leaves_a_file_alone_that_has_the_content_already() {
        let guest = Guest::new();
        let inode = guest.inode();
        replace(&guest.context(), b"old").unwrap();
        assert_eq!(guest.inode(), inode);
        replace(&guest.context(), b"new").unwrap();
        assert_ne!(guest.inode(), inode);
    }

    #[test]
    fn follows_a_link_and_keeps_it() {
        let guest = Guest::new();
        let link = guest.0.path().join("link");
        symlink("context", &link).unwrap();
        replace(&link, b"new").unwrap();
        assert!(link.symlink_metadata().unwrap().is_symlink());
        assert_eq!(fs::read(guest.context()).unwrap(), b"new");
        create(&link, b"newer", 0o600).unwrap();
        assert!(link.symlink_metadata().unwrap().is_symlink());
        assert_eq!(fs::read(guest.context()).unwrap(), b"newer");
    }

    #[test]
    fn refuses_what_is_no_regular_file() {
        let guest = Guest::new();
        let missing = guest.0.path().join("missing");
        for path in [guest.0.path(), Path::new("/dev/null"), &missing] {
            assert_eq!(replace(path, b"new").unwrap_err().status(), Status::File, "{}", path.display());
        }
        assert!(create(Path::new("/dev/null"), b"new", 0o600).is_err());
        assert_eq!(guest.names(), ["context"]);
    }

    #[test]
    fn creates_a_file_with_its_mode_and_directories() {
        let guest = Guest::new();
        let path = guest.0.path().join("a/b/cache");
        for (mode, content) in [(0o600, "one"), (0o644, "two")] {
            create(&path, content.as_bytes(), mode).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), content);
            assert_eq!(path.metadata().unwrap().mode() & 0o7777, mode);
        }
    }

    #[test]
    fn leaves_the_file_whole_where_the_directory_may_not_be_written() {
        if is_root() {
            eprintln!("left out, since root may write anywhere: a directory without permission");
            return;
        }
        let guest = Guest::new();
        fs::set_permissions(guest.0.path(), Permissions::from_mode(0o555)).unwrap();
        guest.refuses(b"new", Errno::EACCES);
        fs::set_permissions(guest.0.path(), Permissions::from_mode(0o755)).unwrap();
    }

    #[test]
    fn leaves_the_file_whole_on_a_read_only_file_system() {
        with_mounts(|| {
            let guest = Guest::new();
            mount_small(&guest, MsFlags::empty());
            guest.fill();
            mount_small(&guest, MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY);
            guest.refuses(b"new", Errno::EROFS);
        });
    }

    #[test]
    fn leaves_the_file_whole_on_a_full_disk() {
        with_mounts(|| {
            let guest = Guest::new();
            mount_small(&guest, MsFlags::empty());
            guest.fill();
            guest.refuses(&[b'x'; 65_537], Errno::ENOSPC);
            replace(&guest.context(), b"what fits").unwrap();
        });
    }

    #[test]
    fn rewrites_a_mounted_file_in_place() {
        with_mounts(|| {
            let guest = Guest::new();
            bind(&guest.context(), &guest.context());
            let inode = guest.inode();
            for content in ["longer than before", "short"] {
                replace(&guest.context(), content.as_bytes()).unwrap();
                assert_eq!(fs::read_to_string(guest.context()).unwrap(), content);
            }
            assert_eq!((guest.inode(), guest.names()), (inode, vec!["context".to_owned()]));
        });
    }

    #[test]
    fn leaves_a_mounted_file_whole_on_a_full_disk() {
        with_mounts(|| {
            let (guest, small) = (Guest::new(), Guest::new());
            mount_small(&small, MsFlags::empty());
            small.fill();
            bind(&small.context(), &guest.context());
            guest.refuses(&[b'x'; 65_537], Errno::ENOSPC);
            replace(&guest.context(), b"what fits").unwrap();
            assert_eq!(fs::read(small.context()).unwrap(), b"what fits");
        });
    }

    #[test]
    fn rewrites_a_mounted_file_in_a_read_only_directory() {
        with_mounts(|| {
            let (guest, elsewhere) = (Guest::new(), Guest::new());
            mount_small(&guest, MsFlags::empty());
            guest.fill();
            bind(&elsewhere.context(), &guest.context());
            mount_small(&guest, MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY);
            replace(&guest.context(), b"new").unwrap();
            assert_eq!(fs::read(elsewhere.context()).unwrap(), b"new");
        });
    }
}
