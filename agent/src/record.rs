//! What a run leaves for `doctor` and for the next boot: one JSON file per instance, beside the cache.
//!
//! It names placeholders, files and modules, and of the values only `master_ip`. A file that cannot be read counts as
//! none. `files/` writes it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

use context::settings::Role;
use protocol::error::Error;
use serde::{Deserialize, Serialize};

use crate::files;
use crate::root::Root;

/// The name of the file.
pub const NAME: &str = "cernvm-cluster-status.json";
/// Its paths can tell what a user's context holds, so only root reads it.
const MODE: u32 = 0o600;
/// The format's number; a later format gets another.
const VERSION: u32 = 1;
/// Most bytes of the file: a record names files and placeholders.
const MAX_BYTES: u64 = 1 << 20;
/// A different one in each boot of a machine, but not of a container (random(4)).
const KERNELS_BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
/// The same for machines and containers: the first run of a boot makes it, and /run is empty at the next.
const BOOT_ID: &str = "/run/cernvm-cluster/boot-id";
/// A different one at each read (random(4)).
const RANDOM_UUID: &str = "/proc/sys/kernel/random/uuid";

/// The placeholders of files, or of modules of cloud-init, by their names.
pub type Placeholders = BTreeMap<String, BTreeSet<String>>;

/// One run of `contextualize`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRecord {
    version: u32,
    /// cloud-init's instance-id, or the machine's product_uuid: a clone does not take it for its own.
    pub instance: String,
    /// The boot of the run; empty where the kernel does not say.
    pub boot: String,
    /// Whether it was a master's.
    pub master: bool,
    /// How far it came.
    pub state: RunState,
    /// Seconds since 1970 of this state.
    pub at: u64,
    /// Seconds since 1970 from which on every run put this `master_ip` in place.
    pub since: u64,
    /// The address that was put in place.
    pub master_ip: Option<String>,
    /// How the values were obtained.
    pub how: String,
    /// What was substituted, by file.
    pub substituted: Placeholders,
    /// What was left literal although it was awaited, by file.
    pub left: Placeholders,
    /// Why the run failed.
    pub failure: Option<RunFailure>,
    /// What cloud-init's modules that run once per instance ran with, or will run with in this boot.
    pub once: BTreeMap<String, ModuleRun>,
}

/// How far a run came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// It has begun, and has not written an end.
    Waiting,
    /// The values are in place.
    Contextualized,
    /// It ended without all values.
    Failed,
}

/// The error that ended a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunFailure {
    /// Its exit status.
    pub status: u8,
    /// What failed.
    pub what: String,
    /// What to do.
    pub next: String,
}

/// With what a module ran.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModuleRun {
    /// The boot in which it ran.
    pub boot: String,
    /// Seconds since 1970, at about which it ran.
    pub at: u64,
    /// The placeholders that it found literal.
    pub literal: BTreeSet<String>,
    /// The address that it found in the place of the placeholder.
    pub master_ip: Option<String>,
}

impl RunRecord {
    /// A run that begins.
    #[must_use]
    pub fn begin(instance: &str, boot: String, role: Role) -> Self {
        let now = now();
        Self {
            version: VERSION,
            instance: instance.to_owned(),
            boot,
            master: role == Role::Master,
            state: RunState::Waiting,
            at: now,
            since: now,
            master_ip: None,
            how: String::new(),
            substituted: Placeholders::new(),
            left: Placeholders::new(),
            failure: None,
            once: BTreeMap::new(),
        }
    }

    /// The record of this instance's last run.
    #[must_use]
    pub fn read(path: &Path, instance: &str) -> Option<Self> {
        let mut bytes = Vec::new();
        File::open(path).ok()?.take(MAX_BYTES).read_to_end(&mut bytes).ok()?;
        let record: Self = serde_json::from_slice(&bytes).ok()?;
        (record.version == VERSION && record.instance == instance).then_some(record)
    }

    /// Writes it. A run goes on without: only `doctor` knows less.
    pub fn write(&self, root: &Root, path: &Path) {
        let bytes = serde_json::to_vec_pretty(self).expect("strings and numbers serialize");
        if let Err(error) = files::create(root, path, &bytes, MODE) {
            log::warn!("{error}: doctor will not know of this run");
        }
    }

    /// Ends it with this error.
    pub fn fail(&mut self, error: &Error) {
        self.state = RunState::Failed;
        self.at = now();
        self.failure = Some(RunFailure {
            status: error.status().code(),
            what: error.to_string(),
            next: error.next_step().to_owned(),
        });
    }
}

/// The kernel's number of this boot, which the initramfs and the booted system share; empty where it does not say.
#[must_use]
pub fn kernels_boot_id(root: &Root) -> String {
    read_id(root, KERNELS_BOOT_ID).unwrap_or_default()
}

/// The number of this boot as its first run has chosen it; empty before that.
#[must_use]
pub fn boot_id(root: &Root) -> String {
    read_id(root, BOOT_ID).unwrap_or_default()
}

/// The number of this boot, chosen now if this is its first run.
pub fn make_boot_id(root: &Root) -> String {
    if let Some(id) = read_id(root, BOOT_ID) {
        return id;
    }
    // Below another root there may be no /proc.
    let id = std::fs::read_to_string(RANDOM_UUID).unwrap_or_default();
    if let Err(error) = files::create(root, &root.path(BOOT_ID), id.as_bytes(), MODE) {
        log::debug!("{error}");
    }
    id.trim().to_owned()
}

/// The number of this boot by which its runs know each other: the first run's, or else the kernel's.
#[must_use]
pub fn this_boot(root: &Root) -> String {
    Some(boot_id(root)).filter(|boot| !boot.is_empty()).unwrap_or_else(|| kernels_boot_id(root))
}

fn read_id(root: &Root, path: &str) -> Option<String> {
    Some(std::fs::read_to_string(root.path(path)).ok()?.trim().to_owned())
}

/// Seconds since 1970.
#[must_use]
pub fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// A time of a record as a person reads it: `Thu, 26 Nov 2026 12:52:04 GMT`.
#[must_use]
pub fn time(seconds: u64) -> String {
    httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds.min(1 << 37)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_back_what_it_kept_to_the_same_instance_only() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(NAME);
        let mut record = RunRecord::begin("i-1", "boot".to_owned(), Role::Slave);
        record.fail(&Error::unknown_pin("the pin is unknown"));
        record.write(&Root::from(dir.path()), &path);
        assert_eq!(RunRecord::read(&path, "i-1"), Some(record.clone()));
        assert_eq!(RunRecord::read(&path, "i-2"), None);
        std::fs::write(&path, serde_json::to_vec(&RunRecord { version: VERSION + 1, ..record }).unwrap())
            .unwrap();
        assert_eq!(RunRecord::read(&path, "i-1"), None);
        let whole = std::fs::read(&path).unwrap();
        for cut in 0..whole.len() {
            std::fs::write(&path, &whole[..cut]).unwrap();
            assert_eq!(RunRecord::read(&path, "i-1"), None, "{cut} bytes");
        }
    }

    #[test]
    fn only_root_reads_it() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(NAME);
        RunRecord::begin("i-1", String::new(), Role::Master).write(&Root::from(dir.path()), &path);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, MODE);
    }

    #[test]
    fn shows_any_time() {
        assert_eq!(time(1_795_697_524), "Thu, 26 Nov 2026 12:52:04 GMT");
        assert!(time(u64::MAX).ends_with(" GMT"));
    }
}
