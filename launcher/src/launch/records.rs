//! What is known of launches: a file each, which outlives the program.
//!
//! A record holds the pin and the secret of a cluster, so the folder and the files are for their owner alone. A file is
//! whole: it is written beside its place, made durable, and renamed.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use protocol::{Pin, Secret};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// The folder of the records below the data directory.
const FOLDER: &str = "launches";
/// What the names of records end with.
const ENDING: &str = ".json";
/// Most lines of a launch's log.
const LOG_MAX: usize = 200;

/// Why records cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[error("cannot {verb} {}: {source}", path.display())]
pub struct RecordsError {
    verb: &'static str,
    path: PathBuf,
    source: io::Error,
}

impl RecordsError {
    /// What to do next.
    #[must_use]
    pub fn next_step(&self) -> &'static str {
        "check the folder of --data-dir: that it may be written, and has room"
    }
}

/// A line of a launch's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// When: RFC 3339 in UTC.
    pub time: String,
    /// What happened.
    pub text: String,
}

/// What a cluster pairs with.
///
/// No `Debug`: the pin and the secret must not get into a log by accident.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Paired {
    /// The pairing service, as the launcher reaches it.
    pub url: String,
    pin: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
}

impl Paired {
    /// A pin of a service, and perhaps the secret that seals its values.
    #[must_use]
    pub fn new(url: String, pin: &Pin, secret: Option<&Secret>) -> Self {
        Self { url, pin: pin.reveal().to_owned(), secret: secret.map(Secret::reveal) }
    }

    /// The pin.
    #[must_use]
    pub fn pin(&self) -> Option<Pin> {
        Pin::parse(&self.pin).ok()
    }

    /// A text that others made, without the pin and the secret: Heat shows the value of a parameter that it refuses.
    #[must_use]
    pub fn masked(&self, text: &str) -> String {
        let secrets = [Some(self.pin.as_str()), self.secret.as_deref()];
        let secrets = secrets.into_iter().flatten().filter(|secret| !secret.is_empty());
        secrets.fold(text.to_owned(), |text, secret| text.replace(secret, "…"))
    }

    /// The secret.
    #[must_use]
    pub fn secret(&self) -> Option<Secret> {
        Secret::parse(self.secret.as_deref()?).ok()
    }
}

/// A launch.
#[derive(Clone, Serialize, Deserialize)]
pub struct Record {
    /// What the cluster is called.
    pub name: String,
    /// What its stack is called.
    pub stack_name: String,
    /// The id of the stack; `None` before Heat has given one.
    pub stack_id: Option<String>,
    /// The id of the cluster's type.
    pub cluster_type: String,
    /// Keystone's address.
    pub auth_url: String,
    /// The id of the project.
    pub project_id: String,
    /// When it was asked for: RFC 3339 in UTC.
    pub created: String,
    /// What it pairs with, if it does.
    pub paired: Option<Paired>,
    /// Whether the launch was answered with an error although its stack may come: then that is to be deleted.
    #[serde(default)]
    pub abandoned: bool,
    /// How it looked when it was looked at last, as the view has it.
    #[serde(default)]
    pub last_view: Value,
    /// What has happened.
    #[serde(default)]
    pub log: Vec<LogLine>,
}

impl Record {
    /// Adds a line to the log. The oldest lines but the first go when there are too many.
    pub fn note(&mut self, text: impl Into<String>) {
        self.log.push(LogLine { time: now(), text: text.into() });
        if self.log.len() > LOG_MAX {
            self.log.remove(1);
        }
    }

    /// Whether it was asked for longer ago than this.
    #[must_use]
    pub fn is_older_than(&self, age: Duration) -> bool {
        let created = OffsetDateTime::parse(&self.created, &Rfc3339);
        created.is_ok_and(|created| OffsetDateTime::now_utc() - created > age)
    }

    /// Whether a name means it: the cluster's, its stack's, or the stack's id.
    #[must_use]
    pub fn is_called(&self, name: &str) -> bool {
        self.name == name || self.stack_name == name || self.stack_id.as_deref() == Some(name)
    }
}

/// The records below a data directory.
#[derive(Debug, Clone)]
pub struct Records {
    folder: PathBuf,
}

impl Records {
    /// Those of a data directory, which is made if it is not there.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn open(data_dir: &Path) -> Result<Self, RecordsError> {
        let folder = data_dir.join(FOLDER);
        DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(failed("make", &folder))?;
        Ok(Self { folder })
    }

    /// Keeps other programs from beginning a launch until the guard is dropped: two of one name would make two clusters.
    ///
    /// # Errors
    /// The lock cannot be had.
    pub fn lock(&self) -> Result<File, RecordsError> {
        let path = self.folder.join(".lock");
        let file = File::create(&path).map_err(failed("make", &path))?;
        file.lock().map_err(failed("lock", &path))?;
        Ok(file)
    }

    /// All of them, the oldest first. One that cannot be read is named in the log, and left alone.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn all(&self) -> Result<Vec<Record>, RecordsError> {
        let mut records: Vec<Record> = Vec::new();
        for entry in fs::read_dir(&self.folder).map_err(failed("read", &self.folder))? {
            let path = entry.map_err(failed("read", &self.folder))?.path();
            if !path.to_string_lossy().ends_with(ENDING) {
                continue;
            }
            let text = match fs::read(&path) {
                Ok(text) => text,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(failed("read", &path)(error)),
            };
            match serde_json::from_slice(&text) {
                Ok(record) => records.push(record),
                Err(error) => log::warn!("{} is no record of a launch: {error}", path.display()),
            }
        }
        records.sort_by(|a, b| (&a.created, &a.stack_name).cmp(&(&b.created, &b.stack_name)));
        Ok(records)
    }

    /// The newest that a name means. A launch that was abandoned is none: its cluster is not there.
    ///
    /// # Errors
    /// As [`Records::all`].
    pub fn find(&self, name: &str) -> Result<Option<Record>, RecordsError> {
        Ok(self.all()?.into_iter().rfind(|record| !record.abandoned && record.is_called(name)))
    }

    /// That of a stack, also of one that is abandoned.
    ///
    /// # Errors
    /// As [`Records::all`].
    pub fn of_stack(&self, stack_name: &str) -> Result<Option<Record>, RecordsError> {
        Ok(self.all()?.into_iter().find(|record| record.stack_name == stack_name))
    }

    /// Keeps a record.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn save(&self, record: &Record) -> Result<(), RecordsError> {
        let path = self.path(record);
        let write = || {
            // For its owner alone: tempfile makes files so.
            let mut file = tempfile::NamedTempFile::new_in(&self.folder)?;
            serde_json::to_writer_pretty(&mut file, record)?;
            file.write_all(b"\n")?;
            file.as_file().sync_all()?;
            file.persist(&path).map_err(|error| error.error)?;
            File::open(&self.folder)?.sync_all()
        };
        write().map_err(failed("write", &path))
    }

    /// Forgets a record.
    ///
    /// # Errors
    /// It cannot be removed.
    pub fn remove(&self, record: &Record) -> Result<(), RecordsError> {
        let path = self.path(record);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove", &path)(error)),
            _ => Ok(()),
        }
    }

    fn path(&self, record: &Record) -> PathBuf {
        self.folder.join(format!("{}{ENDING}", record.stack_name))
    }
}

fn failed(verb: &'static str, path: &Path) -> impl FnOnce(io::Error) -> RecordsError {
    move |source| RecordsError { verb, path: path.to_owned(), source }
}

/// The time now: RFC 3339 in UTC, in whole seconds.
pub(crate) fn now() -> String {
    let now = OffsetDateTime::now_utc();
    now.replace_nanosecond(0).unwrap_or(now).format(&Rfc3339).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn record(name: &str, suffix: &str, created: &str) -> Record {
        Record {
            name: name.into(),
            stack_name: format!("{name}--{suffix}"),
            stack_id: None,
            cluster_type: "t".into(),
            auth_url: "http://k".into(),
            project_id: "p".into(),
            created: created.into(),
            paired: Some(Paired::new("http://pair".into(), &Pin::parse("abcdefghijkl").unwrap(), None)),
            abandoned: false,
            last_view: Value::Null,
            log: Vec::new(),
        }
    }

    #[test]
    fn keeps_finds_and_forgets() {
        let dir = tempfile::tempdir().unwrap();
        let records = Records::open(&dir.path().join("data")).unwrap();
        records.save(&record("lab", "b", "2")).unwrap();
        let mut first = record("lab", "a", "1");
        records.save(&first).unwrap();
        first.stack_id = Some("id-1".into());
        first.note("made");
        records.save(&first).unwrap();
        assert_eq!(records.all().unwrap().len(), 2);
        let found = |name| records.find(name).unwrap().map(|record| record.stack_name);
        assert_eq!(found("lab").as_deref(), Some("lab--b"), "the newest");
        assert_eq!(found("id-1").as_deref(), Some("lab--a"));
        let kept = records.find("lab--a").unwrap().unwrap();
        assert_eq!(kept.paired.unwrap().pin().unwrap().reveal(), "abcdefghijkl");
        assert_eq!(kept.log[0].text, "made");
        let mut abandoned = record("lab", "c", "3");
        abandoned.abandoned = true;
        records.save(&abandoned).unwrap();
        assert_eq!(found("lab").as_deref(), Some("lab--b"), "one that is abandoned is not there");
        assert!(records.of_stack("lab--c").unwrap().is_some());
        records.remove(&first).unwrap();
        records.remove(&first).unwrap();
        assert_eq!(found("lab--a"), None);
    }

    #[test]
    fn files_are_for_their_owner_and_a_damaged_one_hides_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let records = Records::open(&dir.path().join("data")).unwrap();
        records.save(&record("lab", "a", "1")).unwrap();
        let folder = dir.path().join("data/launches");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&folder), mode(&folder.join("lab--a.json"))), (0o700, 0o600));
        fs::write(folder.join("x.json"), "{").unwrap();
        assert_eq!(records.all().unwrap().len(), 1);
    }

    #[test]
    fn a_log_that_is_full_keeps_its_first_line() {
        let mut record = record("lab", "a", "1");
        for line in 0..LOG_MAX + 5 {
            record.note(format!("{line}"));
        }
        let texts: Vec<_> = record.log.iter().map(|line| line.text.as_str()).collect();
        assert_eq!((texts.len(), texts[0], texts[1]), (LOG_MAX, "0", "6"));
    }
}
