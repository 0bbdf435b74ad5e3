//! Where a guest keeps its context, and in what the agent substitutes: cloud-init's instance, the µCernVM boot loader's
//! files, or whatever files the command line names.

mod bootloader;
mod cloud_init;
mod contextualize;
mod early;
pub(crate) mod obtain;
mod once;
mod original;
mod recorded;
mod substitution;
mod user_data;
mod write_files;
mod written;

use std::path::PathBuf;

pub use bootloader::LOG as BOOT_LOADER_LOG;
pub use contextualize::contextualize;
pub use obtain::{PIN_HAS_EXPIRED, master};
pub use original::{seen as original_seen, warn_of_original};
pub(crate) use recorded::{describe_wrong_runs, key_of, repair_step};

use crate::cache::Binding;
use crate::root::Root;
use context::check::TakenUserData;
use context::document::{Document, Section};
use context::settings::{FoundSection, Settings};
use protocol::error::Error;

/// Where amiconfig keeps the EC2-style user-data (amiconfig.sh).
const AMICONFIG_USER_DATA: &str = "/var/lib/amiconfig/2007-12-15/user-data";

/// A guest: its context, and where it may keep what it got.
pub struct Guest {
    /// Its ucernvm sections; later ones override.
    sections: Vec<Section>,
    /// The files that hold the user-data.
    user_data: Vec<PathBuf>,
    /// `None` where a cache could not be told from a clone's.
    binding: Option<Binding>,
    /// What cloud-init has made of it.
    instance: Option<cloud_init::Instance>,
    /// Whether a run in it leaves a record: the early mode does not, since the unit's run of the same boot does.
    records: bool,
}

impl Guest {
    /// A guest with nothing but files that were named.
    fn of_files(sections: Vec<Section>, user_data: Vec<PathBuf>) -> Self {
        Self { sections, user_data, binding: None, instance: None, records: true }
    }

    /// The placeholders in the files that a run substitutes, as they are now.
    pub(crate) fn placeholders(&self, root: &Root) -> crate::record::Placeholders {
        let targets =
            if self.instance.is_some() { cloud_init::targets(root) } else { self.user_data.clone().into() };
        targets.placeholders(root)
    }

    /// What cloud-init does with the context; nothing is known where something else has set this guest up, or where this
    /// run substitutes in single parts.
    fn taken(&self, settings: Option<&Settings>) -> TakenUserData {
        let instance = self.instance.as_ref().filter(|_| self.records);
        instance.map(|instance| instance.taken(settings)).unwrap_or_default()
    }

    /// Whether cloud-init has set it up.
    pub(crate) fn is_of_cloud_init(&self) -> bool {
        self.instance.is_some()
    }

    /// The guest that these files describe, or, without any, the one found where cloud-init, the boot loader or
    /// amiconfig keeps it: the first of these places that has a section.
    ///
    /// # Errors
    /// A file cannot be read, or a section never ends.
    pub fn find(root: &Root, user_data: &[PathBuf]) -> Result<Self, Error> {
        if !user_data.is_empty() {
            let user_data: Vec<_> = user_data.iter().map(|file| root.path(file)).collect();
            let mut sections = Vec::new();
            for file in &user_data {
                sections.extend(Document::read(file)?.section()?);
            }
            return Ok(Self::of_files(sections, user_data));
        }
        for place in [cloud_init::guest, bootloader::booted_guest, amiconfig_guest] {
            if let Some(guest) = place(root)?.filter(|guest| !guest.sections.is_empty()) {
                return Ok(guest);
            }
        }
        Ok(Self::of_files(Vec::new(), Vec::new()))
    }

    /// What its sections say.
    ///
    /// # Errors
    /// A setting makes no sense.
    pub fn settings(&self) -> Result<FoundSection, Error> {
        Settings::from_sections(&self.sections)
    }
}

/// Why there is no ucernvm section, as far as this machine can tell: for the end of a sentence.
#[must_use]
pub fn why_no_section(root: &Root) -> &'static str {
    if cloud_init::is_disabled(root) {
        "cloud-init is disabled on this VM, so nothing has read its user-data"
    } else {
        "there is no ucernvm section, neither with cloud-init, nor with the boot loader, nor with amiconfig"
    }
}

fn amiconfig_guest(root: &Root) -> Result<Option<Guest>, Error> {
    let file = root.path(AMICONFIG_USER_DATA);
    if !file.exists() {
        return Ok(None);
    }
    let sections = Document::read(&file)?.section()?.into_iter().collect();
    Ok(Some(Guest::of_files(sections, vec![file])))
}
