//! A context as layers of text: what lies in a file as it is, and what shows only after decoding.
//!
//! Every layer is decoded once, within bounds for bytes, leaves and depth that hold for the document as a whole.

use std::ops::Range;

use super::MAX_DECODED_BYTES;
use super::codec::Codec;
use super::mime::{self, Headers, TooManyParts};
use super::section::{self, Section};
use super::undecodable::Undecodable;
use protocol::error::Error;

/// How many encodings may lie in one another: gzip in base64 in a multipart that was gzipped makes three.
const MAX_LAYERS: usize = 5;

/// Bytes at one level of decoding.
#[derive(Debug)]
pub(super) struct Text {
    /// What a person calls it: `/user-data`, `/user-data part 2 (worker.sh)`.
    pub(super) name: String,
    pub(super) bytes: Vec<u8>,
    /// The parts in it, in order; what lies between them is plain.
    pub(super) leaves: Vec<TextPart>,
    /// Whether it begins with the headers of a MIME document.
    pub(super) is_mime: bool,
}

/// A part of a text: a MIME leaf, or the whole when that is gzip.
#[derive(Debug)]
pub(super) struct TextPart {
    /// Where it lies in the text around it.
    pub(super) span: Range<usize>,
    /// What its MIME headers say; none for gzip.
    pub(super) headers: Headers,
    pub(super) content: Content,
}

/// What a leaf holds.
#[derive(Debug)]
pub(super) enum Content {
    /// It can be read as it lies there.
    Plain,
    /// It can be read once decoded.
    Encoded(Codec, Box<Text>),
    /// It claims an encoding that it does not have, or one that is not in use: why it is taken as it lies there.
    Opaque(String),
}

/// Bytes that can be read as they lie there: the whole of a plain file, a leaf, or what is between leaves.
#[derive(Clone, Copy)]
pub(crate) struct Run<'a> {
    /// The file or part that they are in.
    pub(crate) name: &'a str,
    pub(crate) bytes: &'a [u8],
    /// The number of their first line there.
    pub(crate) line: usize,
}

impl Run<'_> {
    /// A line of it, counted from 0, as a person finds it: `/user-data line 14`.
    pub(crate) fn place(&self, line: usize) -> String {
        format!("{} line {}", self.name, self.line + line)
    }

    /// The ucernvm sections in it.
    pub(crate) fn sections(&self) -> impl Iterator<Item = Section> {
        section::scan(self.name, self.bytes, self.line)
    }

    /// The first line of it that is nearly a begin marker: where it is, and the line.
    pub(crate) fn marker_near_miss(&self) -> Option<(String, String)> {
        let near = section::marker_near_miss(self.bytes)?;
        Some((self.place(near.line), near.text))
    }
}

impl Text {
    /// The layers of a file.
    pub(super) fn new(name: &str, bytes: Vec<u8>) -> Result<Self, Error> {
        let mut bounds =
            RemainingBounds { bytes: MAX_DECODED_BYTES, leaves: mime::MAX_LEAVES, layers: MAX_LAYERS };
        let text = bounds.text(name.to_owned(), bytes)?;
        match text.leaves.as_slice() {
            [TextPart { content: Content::Opaque(why), .. }] if Codec::of(&text.bytes).is_some() => {
                Err(Error::context(
                    text.name,
                    format!("it {why}"),
                    "pack the context again, or leave it unpacked",
                ))
            }
            _ => Ok(text),
        }
    }

    /// The number of the line that holds this offset, counted from 1.
    pub(super) fn line_at(&self, offset: usize) -> usize {
        line_ends(&self.bytes[..offset]) + 1
    }

    /// `/user-data line 14`.
    pub(super) fn place_at(&self, offset: usize) -> String {
        format!("{} line {}", self.name, self.line_at(offset))
    }

    /// Everything that can be read, decoded where need be, in the order of the document.
    pub(super) fn runs(&self) -> Vec<Run<'_>> {
        let mut runs = Vec::new();
        self.collect_runs(&mut runs);
        runs
    }

    fn collect_runs<'a>(&'a self, runs: &mut Vec<Run<'a>>) {
        let (mut from, mut line) = (0, 1);
        for leaf in &self.leaves {
            let between = &self.bytes[from..leaf.span.start];
            runs.push(Run { name: &self.name, bytes: between, line });
            line += line_ends(between);
            let bytes = &self.bytes[leaf.span.clone()];
            match &leaf.content {
                Content::Encoded(_, inner) => inner.collect_runs(runs),
                Content::Plain | Content::Opaque(_) => runs.push(Run { name: &self.name, bytes, line }),
            }
            line += line_ends(bytes);
            from = leaf.span.end;
        }
        runs.push(Run { name: &self.name, bytes: &self.bytes[from..], line });
    }

    /// The parts that are not what they claim to be: their names, and why.
    pub(super) fn opaque(&self) -> Vec<(String, &str)> {
        let parts = self.leaves.iter().zip(1..).flat_map(|(leaf, number)| match &leaf.content {
            Content::Plain => Vec::new(),
            Content::Opaque(why) => vec![(part_name(&self.name, number, &leaf.headers), why.as_str())],
            Content::Encoded(_, inner) => inner.opaque(),
        });
        parts.collect()
    }
}

fn line_ends(bytes: &[u8]) -> usize {
    bytes.iter().filter(|b| **b == b'\n').count()
}

/// What is left of the bounds of a document.
struct RemainingBounds {
    bytes: usize,
    leaves: usize,
    layers: usize,
}

impl RemainingBounds {
    fn text(&mut self, name: String, bytes: Vec<u8>) -> Result<Text, Error> {
        if self.layers == 0 {
            return Err(too_much(&name, "is encoded in too many layers"));
        }
        self.layers -= 1;
        let (leaves, is_mime) = if let Some(codec) = Codec::of(&bytes) {
            let content = self.content(&format!("{name} (unpacked)"), &bytes, Some(codec))?;
            (vec![TextPart { span: 0..bytes.len(), headers: Headers::default(), content }], false)
        } else {
            let leaves = self.leaves(&name, &bytes)?;
            let is_mime = leaves.is_some();
            (leaves.unwrap_or_default(), is_mime)
        };
        self.layers += 1;
        Ok(Text { name, bytes, leaves, is_mime })
    }

    fn leaves(&mut self, name: &str, bytes: &[u8]) -> Result<Option<Vec<TextPart>>, Error> {
        let found = mime::leaves(bytes)
            .map_err(|TooManyParts| too_much(name, "has too many MIME parts, or too many in one another"))?;
        let Some(found) = found else { return Ok(None) };
        self.leaves =
            self.leaves.checked_sub(found.len()).ok_or_else(|| too_much(name, "has too many MIME parts"))?;
        let leaves = found.into_iter().enumerate().map(|(index, leaf)| {
            let body = &bytes[leaf.body.clone()];
            let inner_name = part_name(name, index + 1, &leaf.headers);
            let content = match leaf.headers.transfer_encoding.as_deref() {
                Some("base64") => self.content(&inner_name, body, Some(Codec::Base64)),
                Some("quoted-printable") => self.content(&inner_name, body, Some(Codec::QuotedPrintable)),
                None | Some("" | "7bit" | "8bit" | "binary") => self.content(&inner_name, body, None),
                Some(other) => Ok(Content::Opaque(format!("has the transfer encoding {other:?}"))),
            }?;
            Ok(TextPart { span: leaf.body, headers: leaf.headers, content })
        });
        leaves.collect::<Result<_, _>>().map(Some)
    }

    fn content(&mut self, name: &str, bytes: &[u8], codec: Option<Codec>) -> Result<Content, Error> {
        let Some(codec) = codec.or_else(|| Codec::of(bytes)) else {
            return Ok(Content::Plain);
        };
        match codec.decode(bytes, self.bytes) {
            Ok(decoded) => {
                self.bytes -= decoded.len();
                Ok(Content::Encoded(codec, Box::new(self.text(name.to_owned(), decoded)?)))
            }
            Err(Undecodable::Damaged(why)) => Ok(Content::Opaque(why.to_owned())),
            Err(Undecodable::TooLarge) => {
                Err(too_much(name, &format!("unpacks to more than {} MiB", MAX_DECODED_BYTES >> 20)))
            }
        }
    }
}

fn too_much(name: &str, problem: &str) -> Error {
    Error::context(
        name,
        format!("it {problem}, which no context needs"),
        "check that this is the context that you wrote",
    )
}

/// `/user-data part 2 (worker.sh)`; the file name, else the type, makes it easy to find.
fn part_name(name: &str, number: usize, headers: &Headers) -> String {
    const LONGEST: usize = 60;
    match headers.file_name.as_ref().or(headers.content_type.as_ref()) {
        Some(title) => {
            let title: String = title.chars().filter(|c| !c.is_control()).take(LONGEST).collect();
            format!("{name} part {number} ({title})")
        }
        None => format!("{name} part {number}"),
    }
}
