//! What a master remembers of its earlier boots. `cache.rs` keeps it in a file.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// Most addresses that are remembered as perhaps its own.
const MOST_INTENDED: usize = 8;

/// A master's memory of what it has done under the pin.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct MasterRecord {
    /// The address that the service last confirmed to have from this master.
    confirmed: Option<IpAddr>,
    /// The addresses that it has asked the service to take since, which it may or may not have taken.
    intended: Vec<IpAddr>,
    /// The boot, and the address that the master's own files have since.
    pub(super) decided: Option<(String, IpAddr)>,
    /// The boot in which it has said that it is ready.
    pub(super) ready_in: Option<String>,
    /// The original's unit said that it is ready, and that is to be said again for another address.
    pub(super) original_ready: bool,
    /// This machine has the disk of one that was a master under this pin, and no user-data of its own.
    pub(super) cloned: bool,
    /// A person has said that it takes the cluster back, and the service has not confirmed that yet.
    pub(super) forced: bool,
}

impl MasterRecord {
    /// What the clone of a master knows.
    #[must_use]
    pub fn of_clone() -> Self {
        Self { cloned: true, ..Self::default() }
    }

    /// Whether the service has ever confirmed an address of this master.
    #[must_use]
    pub fn was_confirmed(&self) -> bool {
        self.confirmed.is_some()
    }

    /// Whether an address that is found under the pin can only be from this master. Not one of long ago: the network may
    /// have given it to another machine.
    pub(super) fn is_own(&self, there: IpAddr) -> bool {
        self.confirmed == Some(there) || self.intended.contains(&there)
    }

    pub(super) fn intend(&mut self, address: IpAddr) {
        if !self.is_own(address) {
            self.intended.truncate(MOST_INTENDED - 1);
            self.intended.insert(0, address);
        }
    }

    pub(super) fn confirm(&mut self, address: IpAddr) {
        self.confirmed = Some(address);
        self.intended.clear();
        self.forced = false;
    }
}

/// Where a [`MasterRecord`] outlives the boot.
pub trait RecordStore {
    /// What is remembered.
    fn record(&self) -> &MasterRecord;
    /// Remembers this instead. That it fails spoils nothing now.
    fn keep(&mut self, record: MasterRecord);
}

/// The memory of a machine that could not be told from a clone of it: it ends with the program.
#[derive(Debug, Default)]
pub struct UnsavedRecord(MasterRecord);

impl RecordStore for UnsavedRecord {
    fn record(&self) -> &MasterRecord {
        &self.0
    }

    fn keep(&mut self, record: MasterRecord) {
        self.0 = record;
    }
}
