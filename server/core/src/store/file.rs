//! The store's file: made for this user alone, opened by this process alone. What is in it is `database`'s.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt as _, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::Refused;

/// Opens and locks the file at `path` in `dir`; both are made if they are not there, and are on the disk before
/// anything is promised of their contents. `advice` is for those who find it open in another process.
///
/// # Errors
/// [`Refused::Failed`] with a sentence that names the file or directory.
pub(super) fn open(dir: &Path, path: &Path, advice: &str) -> Result<File, Refused> {
    let failed = |path: &Path, err: &io::Error| Refused::Failed(format!("{}: {err}", path.display()));
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(|err| failed(dir, &err))?;
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(|err| failed(path, &err))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            return Err(Refused::Failed(format!(
                "{}: another process has it open; {advice}",
                path.display()
            )));
        }
        Err(TryLockError::Error(err)) => return Err(failed(path, &err)),
    }
    for made in [Some(dir), dir.parent()].into_iter().flatten() {
        sync_dir(made).map_err(|err| failed(made, &err))?;
    }
    Ok(file)
}

fn sync_dir(dir: &Path) -> io::Result<()> {
    let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    File::open(dir)?.sync_all()
}

/// Where the log of the store at `path` is: `pairing.log`.
pub(super) fn log_of(path: &Path) -> PathBuf {
    path.with_extension("log")
}

/// Opens the log at `log`, in which the store at `path` has its newest writes.
///
/// # Errors
/// It cannot be opened: a sentence for the operator, with the names.
pub(super) fn open_log(path: &Path, log: &Path) -> Result<File, Refused> {
    OpenOptions::new().read(true).write(true).open(log).map_err(|err| {
        let (log, path) = (log.display(), path.display());
        Refused::Failed(match err.kind() {
            io::ErrorKind::NotFound => format!(
                "{log}: it is missing, and has the newest writes of {path}; put it back beside that file, or restore a backup"
            ),
            _ => format!("{log}: {err}"),
        })
    })
}

/// Makes the log at `log`, where the store has none in use, and the last was `last`; the name is on the disk then. One that
/// another store has left is kept under another name, since that store, wherever it was moved, needs it.
///
/// # Errors
/// It cannot be made.
pub(super) fn make_log(log: &Path, last: Option<u64>) -> Result<File, Refused> {
    let make = || {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let mut file = options.open(log)?;
        if file.metadata()?.len() >= 8 {
            // The identifier with which its first frame begins, if it was ever written to.
            let mut begins = [0; 8];
            file.read_exact_at(&mut begins, 0)?;
            let begins = u64::from_le_bytes(begins);
            if begins != 0 && Some(begins) != last {
                let kept = log.with_extension("log.old");
                std::fs::rename(log, &kept)?;
                log::warn!("{}: it belongs to another store, and is now {}", log.display(), kept.display());
                file = options.open(log)?;
            }
        }
        sync_dir(log.parent().unwrap_or(log))?;
        Ok(file)
    };
    make().map_err(|err: io::Error| Refused::Failed(format!("{}: {err}", log.display())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;
    use crate::store::Limits;
    use crate::store::layout::{META, RECORDS};
    use crate::store::suite::wait;
    use crate::store::{FILE_NAME, Store};
    use redb::{Database, TableDefinition, WriteTransaction};
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::sync::Arc;

    fn open(dir: &Path) -> Result<Store, Refused> {
        Store::open(dir, Limits::default(), Arc::new(SystemClock), Arc::new(()))
    }

    /// Opens the file that `make` has made, and compares what the refusal says of it.
    #[track_caller]
    fn check_refused(make: impl FnOnce(&Path), says: &str) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE_NAME);
        make(&path);
        let Err(Refused::Failed(why) | Refused::LaterFormat(why)) = open(dir.path()) else {
            panic!("it was opened")
        };
        assert_eq!(why, format!("{}: {says}", path.display()));
    }

    /// Commits what `fill` puts into a database that may exist.
    fn fill(path: &Path, fill: impl FnOnce(&WriteTransaction)) {
        let transaction = Database::create(path).unwrap().begin_write().unwrap();
        fill(&transaction);
        transaction.commit().unwrap();
    }

    #[test]
    fn directory_and_file_are_for_this_user_alone() {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("one/two");
        let _store = open(&dir).unwrap();
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o7777;
        assert_eq!((mode(&dir), mode(&dir.join(FILE_NAME))), (0o700, 0o600));
    }

    #[test]
    fn a_second_opening_is_refused_while_the_first_lasts() {
        let dir = tempfile::tempdir().unwrap();
        let first = open(dir.path()).unwrap();
        let pin = wait(first.create_cluster()).unwrap().pin;
        let Err(Refused::Failed(why)) = open(dir.path()) else { panic!("it was opened") };
        let path = dir.path().join(FILE_NAME);
        assert_eq!(
            why,
            format!(
                "{}: another process has it open; stop that one first, or use another data directory",
                path.display()
            )
        );
        wait(first.cluster(&pin)).unwrap();
        drop(first);
        wait(open(dir.path()).unwrap().cluster(&pin)).unwrap();
    }

    #[test]
    fn refuses_a_file_that_is_not_its_own() {
        check_refused(|path| fs::create_dir(path).unwrap(), "Is a directory (os error 21)");
        let foreign = "the file is not one of this service; move it away, or use another data directory";
        check_refused(|path| fs::write(path, "short").unwrap(), foreign);
        check_refused(|path| fs::write(path, "a letter to a friend".repeat(500)).unwrap(), foreign);
        check_refused(|path| fs::write(path, vec![0; 8 << 20]).unwrap(), foreign);
        let [other, wrong] = ["other", "meta"].map(TableDefinition::<&str, &str>::new);
        check_refused(|path| fill(path, |into| drop(into.open_table(other).unwrap())), foreign);
        check_refused(|path| fill(path, |into| drop(into.open_table(wrong).unwrap())), foreign);
        check_refused(|path| fill(path, |into| drop(into.open_table(META).unwrap())), foreign);
    }

    #[test]
    fn refuses_a_format_that_it_does_not_know() {
        let newer =
            |into: &WriteTransaction| drop(into.open_table(META).unwrap().insert("format", 4).unwrap());
        check_refused(|path| fill(path, newer), "the file has format 4, this release reads formats up to 3");
        let dir = tempfile::tempdir().unwrap();
        fill(&dir.path().join(FILE_NAME), newer);
        assert!(matches!(open(dir.path()), Err(Refused::LaterFormat(_))));
    }

    #[test]
    fn refuses_a_record_that_it_cannot_read() {
        let check = |record: &[u8], why: &str| {
            let make = |path: &Path| {
                drop(open(path.parent().unwrap()).unwrap());
                fill(path, |into| drop(into.open_table(RECORDS).unwrap().insert(7, record).unwrap()));
            };
            let advice = "restore the file from a backup, or move it away to begin with an empty store";
            check_refused(make, &format!("record 7 is damaged: {why}; {advice}"));
        };
        check(b"", "it is cut short");
        check(b"\x09", "it is of kind 9, which this version does not know");
        check(&[b"\x02enico1qq0oey", [0; 18].as_slice()].concat(), "its cluster is missing");
        check(&[b"\x03enico1qq0oey", [0; 11].as_slice()].concat(), "its cluster is missing");
    }
}
