//! A YAML file line by line, as far as it takes to see what a placeholder is to it: in quotes, in a block, a comment.
//!
//! It is no YAML parser: it follows quotes, brackets, block scalars and comments as PyYAML's scanner does (that is what
//! cloud-init reads with), takes any bytes, and does not mind what a parser would refuse.

use std::ops::Range;

/// One line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line<'a> {
    /// Counted from 0.
    pub(super) number: usize,
    pub(super) text: &'a [u8],
    /// Whether it belongs to a block scalar (`|` or `>`), where everything is text.
    pub(super) in_block: bool,
    /// Where the comment in it begins, with its `#`.
    pub(super) comment: Option<usize>,
    /// Column of the first `-` that makes a list item.
    pub(super) dash: Option<usize>,
    pub(super) keys: Vec<Key<'a>>,
}

/// A `key: value` as far as it is on one line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Key<'a> {
    pub(super) column: usize,
    pub(super) name: &'a [u8],
    /// Up to the next key, the comment or the line's end.
    pub(super) value: &'a [u8],
}

/// The lines of a YAML text.
pub(super) fn lines(text: &[u8]) -> impl Iterator<Item = Line<'_>> {
    let mut scanner = Scanner { inside: Inside::Nothing, depth: 0, parent: None, block: None };
    text.split(|b| *b == b'\n').enumerate().map(move |(number, text)| scanner.line(number, text))
}

struct Scanner {
    inside: Inside,
    /// How many brackets and braces are open.
    depth: usize,
    /// The column of the last key or dash outside them: what goes on with its value is indented further.
    parent: Option<usize>,
    block: Option<Block>,
}

/// The scalar that a character belongs to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Inside {
    /// None: a token may begin here.
    Nothing,
    Plain,
    /// In `'` or `"`.
    Quotes(u8),
}

/// A block scalar.
struct Block {
    /// Of the key or dash that it belongs to.
    parent: Option<usize>,
    /// The indentation of its first line that is not blank.
    indent: Option<usize>,
}

impl Scanner {
    fn line<'a>(&mut self, number: usize, text: &'a [u8]) -> Line<'a> {
        let mut line = Line { number, text, in_block: false, comment: None, dash: None, keys: Vec::new() };
        line.in_block = self.is_in_block(text);
        if !line.in_block {
            self.scan(&mut line);
        }
        line
    }

    fn is_in_block(&mut self, text: &[u8]) -> bool {
        let Some(block) = &mut self.block else { return false };
        if text.trim_ascii().is_empty() {
            return true;
        }
        let indent = indent_of(text);
        if block.indent.map_or(Some(indent) > block.parent, |first| indent >= first) {
            block.indent.get_or_insert(indent);
            return true;
        }
        self.block = None;
        false
    }

    fn scan<'a>(&mut self, line: &mut Line<'a>) {
        let text = line.text;
        let mut start = 0;
        let mut names: Vec<Range<usize>> = Vec::new();
        let mut at = 0;
        let goes_on = self.depth > 0 || Some(indent_of(text)) > self.parent;
        if self.inside == Inside::Plain && !goes_on && !text.trim_ascii().is_empty() {
            self.inside = Inside::Nothing;
        }
        while let Some(&byte) = text.get(at) {
            let next = text.get(at + 1).copied().unwrap_or(b'\n');
            let flow = self.depth > 0;
            let free = self.inside != Inside::Plain;
            match byte {
                _ if matches!(self.inside, Inside::Quotes(_)) => at += self.quoted(byte, next),
                b'#' if free || at == 0 || text[at - 1].is_ascii_whitespace() => {
                    self.inside = Inside::Nothing;
                    line.comment = Some(at);
                    break;
                }
                // In a flow, `"key":value` needs no blank.
                b':' if next.is_ascii_whitespace() || flow && (free || is_flow_indicator(next)) => {
                    names.push(start..at);
                    if !flow {
                        self.parent = Some(start);
                    }
                    self.inside = Inside::Nothing;
                    start = at + 1;
                }
                b'[' | b'{' if free || flow => {
                    self.depth += 1;
                    self.inside = Inside::Nothing;
                    start = at + 1;
                }
                b']' | b'}' | b',' if flow => {
                    self.depth -= usize::from(byte != b',');
                    self.inside = Inside::Nothing;
                    start = at + 1;
                }
                _ if byte.is_ascii_whitespace() || !free => {}
                b'-' | b'?' if next.is_ascii_whitespace() && !flow => {
                    line.dash = line.dash.or((byte == b'-').then_some(at));
                    self.parent = Some(at);
                    start = at + 1;
                }
                b'|' | b'>' if !flow => {
                    let digit = text[at + 1..].iter().take(2).find(|b| b.is_ascii_digit());
                    let indent = digit.map(|digit| self.parent.unwrap_or(0) + usize::from(digit - b'0'));
                    self.block = Some(Block { parent: self.parent, indent });
                    line.comment = text[at..].iter().position(|b| *b == b'#').map(|length| at + length);
                    break;
                }
                b'"' | b'\'' => {
                    start = at;
                    self.inside = Inside::Quotes(byte);
                }
                // A tag, anchor or alias, up to the next blank.
                b'!' | b'&' | b'*' => {
                    at += text[at + 1..].iter().take_while(|b| !b.is_ascii_whitespace()).count();
                }
                _ => {
                    start = at;
                    self.inside = Inside::Plain;
                }
            }
            at += 1;
        }
        line.keys = keys(text, &names, line.comment.unwrap_or(text.len()));
    }

    /// Takes a character in quotes; gives how many more go with it.
    fn quoted(&mut self, byte: u8, next: u8) -> usize {
        match (self.inside, byte) {
            (Inside::Quotes(b'"'), b'\\') => 1,
            (Inside::Quotes(b'\''), b'\'') if next == b'\'' => 1,
            (Inside::Quotes(quote), _) if byte == quote => {
                self.inside = Inside::Nothing;
                0
            }
            _ => 0,
        }
    }
}

fn indent_of(text: &[u8]) -> usize {
    text.iter().take_while(|b| **b == b' ').count()
}

fn is_flow_indicator(byte: u8) -> bool {
    matches!(byte, b',' | b'[' | b']' | b'{' | b'}')
}

fn keys<'a>(text: &'a [u8], names: &[Range<usize>], end: usize) -> Vec<Key<'a>> {
    let ends = names.iter().skip(1).map(|next| next.start).chain([end]);
    let key = |(name, end): (&Range<usize>, usize)| Key {
        column: name.start,
        name: unquoted(&text[name.clone()]),
        value: text.get(name.end + 1..end).unwrap_or_default().trim_ascii(),
    };
    names.iter().zip(ends).map(key).collect()
}

/// A scalar without blanks and quotes around it.
pub(super) fn unquoted(scalar: &[u8]) -> &[u8] {
    let scalar = scalar.trim_ascii();
    match scalar {
        [b'"', inside @ .., b'"'] | [b'\'', inside @ .., b'\''] => inside,
        _ => scalar,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Checks where the comment of the last line begins: at `~`, which stands for a `#`.
    fn check(text: &str) {
        let expected = text.lines().last().unwrap().find('~');
        let text = text.replace('~', "#");
        let last = lines(text.as_bytes()).last().unwrap();
        assert_eq!(last.comment, expected, "{text}");
    }

    #[test]
    fn takes_a_hash_for_a_comment_where_pyyaml_does() {
        for text in [
            "a: ~##",
            "- ~",
            "a: x ~",
            "a: [~",
            "a: [2,~",
            "a: {b: ~",
            "a: !!str ~",
            "a: &x ~",
            "? ~",
            "~",
            "  ~",
            "a: \"b\"~",
            "a: 'it''s' ~",
            "a: x\n  ~",
            "- - ~",
            "a: | ~ x",
            "a: x\\ ~",
            "a: [b\n ,~",
            "a: ]~",
            "a:\n  - b\n~",
        ] {
            check(&text.replace("]~", "] ~"));
        }
    }

    #[test]
    fn takes_a_hash_for_text_where_pyyaml_does() {
        for text in [
            "a: x#",
            "a:#",
            "-#",
            "a: \"#\"",
            "a: \"\\\"#\"",
            "a: 'x #'",
            "a: 'it''s #'",
            "a: b,#",
            "a: [b#, c]",
            "a: (#",
            "a: \"x\n #",
            "a: |\n  # x",
            "a: >-\n\n  x\n   #",
            "- |\n # x",
            "a: http://#:80/",
            "a: x:#",
            "- a: |\n    # x",
            "a: |1\n  x\n #",
            "a: it's #".trim_end_matches('#'),
        ] {
            check(text);
        }
    }

    #[test]
    fn goes_on_with_a_plain_scalar_in_the_next_line() {
        check("a: b\n  'c'#");
        check("a: b\n\n  [#");
        check("a: b\nc: [~");
        check("- b\n  # c\n- 'd'~");
    }

    #[test]
    fn ends_a_block_where_the_indentation_does() {
        check("a: |\n  # x\n~");
        check("a: |\n  x\n ~");
        check("- a: |\n    # x\n  b: ~");
        check("- a: |\n  ~ the key stands here");
        check("a:\n  |\n  # x\nb: ~");
    }

    #[test]
    fn finds_keys_values_and_dashes() {
        let keys = |text: &'static str| -> Vec<(usize, &str, &str)> {
            let line = lines(text.as_bytes()).last().unwrap();
            let text = |bytes| std::str::from_utf8(bytes).unwrap();
            line.keys.into_iter().map(|key| (key.column, text(key.name), text(key.value))).collect()
        };
        assert_eq!(keys("a: b # c"), [(0, "a", "b")]);
        assert_eq!(keys("  - \"a\": b: c"), [(4, "a", ""), (9, "b", "c")]);
        assert_eq!(keys("- {a: b, c: d}"), [(3, "a", "b,"), (9, "c", "d}")]);
        assert_eq!(keys("a: http://x"), [(0, "a", "http://x")]);
        assert_eq!(keys("\"a: b\""), []);
        assert_eq!(lines(b"  - - a").last().unwrap().dash, Some(2));
        assert_eq!(lines(b"  -a").last().unwrap().dash, None);
    }

    proptest! {
        #[test]
        fn takes_any_bytes(text in "[-a:#'\"|>{}, \\[\\]\n!\\\\2]{0,80}") {
            for line in lines(text.as_bytes()) {
                if let Some(at) = line.comment {
                    prop_assert_eq!(line.text[at], b'#');
                }
            }
        }
    }
}
