//! Quoted-printable (RFC 2045 section 6.7), decoded as CPython's `binascii.a2b_qp` does, since that is what cloud-init
//! reads it with.
//!
//! An edit changes nothing but the encoded form of the bytes it replaces. Lines are not broken anew: the 76 characters
//! of RFC 2045 bind who sends mail, not who decodes it.

use std::borrow::Cow;

use super::edit::Edit;

/// One decoded byte, or a soft line break.
struct Token {
    /// The decoded byte; none for a soft line break.
    byte: Option<u8>,
    /// Whether it is a `=` that stands for itself, which is an escape as soon as hex digits follow.
    loose: bool,
}

struct Tokens<'a> {
    encoded: &'a [u8],
    at: usize,
}

impl Iterator for Tokens<'_> {
    type Item = Token;

    fn next(&mut self) -> Option<Token> {
        let rest = &self.encoded[self.at..];
        let (byte, length, loose) = match *rest {
            [] => return None,
            [b'='] => (None, 1, false),
            [b'=', b'\n', ..] => (None, 2, false),
            // As a2b_qp: whatever follows up to the line's end goes with it.
            [b'=', b'\r', ..] => {
                (None, rest.iter().position(|b| *b == b'\n').map_or(rest.len(), |at| at + 1), false)
            }
            [b'=', b'=', ..] => (Some(b'='), 2, false),
            [b'=', high, low, ..] => match (hex(high), hex(low)) {
                (Some(high), Some(low)) => (Some(high << 4 | low), 3, false),
                _ => (Some(b'='), 1, true),
            },
            [b'=', ..] => (Some(b'='), 1, true),
            [byte, ..] => (Some(byte), 1, false),
        };
        self.at += length;
        Some(Token { byte, loose })
    }
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

fn tokens(encoded: &[u8]) -> Tokens<'_> {
    Tokens { encoded, at: 0 }
}

/// The decoded bytes. Every text is quoted-printable: what is no escape stands for itself.
pub(super) fn decode(encoded: &[u8]) -> Vec<u8> {
    tokens(encoded).filter_map(|token| token.byte).collect()
}

/// The edits of `encoded` that make the `edits` of what it decodes to; each replaces a byte at least. A soft line
/// break inside a replaced span goes, those around it stay.
pub(super) fn edits<'v>(encoded: &[u8], edits: &[Edit<'_>]) -> Vec<Edit<'v>> {
    let mut walk = Cursor { tokens: tokens(encoded), decoded: 0, start: 0, end: 0, loose: None };
    edits
        .iter()
        .map(|edit| {
            walk.to(edit.span.start);
            let loose = walk.loose;
            walk.to(edit.span.start + 1);
            let mut start = walk.start;
            let mut with = Vec::with_capacity(edit.with.len());
            if let Some(at) = loose.filter(|at| would_take_digits(&encoded[at + 1..start])) {
                with.extend_from_slice(b"=3D");
                with.extend_from_slice(&encoded[at + 1..start]);
                start = at;
            }
            encode(&edit.with, &mut with);
            walk.to(edit.span.end);
            walk.loose = None;
            Edit { span: start..walk.end, with: Cow::Owned(with) }
        })
        .collect()
}

/// Whether a loose `=`, `between` which and an edit these bytes lie, would read the edit's text as hex digits.
fn would_take_digits(between: &[u8]) -> bool {
    match between {
        [] => true,
        [digit] => hex(*digit).is_some(),
        _ => false,
    }
}

/// A position in both the encoded and the decoded bytes.
struct Cursor<'a> {
    tokens: Tokens<'a>,
    /// How many decoded bytes lie behind.
    decoded: usize,
    /// Where the encoded form of the last of them begins,
    start: usize,
    /// and where it ends.
    end: usize,
    /// The last `=` behind that stands for itself, unless an edit took it.
    loose: Option<usize>,
}

impl Cursor<'_> {
    /// Goes on until `decoded` bytes lie behind.
    fn to(&mut self, decoded: usize) {
        while self.decoded < decoded {
            let before = self.tokens.at;
            let Some(token) = self.tokens.next() else { return };
            if token.byte.is_some() {
                self.decoded += 1;
                self.start = before;
                self.end = self.tokens.at;
            }
            if token.loose {
                self.loose = Some(before);
            }
        }
    }
}

fn encode(bytes: &[u8], out: &mut Vec<u8>) {
    for (index, byte) in bytes.iter().enumerate() {
        // A blank at the end of a line is lost on the way (RFC 2045 section 6.7, rule 3).
        let last = index + 1 == bytes.len();
        match byte {
            b'!'..=b'<' | b'>'..=b'~' => out.push(*byte),
            b' ' if !last => out.push(*byte),
            _ => out.extend_from_slice(format!("={byte:02X}").as_bytes()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::edit::apply;
    use super::*;
    use proptest::prelude::*;

    fn check(encoded: &str, from: &str, to: &str, expected: &str) {
        let decoded = String::from_utf8(decode(encoded.as_bytes())).unwrap();
        let changes: Vec<_> = decoded
            .match_indices(from)
            .map(|(at, _)| Edit { span: at..at + from.len(), with: to.as_bytes().into() })
            .collect();
        assert!(!changes.is_empty(), "{from} is not in {decoded}");
        let edited = apply(encoded.as_bytes(), &edits(encoded.as_bytes(), &changes));
        assert_eq!(String::from_utf8(edited.clone()).unwrap(), expected);
        assert_eq!(decode(&edited), decoded.replace(from, to).as_bytes());
    }

    #[test]
    fn decodes_as_cpython_does() {
        for (encoded, decoded) in [
            ("a=3Db", "a=b"),
            ("a=3db", "a=b"),
            ("a=\nb", "ab"),
            ("a=\r\nb", "ab"),
            ("a=\rx\nb", "ab"),
            ("a=", "a"),
            ("a==b", "a=b"),
            ("a=b", "a=b"),
            ("a=4", "a=4"),
            ("a=zz", "a=zz"),
            ("a \nb", "a \nb"),
            ("=41=4=42", "A=4B"),
        ] {
            assert_eq!(String::from_utf8(decode(encoded.as_bytes())).unwrap(), decoded, "{encoded}");
        }
    }

    #[test]
    fn changes_only_the_replaced_text() {
        check("caf=C3=A9 @@=20x =\ny", "@@", "10.0.0.1", "caf=C3=A9 10.0.0.1=20x =\ny");
        check("k=3D@@", "@@", "a=b c", "k=3Da=3Db c");
        check("@@,@@", "@@", "1", "1,1");
        check("a=40=40b", "@@", "x", "axb");
    }

    #[test]
    fn closes_a_soft_line_break_inside_the_replaced_text_and_keeps_those_around() {
        check("ab=\n@=\r\n@=\ncd", "@@", "xyz", "ab=\nxyz=\ncd");
    }

    #[test]
    fn keeps_a_loose_equals_sign_from_eating_the_value() {
        check("ip=@@", "@@", "10.0.0.1", "ip=3D10.0.0.1");
        check("ip=A@@", "@@", "10.0.0.1", "ip=3DA10.0.0.1");
        check("ip=x@@", "@@", "10.0.0.1", "ip=x10.0.0.1");
        check("ip=@@", "@@", "=", "ip=3D=3D");
        check("ip==@@", "@@", "10", "ip==10");
        check("x=@@@@", "@@", "1", "x=3D11");
        check("x=@@41", "@@", "", "x=3D41");
    }

    proptest! {
        #[test]
        fn decodes_to_the_edited_bytes(
            encoded in "([=]|[0-9A-F@ ]|\r|\n){1,60}", spans in prop::collection::vec((0usize..10, 0usize..4), 1..5),
            with in prop::collection::vec(any::<u8>(), 0..6),
        ) {
            let decoded = decode(encoded.as_bytes());
            let (mut changes, mut at) = (Vec::new(), 0);
            for (skip, length) in spans {
                let start = at + skip;
                let end = start + length + 1;
                if end > decoded.len() {
                    break;
                }
                changes.push(Edit { span: start..end, with: with.clone().into() });
                at = end;
            }
            let edited = apply(encoded.as_bytes(), &edits(encoded.as_bytes(), &changes));
            prop_assert_eq!(decode(&edited), apply(&decoded, &changes));
        }
    }
}
