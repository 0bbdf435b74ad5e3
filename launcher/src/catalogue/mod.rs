//! The folder that holds the definitions of cluster types.

#[cfg(test)]
mod definitions;
mod lint;
mod print;
mod read;
#[cfg(test)]
pub(crate) mod tests;

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

pub use print::{text, to_json};

use crate::definition::ClusterType;
use crate::review::Problem;
use read::FILE;

/// The folder of the types that are offered, below the catalogue's.
const ENABLED: &str = "cluster-types-enabled";

/// The longest name of a folder, in bytes: NAME_MAX of Linux.
const MAX_ID: usize = 255;

/// The definitions below a folder. Nothing is kept: each look reads the files anew, so a change shows at once.
#[derive(Debug, Clone)]
pub struct Catalogue {
    dir: PathBuf,
}

/// The types that a catalogue has.
#[derive(Debug, Clone, Default)]
pub struct Listing {
    /// The valid ones, by `order`, then by `id`.
    pub types: Vec<ClusterType>,
    /// What is wrong with the others, by `id`.
    pub broken: BTreeMap<String, Vec<Problem>>,
}

/// Why there is no such type. Both look alike to a client, as with the original.
#[derive(Debug, Clone, thiserror::Error)]
pub enum FindError {
    /// No definition has this id.
    #[error("Unknown cluster type: {0}")]
    Unknown(String),
    /// There is one, but it is invalid.
    #[error("Unknown cluster type: {id}")]
    Broken {
        /// The id.
        id: String,
        /// What is wrong with the definition.
        broken: Vec<Problem>,
    },
}

impl Catalogue {
    /// The catalogue below a folder, whose `cluster-types-enabled/<id>/cluster-type.yaml` are the definitions.
    #[must_use]
    pub fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    /// Reads every definition.
    ///
    /// # Errors
    /// When the folder cannot be read. One that is not there has no types.
    pub fn read(&self) -> io::Result<Listing> {
        let entries = match fs::read_dir(self.enabled()) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Listing::default()),
            Err(error) => return Err(error),
        };
        let mut listing = Listing::default();
        for entry in entries {
            // A name that is no UTF-8 cannot be an id in JSON.
            let Ok(id) = entry?.file_name().into_string() else { continue };
            match self.find(&id) {
                Ok(found) => listing.types.push(found),
                Err(FindError::Broken { id, broken }) => drop(listing.broken.insert(id, broken)),
                Err(FindError::Unknown(_)) => {}
            }
        }
        listing.types.sort_by(|a, b| by_order(a, b).then_with(|| a.id.cmp(&b.id)));
        Ok(listing)
    }

    /// Reads the definition of a type.
    ///
    /// # Errors
    /// [`FindError`].
    pub fn find(&self, id: &str) -> Result<ClusterType, FindError> {
        let folder = self.enabled().join(id);
        // A link whose target is gone is as if absent.
        if !is_id(id) || fs::metadata(folder.join(FILE)).is_err() {
            return Err(FindError::Unknown(id.to_owned()));
        }
        read::read(id, &folder).map_err(|broken| FindError::Broken { id: id.to_owned(), broken })
    }

    /// The folder of the types that are offered.
    #[must_use]
    pub fn enabled(&self) -> PathBuf {
        self.dir.join(ENABLED)
    }

    /// The folder that the catalogue lies below.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }
}

/// Whether a text can be an id: the name of a folder, and not a hidden one.
///
/// SECURITY: the id comes from the request, so it must not lead out of the catalogue.
fn is_id(id: &str) -> bool {
    !id.is_empty() && id.len() <= MAX_ID && !id.starts_with('.') && !id.contains(['/', '\0'])
}

fn by_order(a: &ClusterType, b: &ClusterType) -> Ordering {
    let order = |of: &ClusterType| of.order.as_f64().unwrap_or(f64::MAX);
    order(a).total_cmp(&order(b))
}
