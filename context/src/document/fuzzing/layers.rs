//! Decoding: layers that fit together, and the section found where it stands.

use super::super::codec::Codec;
use super::super::section::Section;
use super::super::text::{Content, Run, Text};
use super::super::{Document, MAX_DECODED_BYTES, mime};
use super::{decoders, unfold};
use crate::check;
use crate::settings::Settings;
use protocol::error::{Error, Status};

/// Decodes a context and looks for its section, its settings and its mistakes.
///
/// # Panics
/// If the layers do not fit together, or the section is not where it is said to be.
pub fn layers(input: &[u8]) {
    let (_, bytes) = unfold(input);
    let document = match Document::parse("f", bytes.clone()) {
        Ok(document) => document,
        Err(error) => return is_told(&error),
    };
    assert_eq!(document.bytes(), bytes);
    let runs = document.text.runs();
    let mut rest = runs.as_slice();
    let decoded = fits(&document.text, &mut rest);
    assert!(rest.is_empty(), "there are more runs than text");
    assert!(decoded <= MAX_DECODED_BYTES, "{decoded} bytes");
    finds_the_section(&document, &runs);
    for finding in check::check_document(&document) {
        let shown = [&finding.place, &finding.what, &finding.next];
        assert!(shown.iter().all(|text| is_printable(text)), "{finding:?}");
    }
}

/// Every part decodes to what is said to be in it, and the next runs are those of this text. How many bytes it decodes
/// to in all.
fn fits(text: &Text, runs: &mut &[Run<'_>]) -> usize {
    let spans: Vec<_> = text.leaves.iter().map(|leaf| leaf.span.clone()).collect();
    if Codec::of(&text.bytes).is_some() {
        assert_eq!(spans.len(), 1);
        assert_eq!(spans[0], 0..text.bytes.len());
    } else {
        let leaves = mime::leaves(&text.bytes).expect("it was taken before").unwrap_or_default();
        assert_eq!(leaves.into_iter().map(|leaf| leaf.body).collect::<Vec<_>>(), spans);
    }
    let (mut from, mut decoded) = (0, 0);
    for leaf in &text.leaves {
        let span = leaf.span.clone();
        assert!(from <= span.start && span.start <= span.end && span.end <= text.bytes.len(), "{span:?}");
        is_next(text, from..span.start, runs);
        match &leaf.content {
            Content::Plain => is_next(text, span.clone(), runs),
            Content::Opaque(why) => {
                let claims_base64 = leaf.headers.transfer_encoding.as_deref() == Some("base64");
                assert!(!claims_base64 || !decoders::is_base64(&text.bytes[span.clone()]), "it {why}");
                is_next(text, span.clone(), runs);
            }
            Content::Encoded(codec, inner) => {
                let bytes = &text.bytes[span.clone()];
                assert_eq!(codec.decode(bytes, MAX_DECODED_BYTES).as_ref(), Ok(&inner.bytes));
                match codec {
                    Codec::Base64 => assert_eq!(inner.bytes, decoders::base64(bytes)),
                    Codec::QuotedPrintable => assert_eq!(inner.bytes, decoders::quoted_printable(bytes)),
                    Codec::Gzip => {}
                }
                decoded += inner.bytes.len() + fits(inner, runs);
            }
        }
        from = span.end;
    }
    is_next(text, from..text.bytes.len(), runs);
    decoded
}

fn is_next(text: &Text, span: std::ops::Range<usize>, runs: &mut &[Run<'_>]) {
    let (run, rest) = runs.split_first().expect("there is a run for all text");
    assert_eq!((run.name, run.line), (text.name.as_str(), text.line_at(span.start)));
    assert_eq!(run.bytes, &text.bytes[span]);
    *runs = rest;
}

/// The first line that is a begin marker is where the section begins, and what is read in it stands in its lines.
fn finds_the_section(document: &Document, runs: &[Run<'_>]) {
    let is_marker = |line: &[u8]| {
        let line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line).trim_ascii();
        line.strip_prefix(b"#").unwrap_or(line).trim_ascii() == b"[ucernvm-begin]"
    };
    let expected = runs.iter().find_map(|run| {
        let at = run.bytes.split(|byte| *byte == b'\n').position(is_marker)?;
        Some((run, at))
    });
    match (document.section(), expected) {
        (Ok(None), None) => {}
        (Ok(Some(section)), Some((run, at))) => {
            assert_eq!(section.place(), run.place(at));
            reads(&section, run, at);
        }
        // A line that is nearly a marker, beside a placeholder.
        (Err(error), None) => is_told(&error),
        (found, expected) => panic!("{found:?}, but the marker is at {:?}", expected.map(|(_, at)| at)),
    }
}

fn reads(section: &Section, run: &Run<'_>, begin: usize) {
    let lines: Vec<_> = run.bytes.split(|byte| *byte == b'\n').map(String::from_utf8_lossy).collect();
    let mut last = section.line();
    for entry in section.entries() {
        assert!(entry.line > section.line() && entry.line >= last, "{entry:?}");
        last = entry.line;
        let line = &lines[begin + entry.line - section.line()];
        assert!(line.contains('=') && line.contains(&entry.value), "{line:?} has no {entry:?}");
        assert!(line.to_lowercase().contains(&entry.key), "{line:?} has no {entry:?}");
        assert_eq!(entry.value.trim(), entry.value);
    }
    match Settings::from_sections(std::slice::from_ref(section)) {
        Ok(found) => {
            let shown = format!("{found:?}");
            let pins = section.entries().iter().filter(|entry| entry.key == "cvm_cluster_pin");
            // A shorter one may be a part of any word.
            for pin in pins.filter(|pin| pin.value.len() >= 12) {
                let elsewhere =
                    section.entries().iter().any(|e| e.key != pin.key && e.value.contains(&pin.value));
                assert!(elsewhere || !shown.contains(&pin.value), "a pin is shown: {shown}");
            }
        }
        Err(error) => is_told(&error),
    }
}

/// It is the user's context that is wrong, and the console shows no more than a sentence.
fn is_told(error: &Error) {
    assert_eq!(error.status(), Status::BadContext, "{error}");
    assert!(is_printable(&error.to_string()) && is_printable(error.next_step()), "{error:?}");
}

fn is_printable(text: &str) -> bool {
    !text.chars().any(char::is_control)
}
