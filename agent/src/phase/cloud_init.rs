//! Where cloud-init keeps an instance, and which of its files a later stage reads (cloud-init 22.4 to 26.2).
//!
//! The network stage writes these files anew at every boot, placeholders and all, and the config and final stages read
//! them again. So substituting between the two reaches everything of the later stages, and has to be done at every
//! boot. What the network stage itself consumes (`bootcmd`, boothooks, part-handlers) is the early mode's business.

use std::path::{Path, PathBuf};

use super::Guest;
use super::substitution::Targets;
use super::user_data::UserData;
use super::write_files::{self, WrittenFile, is_true};
use crate::cache::Binding;
use crate::root::Root;
use context::check::TakenUserData;
use context::document::Document;
use context::settings::Settings;
use context::yaml::{self, Node};
use protocol::error::Error;

/// `system_info.paths.cloud_dir` of every distribution that ships cloud-init.
const CLOUD_DIR: &str = "/var/lib/cloud";

/// Its configurations, the one first that overrides the others (`helpers.py`, `_get_instance_configs`).
pub(super) const CONFIGURATIONS: [&str; 3] =
    ["cloud-config.txt", "vendor2-cloud-config.txt", "vendor-cloud-config.txt"];
/// Made by cloud-init's generator in a boot without cloud-init, whatever the reason.
const DISABLED_IN_THIS_BOOT: &str = "/run/cloud-init/disabled";
/// Made by an administrator.
const DISABLED: &str = "/etc/cloud/cloud-init.disabled";
const KERNEL_COMMAND_LINE: &str = "/proc/cmdline";

/// The instance that cloud-init has found itself to be.
pub(super) struct Instance {
    pub(super) cloud_dir: PathBuf,
    /// `instances/<instance-id>`, resolved: `instance` is a link to it.
    pub(super) dir: PathBuf,
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

    /// The data in which the section may stand: what the image or the provider adds (`vendor-data`, then `vendor-data2`,
    /// which overrides it), each unless the user's cloud-config switches it off, as cloud-init obeys it; then the user's.
    ///
    /// # Errors
    /// As [`UserData::read`].
    fn data(&self) -> Result<Vec<UserData>, Error> {
        let config = std::fs::read_to_string(self.dir.join("cloud-config.txt")).unwrap_or_default();
        let config = yaml::parse(&config).ok().flatten();
        let is_on = |switch: &str| config.as_ref().is_none_or(|config| is_vendor_data_on(config, switch));
        let vendors = [("vendor_data", "vendor-data"), ("vendor_data2", "vendor-data2")];
        let vendors = vendors.into_iter().filter(|(switch, _)| is_on(switch)).map(|(_, name)| name);
        vendors.chain(["user-data"]).filter_map(|name| UserData::read(&self.dir, name).transpose()).collect()
    }

    /// What cloud-init does with the context, in the words of `check`.
    pub(super) fn taken(&self, settings: Option<&Settings>) -> TakenUserData {
        let mut all = TakenUserData::default();
        for data in self.data().unwrap_or_default() {
            let taken = data.taken(settings);
            all.findings.extend(taken.findings);
            all.is_read_later |= taken.is_read_later;
            all.is_unread |= taken.is_unread;
        }
        all.is_unread &= !all.is_read_later;
        all
    }

    /// What the cache is bound to: the directory is named after the instance-id, so a clone with another one has none.
    fn binding(&self) -> Option<Binding> {
        let instance = self.dir.file_name()?.to_string_lossy().into_owned();
        Some(Binding { file: self.dir.join("cernvm-cluster.json"), instance })
    }

    /// The scripts that later stages run.
    fn scripts(&self) -> Vec<PathBuf> {
        let mut files = Vec::new();
        for scripts in ["scripts", "scripts/vendor"] {
            files.extend(entries(&self.dir.join(scripts)));
        }
        for scripts in ["per-boot", "per-instance", "per-once"] {
            files.extend(entries(&self.cloud_dir.join("scripts").join(scripts)));
        }
        files.retain(|file| is_regular(file));
        files
    }

    /// What `write_files` makes: as in cloud-init, the list of the first configuration that has one.
    ///
    /// # Errors
    /// `Context` when a configuration is not what cloud-init writes.
    fn written_files(&self) -> Result<Vec<WrittenFile>, Error> {
        for name in CONFIGURATIONS {
            let file = self.dir.join(name);
            let Ok(text) = std::fs::read_to_string(&file) else { continue };
            if let Some(files) = write_files::files(&file.display().to_string(), &text)? {
                return Ok(files);
            }
        }
        Ok(Vec::new())
    }

    /// The user-data as it came, unless it is compressed: what a person looks at. Nothing runs it.
    fn copy(&self) -> Option<PathBuf> {
        let user_data = self.dir.join("user-data.txt");
        let document = Document::read(&user_data).ok()?;
        (!document.bytes().starts_with(&[0x1f, 0x8b])).then_some(user_data)
    }
}

/// Whether cloud-init does not run in this boot (cloud-init's `docs/howto/disable_cloud_init.rst`).
pub(super) fn is_disabled(root: &Root) -> bool {
    let command_line = || std::fs::read_to_string(root.path(KERNEL_COMMAND_LINE)).unwrap_or_default();
    root.path(DISABLED_IN_THIS_BOOT).exists()
        || root.path(DISABLED).exists()
        || command_line().split_whitespace().any(|word| word == "cloud-init=disabled")
}

/// Whether cloud-init's own dump of the user's cloud-config leaves vendor-data on (`stages.py`, `_consume_vendordata`).
fn is_vendor_data_on(config: &Node, switch: &str) -> bool {
    match config.get(switch) {
        None => true,
        Some(vendor_data @ Node::Mapping(_)) => vendor_data.get("enabled").is_none_or(is_true),
        Some(_) => false,
    }
}

/// What lies in a directory, in a stable order; nothing when it is not there.
pub(super) fn entries(dir: &Path) -> Vec<PathBuf> {
    let mut entries: Vec<_> =
        std::fs::read_dir(dir).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path())).collect();
    entries.sort();
    entries
}

/// The guest as cloud-init sees it; `None` when cloud-init has made no instance, or had neither user-data nor
/// vendor-data.
///
/// # Errors
/// The user-data cannot be read, or its section never ends.
pub(super) fn guest(root: &Root) -> Result<Option<Guest>, Error> {
    let Some(instance) = Instance::find(root) else { return Ok(None) };
    let data = instance.data()?;
    if data.is_empty() {
        return Ok(None);
    }
    // Later sections override: the user has the last word.
    let mut sections = Vec::new();
    for data in data {
        sections.extend(data.section()?);
    }
    Ok(Some(Guest {
        binding: instance.binding(),
        user_data: vec![instance.dir.join("user-data.txt")],
        instance: Some(instance),
        ..Guest::of_files(sections, Vec::new())
    }))
}

/// The files to substitute in: those that later stages read, and those that `write_files` has made.
pub(super) fn targets(root: &Root) -> Targets {
    let Some(instance) = Instance::find(root) else { return Targets::default() };
    let (written, trouble) = match instance.written_files() {
        Ok(written) => (written, None),
        Err(error) => (Vec::new(), Some(error)),
    };
    let configurations = CONFIGURATIONS.map(|name| instance.dir.join(name));
    Targets {
        files: instance.scripts(),
        configurations: configurations.into_iter().filter(|file| is_regular(file)).collect(),
        copy: instance.copy().filter(|file| is_regular(file)),
        written,
        trouble,
    }
}

/// A link below another root may lead out of it.
fn is_regular(file: &Path) -> bool {
    file.symlink_metadata().is_ok_and(|meta| meta.is_file())
}
