//! Base64 as MIME parts carry it (RFC 2045 section 6.8).

use std::borrow::Cow;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::edit::{self, Edit};
use super::undecodable::Undecodable;

/// Takes what encoders in the wild leave behind: no padding, and bits set in the last character that carry nothing.
const ENGINE: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// Longest line of base64 in MIME, in characters (RFC 2045 section 6.8).
const MIME_LINE: usize = 76;

/// The decoded bytes; blanks and line ends anywhere are passed over.
pub(super) fn decode(encoded: &[u8]) -> Result<Vec<u8>, Undecodable> {
    let characters: Vec<u8> = encoded.iter().copied().filter(|b| !b.is_ascii_whitespace()).collect();
    ENGINE.decode(characters).map_err(|_| Undecodable::Damaged("is said to be base64 and is not"))
}

/// One edit, of everything between the blanks at either end: with the line length and line ends of what was there.
pub(super) fn edit<'v>(encoded: &[u8], decoded: &[u8], edits: &[Edit<'_>]) -> Edit<'v> {
    let body = encoded.trim_ascii();
    let start = encoded.len() - encoded.trim_ascii_start().len();
    let lines = LineBreaks::of(body);
    let whole = ENGINE.encode(edit::apply(decoded, edits));
    let mut with = Vec::with_capacity(whole.len() + whole.len() / 32);
    for (index, line) in whole.as_bytes().chunks(lines.length).enumerate() {
        if index > 0 {
            with.extend_from_slice(lines.end);
        }
        with.extend_from_slice(line);
    }
    Edit { span: start..start + body.len(), with: Cow::Owned(with) }
}

/// How base64 is broken into lines.
struct LineBreaks {
    length: usize,
    end: &'static [u8],
}

impl LineBreaks {
    /// The way of `body`. A single line longer than MIME allows was not broken at all; a shorter one may only not
    /// have been long enough.
    fn of(body: &[u8]) -> Self {
        let first = body.iter().position(|b| *b == b'\n');
        let end: &[u8] = if first.is_some_and(|at| body[..at].ends_with(b"\r")) { b"\r\n" } else { b"\n" };
        let length = match first {
            Some(at) => body[..at].trim_ascii().len().max(1),
            None if body.len() > MIME_LINE => usize::MAX,
            None => MIME_LINE,
        };
        Self { length, end }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(encoded: &str, from: &str, to: &str, expected: &str) {
        let decoded = decode(encoded.as_bytes()).unwrap();
        let at = String::from_utf8(decoded.clone()).unwrap().find(from).unwrap();
        let edits = [Edit { span: at..at + from.len(), with: to.as_bytes().into() }];
        let edited = edit::apply(encoded.as_bytes(), &[edit(encoded.as_bytes(), &decoded, &edits)]);
        assert_eq!(String::from_utf8(edited).unwrap(), expected);
    }

    #[test]
    fn keeps_line_length_line_ends_and_what_is_around() {
        // "one two three four"
        check("b25l\nIHR3\nbyB0\naHJl\nZSBm\nb3Vy\n", "two", "2", "b25l\nIDIg\ndGhy\nZWUg\nZm91\ncg==\n");
        check(
            "\r\nb25lIHR3\r\nbyB0aHJl\r\nZSBmb3Vy\r\n\r\n",
            "four",
            "4",
            "\r\nb25lIHR3\r\nbyB0aHJl\r\nZSA0\r\n\r\n",
        );
        check("b25lIHR3byB0aHJlZSBmb3Vy", "four", "4", "b25lIHR3byB0aHJlZSA0");
    }

    #[test]
    fn breaks_a_line_that_grows_past_76_unless_it_was_longer_before() {
        let short = ENGINE.encode("@");
        let long = ENGINE.encode(format!("@{}", "x".repeat(90)));
        check(
            &short,
            "@",
            &"y".repeat(60),
            &format!("{}\n{}", ENGINE.encode("y".repeat(57)), ENGINE.encode("yyy")),
        );
        check(&long, "@", "y", &ENGINE.encode(format!("y{}", "x".repeat(90))));
    }

    #[test]
    fn takes_base64_without_padding_and_refuses_other_text() {
        assert_eq!(decode(b"YQ"), Ok(b"a".to_vec()));
        assert_eq!(decode(b" Y Q = =\r\n"), Ok(b"a".to_vec()));
        assert!(decode(b"#!/bin/sh").is_err());
    }

    proptest! {
        #[test]
        fn decodes_to_the_edited_bytes(
            bytes in prop::collection::vec(any::<u8>(), 1..300), length in 1usize..100, at in 0usize..300,
            with in prop::collection::vec(any::<u8>(), 0..100),
        ) {
            let mut encoded = Vec::new();
            for line in ENGINE.encode(&bytes).as_bytes().chunks(length) {
                encoded.extend_from_slice(line);
                encoded.push(b'\n');
            }
            let at = at % bytes.len();
            let edits = [Edit { span: at..at + 1, with: with.into() }];
            let edited = edit::apply(&encoded, &[edit(&encoded, &bytes, &edits)]);
            prop_assert_eq!(decode(&edited).unwrap(), edit::apply(&bytes, &edits));
        }
    }
}
