//! What cloud-init makes of a context (its `user_data.py` and `handlers/__init__.py`, 22.4 to 26.2): the parts that it
//! hands on, what it takes each for, and what it drops.

mod kind;
mod unknown;

use std::borrow::Cow;
use std::fmt::Write as _;

use super::codec::Codec;
use super::text::{Content, Text, TextPart};
use super::{BOM, Document, gzip};
use crate::commented::commented_placeholders;
use crate::yaml::{self, Node, ScalarStyle};

pub use kind::PartKind;
pub(crate) use kind::of_text;
use kind::{VAGUE, kind_of, of_type};

/// A part that cloud-init hands on, or passes over because it does not know it.
#[derive(Debug)]
pub struct Part<'a> {
    /// The file or part that it is in.
    pub(crate) name: String,
    /// What cloud-init reads.
    pub text: Cow<'a, str>,
    /// The number of its first line there.
    pub(crate) line: usize,
    /// What cloud-init takes it for.
    pub kind: PartKind,
    /// The first line, counted from 0, with a character that cloud-init hands on as an escape.
    pub(crate) escaped_line: Option<usize>,
    /// Whether only the place of its first line is known: a scalar of an archive that is no literal block.
    is_on_one_line: bool,
}

impl Part<'_> {
    /// The same part with another text of as many lines.
    pub(crate) fn with_text(&self, text: String) -> Part<'_> {
        Part {
            name: self.name.clone(),
            text: Cow::Owned(text),
            line: self.line,
            kind: self.kind,
            escaped_line: self.escaped_line,
            is_on_one_line: self.is_on_one_line,
        }
    }

    /// A line of it, counted from 0: `/user-data line 14`.
    pub(crate) fn place(&self, line: usize) -> String {
        let line = if self.is_on_one_line { self.line } else { self.line + line };
        format!("{} line {line}", self.name)
    }

    /// Python's `raw-unicode-escape`, as which cloud-init reads a MIME part that is not encoded.
    fn escape(&mut self) {
        let is_high = |c: char| c > '\u{ff}';
        self.escaped_line = self.text.split('\n').position(|line| line.contains(is_high));
        if self.escaped_line.is_some() {
            let mut escaped = String::new();
            for c in self.text.chars() {
                // The next calls cannot fail: they write into memory.
                let _ = match u32::from(c) {
                    0..=0xff => escaped.write_char(c),
                    code @ ..=0xffff => write!(escaped, "\\u{code:04x}"),
                    code => write!(escaped, "\\U{code:08x}"),
                };
            }
            self.text = escaped.into();
        }
    }
}

/// Something that cloud-init drops or does not see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ReadingProblem {
    /// File, part and line, as far as they can be named.
    pub(crate) place: String,
    /// What is wrong there.
    pub(crate) what: String,
    /// What to do about it.
    pub(crate) next: String,
}

/// What cloud-init makes of a document.
#[derive(Debug, Default)]
pub struct Reading<'a> {
    /// In the order in which it hands them on. One in a `message/rfc822` part, which it hands on twice, is here once.
    pub parts: Vec<Part<'a>>,
    pub(crate) problems: Vec<ReadingProblem>,
}

impl Document {
    /// What cloud-init makes of it.
    #[must_use]
    pub fn reading(&self) -> Reading<'_> {
        let mut reading = Reading::default();
        reading.whole(&self.text);
        reading
    }
}

/// The types of gzip, the only ones of parts that cloud-init unpacks (`DECOMP_TYPES`).
const GZIP_TYPES: [&str; 8] = [
    "application/gzip",
    "application/gzip-compressed",
    "application/gzipped",
    "application/x-compress",
    "application/x-compressed",
    "application/x-gunzip",
    "application/x-gzip",
    "application/x-gzip-compressed",
];
/// What to do about a character that is not ASCII.
pub(crate) const ENCODE_PART: &str =
    "leave the part unpacked, and give it Content-Transfer-Encoding: base64, as cloud-init's make-mime does";
/// Where cloud-init looks for the word that makes a file MIME.
const VERSION_WITHIN: usize = 4096;

impl<'a> Reading<'a> {
    fn add_problem(&mut self, place: impl Into<String>, what: impl Into<String>, next: impl Into<String>) {
        self.problems.push(ReadingProblem { place: place.into(), what: what.into(), next: next.into() });
    }

    fn whole(&mut self, text: &'a Text) {
        if let [TextPart { content: Content::Encoded(Codec::Gzip, inner), span, .. }] = text.leaves.as_slice()
            && span.len() == text.bytes.len()
        {
            if !gzip::is_read_by_python(&text.bytes) {
                self.add_problem(
                    text.name.clone(),
                    "something follows the gzip data, and Python's gzip, which cloud-init unpacks with, refuses the file",
                    "pack it again: gzip -c FILE > FILE.gz",
                );
                return;
            }
            return self.unpacked(inner);
        }
        self.unpacked(text);
    }

    /// `convert_string`.
    fn unpacked(&mut self, text: &'a Text) {
        let start = &text.bytes[..text.bytes.len().min(VERSION_WITHIN)].to_ascii_lowercase();
        let is_mime = start.windows(13).any(|window| window == b"mime-version:");
        if !is_mime {
            if text.leaves.is_empty() {
                return self.payload(&text.name, 1, &text.bytes, None);
            }
            return self.add_problem(
                text.name.clone(),
                "it has MIME parts, but no MIME-Version: without that cloud-init does not look for parts",
                "add a line `MIME-Version: 1.0` to the first headers",
            );
        }
        if text.bytes.starts_with(BOM) {
            return self.byte_order_mark(&text.name);
        }
        if let Err(error) = std::str::from_utf8(&text.bytes) {
            return self.not_utf8(&text.name, 1, &text.bytes, error.valid_up_to());
        }
        if !text.is_mime {
            return self.payload(&text.name, 1, &text.bytes, None);
        }
        if text.leaves.is_empty() {
            return self.add_problem(
                text.name.clone(),
                "the boundary that its first headers name begins no line, so that cloud-init sees no part",
                "begin each part with a line of -- and the boundary",
            );
        }
        for (number, leaf) in text.leaves.iter().enumerate() {
            self.leaf(text, number + 1, leaf);
        }
    }

    fn leaf(&mut self, text: &'a Text, number: usize, leaf: &'a TextPart) {
        let raw = &text.bytes[leaf.span.clone()];
        let declared = leaf.headers.content_type.as_deref().unwrap_or("text/plain");
        if declared.starts_with("multipart/") {
            return self.add_problem(
                text.place_at(leaf.span.start),
                "this multipart names no boundary, so that cloud-init sees no part in it",
                "add boundary=\"…\" to its Content-Type",
            );
        }
        let (name, line, bytes, packed) = match &leaf.content {
            Content::Encoded(Codec::Gzip, inner) => (&inner.name, 1, raw, Some(inner)),
            Content::Encoded(_, inner) => match inner.leaves.as_slice() {
                [TextPart { content: Content::Encoded(Codec::Gzip, unpacked), .. }] => {
                    (&inner.name, 1, inner.bytes.as_slice(), Some(unpacked))
                }
                _ => (&inner.name, 1, inner.bytes.as_slice(), None),
            },
            Content::Plain | Content::Opaque(_) => (&text.name, text.line_at(leaf.span.start), raw, None),
        };
        if matches!(leaf.content, Content::Plain | Content::Opaque(_))
            && self.is_lost_8bit(name, line, bytes, declared)
        {
            return;
        }
        if !GZIP_TYPES.contains(&declared) {
            if packed.is_some() && kind_of("", Some(declared)) != PartKind::Unknown {
                return self.add_problem(
                    name.clone(),
                    format!(
                        "this part is gzip, which cloud-init does not unpack in a part of the type {declared}"
                    ),
                    "give the part the type application/gzip, or leave it unpacked",
                );
            }
            let before = self.parts.len();
            self.payload(name, line, bytes, Some(declared));
            if matches!(leaf.content, Content::Plain | Content::Opaque(_)) {
                self.parts[before..].iter_mut().for_each(Part::escape);
            }
            return;
        }
        match packed {
            // It becomes a part that is not encoded.
            Some(unpacked) if gzip::is_read_by_python(bytes) => {
                if !self.is_lost_8bit(&unpacked.name, 1, &unpacked.bytes, VAGUE[0]) {
                    let before = self.parts.len();
                    self.payload(&unpacked.name, 1, &unpacked.bytes, None);
                    self.parts[before..].iter_mut().for_each(Part::escape);
                }
            }
            _ => self.add_problem(
                format!("{} part {number}", text.name),
                "this part is said to be gzip and is none that Python reads; cloud-init then drops all parts",
                "pack it again, or leave it unpacked",
            ),
        }
    }

    /// Whether a part that stands there unencoded is lost for a character that is not ASCII: Python's
    /// `get_payload(decode=True)` makes Latin-1 of those up to U+00FF, and [escapes](Part::escape) of the others.
    fn is_lost_8bit(&mut self, name: &str, line: usize, bytes: &[u8], declared: &str) -> bool {
        let Ok(text) = std::str::from_utf8(bytes) else { return false };
        let kind = kind_of(without_mark(text), Some(declared));
        if kind == PartKind::Unknown {
            return false;
        }
        if text.starts_with('\u{feff}') {
            self.byte_order_mark(name);
            return true;
        }
        let Some(at) = text.find(|c| ('\u{80}'..='\u{ff}').contains(&c)) else { return false };
        self.add_problem(
            format!("{name} line {}", line + text[..at].matches('\n').count()),
            "a character here is not ASCII, and cloud-init drops a MIME part with one in it that is gzip or not encoded",
            ENCODE_PART,
        );
        true
    }

    /// A part as it is decoded; `declared` is its MIME type.
    fn payload(&mut self, name: &str, line: usize, bytes: &'a [u8], declared: Option<&str>) {
        let is_vague = declared.is_none_or(|declared| VAGUE.contains(&declared));
        if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
            return self.add_problem(
                name,
                "this is UTF-16, which nothing on the guest reads",
                "save it as UTF-8",
            );
        }
        let text = match std::str::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => return self.no_text(name, line, bytes, declared, error.valid_up_to()),
        };
        if is_vague && text.starts_with('\u{feff}') && of_text(without_mark(text)) != PartKind::Unknown {
            return self.byte_order_mark(name);
        }
        let kind = kind_of(text, declared);
        if kind == PartKind::Archive {
            return self.archive(name, line, text);
        }
        if kind == PartKind::Unknown {
            self.unknown(name, line, text, declared);
        }
        let text = Cow::Borrowed(text);
        let escaped_line = None;
        self.parts.push(Part {
            name: name.to_owned(),
            text,
            line,
            kind,
            escaped_line,
            is_on_one_line: false,
        });
    }

    /// A payload that is not UTF-8.
    fn no_text(&mut self, name: &str, line: usize, bytes: &[u8], declared: Option<&str>, at: usize) {
        let lossy = String::from_utf8_lossy(bytes);
        if kind_of(without_mark(&lossy), declared) != PartKind::Unknown {
            return self.not_utf8(name, line, bytes, at);
        }
        if let Some(at) = bytes.windows(3).take(64).position(|window| window == b"\x1f\x8b\x08")
            && bytes[..at].trim_ascii().is_empty()
        {
            return self.add_problem(
                name,
                "something stands before the gzip data, so that cloud-init does not unpack it",
                "begin the file with the gzip data",
            );
        }
        self.unknown(name, line, &lossy, declared);
    }

    /// `_explode_archive`.
    fn archive(&mut self, name: &str, line: usize, text: &str) {
        let root = match yaml::parse(text) {
            Ok(root) => root,
            Err(invalid) => {
                return self.add_problem(
                    format!("{name} line {}", line + invalid.line - 1),
                    format!("this archive is no YAML ({}), and cloud-init drops all of it", invalid.problem),
                    "put comments before the section's lines, and quotes around placeholders",
                );
            }
        };
        for found in commented_placeholders(text) {
            self.add_problem(
                format!("{name} line {}", line + text[..found.span.start].matches('\n').count()),
                format!(
                    "YAML takes {} for a comment here, and cloud-init drops it before it can be replaced",
                    found.placeholder
                ),
                format!("put it in quotes: \"{}\"", found.placeholder),
            );
        }
        let items = root.as_ref().map_or(&[][..], Node::items);
        if items.is_empty() {
            self.add_problem(
                format!("{name} line {line}"),
                "this archive is no list, and cloud-init drops all of it",
                "write each part as an item: - type: …",
            );
        }
        for item in items {
            let Some(content) = item.scalar().or_else(|| item.get("content").and_then(Node::scalar)) else {
                continue;
            };
            // The lines of a literal block are counted from the one below its `|`.
            let is_literal = content.style == ScalarStyle::Literal;
            let line = line + text[..content.span.start].matches('\n').count() + usize::from(is_literal);
            let given = item.get("type").and_then(Node::scalar).map(|given| given.text.as_str());
            // cloud-init looks behind no type here, other than in a MIME part.
            let kind = match given {
                Some(given) => of_type(given),
                None if of_text(&content.text) == PartKind::Unknown => PartKind::CloudConfig,
                None => of_text(&content.text),
            };
            let kind = if kind == PartKind::Archive { PartKind::Unknown } else { kind };
            self.parts.push(Part {
                name: name.to_owned(),
                text: Cow::Owned(content.text.clone()),
                line,
                kind,
                escaped_line: None,
                is_on_one_line: !is_literal,
            });
        }
    }

    fn byte_order_mark(&mut self, name: &str) {
        self.add_problem(
            name,
            "it begins with a byte order mark, so that cloud-init does not see what it is",
            "save it as UTF-8 without one",
        );
    }

    fn not_utf8(&mut self, name: &str, line: usize, bytes: &[u8], at: usize) {
        let before = &bytes[..at];
        let line = line + before.iter().filter(|b| **b == b'\n').count();
        let column =
            before.iter().rev().take_while(|b| **b != b'\n').filter(|b| **b & 0xc0 != 0x80).count() + 1;
        self.add_problem(
            format!("{name} line {line}"),
            format!("column {column} is not UTF-8, and cloud-init drops what is not"),
            "save it as UTF-8",
        );
    }
}

/// A text without the byte order marks that it may begin with.
fn without_mark(text: &str) -> &str {
    text.trim_start_matches('\u{feff}')
}

#[cfg(test)]
mod tests;
