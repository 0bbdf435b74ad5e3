//! The ucernvm section: the `key=value` lines between `[ucernvm-begin]` and `[ucernvm-end]`.
//!
//! A line scanner cuts it out; rust-ini then reads it line by line. It gets nothing else: given a whole context it
//! would let a line without `=`, or with a backslash at its end, swallow the next one.
//!
//! Blanks, a carriage return and one leading `#` around a marker are allowed, so that a section can stand in comments
//! (of a cloud-config, say). In such a section one leading `#` is taken off every line; in any other, a line that
//! begins with `#` is a comment, as is one with `;` in both.

use std::fmt;
use std::sync::Arc;

use ini::{Ini, ParseOption};

const BEGIN: &[u8] = b"[ucernvm-begin]";
const END: &[u8] = b"[ucernvm-end]";
/// A ucernvm section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// File, and MIME part where it is encoded.
    source: Arc<str>,
    /// The line of `[ucernvm-begin]`, counted from 1.
    line: usize,
    /// Whether the begin marker has a `#` before it.
    commented: bool,
    entries: Vec<Entry>,
    ignored: Vec<IgnoredLine>,
    missing_end: Option<MissingEnd>,
}

/// Why a section has no end marker. The original agent took it to the end of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MissingEnd {
    /// The file or part ends first.
    EndOfFile,
    /// Another section begins first, in this line, counted from 1.
    NextSection(usize),
}

/// A line that sets nothing although it is no comment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IgnoredLine {
    /// Its first word in lower case, up to a blank, `=` or `:`. Never a value.
    pub key: String,
    /// The line, counted from 1.
    pub number: usize,
}

/// One `key=value` line.
#[derive(Clone, PartialEq, Eq)]
pub struct Entry {
    /// In lower case: the original took keys in any case.
    pub key: String,
    /// Without blanks around it.
    pub value: String,
    /// The line, counted from 1.
    pub line: usize,
}

/// Shows no value: one of them is the pin.
impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}=… in line {}", self.key, self.line)
    }
}

impl Section {
    /// Where it begins: `/user-data line 14`.
    #[must_use]
    pub fn place(&self) -> String {
        self.place_of(self.line)
    }

    /// A line of the file or part that it is in.
    #[must_use]
    pub fn place_of(&self, line: usize) -> String {
        format!("{} line {line}", self.source)
    }

    /// The file, and the MIME part where it is encoded.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Whether it stands in comments.
    #[must_use]
    pub fn is_commented(&self) -> bool {
        self.commented
    }

    /// The line of its begin marker, counted from 1.
    #[must_use]
    pub fn line(&self) -> usize {
        self.line
    }

    /// The lines that set nothing although they are no comment.
    #[must_use]
    pub fn ignored_lines(&self) -> &[IgnoredLine] {
        &self.ignored
    }

    /// Why it has no end marker; `None` when it has one.
    #[must_use]
    pub fn missing_end(&self) -> Option<MissingEnd> {
        self.missing_end
    }

    /// Its lines in order; of two with one key the later counts.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    fn take(&mut self, line: &[u8], number: usize) {
        if line.is_empty() || line.starts_with(b"#") || line.starts_with(b";") {
            return;
        }
        let entries = entries(line, number);
        if entries.is_empty() {
            self.ignored.push(IgnoredLine { key: first_word(line), number });
        }
        self.entries.extend(entries);
    }
}

/// The sections of a text, in order. `source` names it, and its first line has number `line`.
///
/// A section without an end marker goes to the next begin marker or to the end of the text. What is no setting there is
/// probably no part of it, and is not counted as ignored.
pub(super) fn scan(source: &str, text: &[u8], line: usize) -> impl Iterator<Item = Section> {
    let source: Arc<str> = source.into();
    let mut lines =
        text.split(|b| *b == b'\n').zip(line..).map(|(text, number)| (tidy(text), number)).peekable();
    std::iter::from_fn(move || {
        let (begin, number) = lines.by_ref().find(|(text, _)| without_hash(text) == BEGIN)?;
        let mut section = Section {
            source: source.clone(),
            line: number,
            commented: begin != BEGIN,
            entries: Vec::new(),
            ignored: Vec::new(),
            missing_end: None,
        };
        while let Some((text, number)) = lines.next_if(|(text, _)| !matches!(without_hash(text), BEGIN | END))
        {
            section.take(if section.commented { without_hash(text) } else { text }, number);
        }
        section.missing_end = match lines.next_if(|(text, _)| without_hash(text) == END) {
            Some(_) => None,
            None => {
                Some(lines.peek().map_or(MissingEnd::EndOfFile, |(_, next)| MissingEnd::NextSection(*next)))
            }
        };
        if section.missing_end.is_some() {
            section.ignored.clear();
        }
        Some(section)
    })
}

/// A line that is nearly a begin marker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct MarkerNearMiss {
    /// As it stands there.
    pub(super) text: String,
    /// Its offset in lines, from 0.
    pub(super) line: usize,
}

/// The first line that is nearly a begin marker: `[UCERNVM-BEGIN]`, `[ucernvm_begin]`, `[ucernvm-begin`, `[ucernvm]`.
pub(super) fn marker_near_miss(text: &[u8]) -> Option<MarkerNearMiss> {
    let is_near = |line: &[u8]| {
        let line = without_hash(tidy(line));
        let letters: Vec<u8> =
            line.iter().filter(|b| b.is_ascii_alphabetic()).map(u8::to_ascii_lowercase).collect();
        let is_bracketed = line.starts_with(b"[") || line.ends_with(b"]");
        line != BEGIN && is_bracketed && matches!(letters.as_slice(), b"ucernvmbegin" | b"ucernvm")
    };
    let (line, text) = text.split(|b| *b == b'\n').enumerate().find(|(_, line)| is_near(line))?;
    let text = String::from_utf8_lossy(tidy(text)).chars().filter(|c| !c.is_control()).take(60).collect();
    Some(MarkerNearMiss { text, line })
}

/// A line without the blanks around it, nor the byte order mark before a file's first.
fn tidy(line: &[u8]) -> &[u8] {
    line.strip_prefix(super::BOM).unwrap_or(line).trim_ascii()
}

fn without_hash(line: &[u8]) -> &[u8] {
    line.strip_prefix(b"#").map_or(line, <[u8]>::trim_ascii)
}

/// The word of a line that would be its key.
fn first_word(line: &[u8]) -> String {
    const LONGEST: usize = 60;
    let end = line.iter().position(|b| b.is_ascii_whitespace() || matches!(b, b'=' | b':'));
    let word = String::from_utf8_lossy(&line[..end.unwrap_or(line.len()).min(LONGEST)]);
    word.chars().filter(|c| !c.is_control()).collect::<String>().to_lowercase()
}

/// The value as sh takes an assignment, since the original agent sourced the lines: without the quotes around it, and
/// without a comment, which is a `#` after a blank.
fn as_sh_takes_it(value: &str) -> &str {
    let trimmed = value.trim();
    if let Some(quote) = trimmed.chars().next().filter(|c| matches!(c, '"' | '\''))
        && let Some((inside, rest)) = trimmed[1..].split_once(quote)
        && (rest.is_empty() || rest.starts_with(char::is_whitespace) && rest.trim_start().starts_with('#'))
    {
        return inside;
    }
    let mut before = ' ';
    let comment = value.char_indices().find(|(_, c)| {
        let begins = *c == '#' && before.is_whitespace();
        before = *c;
        begins
    });
    // `key=#value` has no blank before the `#`.
    let comment = comment.filter(|(at, _)| *at > 0);
    value[..comment.map_or(value.len(), |(at, _)| at)].trim()
}

/// The setting of a line; rust-ini sees two where a lone carriage return divides it.
fn entries(line: &[u8], number: usize) -> Vec<Entry> {
    let text = String::from_utf8_lossy(line);
    // rust-ini also takes `:` for a `=` and `[` for a section, which the original does not.
    let Some((key, value)) = text.split_once('=') else { return Vec::new() };
    if key.contains(':') || key.starts_with('[') {
        return Vec::new();
    }
    let as_it_stands = ParseOption { enabled_quote: false, enabled_escape: false, ..ParseOption::default() };
    let line = format!("{key}={}", as_sh_takes_it(value));
    let Ok(ini) = Ini::load_from_str_opt(&line, as_it_stands) else { return Vec::new() };
    let settings = ini.general_section().iter();
    settings
        .map(|(key, value)| Entry { key: key.to_lowercase(), value: value.to_owned(), line: number })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sections(text: &str) -> Vec<Section> {
        scan("f", text.as_bytes(), 1).collect()
    }

    fn check(text: &str, expected: &[(&str, &str)]) {
        let section = sections(text).remove(0);
        let found: Vec<_> = section.entries().iter().map(|e| (e.key.as_str(), e.value.as_str())).collect();
        assert_eq!(found, expected, "{text:?}");
    }

    #[test]
    fn reads_lines_between_the_markers() {
        check("x=y\n[ucernvm-begin]\na=1\nb = 2 \n[ucernvm-end]\nc=3\n", &[("a", "1"), ("b", "2")]);
        check("[ucernvm-begin]\r\na=1\r\n[ucernvm-end]\r\n", &[("a", "1")]);
        check("\u{feff}[ucernvm-begin]\na=1\n[ucernvm-end]", &[("a", "1")]);
        check("\t [ucernvm-begin] \n\t a=1\n  [ucernvm-end]\t\n", &[("a", "1")]);
        check("[ucernvm-begin]\n[ucernvm-end]\n", &[]);
    }

    #[test]
    fn reads_a_section_in_comments() {
        check(
            "#[ucernvm-begin]\n#a=1\n# b=2\nc=3\n##d=4\n#[ucernvm-end]\n",
            &[("a", "1"), ("b", "2"), ("c", "3")],
        );
        check("  # [ucernvm-begin]\n  # a=1\n  # [ucernvm-end]\n", &[("a", "1")]);
        assert!(sections("#[ucernvm-begin]\n#[ucernvm-end]").remove(0).is_commented());
    }

    #[test]
    fn leaves_comments_out() {
        check("[ucernvm-begin]\n#cvm_cluster_master=yes\n;b=2\na=1\n[ucernvm-end]\n", &[("a", "1")]);
    }

    #[test]
    fn takes_quotes_and_comments_off_as_sh_does() {
        for (line, value) in [
            ("a=\"x\\ty\" # comment", "x\\ty"),
            ("a='b' # it's", "b"),
            ("a='b'c", "'b'c"),
            ("a=\"b", "\"b"),
            ("a=b # c", "b"),
            ("a=b\t#c", "b"),
            ("a=b#c", "b#c"),
            ("a=#c", "#c"),
            ("a= # c", ""),
            ("a=", ""),
        ] {
            check(&format!("[ucernvm-begin]\n{line}\n[ucernvm-end]\n"), &[("a", value)]);
        }
    }

    #[test]
    fn takes_other_values_as_they_stand() {
        check("[ucernvm-begin]\nA=x=y:z\n[ucernvm-end]\n", &[("a", "x=y:z")]);
        check("[ucernvm-begin]\na=\nb=1\n[ucernvm-end]\n", &[("a", ""), ("b", "1")]);
    }

    #[test]
    fn lets_no_line_swallow_the_next() {
        check("[ucernvm-begin]\nno equals sign\na=1\n[ucernvm-end]\n", &[("a", "1")]);
        check("[ucernvm-begin]\na=1\\\nb=2\n[ucernvm-end]\n", &[("a", "1\\"), ("b", "2")]);
        check("[ucernvm-begin]\nx: y=1\n[other]=2\n\na=1\n[ucernvm-end]\n", &[("a", "1")]);
    }

    #[test]
    fn knows_the_lines_that_set_nothing() {
        let section = sections("[ucernvm-begin]\na=1\npin: x\n\n#c\n;d\nword\n[ucernvm-end]").remove(0);
        let ignored: Vec<_> =
            section.ignored_lines().iter().map(|line| (line.number, line.key.as_str())).collect();
        assert_eq!(ignored, [(3, "pin"), (7, "word")]);
    }

    #[test]
    fn numbers_lines_from_the_one_it_is_told() {
        let section = scan("f", b"\n[ucernvm-begin]\n\na=1\n[ucernvm-end]", 10).next().unwrap();
        assert_eq!(section.place(), "f line 11");
        assert_eq!(section.entries()[0].line, 13);
    }

    #[test]
    fn finds_every_section() {
        let found = sections("[ucernvm-begin]\na=1\n[ucernvm-end]\n[ucernvm-begin]\na=2\n[ucernvm-end]\n");
        let values: Vec<_> = found.iter().map(|s| s.entries()[0].value.as_str()).collect();
        assert_eq!(values, ["1", "2"]);
    }

    #[test]
    fn takes_a_section_without_its_end_to_the_end_as_the_original_did() {
        let section = sections("\n[ucernvm-begin]\na=1\n#!/bin/sh\nrest of the script\n").remove(0);
        assert_eq!(
            (section.place(), section.missing_end()),
            ("f line 2".into(), Some(MissingEnd::EndOfFile))
        );
        assert_eq!(section.entries().len(), 1);
        assert_eq!(section.ignored_lines(), []);
        let twice = sections("[ucernvm-begin]\na=1\n[ucernvm-begin]\na=2\n[ucernvm-end]");
        assert_eq!(twice[0].missing_end(), Some(MissingEnd::NextSection(3)));
        assert_eq!((twice[1].place(), twice[1].missing_end()), ("f line 3".into(), None));
    }

    #[test]
    fn finds_markers_that_are_nearly_right() {
        for marker in
            ["[ucernvm_begin]", "[UCERNVM-BEGIN]", "[ucernvm]", "[ucernvm-begin", "# [ucernvm begin]"]
        {
            let near = marker_near_miss(format!("a\n{marker}\nb").as_bytes());
            assert_eq!(near, Some(MarkerNearMiss { text: marker.into(), line: 1 }));
        }
        for text in ["[ucernvm-begin]", "ucernvm", "ucernvm-begin", "[cernvm]", "[ucernvm-end]", ""] {
            assert_eq!(marker_near_miss(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn finds_none_where_the_marker_is_not_alone() {
        for text in [
            "",
            "a=1",
            "x [ucernvm-begin]",
            "##[ucernvm-begin]\n[ucernvm-end]",
            "[ucernvm-end]",
            "[UCERNVM-BEGIN]",
        ] {
            assert!(sections(text).is_empty(), "{text}");
        }
    }

    #[test]
    fn shows_no_value_in_debug() {
        let section = sections("[ucernvm-begin]\ncvm_cluster_pin=enico1qq0oey\n[ucernvm-end]").remove(0);
        assert!(!format!("{section:?}").contains("enico"));
    }

    proptest! {
        #[test]
        fn takes_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = scan("f", &[b"[ucernvm-begin]\n", bytes.as_slice(), b"\n[ucernvm-end]"].concat(), 1).count();
        }

        #[test]
        fn gives_one_entry_per_line_as_written(key in "[a-z_]{1,20}", value in "[!$-&(-~]([!$-&(-~]*[!$-&(-~])?") {
            let text = format!("[ucernvm-begin]\n{key}={value}\n[ucernvm-end]\n");
            check(&text, &[(&key, &value)]);
        }
    }
}
