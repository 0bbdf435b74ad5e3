//! What may be wrong with placeholders in a cloud-config: cloud-init parses it in the network stage, runs some of it
//! there, and writes the rest down anew for the later stages. Only what it wrote down can be substituted.

use std::ops::Range;

use super::Report;
use crate::commented::{commented_placeholders, without_hashes};
use crate::document::{Document, Part, Section};
use crate::file_encoding::FileEncoding;
use crate::placeholder::{self, FoundPlaceholder};
use crate::yaml::{self, Node, Scalar, each_scalar};

/// Keys that cloud-init acts upon in the network stage (cloud.cfg's `cloud_init_modules` of 22.4 to 26.2), before a
/// value is there.
const NETWORK_STAGE: [&str; 20] = [
    "bootcmd",
    "users",
    "user",
    "groups",
    "ssh",
    "ssh_keys",
    "ssh_authorized_keys",
    "hostname",
    "fqdn",
    "mounts",
    "swap",
    "disk_setup",
    "fs_setup",
    "growpart",
    "ca_certs",
    "ca-certs",
    "rsyslog",
    // From 24.2 on.
    "chpasswd",
    "password",
    "random_seed",
];
/// Those of them whose value is a password, which a literal placeholder would become.
const PASSWORDS: [&str; 2] = ["chpasswd", "password"];

/// Looks at a cloud-config part and the sections in it. With early mode everything is replaced before cloud-init parses
/// it.
pub(super) fn check(part: &Part<'_>, sections: &[Section], is_early: bool, report: &mut Report) {
    let comments = if is_early { Vec::new() } else { commented_placeholders(&part.text) };
    for found in &comments {
        report.error(
            part.place(line_of(&part.text, found.span.start)),
            format!(
                "YAML takes {} for a comment here, and cloud-init drops it before it can be replaced",
                found.placeholder
            ),
            format!("put it in quotes: \"{}\"", found.placeholder),
        );
    }
    let parsed = if is_early { yaml::parse(&without_hashes(&part.text)) } else { yaml::parse(&part.text) };
    let root = match parsed {
        Ok(Some(root)) => root,
        Ok(None) => return,
        // A comment took away what comes after it.
        Err(_) if !comments.is_empty() => return,
        Err(invalid) => return check_invalid(part, sections, &invalid, report),
    };
    if !matches!(root, Node::Mapping(_)) {
        if !comments.is_empty() {
            return;
        }
        report.error(
            part.place(0),
            "this cloud-config is no mapping of keys, and cloud-init drops all of it",
            "write key: value lines below #cloud-config",
        );
        return;
    }
    for (key, value) in root.pairs() {
        if key.text == "write_files" {
            value.items().iter().for_each(|entry| check_file(part, entry, is_early, report));
        } else if NETWORK_STAGE.contains(&key.text.as_str()) && !is_early {
            check_network_stage(part, &key.text, value, report);
        } else {
            check_base64(part, value, report);
        }
    }
}

/// Whether something after the network stage reads a placeholder of this cloud-config.
pub(super) fn is_read_later(text: &str) -> bool {
    let Ok(Some(root)) = yaml::parse(text) else { return false };
    root.pairs().iter().any(|(key, value)| {
        let mut is_read = false;
        // What write_files wrote in the network stage is replaced in the files.
        if !NETWORK_STAGE.contains(&key.text.as_str()) {
            each_scalar(value, &mut |scalar| is_read |= has_placeholder(scalar) || hides_placeholder(scalar));
        }
        is_read
    })
}

fn check_invalid(part: &Part<'_>, sections: &[Section], invalid: &yaml::Invalid, report: &mut Report) {
    let last = part.line + part.text.matches('\n').count();
    let bare = sections.iter().find(|s| !s.is_commented() && (part.line..=last).contains(&s.line()));
    if let Some(section) = bare {
        report.error(
            section.place(),
            "the section makes this cloud-config invalid YAML, and cloud-init then drops all of it",
            "put a # before each of the section's lines, or give it a MIME part of its own",
        );
        return;
    }
    report.error(
        part.place(invalid.line - 1),
        format!("this cloud-config is no valid YAML ({}), and cloud-init drops all of it", invalid.problem),
        "run `cloud-init schema --config-file FILE` for more about it",
    );
}

fn check_network_stage(part: &Part<'_>, key: &str, value: &Node, report: &mut Report) {
    each_scalar(value, &mut |scalar| {
        for found in placeholder::find(scalar.text.as_bytes()) {
            let place = part.place(line_of_placeholder(&part.text, scalar, &found));
            if PASSWORDS.contains(&key) {
                report.error(
                    place,
                    format!(
                        "cloud-init acts upon {key} in the network stage, before {} can be replaced: the placeholder \
                         itself becomes the password",
                        found.placeholder
                    ),
                    "set the password in runcmd, which runs later, or switch on early mode",
                );
                continue;
            }
            report.warning(
                place,
                format!(
                    "cloud-init acts upon {key} in the network stage, before {} can be replaced",
                    found.placeholder
                ),
                "use runcmd, which runs later, or switch on early mode",
            );
        }
    });
}

/// A placeholder in base64 of a command: nothing decodes that before it runs.
fn check_base64(part: &Part<'_>, value: &Node, report: &mut Report) {
    each_scalar(value, &mut |scalar| {
        if hides_placeholder(scalar) {
            report.warning(
                part.place(line_of(&part.text, scalar.span.start)),
                "a placeholder is inside base64 here, where nothing replaces it",
                "write it as text, or use write_files with `encoding: b64`",
            );
        }
    });
}

/// Whether a word of it is base64 with a placeholder in it.
fn hides_placeholder(scalar: &Scalar) -> bool {
    /// Base64 of the shortest placeholder.
    const SHORTEST: usize = 28;
    let is_base64 = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=');
    scalar.text.split(|c| !is_base64(c)).filter(|word| word.len() >= SHORTEST).any(|word| {
        Document::from_base64("content", word.as_bytes())
            .is_some_and(|hidden| !hidden.placeholders().is_empty())
    })
}

/// An entry of write_files.
fn check_file(part: &Part<'_>, entry: &Node, is_early: bool, report: &mut Report) {
    let is_true =
        |said: &Scalar| ["true", "1", "yes", "on"].contains(&said.text.trim().to_ascii_lowercase().as_str());
    let is_deferred = entry.get("defer").and_then(Node::scalar).is_some_and(is_true);
    if let Some(uri) = entry.get("source").and_then(|source| source.get("uri")).and_then(Node::scalar)
        && has_placeholder(uri)
        && !is_early
        && !is_deferred
    {
        report.error(
            part.place(line_of(&part.text, uri.span.start)),
            "cloud-init fetches this address in the network stage, before the placeholder is replaced",
            "add `defer: true` to this entry of write_files, or switch on early mode",
        );
        return;
    }
    if let Some(content) = entry.get("content").and_then(Node::scalar)
        // Gzip shows by itself.
        && (content.is_binary || FileEncoding::of(entry).base64)
        && let Some(decoded) = Document::from_base64("content", content.text.as_bytes())
    {
        let line = line_of(&part.text, key_of(entry, "content").start);
        for hidden in decoded.placeholders() {
            if is_deferred {
                report.error(
                    part.place(line),
                    format!("{hidden} is inside this base64 of a deferred entry, where nothing replaces it"),
                    "write the content as text, or leave out `defer: true`",
                );
            } else if !is_early {
                written_early(part, line, report);
            }
        }
    }
    if is_deferred || is_early {
        return;
    }
    let mut first = None;
    each_scalar(entry, &mut |scalar| {
        if let Some(found) = placeholder::find(scalar.text.as_bytes()).next() {
            first.get_or_insert_with(|| line_of_placeholder(&part.text, scalar, &found));
        }
    });
    if let Some(line) = first {
        written_early(part, line, report);
    }
}

fn written_early(part: &Part<'_>, line: usize, report: &mut Report) {
    report.warning(
        part.place(line),
        "cloud-init writes this file in the network stage; the agent replaces the placeholder in it afterwards, \
         and whatever reads the file before that sees the placeholder",
        "add `defer: true` to this entry of write_files, or switch on early mode",
    );
}

fn has_placeholder(scalar: &Scalar) -> bool {
    placeholder::find(scalar.text.as_bytes()).next().is_some()
}

fn key_of(entry: &Node, name: &str) -> Range<usize> {
    let pair = entry.pairs().iter().rev().find(|(key, _)| key.text == name);
    pair.map_or(0..0, |(key, _)| key.span.clone())
}

/// Counted from 0.
fn line_of(text: &str, offset: usize) -> usize {
    text[..offset].matches('\n').count()
}

/// The line of a placeholder of a scalar; that of the scalar where it does not stand there letter for letter.
fn line_of_placeholder(text: &str, scalar: &Scalar, found: &FoundPlaceholder) -> usize {
    let at = text[scalar.span.clone()].find(&found.placeholder.to_string()).unwrap_or(0);
    line_of(text, scalar.span.start + at)
}
