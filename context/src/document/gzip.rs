//! Gzip (RFC 1952), read in bounds.

use std::borrow::Cow;
use std::io::Read as _;

use flate2::bufread::GzDecoder;
use flate2::{Compression, GzBuilder, GzHeader};

use super::edit::{self, Edit};
use super::undecodable::Undecodable;

/// Most members of one file: `gzip` makes one, and what joins files makes a few. Each costs some 40 KiB of state.
const MAX_MEMBERS: usize = 100;

/// Whether the bytes begin as gzip does.
pub(super) fn is_gzip(bytes: &[u8]) -> bool {
    bytes.starts_with(&[0x1f, 0x8b])
}

/// What all members unpack to, `limit` bytes at most.
pub(super) fn decode(encoded: &[u8], limit: usize) -> Result<Vec<u8>, Undecodable> {
    unpack(encoded, limit).map(|unpacked| unpacked.bytes)
}

/// Whether Python's `gzip` reads it to its end: after the members it takes zeros and nothing else.
pub(super) fn is_read_by_python(encoded: &[u8]) -> bool {
    let unpacked = unpack(encoded, super::MAX_DECODED_BYTES);
    unpacked.is_ok_and(|unpacked| encoded[unpacked.end..].iter().all(|byte| *byte == 0))
}

/// One edit, of all members, by one with the name, comment and time of the first. What follows them stays.
pub(super) fn edit<'v>(encoded: &[u8], decoded: &[u8], edits: &[Edit<'_>]) -> Edit<'v> {
    let unpacked = unpack(encoded, decoded.len()).expect("these bytes were unpacked before");
    let changed = edit::apply(decoded, edits);
    let mut packer = builder(unpacked.header.as_ref()).read(changed.as_slice(), Compression::default());
    let mut with = Vec::new();
    packer.read_to_end(&mut with).expect("reading from memory cannot fail");
    Edit { span: 0..unpacked.end, with: Cow::Owned(with) }
}

struct Unpacked {
    bytes: Vec<u8>,
    /// Where the last member ends.
    end: usize,
    /// Of the first member.
    header: Option<GzHeader>,
}

fn unpack(encoded: &[u8], limit: usize) -> Result<Unpacked, Undecodable> {
    const DAMAGED: Undecodable = Undecodable::Damaged("is gzip, but damaged or cut short");
    let mut unpacked = Unpacked { bytes: Vec::new(), end: 0, header: None };
    for _ in 0..MAX_MEMBERS {
        let mut member = GzDecoder::new(&encoded[unpacked.end..]);
        let room = limit - unpacked.bytes.len();
        let allowed = u64::try_from(room).unwrap_or(u64::MAX).saturating_add(1);
        let read = (&mut member).take(allowed).read_to_end(&mut unpacked.bytes).map_err(|_| DAMAGED)?;
        if read > room {
            return Err(Undecodable::TooLarge);
        }
        if unpacked.header.is_none() {
            unpacked.header = member.header().cloned();
        }
        let rest = member.into_inner();
        unpacked.end = encoded.len() - rest.len();
        if !is_gzip(rest) {
            return Ok(unpacked);
        }
    }
    Err(Undecodable::Damaged("has too many gzip members"))
}

fn builder(header: Option<&GzHeader>) -> GzBuilder {
    let Some(header) = header else { return GzBuilder::new() };
    let mut builder = GzBuilder::new().mtime(header.mtime()).operating_system(header.operating_system());
    if let Some(name) = header.filename() {
        builder = builder.filename(name);
    }
    if let Some(comment) = header.comment() {
        builder = builder.comment(comment);
    }
    if let Some(extra) = header.extra() {
        builder = builder.extra(extra);
    }
    builder
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pack(bytes: &[u8]) -> Vec<u8> {
        let builder = GzBuilder::new().filename("user-data").comment("by hand").extra("x").mtime(7);
        let mut packed = Vec::new();
        builder.read(bytes, Compression::best()).read_to_end(&mut packed).unwrap();
        packed
    }

    #[test]
    fn reads_all_members_and_leaves_what_follows_them() {
        let packed = [pack(b"one "), pack(b"two"), b"\0\0\0".to_vec()].concat();
        let decoded = decode(&packed, 100).unwrap();
        assert_eq!(decoded, b"one two");
        let edits = [Edit { span: 0..3, with: b"1".as_slice().into() }];
        let edited = edit::apply(&packed, &[edit(&packed, &decoded, &edits)]);
        assert_eq!(decode(&edited, 100).unwrap(), b"1 two");
        assert!(edited.ends_with(b"\0\0\0"));
    }

    #[test]
    fn keeps_the_header() {
        let packed = pack(b"one");
        let edits = [Edit { span: 0..3, with: b"1".as_slice().into() }];
        let edited = edit::apply(&packed, &[edit(&packed, b"one", &edits)]);
        let header = unpack(&edited, 100).unwrap().header.unwrap();
        assert_eq!((header.filename(), header.comment()), (Some(&b"user-data"[..]), Some(&b"by hand"[..])));
        assert_eq!((header.extra(), header.mtime()), (Some(&b"x"[..]), 7));
    }

    #[test]
    fn stops_at_the_limit() {
        let bomb = pack(&vec![0; 1_000_000]);
        assert_eq!(decode(&bomb, 999_999), Err(Undecodable::TooLarge));
        assert_eq!(decode(&bomb, 1_000_000).unwrap().len(), 1_000_000);
        let many = pack(b"").repeat(MAX_MEMBERS + 1);
        assert!(matches!(decode(&many, 100), Err(Undecodable::Damaged(_))));
    }

    #[test]
    fn says_when_it_is_damaged() {
        let packed = pack(b"some text that is packed");
        for length in 2..packed.len() {
            assert!(matches!(decode(&packed[..length], 100), Err(Undecodable::Damaged(_))), "{length}");
        }
    }

    proptest! {
        #[test]
        fn takes_any_bytes(rest in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = decode(&[&[0x1f, 0x8b, 8], rest.as_slice()].concat(), 1000);
        }
    }
}
