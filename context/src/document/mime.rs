//! Where the leaves of a MIME document lie.
//!
//! Lines and boundaries are taken as Python's `email.feedparser` takes them, since that is what cloud-init splits a
//! context with: a boundary is a whole line, headers end at the first line that is none, a leaf that no boundary ends
//! goes to the end. mail-parser reads the headers; it is not asked for the parts, because it finds a boundary in the
//! middle of a line and at the start of a longer one, and looks through the rest of the file again for every
//! multipart that is not closed.

use std::ops::Range;

use mail_parser::{HeaderName, HeaderValue, MessageParser};

/// Most leaves of one document; cloud-init contexts have a handful.
pub(super) const MAX_LEAVES: usize = 1000;
/// How deep multiparts may lie in one another.
pub(super) const MAX_DEPTH: usize = 16;
/// Longest headers of one part, in bytes; what comes after is body.
const MAX_HEADERS: usize = 16 * 1024;

/// A part that is no multipart.
#[derive(Debug)]
pub(super) struct MimePart {
    /// Its body, without the line end that belongs to the boundary after it (RFC 2046 section 5.1.1).
    pub(super) body: Range<usize>,
    /// What its headers say.
    pub(super) headers: Headers,
}

/// What matters to us in a part's headers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Headers {
    /// `type/subtype` in lower case.
    pub(crate) content_type: Option<String>,
    /// `filename` of Content-Disposition, else `name` of Content-Type.
    pub(super) file_name: Option<String>,
    /// Content-Transfer-Encoding in lower case.
    pub(super) transfer_encoding: Option<String>,
    has_version: bool,
    boundary: Option<String>,
}

/// A document that is nested or divided further than any sane one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooManyParts;

/// The leaves of `bytes`, in order; `None` when it is no MIME document.
pub(super) fn leaves(bytes: &[u8]) -> Result<Option<Vec<MimePart>>, TooManyParts> {
    let start = if bytes.starts_with(super::BOM) { super::BOM.len() } else { 0 };
    let mut reader = MimeReader { bytes, at: start, boundaries: Vec::new(), messages: 0, leaves: Vec::new() };
    // mbox's envelope line, which some tools that write MIME contexts leave in.
    if bytes[start..].starts_with(b"From ") {
        reader.line();
    }
    let headers = reader.headers();
    if !headers.has_version && headers.boundary.is_none() {
        return Ok(None);
    }
    reader.body(headers)?;
    Ok(Some(reader.leaves))
}

struct MimeReader<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Of the multiparts around, outermost first.
    boundaries: Vec<String>,
    /// How many messages are around: parts of the type message/rfc822.
    messages: usize,
    leaves: Vec<MimePart>,
}

/// What a line means to the multiparts around it.
enum BoundaryLine {
    /// It opens a part of the innermost multipart.
    Opens,
    /// It closes the innermost multipart.
    Closes,
    /// It is a boundary of one further out, or there is no line left.
    Ends,
    /// It is content.
    Content,
}

impl MimeReader<'_> {
    /// The next line with its line end; empty at the end.
    fn line(&mut self) -> Range<usize> {
        let start = self.at;
        let length =
            self.bytes[start..].iter().position(|b| *b == b'\n').map_or(self.bytes.len() - start, |n| n + 1);
        self.at = start + length;
        start..self.at
    }

    /// What the next line is, which is taken only if it is the innermost multipart's or content.
    fn next(&mut self) -> BoundaryLine {
        let start = self.at;
        let line = self.line();
        let depth = self.boundaries.len();
        // A boundary further out wins, as with feedparser's stack of end matchers.
        let found = self.boundaries.iter().enumerate().find_map(|(level, boundary)| {
            delimiter(&self.bytes[line.clone()], boundary).map(|closes| (level, closes))
        });
        match found {
            _ if line.is_empty() => BoundaryLine::Ends,
            None => BoundaryLine::Content,
            Some((level, closes)) if level + 1 == depth => {
                if closes {
                    BoundaryLine::Closes
                } else {
                    BoundaryLine::Opens
                }
            }
            Some(_) => {
                self.at = start;
                BoundaryLine::Ends
            }
        }
    }

    fn headers(&mut self) -> Headers {
        let start = self.at;
        while self.at - start < MAX_HEADERS {
            let before = self.at;
            let line = self.line();
            let text = &self.bytes[line.clone()];
            if !line.is_empty()
                && text.trim_ascii().is_empty()
                && !text.starts_with(b" ")
                && !text.starts_with(b"\t")
            {
                return Headers::parse(&self.bytes[start..before]);
            }
            if !is_header_line(text) {
                self.at = before;
                break;
            }
        }
        Headers::parse(&self.bytes[start..self.at])
    }

    /// The body of a part whose headers were just read.
    fn body(&mut self, headers: Headers) -> Result<(), TooManyParts> {
        match headers.boundary {
            Some(boundary) => {
                if self.boundaries.len() == MAX_DEPTH {
                    return Err(TooManyParts);
                }
                self.boundaries.push(boundary);
                let parts = self.parts();
                self.boundaries.pop();
                parts
            }
            None if headers.is_message() => {
                if self.messages == MAX_DEPTH {
                    return Err(TooManyParts);
                }
                self.messages += 1;
                let headers = self.headers();
                let message = self.body(headers);
                self.messages -= 1;
                message
            }
            None => self.leaf(headers),
        }
    }

    /// The parts of the innermost multipart, its preamble and its epilogue.
    fn parts(&mut self) -> Result<(), TooManyParts> {
        let mut closed = false;
        loop {
            match self.next() {
                BoundaryLine::Ends => return Ok(()),
                BoundaryLine::Closes => closed = true,
                BoundaryLine::Opens if !closed => {
                    self.skip_repeated_boundaries();
                    let headers = self.headers();
                    self.body(headers)?;
                }
                BoundaryLine::Opens | BoundaryLine::Content => {}
            }
        }
    }

    /// Boundaries right after one another are one; even a closing one is passed over then.
    fn skip_repeated_boundaries(&mut self) {
        loop {
            let before = self.at;
            if !matches!(self.next(), BoundaryLine::Opens | BoundaryLine::Closes) {
                self.at = before;
                return;
            }
        }
    }

    fn leaf(&mut self, headers: Headers) -> Result<(), TooManyParts> {
        if self.leaves.len() == MAX_LEAVES {
            return Err(TooManyParts);
        }
        let start = self.at;
        let end = loop {
            let before = self.at;
            match self.next() {
                BoundaryLine::Content => {}
                // No boundary anywhere: the last line end is the leaf's own.
                BoundaryLine::Ends if self.boundaries.is_empty() => break before,
                BoundaryLine::Ends | BoundaryLine::Opens | BoundaryLine::Closes => {
                    self.at = before;
                    break start + without_line_end(&self.bytes[start..before]).len();
                }
            }
        };
        self.leaves.push(MimePart { body: start..end, headers });
        Ok(())
    }
}

/// Whether a line is this boundary, and if so whether it is the closing one.
fn delimiter(line: &[u8], boundary: &str) -> Option<bool> {
    let rest = line.strip_prefix(b"--")?.strip_prefix(boundary.as_bytes())?;
    match rest.strip_prefix(b"--") {
        Some(rest) => rest.trim_ascii().is_empty().then_some(true),
        None => rest.trim_ascii().is_empty().then_some(false),
    }
}

fn without_line_end(bytes: &[u8]) -> &[u8] {
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    bytes.strip_suffix(b"\r").unwrap_or(bytes)
}

/// Whether a line belongs to headers: `name:`, or the continuation of one.
fn is_header_line(line: &[u8]) -> bool {
    if line.starts_with(b" ") || line.starts_with(b"\t") {
        return true;
    }
    let name = line.iter().position(|b| *b == b':');
    name.is_some_and(|length| line[..length].iter().all(u8::is_ascii_graphic))
}

impl Headers {
    /// Whether the body is a message with headers of its own, whose parts cloud-init takes as those of the message around
    /// it. feedparser takes every `message/…` for one but delivery-status.
    fn is_message(&self) -> bool {
        let content_type = self.content_type.as_deref().unwrap_or_default();
        content_type.starts_with("message/") && content_type != "message/delivery-status"
    }

    fn parse(block: &[u8]) -> Self {
        let parser = MessageParser::new().with_mime_headers();
        let Some(message) = parser.parse_headers(block) else { return Self::default() };
        // Where a header is there twice, the first counts, as with Python's `Message.get`.
        let value = |name: &HeaderName<'_>| {
            message.headers().iter().find(|header| header.name == *name).map(|header| &header.value)
        };
        let content_type = value(&HeaderName::ContentType).and_then(HeaderValue::as_content_type);
        let disposition = value(&HeaderName::ContentDisposition).and_then(HeaderValue::as_content_type);
        let file_name = disposition
            .and_then(|d| d.attribute("filename"))
            .or_else(|| content_type.and_then(|c| c.attribute("name")));
        Self {
            content_type: content_type
                .map(|c| format!("{}/{}", c.ctype(), c.subtype().unwrap_or_default()).to_ascii_lowercase()),
            file_name: file_name.map(str::to_owned),
            transfer_encoding: value(&HeaderName::ContentTransferEncoding)
                .and_then(HeaderValue::as_text)
                .map(|encoding| encoding.trim().to_ascii_lowercase()),
            has_version: value(&HeaderName::MimeVersion).is_some(),
            boundary: content_type
                .filter(|c| c.ctype().eq_ignore_ascii_case("multipart"))
                .and_then(|c| c.attribute("boundary"))
                // A boundary does not end with a blank (RFC 2046 section 5.1.1), and Python takes it off.
                .map(str::trim_end)
                .filter(|boundary| !boundary.is_empty())
                .map(str::to_owned),
        }
    }
}

#[cfg(test)]
mod tests;
