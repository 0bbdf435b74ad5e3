//! Records in a folder of this machine: a file each.
//!
//! A record holds the pin and the secret of a cluster, so the folder and the files are for their owner alone. A file is
//! whole: it is written beside its place, made durable, and renamed.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use super::record::Record;
use super::{Claim, Place, RecordsError, Written};

/// The folder of the records below the data directory.
const FOLDER: &str = "launches";
/// What the names of records end with.
const ENDING: &str = ".json";
/// Held while a launch is begun.
const CLAIM: &str = ".lock";
/// Held while a record is compared and written.
const WRITING: &str = ".writing";

/// The records below a data directory.
pub(super) struct Folder(PathBuf);

impl Folder {
    /// Those of a data directory, which is made if it is not there.
    ///
    /// # Errors
    /// It cannot be made.
    pub(super) fn open(data_dir: &Path) -> Result<Self, RecordsError> {
        let folder = data_dir.join(FOLDER);
        DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(failed("make", &folder))?;
        Ok(Self(folder))
    }

    fn path(&self, stack_name: &str) -> PathBuf {
        self.0.join(format!("{stack_name}{ENDING}"))
    }

    fn lock(&self, name: &str) -> Result<File, RecordsError> {
        let path = self.0.join(name);
        let file = File::create(&path).map_err(failed("make", &path))?;
        file.lock().map_err(failed("lock", &path))?;
        Ok(file)
    }
}

impl Place for Folder {
    fn check(&self) -> Result<(), RecordsError> {
        fs::metadata(&self.0).map(drop).map_err(failed("read", &self.0))
    }

    fn all(&self) -> Result<Vec<Record>, RecordsError> {
        let mut records = Vec::new();
        for entry in fs::read_dir(&self.0).map_err(failed("read", &self.0))? {
            let path = entry.map_err(failed("read", &self.0))?.path();
            if path.to_string_lossy().ends_with(ENDING) {
                records.extend(read(&path)?);
            }
        }
        Ok(records)
    }

    fn of_stack(&self, stack_name: &str) -> Result<Option<Record>, RecordsError> {
        read(&self.path(stack_name))
    }

    fn write(&self, record: &Record, is_new: bool, _claim: Option<&Claim>) -> Result<Written, RecordsError> {
        let _writing = self.lock(WRITING)?;
        let path = self.path(&record.stack_name);
        let written = match record.over(read(&path)?.as_ref(), is_new) {
            Ok(written) => written,
            Err(refused) => return Ok(refused),
        };
        let write = || {
            // For its owner alone: tempfile makes files so.
            let mut file = tempfile::NamedTempFile::new_in(&self.0)?;
            serde_json::to_writer_pretty(&mut file, &written)?;
            file.write_all(b"\n")?;
            file.as_file().sync_all()?;
            file.persist(&path).map_err(|error| error.error)?;
            File::open(&self.0)?.sync_all()
        };
        write().map_err(failed("write", &path))?;
        Ok(Written::Done(written.revision))
    }

    fn remove(&self, stack_name: &str) -> Result<(), RecordsError> {
        let _writing = self.lock(WRITING)?;
        let path = self.path(stack_name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove", &path)(error)),
            _ => Ok(()),
        }
    }

    fn claim(&self, _name: &str) -> Result<Claim, RecordsError> {
        self.lock(CLAIM).map(Claim::of_file)
    }
}

/// The record of a file; `None` when there is no file, or no record in it: then the log names it, and it is left alone.
fn read(path: &Path) -> Result<Option<Record>, RecordsError> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed("read", path)(error)),
    };
    match serde_json::from_slice(&text) {
        Ok(record) => Ok(Some(record)),
        Err(error) => {
            log::warn!("{} is no record of a launch: {error}", path.display());
            Ok(None)
        }
    }
}

fn failed(verb: &'static str, path: &Path) -> impl FnOnce(io::Error) -> RecordsError {
    move |source| RecordsError::File { verb, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::super::Records;
    use super::super::record::tests::record;
    use super::*;

    #[test]
    fn files_are_for_their_owner_and_a_damaged_one_hides_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let records = Records::in_folder(&dir.path().join("data")).unwrap();
        records.create(&mut record("lab", "a", "1"), None).unwrap();
        let folder = dir.path().join("data/launches");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&folder), mode(&folder.join("lab--a.json"))), (0o700, 0o600));
        fs::write(folder.join("x.json"), "{").unwrap();
        assert_eq!(records.all().unwrap().len(), 1);
    }

    #[test]
    fn a_file_of_a_release_without_revisions_is_written_over() {
        let dir = tempfile::tempdir().unwrap();
        let records = Records::in_folder(dir.path()).unwrap();
        let mut old = serde_json::to_value(record("lab", "a", "1")).unwrap();
        old.as_object_mut().unwrap().remove("revision");
        fs::write(dir.path().join("launches/lab--a.json"), old.to_string()).unwrap();
        let mut read = records.find("lab").unwrap().unwrap();
        assert!(records.update(&mut read, |record| record.note("seen")).unwrap());
        assert_eq!(records.find("lab").unwrap().unwrap().log.len(), 1);
    }
}
