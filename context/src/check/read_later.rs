//! Whether something reads the placeholders after they were replaced.

use super::{Report, cloud_config};
use crate::document::{Document, PartKind, Reading};
use crate::placeholder;
use crate::settings::Settings;

/// Warns of a context whose placeholders no later stage reads.
pub(super) fn check(document: &Document, reading: &Reading<'_>, settings: &Settings, report: &mut Report) {
    let has = |kind| reading.parts.iter().any(|part| part.kind == kind);
    // What an address brings is not known here, and a text without a part is not for cloud-init.
    let is_known = !has(PartKind::Include) && reading.parts.iter().any(|part| part.kind != PartKind::Unknown);
    let placeholders = document.placeholders();
    let brought = placeholders.iter().filter(|placeholder| settings.brings(&placeholder.key()));
    let placeholders: Vec<_> = brought.map(ToString::to_string).collect();
    let is_for_amiconfig = reading.parts.iter().any(|part| is_for_amiconfig(&part.text));
    if !is_known || placeholders.is_empty() || is_read_later(reading) || is_for_amiconfig {
        return;
    }
    report.warning(
        document.name().to_owned(),
        format!("nothing that runs after the master is ready reads {}", placeholders.join(", ")),
        "use it in runcmd, a script or write_files, or switch on early mode: cvm_cluster_early=yes",
    );
}

/// Whether a later stage of cloud-init reads one of the placeholders: a script, or a cloud-config outside the keys of the
/// network stage.
pub(super) fn is_read_later(reading: &Reading<'_>) -> bool {
    let knows_more = reading.parts.iter().any(|part| part.kind == PartKind::Early("part-handler"));
    let has_placeholder = |text: &str| placeholder::find(text.as_bytes()).next().is_some();
    reading.parts.iter().filter(|part| has_placeholder(&part.text)).any(|part| match part.kind {
        PartKind::CloudConfig => cloud_config::is_read_later(&part.text),
        PartKind::Script | PartKind::Jinja | PartKind::JsonPatch => true,
        PartKind::Unknown => knows_more,
        PartKind::Early(_) | PartKind::Include | PartKind::Archive => false,
    })
}

/// Whether amiconfig takes it.
pub(super) fn is_for_amiconfig(text: &str) -> bool {
    text.lines().any(|line| line.trim() == "[amiconfig]")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_what_is_read_later() {
        for (text, expected) in [
            ("#!/bin/sh\n###A_PLACEHOLDER###\n", true),
            ("#cloud-config\nruncmd: ['###A_PLACEHOLDER###']\n", true),
            ("#cloud-config\nbootcmd: ['###A_PLACEHOLDER###']\n", false),
            ("#cloud-config\n# ###A_PLACEHOLDER###\n", false),
            ("#cloud-config\nruncmd: [\n# ###A_PLACEHOLDER###\n", false),
            ("#cloud-boothook\n###A_PLACEHOLDER###\n", false),
            ("#include\nhttp://###A_PLACEHOLDER###\n", false),
            ("text ###A_PLACEHOLDER###\n", false),
        ] {
            let document = Document::parse("f", text.as_bytes().to_vec()).unwrap();
            assert_eq!(is_read_later(&document.reading()), expected, "{text}");
        }
    }
}
