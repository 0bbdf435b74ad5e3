//! The early mode: substitution in the parts of cloud-init's user-data, before cloud-init acts upon any of them.
//!
//! cloud-init's part-handler hands over every part at every boot. Whether the context asks for it is decided here, by
//! the one reader of the section.

use std::path::PathBuf;

use super::{Guest, cloud_init};
use crate::files;
use crate::root::Root;
use context::document::Document;
use context::settings::FoundSection;
use protocol::error::Error;

/// Whether there is something to do in early mode.
pub(super) enum EarlyMode {
    /// There is not; the sentence says why.
    Nothing(String),
    /// Substitute in these parts.
    Parts(Guest, Vec<PathBuf>),
}

/// Which of these parts to substitute in, if the section says `cvm_cluster_early=yes`.
///
/// # Errors
/// The user-data cannot be read, or its section makes no sense.
pub(super) fn mode(root: &Root, mut parts: Vec<PathBuf>) -> Result<EarlyMode, Error> {
    let nothing = |why: &str| Ok(EarlyMode::Nothing(format!("early mode: {why}: nothing to do")));
    let Some(guest) = cloud_init::guest(root)? else {
        return nothing("cloud-init has no instance with user-data");
    };
    match guest.settings()? {
        FoundSection::Cluster(settings) if settings.early => {}
        _ => return nothing("the section does not switch it on"),
    }
    parts.retain(|part| has_placeholder(root, part));
    if parts.is_empty() {
        return nothing("no part has a placeholder");
    }
    if !has_network(root) {
        log::warn!("early mode: there is no network yet (dsmode: local?); the unit substitutes later");
        return nothing("there is no network yet");
    }
    Ok(EarlyMode::Parts(Guest { records: false, ..guest }, parts))
}

/// A part that is damaged goes to cloud-init as it is.
fn has_placeholder(root: &Root, part: &std::path::Path) -> bool {
    let document =
        files::read(root, part).and_then(|file| Document::parse(&part.display().to_string(), file.bytes));
    document.is_ok_and(|document| !document.placeholders().is_empty())
}

/// Whether there is a route, or a global IPv6 address: in cloud-init's local stage there is neither.
fn has_network(root: &Root) -> bool {
    let read = |path: &str| std::fs::read_to_string(root.path(path)).unwrap_or_default();
    let is_global = |line: &str| line.split_whitespace().nth(3) == Some("00");
    read("/proc/net/route").lines().nth(1).is_some() || read("/proc/net/if_inet6").lines().any(is_global)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn has_a_network_with_a_route_or_a_global_address() {
        let check = |file: &str, content: &str| {
            let guest = tempfile::tempdir().unwrap();
            std::fs::create_dir_all(guest.path().join("proc/net")).unwrap();
            std::fs::write(guest.path().join("proc/net").join(file), content).unwrap();
            has_network(&Root::from(guest.path()))
        };
        assert!(!check("route", "Iface\tDestination\n"));
        assert!(check("route", "Iface\tDestination\neth0\t00000000\n"));
        assert!(!check("if_inet6", "00000000000000000000000000000001 01 80 10 80 lo\n"));
        assert!(check("if_inet6", "20010db8000000000000000000000001 02 40 00 80 eth0\n"));
    }
}
