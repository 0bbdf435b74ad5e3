//! What the ucernvm section sets, read into types.
//!
//! A setting without a value counts as absent, save for `cvm_cluster_keys` and `cvm_cluster_secret`. Unknown keys belong
//! to other programs.

mod assignment;
mod read;
mod ready_when;
mod table;
#[cfg(test)]
mod tests;
mod types;

use protocol::error::Error;
use protocol::key::MASTER_IP;

pub use read::{DEFAULT_SERVICE_URL, DEFAULT_TIMEOUT, MAX_TIMEOUT};
pub use ready_when::ReadyWhen;
pub use table::{Setting, Settings};
pub use types::{AddressRule, AwaitedKeys, Role};

use crate::document::Section;
use table::Assignments;

impl Settings {
    /// Reads the settings: later sections override earlier ones key by key, as extra user-data does user-data.
    ///
    /// # Errors
    /// [`Status::BadContext`], with the line, for the first setting that makes no sense, and for a line that was
    /// probably meant as the pin, the secret or the service's URL and sets none of them: a pin must not go to another
    /// service than the context names, and a value not in the clear to one that should not read it.
    ///
    /// [`Status::BadContext`]: protocol::error::Status::BadContext
    pub fn from_sections(sections: &[Section]) -> Result<FoundSection, Error> {
        let Some(last) = sections.last() else { return Ok(FoundSection::NoSection) };
        let lines = Assignments(sections);
        let Some(pin) = lines.get(Setting::Pin) else {
            lines.refuse_meant(Setting::Pin, "this machine would belong to no cluster")?;
            return Ok(FoundSection::NoPin { place: last.place() });
        };
        if lines.last(Setting::ServiceUrl).is_none() {
            lines.refuse_meant(Setting::ServiceUrl, "the pin would go to the default service")?;
        }
        if lines.last(Setting::Secret).is_none() {
            lines.refuse_meant(Setting::Secret, "the cluster's values would not be sealed")?;
        }
        Self::read(&pin, &lines).map(FoundSection::Cluster)
    }

    /// Whether a run on this VM is to replace the placeholders of this key. A master brings its own address alone.
    #[must_use]
    pub fn brings(&self, key: &str) -> bool {
        let is_awaited = match &self.keys {
            AwaitedKeys::WithPlaceholder => true,
            AwaitedKeys::Only(names) => names.iter().any(|name| name == key),
        };
        !self.literal.iter().any(|literal| literal == key)
            && (key == MASTER_IP || self.role == Role::Slave && is_awaited)
    }
}

/// What the sections of a VM's context say about its cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "a run reads it once")]
pub enum FoundSection {
    /// It belongs to one.
    Cluster(Settings),
    /// There is a section but no pin in it, so there is nothing to do.
    NoPin {
        /// Where the section begins.
        place: String,
    },
    /// There is no section, so there is nothing to do.
    NoSection,
}
