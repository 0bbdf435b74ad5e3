//! Where the µCernVM boot loader keeps the context, in the initramfs and in the booted system (docs: cernvm-micro's
//! `scripts.d/06context`, `07extracontext`, `13context_epilog`).
//!
//! The agent runs between `10root`, which mounts the read-write area, and `13context_epilog`, which copies
//! `/user-data` there. So the cache of the last boot is at hand, and what is substituted now is what amiconfig gets.
//!
//! Most releases fetch `/user-data` at the first boot only, and later boots go on with the copy in the read-write area.
//! That copy has no placeholder any more, so the agent keeps one as it came, and renders the other from it anew: a
//! master that was replaced meanwhile is found at a reboot, and a clone does not go on with the original's. What is kept
//! is `kept.rs`.

use std::path::Path;

use super::Guest;
use crate::cache::Binding;
use crate::files;
use crate::root::Root;
use context::document::Document;
use context::settings::FoundSection;
use kept::{KeptState, Owner};
use protocol::error::Error;

mod kept;

/// Where the boot loader's scripts log in plain lines.
pub const LOG: &str = "/var/log/context.log";
/// What `06context` has fetched and unpacked.
const USER_DATA: &str = "/user-data";
/// What `07extracontext` has found injected into a disk; at a first boot only.
const EXTRA_USER_DATA: &str = "/extra-user-data";
/// In the read-write area: what `13context_epilog` has copied there, and what amiconfig gets in the end.
const COPY: &str = "context/user-data";
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
    let kept = KeptState::new(root, root.path(ROOT_RW), machine(root));
    if root.path(USER_DATA).exists() { fetched(root, &kept).map(Some) } else { kept_only(root, &kept) }
}

/// The guest of the user-data that this boot has fetched: what is kept of other user-data goes.
fn fetched(root: &Root, kept: &KeptState<'_>) -> Result<Guest, Error> {
    if kept.owner() != Owner::ThisMachine {
        const WHY: &str = "since this machine has fetched user-data of its own, and did not keep that";
        kept.remove(WHY);
        kept.remove_extra_settings(WHY);
    }
    let guest = read(root, kept, &root.path(USER_DATA)).map(|(guest, document)| {
        let is_of_cluster = matches!(guest.settings(), Ok(FoundSection::Cluster(_)));
        (guest, is_of_cluster.then_some(document))
    });
    match &guest {
        Ok((_, Some(document))) => {
            kept.put(&kept.pristine(), document.bytes());
            kept.own();
            kept.restrict();
        }
        _ => kept.remove("since the user-data of this boot is of no cluster"),
    }
    guest.map(|(guest, _)| guest)
}

/// The guest of a boot that has fetched nothing: its user-data is the one that an earlier boot has kept, perhaps in
/// another machine.
fn kept_only(root: &Root, kept: &KeptState<'_>) -> Result<Option<Guest>, Error> {
    if !kept.pristine().exists() {
        return Ok(None);
    }
    let (guest, document) = read(root, kept, &kept.pristine())?;
    if kept.owner() != Owner::ThisMachine {
        log::warn!("this machine is a clone and has fetched no user-data: it goes on with its original's");
        kept.own();
    }
    let copy = root.path(ROOT_RW).join(COPY);
    kept.put(&copy, document.bytes());
    kept.restrict();
    Ok(Some(Guest { user_data: vec![copy], ..guest }))
}

/// A guest with this user-data, and with the extra user-data of this boot or of an earlier one.
fn read(root: &Root, kept: &KeptState<'_>, user_data: &Path) -> Result<(Guest, Document), Error> {
    let document = Document::read(user_data)?;
    let mut sections: Vec<_> = document.section()?.into_iter().collect();
    let extra = root.path(EXTRA_USER_DATA);
    sections.extend(match extra.exists() {
        true => Document::read(&extra)?.section()?,
        false => kept.extra_section()?,
    });
    let guest = Guest::of_files(sections, vec![user_data.to_path_buf()]);
    Ok((Guest { binding: binding(root, kept), ..guest }, document))
}

/// The guest in the system that the boot loader has booted; `None` when it was not booted so.
///
/// # Errors
/// As [`guest`].
pub(super) fn booted_guest(root: &Root) -> Result<Option<Guest>, Error> {
    let kept = KeptState::new(root, root.path(BOOTED_RW), machine(root));
    let user_data = root.path(BOOTED_RW).join(COPY);
    if !user_data.exists() {
        return Ok(None);
    }
    let mut sections: Vec<_> = Document::read(&user_data)?.section()?.into_iter().collect();
    if kept.owner() != Owner::AnotherMachine {
        sections.extend(kept.extra_section()?);
    }
    Ok(Some(Guest { binding: binding(root, &kept), ..Guest::of_files(sections, vec![user_data]) }))
}

/// Leaves the original's marker, success or not.
pub(super) fn mark(root: &Root) -> Result<(), Error> {
    files::create(root, &root.path(MARKER), b"", 0o644)
}

fn machine(root: &Root) -> Option<String> {
    let uuid = std::fs::read_to_string(root.path(PRODUCT_UUID)).ok()?;
    let machine = uuid.trim().to_ascii_lowercase();
    (!machine.is_empty()).then_some(machine)
}

/// Without a product_uuid (no DMI) there is no telling a clone, so there is no cache.
fn binding(root: &Root, kept: &KeptState<'_>) -> Option<Binding> {
    machine(root).map(|instance| Binding { file: kept.cache(), instance })
}
