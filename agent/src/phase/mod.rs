//! Where a guest keeps its context, and in what the agent substitutes: cloud-init's instance, the µCernVM boot loader's
//! files, or whatever files the command line names.

mod bootloader;
mod cloud_init;
mod contextualize;
mod obtain;
mod substitution;
mod write_files;
mod written;

use std::path::PathBuf;

pub use bootloader::LOG as BOOT_LOADER_LOG;
pub use contextualize::contextualize;
pub use obtain::PIN_HAS_EXPIRED;

use crate::root::Root;
use context::document::{Document, Section};
use context::settings::{Found, Settings};
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
}

/// Where a guest keeps its cache, and what tells it from a clone.
struct Binding {
    file: PathBuf,
    /// cloud-init's instance-id, or the machine's product_uuid.
    instance: String,
}

impl Guest {
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
            return Ok(Self { sections, user_data, binding: None });
        }
        for place in [cloud_init::guest, bootloader::booted_guest, amiconfig_guest] {
            if let Some(guest) = place(root)?.filter(|guest| !guest.sections.is_empty()) {
                return Ok(guest);
            }
        }
        Ok(Self { sections: Vec::new(), user_data: Vec::new(), binding: None })
    }

    /// What its sections say.
    ///
    /// # Errors
    /// A setting makes no sense.
    pub fn settings(&self) -> Result<Found, Error> {
        Settings::from_sections(&self.sections)
    }
}

fn amiconfig_guest(root: &Root) -> Result<Option<Guest>, Error> {
    let file = root.path(AMICONFIG_USER_DATA);
    if !file.exists() {
        return Ok(None);
    }
    let sections = Document::read(&file)?.section()?.into_iter().collect();
    Ok(Some(Guest { sections, user_data: vec![file], binding: None }))
}
