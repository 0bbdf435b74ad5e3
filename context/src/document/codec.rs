//! The encodings under which a context can hide a placeholder: how each is undone, and how an edit of the decoded
//! bytes becomes an edit of the encoded ones.

use super::edit::Edit;
use super::undecodable::Undecodable;
use super::{base64, gzip, quoted_printable};

/// An encoding that can be undone and made again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Codec {
    /// RFC 1952.
    Gzip,
    /// RFC 2045 section 6.8.
    Base64,
    /// RFC 2045 section 6.7.
    QuotedPrintable,
}

impl Codec {
    /// The encoding that bytes show by themselves, without a header that names it.
    pub(super) fn of(bytes: &[u8]) -> Option<Self> {
        gzip::is_gzip(bytes).then_some(Self::Gzip)
    }

    /// The decoded bytes, `limit` of them at most.
    pub(super) fn decode(self, encoded: &[u8], limit: usize) -> Result<Vec<u8>, Undecodable> {
        match self {
            Self::Gzip => gzip::decode(encoded, limit),
            Self::Base64 => within(limit, base64::decode(encoded)?),
            Self::QuotedPrintable => within(limit, quoted_printable::decode(encoded)),
        }
    }

    /// The edits of `encoded` after which it decodes to `decoded` with `edits` made.
    pub(super) fn edits<'v>(self, encoded: &[u8], decoded: &[u8], edits: &[Edit<'_>]) -> Vec<Edit<'v>> {
        match self {
            _ if edits.is_empty() => Vec::new(),
            Self::Gzip => vec![gzip::edit(encoded, decoded, edits)],
            Self::Base64 => vec![base64::edit(encoded, decoded, edits)],
            Self::QuotedPrintable => quoted_printable::edits(encoded, edits),
        }
    }
}

/// Base64 and quoted-printable never grow when they are decoded, so that looking afterwards is soon enough.
fn within(limit: usize, decoded: Vec<u8>) -> Result<Vec<u8>, Undecodable> {
    if decoded.len() > limit { Err(Undecodable::TooLarge) } else { Ok(decoded) }
}
