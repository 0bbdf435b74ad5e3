//! Where cloud-init keeps an instance, and which of its files a later stage reads (cloud-init 22.4 to 26.2).
//!
//! The network stage writes these files anew at every boot, placeholders and all, and the config and final stages read
//! them again. So substituting between the two reaches everything of the later stages, and has to be done at every
//! boot. What the network stage itself consumes (`bootcmd`, boothooks, part-handlers) is the early mode's business.

use std::path::{Path, PathBuf};

use super::{Binding, Guest, write_files};
use crate::root::Root;
use context::document::Document;
use protocol::error::Error;

/// `system_info.paths.cloud_dir` of every distribution that ships cloud-init.
const CLOUD_DIR: &str = "/var/lib/cloud";

/// The instance that cloud-init has found itself to be.
struct Instance {
    cloud_dir: PathBuf,
    /// `instances/<instance-id>`, resolved: `instance` is a link to it.
    dir: PathBuf,
}

impl Instance {
    /// The instance below this root, if cloud-init has made one.
    fn find(root: &Root) -> Option<Self> {
        let cloud_dir = root.path(CLOUD_DIR);
        // The link is absolute, so below another root it is taken apart rather than followed.
        let link = cloud_dir.join("instance");
        let dir = match std::fs::read_link(&link) {
            Ok(target) => cloud_dir.join("instances").join(target.file_name()?),
            Err(_) => link,
        };
        dir.is_dir().then_some(Self { cloud_dir, dir })
    }

    /// The user-data: decoded with what `#include` brought where cloud-init has left that, else as it came.
    ///
    /// # Errors
    /// As [`Document::read`].
    fn user_data(&self) -> Result<Option<Document>, Error> {
        for name in ["user-data.txt.i", "user-data.txt"] {
            let file = self.dir.join(name);
            if file.metadata().is_ok_and(|meta| meta.len() > 0) {
                return Document::read(&file).map(Some);
            }
        }
        Ok(None)
    }

    /// What the cache is bound to: the directory is named after the instance-id, so a clone with another one has none.
    fn binding(&self) -> Option<Binding> {
        let instance = self.dir.file_name()?.to_string_lossy().into_owned();
        Some(Binding { file: self.dir.join("cernvm-cluster.json"), instance })
    }

    /// The files that later stages read.
    fn files(&self) -> Vec<PathBuf> {
        let mut files: Vec<PathBuf> =
            ["cloud-config.txt", "vendor-cloud-config.txt", "vendor2-cloud-config.txt"]
                .map(|name| self.dir.join(name))
                .into();
        for scripts in ["scripts", "scripts/vendor"] {
            files.extend(entries(&self.dir.join(scripts)));
        }
        for scripts in ["per-boot", "per-instance", "per-once"] {
            files.extend(entries(&self.cloud_dir.join("scripts").join(scripts)));
        }
        // Nothing runs it, but it is what a person looks at. Its compressed form is left as it came.
        let user_data = self.dir.join("user-data.txt");
        if Document::read(&user_data).is_ok_and(|document| !document.bytes().starts_with(&[0x1f, 0x8b])) {
            files.push(user_data);
        }
        files.retain(|file| file.symlink_metadata().is_ok_and(|meta| meta.is_file()));
        files
    }

    /// The files that `write_files` made before us.
    fn written_files(&self, root: &Root) -> Vec<PathBuf> {
        let config = std::fs::read(self.dir.join("cloud-config.txt")).unwrap_or_default();
        let paths = write_files::paths(&String::from_utf8_lossy(&config));
        paths.into_iter().map(|path| root.path(path)).filter(|path| path.is_file()).collect()
    }
}

/// What lies in a directory, in a stable order; nothing when it is not there.
fn entries(dir: &Path) -> Vec<PathBuf> {
    let mut entries: Vec<_> =
        std::fs::read_dir(dir).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path())).collect();
    entries.sort();
    entries
}

/// The guest as cloud-init sees it; `None` when cloud-init has made no instance or had no user-data.
///
/// # Errors
/// The user-data cannot be read, or its section never ends.
pub(super) fn guest(root: &Root) -> Result<Option<Guest>, Error> {
    let Some(instance) = Instance::find(root) else { return Ok(None) };
    let Some(user_data) = instance.user_data()? else { return Ok(None) };
    let sections = user_data.section()?.into_iter().collect();
    Ok(Some(Guest {
        sections,
        user_data: vec![instance.dir.join("user-data.txt")],
        binding: instance.binding(),
    }))
}

/// The files that later stages read, and those that `write_files` has made.
pub(super) fn files(root: &Root) -> Vec<PathBuf> {
    Instance::find(root).map_or_else(Vec::new, |instance| {
        let mut files = instance.files();
        files.extend(instance.written_files(root));
        files
    })
}
