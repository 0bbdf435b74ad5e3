//! What is known of launches: a record each.
//!
//! A record is kept before its launch goes on. It is written only over what its writer has read: several launchers may
//! have the same records.

mod claim;
mod etcd;
mod folder;
mod memory;
mod record;
#[cfg(test)]
mod suite;

use std::io;
use std::path::{Path, PathBuf};

use pairing_etcd::Error as EtcdError;
use protocol::Secret;
use protocol::error::Status;

pub use claim::Claim;
pub(crate) use record::now;
pub use record::{LogLine, Paired, Record};

use etcd::Etcd;
use folder::Folder;
use memory::Memory;

/// Why records cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum RecordsError {
    /// The folder, or a file in it, cannot be used.
    #[error("cannot {verb} {}: {source}", path.display())]
    File {
        /// What was to be done.
        verb: &'static str,
        /// With which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// etcd cannot be used.
    #[error("the launches in etcd cannot be used: {0}")]
    Etcd(pairing_etcd::Error),
    /// The system does not give what speaking to etcd takes.
    #[error("cannot speak to etcd: {0}")]
    System(io::Error),
    /// The launches in etcd are sealed with another key.
    #[error("the launches in etcd below {prefix} are sealed with another key than that in {}", file.display())]
    WrongKey {
        /// The key's file.
        file: PathBuf,
        /// Where the launches are.
        prefix: String,
    },
    /// Another launcher was faster.
    #[error("another launcher works on the launch {0}")]
    Changed(String),
}

impl RecordsError {
    /// What to do next.
    #[must_use]
    pub fn next_step(&self) -> &'static str {
        match self {
            Self::File { .. } => "check the folder of --data-dir: that it may be written, and has room",
            Self::Etcd(error) => error.next_step(),
            Self::System(_) => "look at the limits of this process (ulimit -a)",
            Self::WrongKey { .. } => "give the key of the other launchers with --launches-key-file",
            Self::Changed(_) => "run `launch` again, which goes on with it",
        }
    }

    /// The exit status of a command.
    #[must_use]
    pub fn status(&self) -> Status {
        match self {
            Self::Etcd(error) => status_of(error),
            Self::File { .. } | Self::System(_) => Status::File,
            Self::WrongKey { .. } => Status::Refused,
            Self::Changed(_) => Status::TimedOut,
        }
    }

    /// Whether there was no answer: what was to be written may come all the same.
    #[must_use]
    pub fn is_in_doubt(&self) -> bool {
        self.status() == Status::Unreachable
    }
}

/// The exit status of a failure of etcd.
fn status_of(error: &EtcdError) -> Status {
    match error {
        EtcdError::Unreachable { .. } => Status::Unreachable,
        EtcdError::Access { .. } | EtcdError::Tls { .. } => Status::Refused,
        EtcdError::Foreign { .. } | EtcdError::Format { .. } | EtcdError::TwoClusters { .. } => Status::Usage,
        EtcdError::Damaged { .. } | EtcdError::NotEmpty { .. } | EtcdError::Store(_) => Status::File,
    }
}

/// What has become of a record that was to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Written {
    /// It is kept, with this revision.
    Done(i64),
    /// It is not written: another has changed it since it was read.
    Changed,
    /// It is not written: it was removed since it was read.
    Gone,
}

/// Where records are.
trait Place: Send + Sync {
    /// Makes sure that the place answers.
    fn check(&self) -> Result<(), RecordsError>;

    /// All of them, in any order. One that cannot be read is named in the log, and left alone.
    fn all(&self) -> Result<Vec<Record>, RecordsError>;

    /// That of a stack.
    fn of_stack(&self, stack_name: &str) -> Result<Option<Record>, RecordsError>;

    /// Writes a record that is new, or over the revision that it has; with a claim, only while that is held.
    fn write(&self, record: &Record, is_new: bool, claim: Option<&Claim>) -> Result<Written, RecordsError>;

    /// Removes that of a stack. One that is not there is no error.
    fn remove(&self, stack_name: &str) -> Result<(), RecordsError>;

    /// Waits until no other program begins a launch of this name, and keeps others from it.
    fn claim(&self, name: &str) -> Result<Claim, RecordsError>;
}

/// The records of a folder, of an etcd cluster, or of this process.
pub struct Records(Box<dyn Place>);

impl Records {
    /// Those of a data directory, which is made if it is not there.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn in_folder(data_dir: &Path) -> Result<Self, RecordsError> {
        Folder::open(data_dir).map(|folder| Self(Box::new(folder)))
    }

    /// Those of an etcd cluster, sealed with this key, which came from this file.
    ///
    /// # Errors
    /// etcd cannot be used, holds other data below the prefix, or launches that are sealed with another key.
    pub fn in_etcd(config: &pairing_etcd::Config, key: &Secret, file: &Path) -> Result<Self, RecordsError> {
        Etcd::open(config, key, file).map(|etcd| Self(Box::new(etcd)))
    }

    /// Those of this process, which forgets them at its end.
    #[must_use]
    pub fn in_memory() -> Self {
        Self(Box::<Memory>::default())
    }

    /// Keeps other programs from beginning a launch of this name until the claim is dropped: two would make two clusters.
    ///
    /// # Errors
    /// The claim cannot be had.
    pub fn claim(&self, name: &str) -> Result<Claim, RecordsError> {
        self.0.claim(name)
    }

    /// Makes sure that a record could be kept now.
    ///
    /// # Errors
    /// It could not.
    pub fn check(&self) -> Result<(), RecordsError> {
        self.0.check()
    }

    /// All of them, the oldest first. One that cannot be read is named in the log, and left alone.
    ///
    /// # Errors
    /// They cannot be read.
    pub fn all(&self) -> Result<Vec<Record>, RecordsError> {
        let mut records = self.0.all()?;
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
        self.0.of_stack(stack_name)
    }

    /// Keeps a new record; with a claim, only if that is still held.
    ///
    /// # Errors
    /// It cannot be written, or the claim is lost.
    pub fn create(&self, record: &mut Record, claim: Option<&Claim>) -> Result<(), RecordsError> {
        match self.0.write(record, true, claim)? {
            Written::Done(revision) => {
                record.revision = revision;
                Ok(())
            }
            Written::Changed | Written::Gone => Err(RecordsError::Changed(record.name.clone())),
        }
    }

    /// Keeps a record in the place of the one that was read.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn save(&self, record: &mut Record) -> Result<Written, RecordsError> {
        let written = self.0.write(record, false, None)?;
        if let Written::Done(revision) = written {
            record.revision = revision;
        }
        Ok(written)
    }

    /// Changes a record, and what others have made of it meanwhile. `false`: it is not there any more.
    ///
    /// # Errors
    /// It cannot be read or written.
    pub fn update(&self, record: &mut Record, change: impl Fn(&mut Record)) -> Result<bool, RecordsError> {
        loop {
            change(record);
            match self.save(record)? {
                Written::Done(_) => return Ok(true),
                Written::Gone => return Ok(false),
                Written::Changed => match self.of_stack(&record.stack_name)? {
                    Some(newer) => *record = newer,
                    None => return Ok(false),
                },
            }
        }
    }

    /// Forgets a record.
    ///
    /// # Errors
    /// It cannot be removed.
    pub fn remove(&self, record: &Record) -> Result<(), RecordsError> {
        self.0.remove(&record.stack_name)
    }
}
