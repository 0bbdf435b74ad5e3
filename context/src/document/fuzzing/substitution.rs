//! Putting values in: nothing but placeholders changes, and what comes out is the same document.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::super::Document;
use super::super::text::{Content, Text};
use super::unfold;
use crate::placeholder::{self, Placeholder};
use crate::value::{self, Origin};

type Values = BTreeMap<String, String>;

/// Looks for placeholders, and puts values in.
///
/// # Panics
/// If a placeholder is missed or made up, or a byte changes that is outside of all of them.
pub fn substitution(input: &[u8]) {
    let (values, bytes) = unfold(input);
    scans(&bytes);
    let Ok(before) = Document::parse("f", bytes) else { return };
    let nothing = before.substitute(&Values::new()).expect("nothing can be put in anywhere");
    assert_eq!(nothing.bytes, before.bytes());
    assert_eq!(nothing.left, before.placeholders());
    puts_in(&before, &values);
    // What the agent does: it asks `value.rs` first.
    let safe: Values = values
        .into_iter()
        .filter(|(key, value)| value::check(key, value, Origin::Received).is_ok())
        .collect();
    if let Some(after) = puts_in(&before, &safe) {
        stays_the_same_document(&before, &after, &safe);
    }
}

/// The scanner finds what one finds who looks at every byte.
fn scans(bytes: &[u8]) {
    let mut expected = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        match placeholder_at(bytes, at) {
            Some(name) => {
                let end = name.end + 3;
                expected.push(at..end);
                at = end;
            }
            None => at += 1,
        }
    }
    let found: Vec<_> = placeholder::find(bytes).map(|found| found.span).collect();
    assert_eq!(found, expected);
    for found in placeholder::find(bytes) {
        assert_eq!(&bytes[found.span], found.placeholder.to_string().as_bytes());
        assert_eq!(
            format!("###{}_PLACEHOLDER###", found.placeholder.key().to_uppercase()),
            found.placeholder.to_string()
        );
    }
    for line in bytes.split(|byte| *byte == b'\n') {
        for miss in placeholder::near_misses(line) {
            assert!(miss.text.to_ascii_uppercase().contains("PLACEHOLDER"), "{miss:?}");
            // What it says to write is one.
            if let Some(meant) = miss.meant {
                let found: Vec<_> =
                    placeholder::find(meant.to_string().as_bytes()).map(|f| f.placeholder).collect();
                assert_eq!(found, [meant]);
            }
        }
    }
}

/// What stands between the hashes of the placeholder that begins here.
fn placeholder_at(bytes: &[u8], at: usize) -> Option<Range<usize>> {
    let inside = bytes[at..].strip_prefix(b"###")?;
    let length = inside.iter().take_while(|b| matches!(b, b'A'..=b'Z' | b'0'..=b'9' | b'_')).count();
    let name = inside[..length].strip_suffix(b"_PLACEHOLDER")?;
    let fits =
        name.first()?.is_ascii_uppercase() && name.len() <= 100 && inside[length..].starts_with(b"###");
    fits.then_some(at + 3..at + 3 + length)
}

/// A text with the values put in, in one pass over every byte.
fn replaced(bytes: &[u8], values: &Values) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let inside = placeholder_at(bytes, at);
        let end = inside.as_ref().map_or(at + 1, |inside| inside.end + 3);
        let value = inside.and_then(|inside| {
            let name = String::from_utf8_lossy(&bytes[inside]).to_lowercase();
            values.get(name.strip_suffix("_placeholder")?)
        });
        out.extend_from_slice(value.map_or(&bytes[at..end], |value| value.as_bytes()));
        at = end;
    }
    out
}

/// Puts values in, and holds what is made of a text without encoded parts to one pass over its bytes.
fn puts_in(before: &Document, values: &Values) -> Option<Vec<u8>> {
    let substituted = before.substitute(values).ok()?;
    let (with, without): (BTreeSet<_>, BTreeSet<_>) = before
        .placeholders()
        .into_iter()
        .partition(|placeholder: &Placeholder| values.contains_key(&placeholder.key()));
    assert_eq!((&substituted.replaced, &substituted.left), (&with, &without));
    if with.is_empty() {
        assert_eq!(substituted.bytes, before.bytes());
    }
    if is_flat(&before.text) {
        assert_eq!(substituted.bytes, replaced(before.bytes(), values));
    }
    Some(substituted.bytes)
}

fn is_flat(text: &Text) -> bool {
    text.leaves.iter().all(|leaf| !matches!(leaf.content, Content::Encoded(..)))
}

/// What can be read in it is what could be read before, with the values in, in the same parts; a second time changes
/// nothing, unless a value has made a placeholder with what stood around it.
fn stays_the_same_document(before: &Document, bytes: &[u8], values: &Values) {
    // What claims to be base64 or gzip may be just that once a value is in it.
    if !before.opaque_parts().is_empty() {
        return;
    }
    let after = Document::parse("f", bytes.to_vec()).expect("it could be read before");
    let (runs, runs_after) = (before.text.runs(), after.text.runs());
    // Names may differ: a placeholder can stand in the header that names a part.
    assert_eq!(runs.len(), runs_after.len());
    let mut is_stable = true;
    for (run, after) in runs.iter().zip(&runs_after) {
        let expected = replaced(run.bytes, values);
        assert_eq!(after.bytes, expected, "{}", run.place(0));
        is_stable &= replaced(&expected, values) == expected;
    }
    if is_stable {
        let again = after.substitute(values).expect("nothing is put in");
        assert_eq!(again.bytes, bytes);
        assert!(again.replaced.is_empty());
    }
}
