//! What cloud-init, or the agent, does with one part of a context, by its kind.

use super::{Report, cloud_config};
use crate::document::{ENCODE_PART, Part, PartKind, Section, of_text};
use crate::placeholder::{self, Placeholder};

pub(super) fn check_part(part: &Part<'_>, sections: &[Section], is_early: bool, report: &mut Report) {
    if let Some(line) = part.escaped_line {
        report.warning(
            part.place(line),
            "a character here is not ASCII, and cloud-init makes an escape like \\u20ac of it, since its MIME part is gzip or not encoded",
            ENCODE_PART,
        );
    }
    match part.kind {
        PartKind::CloudConfig => {
            if let Some(number) = part.text.lines().position(|line| line.starts_with("## template:")) {
                report.error(
                    part.place(number),
                    "this line makes a template only where it comes first, so that nothing is rendered here",
                    "put it before all other lines",
                );
            }
            cloud_config::check(part, sections, is_early, report);
        }
        PartKind::Early(name) if !is_early => {
            each_placeholder(part, report, |report, place, placeholder| {
                report.warning(
                    place,
                    format!(
                        "cloud-init runs a {name} in the network stage, before {placeholder} can be replaced"
                    ),
                    "use a script, which runs later, or switch on early mode",
                );
            });
        }
        PartKind::Include => check_include(part, report),
        PartKind::Jinja => check_jinja(part, is_early, report),
        PartKind::Script => check_script(part, report),
        PartKind::Early(_) | PartKind::JsonPatch | PartKind::Archive | PartKind::Unknown => {}
    }
}

pub(super) fn each_placeholder(
    part: &Part<'_>,
    report: &mut Report,
    mut found: impl FnMut(&mut Report, String, &Placeholder),
) {
    for (number, line) in part.text.split('\n').enumerate() {
        if let Some(first) = placeholder::find(line.as_bytes()).next() {
            found(report, part.place(number), &first.placeholder);
        }
    }
}

/// `_do_include`: each line that is no comment is an address. Gives them with their lines, counted from 0.
pub(super) fn addresses<'p>(part: &'p Part<'_>) -> impl Iterator<Item = (usize, &'p str)> {
    let address = |(number, line): (usize, &'p str)| {
        let lower = line.to_ascii_lowercase();
        let rest = ["#include-once", "#include"].iter().find_map(|word| lower.strip_prefix(word));
        let line = rest.map_or(line, |rest| line[line.len() - rest.len()..].trim_start());
        (!line.starts_with('#') && !line.trim().is_empty()).then(|| (number, line.trim()))
    };
    part.text.lines().enumerate().filter_map(address)
}

fn check_include(part: &Part<'_>, report: &mut Report) {
    for (number, address) in addresses(part) {
        if let Some(found) = placeholder::find(address.as_bytes()).next() {
            report.error(
                part.place(number),
                format!("cloud-init fetches this address before {} is replaced", found.placeholder),
                "fetch it in a script, which runs later",
            );
        } else if !address.contains("://") && !address.starts_with('/') {
            report.error(
                part.place(number),
                "this line of an #include file is no address; cloud-init tries to fetch it, and then drops all parts",
                "put a # before it, or move it into one of the included files",
            );
        }
    }
}

fn check_jinja(part: &Part<'_>, is_early: bool, report: &mut Report) {
    if !part.text.trim_start().to_ascii_lowercase().starts_with("## template:") {
        report.error(
            part.place(0),
            "this part has the type of a template and does not begin with ## template: jinja; cloud-init drops it",
            "begin it with that line",
        );
    }
    for (number, line) in part.text.lines().enumerate() {
        if line.contains("{###") && !is_early {
            report.error(
                part.place(number),
                "jinja takes {# for the beginning of a comment, and eats the placeholder",
                "put a blank between { and ###",
            );
        }
    }
    let rendered = part.text.split_once('\n').map_or("", |(_, rest)| rest);
    if of_text(rendered) == PartKind::Unknown {
        report.error(
            part.place(1),
            "below the line of the template stands nothing that cloud-init knows, and it drops all of it",
            "write #cloud-config or #! and an interpreter as the next line",
        );
    }
}

fn check_script(part: &Part<'_>, report: &mut Report) {
    let first = part.text.lines().next().unwrap_or_default();
    if !first.starts_with("#!") {
        report.error(
            part.place(0),
            "this script does not begin with #!, so that the kernel finds no interpreter",
            "begin it with #!/bin/sh, in the first column of the first line",
        );
    } else if !first[2..].trim_start().starts_with('/') {
        report.error(
            part.place(0),
            "this is a script to cloud-init, and its first line names no interpreter by its path",
            "write #!/bin/sh, or #cloud-config if it is one",
        );
    } else if part.text.split('\n').next().is_some_and(|line| line.ends_with('\r')) {
        report.warning(
            part.place(0),
            "this script has Windows line ends: cloud-init converts them, amiconfig does not, and then finds no \
             interpreter",
            "save it with Unix line ends",
        );
    }
}
