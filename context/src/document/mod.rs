//! A context: the user-data that the user wrote, as a document in which the ucernvm section and the placeholders are
//! found, and placeholders are replaced.
//!
//! It knows plain text, gzip, MIME multiparts with their transfer encodings, and any of these in one another. What no
//! placeholder covers stays byte for byte; where one shows only after decoding, no more is encoded again than the
//! encoding makes necessary. MIME headers stay as they are: cloud-init heeds no Content-Length or Content-MD5.
//!
//! It reads files in bounds and never writes one.

mod base64;
mod cloud_init;
mod codec;
mod edit;
mod fit;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod gzip;
mod mime;
mod quoted_printable;
mod section;
mod substitute;
mod text;
mod undecodable;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

pub use cloud_init::{Part, PartKind, Reading};
pub use section::{Entry, IgnoredLine, MissingEnd, Section};
pub use substitute::Substituted;

use crate::placeholder::{self, Placeholder};
pub(crate) use cloud_init::{ENCODE_PART, of_text};
use protocol::error::Error;
pub(crate) use text::Run;

use codec::Codec;
use text::Text;

/// Largest file that is read, in bytes. Clouds pass on 16 KiB to 64 KiB; what a site has on a disk may be larger.
pub const MAX_FILE_BYTES: usize = 16 << 20;
/// Most bytes that all its encoded layers together may decode to.
const MAX_DECODED_BYTES: usize = 32 << 20;
/// UTF-8's byte order mark, which editors of Windows put first.
const BOM: &[u8] = b"\xef\xbb\xbf";

/// A context, decoded as far as it goes.
#[derive(Debug)]
pub struct Document {
    text: Text,
}

impl Document {
    /// Reads a file.
    ///
    /// # Errors
    /// `File` when it cannot be read, is no regular file or is larger than [`MAX_FILE_BYTES`]; those of
    /// [`Document::parse`].
    pub fn read(path: &Path) -> Result<Self, Error> {
        let bytes = read_bounded(path).map_err(|source| Error::cannot_read(path, source))?;
        Self::parse(&path.display().to_string(), bytes)
    }

    /// Takes the content of a file; `name` is what messages call it.
    ///
    /// # Errors
    /// `Context` when it is damaged gzip, or decodes to more bytes, parts or layers than any context needs.
    pub fn parse(name: &str, bytes: Vec<u8>) -> Result<Self, Error> {
        Text::new(name, bytes).map(|text| Self { text })
    }

    /// Takes a content in base64; `None` when it is none, or one that [`Document::parse`] refuses.
    pub(crate) fn from_base64(name: &str, encoded: &[u8]) -> Option<Self> {
        Self::parse(name, base64::decode(encoded).ok()?).ok()
    }

    /// What messages call it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.text.name
    }

    /// The file's own bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.text.bytes
    }

    /// The ucernvm section: of several the first, with a warning. One without an end marker goes to the end of the file,
    /// with a warning.
    ///
    /// # Errors
    /// [`Status::BadContext`] when there is no section, but a line that is nearly its begin marker beside placeholders
    /// that would stay literal.
    ///
    /// [`Status::BadContext`]: protocol::error::Status::BadContext
    pub fn section(&self) -> Result<Option<Section>, Error> {
        let mut sections = self.sections().into_iter();
        let Some(first) = sections.next() else {
            return match self.marker_near_miss() {
                Some(error) if !self.placeholders().is_empty() => Err(error),
                _ => Ok(None),
            };
        };
        if let Some(second) = sections.next() {
            log::warn!(
                "two ucernvm sections: that of {} counts, that of {} does not",
                first.place(),
                second.place()
            );
        }
        if first.missing_end().is_some() {
            log::warn!(
                "{}: [ucernvm-begin] has no [ucernvm-end]; the section goes to the end of the file",
                first.place()
            );
        }
        Ok(Some(first))
    }

    /// Every ucernvm section, in order. Only where none can be read are those looked for that cloud-init reads after it
    /// has decoded an archive, and those that it does not read: of a file that is encoded as a whole.
    pub(crate) fn sections(&self) -> Vec<Section> {
        let sections: Vec<_> = self.text.runs().iter().flat_map(Run::sections).collect();
        if !sections.is_empty() {
            return sections;
        }
        if let Some(decoded) = self.decoded_as_a_whole() {
            return decoded.sections();
        }
        let parts = self.reading().parts;
        parts.iter().flat_map(|part| section::scan(&part.name, part.text.as_bytes(), part.line)).collect()
    }

    /// What its author encoded as a whole, which cloud-init does not decode: base64, UTF-16, gzip below blank lines.
    fn decoded_as_a_whole(&self) -> Option<Self> {
        let bytes = self.text.bytes.strip_prefix(BOM).unwrap_or(&self.text.bytes);
        let name = format!("{} (decoded)", self.text.name);
        let is_packed = bytes.first().is_some_and(u8::is_ascii_whitespace)
            && Codec::of(bytes.trim_ascii_start()).is_some();
        if is_packed {
            return Self::parse(&name, bytes.trim_ascii_start().to_vec()).ok();
        }
        match utf16(bytes) {
            Some(text) => Self::parse(&name, text.into_bytes()).ok(),
            None => Self::from_base64(&name, bytes).filter(|decoded| !decoded.bytes().is_empty()),
        }
    }

    /// The first line that is nearly a begin marker, as an error.
    pub(crate) fn marker_near_miss(&self) -> Option<Error> {
        let (place, text) = self.text.runs().iter().find_map(Run::marker_near_miss)?;
        let problem =
            format!("{text:?} is not the line [ucernvm-begin], so that there is no ucernvm section");
        Some(Error::context(
            place,
            problem,
            "begin the section with [ucernvm-begin] and end it with [ucernvm-end]",
        ))
    }

    /// Every placeholder in it.
    #[must_use]
    pub fn placeholders(&self) -> BTreeSet<Placeholder> {
        let runs = self.text.runs();
        runs.iter().flat_map(|run| placeholder::find(run.bytes)).map(|found| found.placeholder).collect()
    }

    /// Everything in it that can be read, decoded where need be, in order.
    pub(crate) fn runs(&self) -> Vec<Run<'_>> {
        self.text.runs()
    }

    /// How many parts it has, those in gzip as a whole apart.
    pub(crate) fn parts(&self) -> usize {
        self.text.leaves.len()
    }

    /// The parts that are not what they claim to be, and are taken as they stand: their names, and why.
    pub(crate) fn opaque_parts(&self) -> Vec<(String, &str)> {
        self.text.opaque()
    }
}

/// A text in UTF-16 that begins with its byte order mark.
fn utf16(bytes: &[u8]) -> Option<String> {
    let unit: fn([u8; 2]) -> u16 = match bytes.get(..2)? {
        b"\xff\xfe" => u16::from_le_bytes,
        b"\xfe\xff" => u16::from_be_bytes,
        _ => return None,
    };
    let (pairs, _) = bytes[2..].as_chunks();
    Some(
        char::decode_utf16(pairs.iter().map(|pair| unit(*pair)))
            .map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER))
            .collect(),
    )
}

fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    // Before it is opened: opening a pipe without a writer would block.
    if !path.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    }
    let mut bytes = Vec::new();
    let allowed = u64::try_from(MAX_FILE_BYTES).unwrap_or(u64::MAX).saturating_add(1);
    File::open(path)?.take(allowed).read_to_end(&mut bytes)?;
    if bytes.len() > MAX_FILE_BYTES {
        let problem = format!("it is larger than {} MiB", MAX_FILE_BYTES >> 20);
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, problem));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests;
