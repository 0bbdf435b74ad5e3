//! What may be wrong with placeholders in a cloud-config: cloud-init parses it in the network stage, runs some of it
//! there, and writes the rest down anew for the later stages. Only what it wrote down can be substituted.

use std::collections::BTreeSet;

use super::Report;
use super::yaml::{self, Key, Line};
use crate::document::{Document, Run, Section};
use crate::placeholder;

/// Keys that cloud-init acts upon in the network stage (cloud.cfg's `cloud_init_modules`), before a value is there.
const NETWORK_STAGE: [&str; 17] = [
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
];

/// Looks at a cloud-config part and the sections in it.
pub(super) fn check(run: &Run<'_>, sections: &[Section], report: &mut Report) {
    let bare: BTreeSet<usize> = sections.iter().filter(|s| !s.is_commented()).map(Section::line).collect();
    let mut walk = Walk { run, report, top: String::new(), item: None };
    for line in yaml::lines(run.bytes) {
        if !line.in_block && bare.contains(&(run.line + line.number)) {
            walk.report.error(
                run.place(line.number),
                "the section makes this cloud-config invalid YAML, and cloud-init then drops all of it",
                "put a # before each of the section's lines, or give it a MIME part of its own",
            );
        }
        walk.line(&line);
    }
    walk.end_item();
}

struct Walk<'r, 'a> {
    run: &'r Run<'a>,
    report: &'r mut Report,
    /// The key at the left margin that the line belongs to.
    top: String,
    /// The entry of write_files that the line belongs to.
    item: Option<Item>,
}

/// An entry of write_files.
#[derive(Default)]
struct Item {
    /// Column of its dash.
    column: usize,
    /// The first line with a placeholder in it.
    placeholder: Option<usize>,
    deferred: bool,
    is_base64: bool,
    /// Where `content` is, and what it says.
    content: Option<(usize, Vec<u8>)>,
    in_content: bool,
}

impl Walk<'_, '_> {
    fn line(&mut self, line: &Line<'_>) {
        if let Some(key) = line.keys.first().filter(|key| key.column == 0) {
            self.end_item();
            self.top = String::from_utf8_lossy(key.name).into_owned();
        }
        if self.top == "write_files" {
            self.write_files(line);
        }
        for found in placeholder::find(line.text) {
            match line.comment {
                Some(comment)
                    if comment == found.span.start
                        || is_more_hashes(line.text, comment, found.span.start) =>
                {
                    self.report.error(
                        self.run.place(line.number),
                        format!(
                            "YAML takes {} for a comment here, and cloud-init drops it \
                             before it can be replaced",
                            found.placeholder
                        ),
                        format!("put it in quotes: \"{}\"", found.placeholder),
                    );
                }
                Some(comment) if comment < found.span.start => {}
                _ => self.placed(line, &found.placeholder.to_string()),
            }
        }
    }

    /// A placeholder that survives the parsing.
    fn placed(&mut self, line: &Line<'_>, placeholder: &str) {
        if let Some(item) = &mut self.item {
            item.placeholder.get_or_insert(line.number);
        } else if NETWORK_STAGE.contains(&self.top.as_str()) {
            self.report.warning(
                self.run.place(line.number),
                format!(
                    "cloud-init acts upon {} in the network stage, before {placeholder} can be replaced",
                    self.top
                ),
                "use runcmd, which runs later, or switch on early mode",
            );
        }
    }

    fn write_files(&mut self, line: &Line<'_>) {
        if let Some(column) = line.dash
            && self.item.as_ref().is_none_or(|item| column <= item.column)
        {
            self.end_item();
            self.item = Some(Item { column, ..Item::default() });
        }
        let Some(item) = &mut self.item else { return };
        for key in &line.keys {
            item.key(line.number, key);
        }
        if line.keys.is_empty()
            && item.in_content
            && let Some((_, content)) = &mut item.content
        {
            content.extend_from_slice(&line.text[..line.comment.unwrap_or(line.text.len())]);
            content.push(b'\n');
        }
    }

    fn end_item(&mut self) {
        let Some(item) = self.item.take() else { return };
        if let Some((line, content)) = item.content.as_ref().filter(|_| item.is_base64)
            && let Some(decoded) = Document::from_base64("content", content)
        {
            for hidden in decoded.placeholders() {
                if item.deferred {
                    self.report.error(
                        self.run.place(*line),
                        format!(
                            "{hidden} is inside this base64 of a deferred entry, where nothing replaces it"
                        ),
                        "write the content as text, or leave out `defer: true`",
                    );
                } else {
                    self.written_early(*line);
                }
            }
        }
        if let Some(line) = item.placeholder.filter(|_| !item.deferred) {
            self.written_early(line);
        }
    }

    fn written_early(&mut self, line: usize) {
        self.report.warning(
            self.run.place(line),
            "cloud-init writes this file in the network stage; the agent replaces the placeholder in it afterwards, \
             and whatever reads the file before that sees the placeholder",
            "add `defer: true` to this entry of write_files, or switch on early mode",
        );
    }
}

impl Item {
    fn key(&mut self, line: usize, key: &Key<'_>) {
        let value = key.value.trim_ascii_end().strip_suffix(b",").unwrap_or(key.value);
        let value = yaml::unquoted(value.strip_suffix(b"}").unwrap_or(value));
        let says = |words: &[&str]| words.iter().any(|word| value.eq_ignore_ascii_case(word.as_bytes()));
        self.in_content = key.name == b"content";
        match key.name {
            b"content" => {
                let value = if value.starts_with(b"|") || value.starts_with(b">") { b"" } else { value };
                if let Some(value) = value.strip_prefix(b"!!binary") {
                    self.is_base64 = true;
                    self.content =
                        Some((line, value.trim_ascii().strip_prefix(b"|").unwrap_or(value).to_vec()));
                } else {
                    self.content = Some((line, value.to_vec()));
                }
            }
            // cc_write_files' canonicalize_extraction; gzip shows by itself.
            b"encoding" => {
                self.is_base64 = says(&["b64", "base64", "gz+b64", "gz+base64", "gzip+b64", "gzip+base64"]);
            }
            b"defer" => self.deferred = says(&["true", "yes", "on"]),
            _ => {}
        }
    }
}

/// Whether a comment begins with more hashes than the placeholder's own three.
fn is_more_hashes(text: &[u8], comment: usize, placeholder: usize) -> bool {
    comment < placeholder && text[comment..placeholder].iter().all(|b| *b == b'#')
}
