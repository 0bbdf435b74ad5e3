//! Records in an etcd cluster, which the launchers of a site share.
//!
//! | key below the prefix | value |
//! |---|---|
//! | `format` | [`FORMAT`] |
//! | `key` | the fingerprint of the key with which records are sealed |
//! | `launches/STACK` | a record, sealed, so that neither etcd nor its backups have pins and secrets |
//! | `locks/NAME` | held, with a lease, while a launch of this name is begun |

use std::path::{Path, PathBuf};

use client::seal::Seal;
use pairing_etcd::{Config, Document, Documents, Error as EtcdError};
use protocol::{Pin, Secret};
use tokio::runtime::Runtime;

use super::record::Record;
use super::{Claim, Place, RecordsError, Written};

/// What is below the prefix, and its version.
const FORMAT: &str = "launches-1";
/// Where the fingerprint of the key is.
const KEY: &str = "key";
/// What the names of records begin with.
const FOLDER: &str = "launches/";
/// What stands where the seal of a cluster has its pin.
const SEALED_FOR: &str = "launches";

/// The records in an etcd cluster.
pub(super) struct Etcd {
    documents: Documents,
    seal: Seal,
    runtime: Calls,
}

/// What runs the calls of etcd: the launcher's other code blocks. A runtime that is dropped where another one runs must not
/// wait for its threads.
struct Calls(Option<Runtime>);

impl Calls {
    fn run<T>(&self, call: impl Future<Output = Result<T, EtcdError>>) -> Result<T, RecordsError> {
        let runtime = self.0.as_ref().expect("it is there until it is dropped");
        runtime.block_on(call).map_err(RecordsError::Etcd)
    }
}

impl Drop for Calls {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl Etcd {
    /// Finds the cluster, and makes sure that the launches in it are sealed with this key, which came from this file.
    ///
    /// # Errors
    /// etcd cannot be used, holds other data below the prefix, or launches that are sealed with another key.
    pub(super) fn open(config: &Config, key: &Secret, file: &Path) -> Result<Self, RecordsError> {
        let built = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("launches")
            .enable_all()
            .build();
        let runtime = Calls(Some(built.map_err(RecordsError::System)?));
        let scope = Pin::parse(SEALED_FOR).expect("it has letters only");
        let seal = Seal::new(key, &scope);
        let documents = runtime.run(Documents::open(config, FORMAT))?;
        // The first launcher decides which key it is.
        let own = seal.fingerprint();
        match runtime.run(documents.write(KEY, own.as_bytes(), 0, None))? {
            pairing_etcd::Written::Done(_) => Ok(Self { documents, seal, runtime }),
            pairing_etcd::Written::Changed(_) => {
                Err(RecordsError::WrongKey { file: file.to_owned(), prefix: config.prefix.clone() })
            }
        }
    }

    /// The record of a document. One that cannot be read is named in the log, and left alone.
    fn read(&self, document: &Document) -> Option<Record> {
        let stack_name = document.name.strip_prefix(FOLDER)?;
        let sealed = str::from_utf8(&document.value).ok();
        let text = sealed.and_then(|sealed| self.seal.open(stack_name, sealed).ok());
        match text.and_then(|text| serde_json::from_str::<Record>(&text).ok()) {
            Some(record) => Some(Record { revision: document.revision, ..record }),
            None => {
                log::warn!(
                    "{} in etcd is no record of a launch that was sealed with this key",
                    document.name
                );
                None
            }
        }
    }
}

impl Place for Etcd {
    fn check(&self) -> Result<(), RecordsError> {
        self.runtime.run(self.documents.get(KEY)).map(drop)
    }

    fn all(&self) -> Result<Vec<Record>, RecordsError> {
        let found = self.runtime.run(self.documents.beginning(FOLDER))?;
        Ok(found.iter().filter_map(|document| self.read(document)).collect())
    }

    fn of_stack(&self, stack_name: &str) -> Result<Option<Record>, RecordsError> {
        let found = self.runtime.run(self.documents.get(&name(stack_name)))?;
        Ok(found.and_then(|document| self.read(&document)))
    }

    fn write(&self, record: &Record, is_new: bool, claim: Option<&Claim>) -> Result<Written, RecordsError> {
        let text = serde_json::to_string(record).map_err(|error| RecordsError::File {
            verb: "write",
            path: PathBuf::from(&record.stack_name),
            source: error.into(),
        })?;
        let sealed = self.seal.seal(&record.stack_name, &text);
        let seen = if is_new { 0 } else { record.revision };
        let lock = claim.and_then(Claim::lock);
        let name = name(&record.stack_name);
        Ok(match self.runtime.run(self.documents.write(&name, sealed.as_bytes(), seen, lock))? {
            pairing_etcd::Written::Done(revision) => Written::Done(revision),
            pairing_etcd::Written::Changed(None) if !is_new => Written::Gone,
            pairing_etcd::Written::Changed(_) => Written::Changed,
        })
    }

    fn remove(&self, stack_name: &str) -> Result<(), RecordsError> {
        self.runtime.run(self.documents.remove(&name(stack_name)))
    }

    fn claim(&self, name: &str) -> Result<Claim, RecordsError> {
        let lock = self.runtime.run(self.documents.lock(name))?;
        let runtime = self.runtime.0.as_ref().expect("it is there until it is dropped");
        Ok(Claim::of_lock(lock, self.documents.clone(), runtime.handle().clone()))
    }
}

fn name(stack_name: &str) -> String {
    format!("{FOLDER}{stack_name}")
}
