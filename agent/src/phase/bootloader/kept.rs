//! What the agent keeps in the read-write area for a machine of a cluster, and whether this machine is the one.
//!
//! The area is on the machine's disk, and a clone of that disk has all of it. A file beside it names the machine. What
//! another machine has kept never comes before user-data that this one has fetched.

use std::path::{Path, PathBuf};

use crate::cache;
use crate::files;
use crate::record;
use crate::root::Root;
use context::document::{Document, Section};
use protocol::error::Error;

/// The user-data of a cluster as it came. Its presence also tells `21clustercontext` that this machine belongs to one.
const PRISTINE: &str = "context/cernvm-cluster-user-data";
/// The product_uuid of the machine that all of this belongs to.
const MACHINE: &str = "context/cernvm-cluster-machine";
/// What the slave has got, or the master has done.
const CACHE: &str = "context/cernvm-cluster.json";
/// The settings of the extra user-data as `parse_user_data` writes them, kept by `13context_epilog`.
const EXTRA_UCONTEXT: &str = "context/extra-ucontext";
/// How lines of it begin that are of a cluster.
const OF_CLUSTERS: [&str; 2] = ["_UCONTEXT_CVM_CLUSTER_", "_UCONTEXT_CVM_SERVICE_"];
/// Where these scripts put user-data and its settings: in the initramfs, then in the read-write area.
const WITH_SECRETS: [&str; 4] = ["/user-data", "/extra-user-data", "/ucontext", "/extra-ucontext"];
const KEPT_WITH_SECRETS: [&str; 3] = ["context/user-data", "context/ucontext", EXTRA_UCONTEXT];
/// The permissions of what has secrets in it.
const MODE: u32 = 0o600;

/// The read-write area as the agent uses it.
pub(super) struct KeptState<'r> {
    root: &'r Root,
    rw: PathBuf,
    /// This machine's product_uuid; `None` without DMI, where a clone cannot be told.
    machine: Option<String>,
}

/// Whose the kept files are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    /// This machine's, or there is no telling.
    ThisMachine,
    /// Another machine's: this machine has a copy of its disk.
    AnotherMachine,
    /// Those of a time before the agent, or there are none.
    Unknown,
}

impl<'r> KeptState<'r> {
    pub(super) fn new(root: &'r Root, rw: PathBuf, machine: Option<String>) -> Self {
        Self { root, rw, machine }
    }

    pub(super) fn pristine(&self) -> PathBuf {
        self.rw.join(PRISTINE)
    }

    pub(super) fn cache(&self) -> PathBuf {
        self.rw.join(CACHE)
    }

    pub(super) fn owner(&self) -> Owner {
        let Some(machine) = &self.machine else { return Owner::ThisMachine };
        let named = std::fs::read_to_string(self.rw.join(MACHINE)).ok();
        match named.map(|named| named.trim().to_owned()).or_else(|| cache::instance(&self.cache())) {
            Some(named) if named == *machine => Owner::ThisMachine,
            Some(_) => Owner::AnotherMachine,
            None => Owner::Unknown,
        }
    }

    /// Makes this machine the owner. That it fails makes the next boot take itself for a clone's.
    pub(super) fn own(&self) {
        if let Some(machine) = &self.machine {
            warn_of(files::create(
                self.root,
                &self.rw.join(MACHINE),
                format!("{machine}\n").as_bytes(),
                MODE,
            ));
        }
    }

    /// The section of the extra user-data that an earlier boot saw: lines `_UCONTEXT_CVM_CLUSTER_PIN=…`, in which yes is
    /// 1 and nothing is quoted.
    ///
    /// # Errors
    /// It cannot be read.
    pub(super) fn extra_section(&self) -> Result<Option<Section>, Error> {
        let file = self.rw.join(EXTRA_UCONTEXT);
        if !file.exists() {
            return Ok(None);
        }
        let kept = Document::read(&file)?;
        let text = String::from_utf8_lossy(kept.bytes());
        let settings: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("_UCONTEXT_")).collect();
        let section = format!("[ucernvm-begin]\n{}\n[ucernvm-end]\n", settings.join("\n"));
        Document::parse(kept.name(), section.into_bytes())?.section()
    }

    /// Removes what was kept of a cluster; `why` ends the sentence about it.
    pub(super) fn remove(&self, why: &str) {
        let cache = self.cache();
        let files = [self.pristine(), cache.with_file_name(record::NAME), cache, self.rw.join(MACHINE)];
        let there: Vec<_> = files.into_iter().filter(|file| file.exists()).collect();
        for file in &there {
            warn_of(files::remove(self.root, file));
        }
        if !there.is_empty() {
            log::warn!("removed what was kept of a cluster in {}, {why}", self.rw.join("context").display());
        }
    }

    /// Removes the lines of a cluster from what `13context_epilog` sources at every boot.
    pub(super) fn remove_extra_settings(&self, why: &str) {
        let file = self.rw.join(EXTRA_UCONTEXT);
        if !file.exists() {
            return;
        }
        let edited = files::edit(self.root, &file, |content| {
            let text = String::from_utf8_lossy(&content.bytes);
            let others = text.split_inclusive('\n').filter(|line| !is_of_cluster(line));
            Ok(Some(others.collect::<String>().into_bytes().into()))
        });
        match edited {
            Ok(true) => log::warn!("{}: removed its cluster settings, {why}", file.display()),
            Ok(false) => {}
            Err(error) => log::warn!("{error}"),
        }
    }

    /// Keeps user-data with a pin from other users, where the boot loader's scripts copy it too: `cp` and `mv` keep the
    /// permissions that are there.
    pub(super) fn restrict(&self) {
        let fetched = WITH_SECRETS.map(|file| self.root.path(file));
        let kept = KEPT_WITH_SECRETS.map(|file| self.rw.join(file));
        for file in fetched.iter().chain(&kept).filter(|file| file.exists()) {
            warn_of(files::set_mode(self.root, file, MODE));
        }
    }

    /// Writes a file of the read-write area. The boot goes on without: with what is there, or with the next boot's
    /// user-data as it is now.
    pub(super) fn put(&self, file: &Path, bytes: &[u8]) {
        warn_of(files::create(self.root, file, bytes, MODE));
    }
}

fn is_of_cluster(line: &str) -> bool {
    OF_CLUSTERS.iter().any(|beginning| line.starts_with(beginning))
}

fn warn_of(result: Result<(), Error>) {
    if let Err(error) = result {
        log::warn!("{error}");
    }
}
