//! What a VM keeps for its next boot: the values that a slave got, and what a master did under its pin.
//!
//! One JSON file per instance, for root only, since it has the pin in it. It is replaced as a whole, so that a power cut
//! leaves the old or the new one. A file that does not belong to this instance, role, pin, secret and service, or that
//! cannot be read, is as good as none; of one that does, each value counts by itself. The values of a sealed cluster are
//! kept as they were opened; of its secret the file has a fingerprint.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use protocol::key::MASTER_IP;
use protocol::limits::BYTES_PER_PIN;
use serde::{Deserialize, Serialize};

use crate::files;
use crate::master::{MasterRecord, RecordStore};
use crate::root::Root;
use client::seal::Seal;
use context::settings::{Role, Settings};
use context::value::{self, Origin};

/// The permissions of the file.
const MODE: u32 = 0o600;
/// The format's number. Version 1 had neither a role nor a master's record.
const VERSION: u32 = 2;
/// Most bytes of the file: what a pin can hold, and room for JSON around it.
const MAX_BYTES: u64 = 2 * BYTES_PER_PIN as u64;

/// Where a guest keeps its cache, and what tells it from a clone.
#[derive(Debug, Clone)]
pub struct Binding {
    /// The file.
    pub file: PathBuf,
    /// cloud-init's instance-id, or the machine's product_uuid.
    pub instance: String,
}

impl Binding {
    /// Where the record of the last run lies.
    #[must_use]
    pub fn record(&self) -> PathBuf {
        self.file.with_file_name(crate::record::NAME)
    }
}

/// Puts these bytes in the place of the cache file's.
pub(crate) type Writer = Box<dyn Fn(&[u8])>;

/// The cache of an instance. Every change is written at once.
pub struct Cache {
    /// `None` for a guest that cannot be told from a clone: its cache ends with the program.
    write: Option<Writer>,
    content: CacheFile,
}

/// The file's content.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
struct CacheFile {
    version: u32,
    instance: String,
    pin: String,
    #[serde(default)]
    role: String,
    services: Vec<String>,
    /// The fingerprint of the cluster's secret; `None` without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    seal: Option<String>,
    #[serde(default)]
    values: BTreeMap<String, String>,
    #[serde(default)]
    master: MasterRecord,
    #[serde(default)]
    node: Node,
}

/// What is kept for the reports of this VM.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// The URL of the service that takes reports, as the last run has found it.
    pub service: Option<String>,
    /// The boot that is over: what is said to it from then on is that this VM is ready.
    pub booted: Option<String>,
}

impl Cache {
    /// The cache of the instance for this context; empty where there is none that counts.
    #[must_use]
    pub fn open(root: &Root, binding: Option<&Binding>, settings: &Settings) -> Self {
        let Some(Binding { file, instance }) = binding else {
            return Self::of(None, "", settings, None);
        };
        let (root, to) = (root.clone(), file.clone());
        // That this fails spoils nothing now.
        let write = move |bytes: &[u8]| {
            if let Err(error) = files::create(&root, &to, bytes, MODE) {
                log::warn!("{error}: the next boot will need the service again");
            }
        };
        Self::of(read(file).as_deref(), instance, settings, Some(Box::new(write)))
    }

    /// The cache of which these bytes were kept.
    pub(crate) fn of(
        kept: Option<&[u8]>,
        instance: &str,
        settings: &Settings,
        write: Option<Writer>,
    ) -> Self {
        let empty = CacheFile {
            version: VERSION,
            instance: instance.to_owned(),
            pin: settings.pin.reveal().to_owned(),
            role: role(settings.role).to_owned(),
            services: settings.services.iter().map(ToString::to_string).collect(),
            seal: settings.secret.as_ref().map(|secret| Seal::new(secret, &settings.pin).fingerprint()),
            values: BTreeMap::new(),
            master: MasterRecord::default(),
            node: Node::default(),
        };
        let found = kept.and_then(CacheFile::parse);
        let content = found.and_then(|found| found.for_context(&empty)).unwrap_or(empty);
        Self { write, content }
    }

    /// The values by their keys, each as safe as one that comes from the service.
    #[must_use]
    pub fn values(&self) -> &BTreeMap<String, String> {
        &self.content.values
    }

    /// Keeps these values, beside those of other keys that came from the same master.
    pub fn learn(&mut self, values: &BTreeMap<String, String>) {
        let before = self.content.clone();
        if values.get(MASTER_IP).is_some_and(|address| self.content.values.get(MASTER_IP) != Some(address)) {
            self.content.values.clear();
        }
        self.content.values.extend(values.iter().map(|(key, value)| (key.clone(), value.clone())));
        if self.content != before {
            self.write();
        }
    }

    /// What is kept for the reports of this VM.
    #[must_use]
    pub fn node(&self) -> &Node {
        &self.content.node
    }

    /// Changes what is kept for the reports of this VM.
    pub fn note_node(&mut self, change: impl FnOnce(&mut Node)) {
        let before = self.content.node.clone();
        change(&mut self.content.node);
        if self.content.node != before {
            self.write();
        }
    }

    fn write(&self) {
        if let Some(write) = &self.write {
            write(&serde_json::to_vec(&self.content).expect("strings serialize"));
        }
    }
}

/// The bytes of a cache file, as far as one can be long.
fn read(file: &Path) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(file).ok()?.take(MAX_BYTES).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// The instance that a cache file belongs to.
#[must_use]
pub fn instance(file: &Path) -> Option<String> {
    CacheFile::parse(&read(file)?).map(|content| content.instance)
}

impl RecordStore for Cache {
    fn record(&self) -> &MasterRecord {
        &self.content.master
    }

    fn keep(&mut self, record: MasterRecord) {
        self.content.master = record;
        self.write();
    }
}

impl CacheFile {
    fn parse(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }

    /// What of it counts for the context that an empty cache of today describes.
    fn for_context(mut self, empty: &Self) -> Option<Self> {
        let role_fits = match self.version {
            // Masters kept their own address there, which says nothing of what they did.
            1 => empty.role == role(Role::Slave),
            VERSION => self.role == empty.role,
            _ => false,
        };
        let same_service = self.services.iter().any(|service| empty.services.contains(service));
        // SECURITY: what came without a seal, or by another secret, is no value of a cluster that has this one.
        let same_seal = self.seal == empty.seal;
        let counts = role_fits && self.pin == empty.pin && same_service && same_seal;
        if counts && self.instance != empty.instance {
            // Another machine's: this machine has a copy of its disk.
            return Some(Self { master: MasterRecord::of_clone(), ..empty.clone() });
        }
        self.values.retain(|key, value| value::check(key, value, Origin::Received).is_ok());
        counts.then(|| Self { values: self.values, master: self.master, node: self.node, ..empty.clone() })
    }
}

fn role(role: Role) -> &'static str {
    match role {
        Role::Master => "master",
        Role::Slave => "slave",
    }
}

#[cfg(test)]
mod tests;
