//! Where the µCernVM boot loader keeps the context, in the initramfs and in the booted system (docs: cernvm-micro's
//! `scripts.d/06context`, `07extracontext`, `13context_epilog`).
//!
//! The agent runs between `10root`, which mounts the read-write area, and `13context_epilog`, which copies
//! `/user-data` there. So the cache of the last boot is at hand, and what is substituted now is what amiconfig gets.
//!
//! Most releases fetch `/user-data` at the first boot only, and later boots go on with the copy in the read-write area.
//! That copy has no placeholder any more, so the agent keeps one as it came, and renders the other from it anew: a
//! master that was replaced meanwhile is found at a reboot, and a clone does not go on with the original's.

use std::path::Path;

use super::Guest;
use crate::cache::Binding;
use crate::files;
use crate::root::Root;
use context::document::{Document, Section};
use context::settings::Found;
use protocol::error::Error;

/// Where the boot loader's scripts log in plain lines.
pub const LOG: &str = "/var/log/context.log";
/// What `06context` has fetched and unpacked.
const USER_DATA: &str = "/user-data";
/// What `07extracontext` has found injected into a disk; at a first boot only.
const EXTRA_USER_DATA: &str = "/extra-user-data";
/// In the read-write area: what `13context_epilog` has copied there, and what amiconfig gets in the end.
const COPY: &str = "context/user-data";
/// In the read-write area: the user-data of a cluster as it came. Its presence also tells `21clustercontext` that this
/// machine belongs to one.
const PRISTINE: &str = "context/cernvm-cluster-user-data";
/// Secrets are in it.
const PRISTINE_MODE: u32 = 0o600;
/// Its settings as `parse_user_data` writes them, kept by `13context_epilog`.
const EXTRA_UCONTEXT: &str = "context/extra-ucontext";
/// Where the initramfs mounts the read-write area: `ROOT_RW` of its scripts.
const ROOT_RW: &str = "/root.rw";
/// The same area in the booted system (`20aufs`).
const BOOTED_RW: &str = "/mnt/.rw";
/// The original's marker of a finished contextualization. `13context_epilog` keeps it; nothing here obeys it, since at
/// the next boot the placeholders are back.
const MARKER: &str = "/ami-contextualized";
/// The machine's own number: it changes when a disk is cloned into another VM.
const PRODUCT_UUID: &str = "/sys/class/dmi/id/product_uuid";

/// The guest in the initramfs; `None` when no context was found. Its user-data has every placeholder that it came with.
///
/// # Errors
/// A file cannot be read, or a section never ends.
pub(super) fn guest(root: &Root) -> Result<Option<Guest>, Error> {
    let rw = root.path(ROOT_RW);
    let (fetched, pristine, copy) = (root.path(USER_DATA), rw.join(PRISTINE), rw.join(COPY));
    let (source, user_data, to_make) =
        if fetched.exists() { (&fetched, &fetched, &pristine) } else { (&pristine, &copy, &copy) };
    if !source.exists() {
        return Ok(None);
    }
    let document = Document::read(source)?;
    let mut sections: Vec<_> = document.section()?.into_iter().collect();
    let extra = root.path(EXTRA_USER_DATA);
    sections.extend(match extra.exists() {
        true => Document::read(&extra)?.section()?,
        false => kept_extra_section(&rw)?,
    });
    let guest = Guest { binding: binding(root, &rw), ..Guest::of_files(sections, vec![user_data.clone()]) };
    if matches!(guest.settings(), Ok(Found::Cluster(_))) {
        // The boot goes on without: with what is there, or with the next boot's user-data as it is now.
        if let Err(error) = files::create(root, to_make, document.bytes(), PRISTINE_MODE) {
            log::warn!("{error}");
        }
    }
    Ok(Some(guest))
}

/// The guest in the system that the boot loader has booted; `None` when it was not booted so.
///
/// # Errors
/// As [`guest`].
pub(super) fn booted_guest(root: &Root) -> Result<Option<Guest>, Error> {
    let rw = root.path(BOOTED_RW);
    let user_data = rw.join(COPY);
    if !user_data.exists() {
        return Ok(None);
    }
    let mut sections: Vec<_> = Document::read(&user_data)?.section()?.into_iter().collect();
    sections.extend(kept_extra_section(&rw)?);
    Ok(Some(Guest { binding: binding(root, &rw), ..Guest::of_files(sections, vec![user_data]) }))
}

/// Leaves the original's marker, success or not.
pub(super) fn mark(root: &Root) -> Result<(), Error> {
    files::create(root, &root.path(MARKER), b"", 0o644)
}

/// The section of the extra user-data that an earlier boot saw: lines `_UCONTEXT_CVM_CLUSTER_PIN=…`, in which yes is 1
/// and nothing is quoted.
fn kept_extra_section(rw: &Path) -> Result<Option<Section>, Error> {
    let file = rw.join(EXTRA_UCONTEXT);
    if !file.exists() {
        return Ok(None);
    }
    let kept = Document::read(&file)?;
    let text = String::from_utf8_lossy(kept.bytes());
    let settings: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("_UCONTEXT_")).collect();
    let section = format!("[ucernvm-begin]\n{}\n[ucernvm-end]\n", settings.join("\n"));
    Document::parse(kept.name(), section.into_bytes())?.section()
}

/// Without a product_uuid (no DMI) there is no telling a clone, so there is no cache.
fn binding(root: &Root, rw: &Path) -> Option<Binding> {
    let uuid = std::fs::read_to_string(root.path(PRODUCT_UUID)).ok()?;
    let instance = uuid.trim().to_ascii_lowercase();
    (!instance.is_empty()).then(|| Binding { file: rw.join("context/cernvm-cluster.json"), instance })
}
