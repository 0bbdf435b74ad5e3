//! A YAML document as a tree, with the place of each scalar.

use std::collections::BTreeSet;
use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::rc::Rc;

pub use saphyr_parser::ScalarStyle;
use saphyr_parser::{Event, Marker, Parser, ScanError, Tag};

/// How deep collections may lie in one another: PyYAML's recursion ends at about this depth.
const MAX_DEPTH: usize = 200;

/// A node. An alias shares the node that it stands for, so that a tree takes no more room than its text. A walk that
/// follows aliases can take far more steps than the text has bytes.
#[derive(Debug, Clone)]
pub enum Node {
    /// A text, number, boolean or nothing.
    Scalar(Rc<Scalar>),
    /// A list.
    Sequence(Rc<Vec<Node>>),
    /// Pairs of key and value in their order. Keys that are no scalars are left out.
    Mapping(Rc<Vec<(Rc<Scalar>, Node)>>),
}

/// A scalar.
#[derive(Debug)]
pub struct Scalar {
    /// Unquoted and unfolded.
    pub text: String,
    /// How it is written.
    pub style: ScalarStyle,
    /// Whether it is tagged `!!binary`: base64 of bytes.
    pub is_binary: bool,
    /// Where it stands, in bytes, without anchor and tag. That of a block has the blanks in it up to what follows.
    pub span: Range<usize>,
}

impl Scalar {
    /// Whether it stands there without quotes, so that it may be a number.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.style == ScalarStyle::Plain
    }

    /// Whether it is a block, literal (`|`) or folded (`>`).
    #[must_use]
    pub fn is_block(&self) -> bool {
        matches!(self.style, ScalarStyle::Literal | ScalarStyle::Folded)
    }
}

impl Node {
    /// The value of a mapping's key: of several the last, as PyYAML takes it.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Self> {
        self.pairs().iter().rev().find(|(name, _)| name.text == key).map(|(_, value)| value)
    }

    /// The scalar that it is.
    #[must_use]
    pub fn scalar(&self) -> Option<&Scalar> {
        match self {
            Self::Scalar(scalar) => Some(scalar),
            _ => None,
        }
    }

    /// The items of a sequence; none of anything else.
    #[must_use]
    pub fn items(&self) -> &[Self] {
        match self {
            Self::Sequence(items) => items,
            _ => &[],
        }
    }

    /// The pairs of a mapping; none of anything else.
    #[must_use]
    pub fn pairs(&self) -> &[(Rc<Scalar>, Self)] {
        match self {
            Self::Mapping(pairs) => pairs,
            _ => &[],
        }
    }
}

/// Why a text is no YAML document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid {
    /// The line, counted from 1.
    pub line: usize,
    /// The column in characters, counted from 1.
    pub column: usize,
    /// What is wrong there.
    pub problem: String,
}

impl Invalid {
    fn new(at: Marker, problem: &str) -> Self {
        Self { line: at.line(), column: at.col() + 1, problem: problem.to_owned() }
    }
}

impl From<ScanError> for Invalid {
    fn from(error: ScanError) -> Self {
        Self::new(*error.marker(), error.info())
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}: {}", self.line, self.column, self.problem)
    }
}

/// A collection that is not complete yet.
struct OpenCollection {
    anchor: usize,
    is_mapping: bool,
    nodes: Vec<Node>,
}

/// The document of a text; `None` when there is none.
///
/// # Errors
/// [`Invalid`] when it is no YAML, has a second document, as PyYAML's `safe_load` refuses it, or nests too deep.
pub fn parse(text: &str) -> Result<Option<Node>, Invalid> {
    let offsets: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
    let at = |index: usize| offsets.get(index).copied().unwrap_or(text.len());
    let (mut open, mut anchors, mut root) = (Vec::<OpenCollection>::new(), HashMap::new(), None);
    for event in Parser::new_from_str(text) {
        let (event, span) = event?;
        let (anchor, node) = match event {
            Event::SequenceStart(anchor, _) | Event::MappingStart(anchor, _) => {
                if open.len() == MAX_DEPTH {
                    return Err(Invalid::new(span.start, "collections nest too deep"));
                }
                let is_mapping = matches!(event, Event::MappingStart(..));
                open.push(OpenCollection { anchor, is_mapping, nodes: Vec::new() });
                continue;
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(open) = open.pop() else { continue };
                (open.anchor, open.close())
            }
            Event::Scalar(value, style, anchor, tag) => {
                let span = at(span.start.index())..at(span.end.index());
                let scalar = Scalar {
                    text: value.into_owned(),
                    style,
                    is_binary: tag.as_deref().is_some_and(is_binary),
                    span: span.start + properties(&text[span.clone()])..span.end,
                };
                (anchor, Node::Scalar(Rc::new(scalar)))
            }
            Event::Alias(anchor) => match anchors.get(&anchor) {
                Some(node) => (0, Node::clone(node)),
                // Inside what it stands for: a tree cannot hold itself.
                None => return Err(Invalid::new(span.start, "an alias stands inside its own anchor")),
            },
            Event::DocumentStart(_) if root.is_some() => {
                return Err(Invalid::new(span.start, "a second document begins"));
            }
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd => continue,
        };
        if anchor > 0 {
            anchors.insert(anchor, node.clone());
        }
        match open.last_mut() {
            Some(around) => around.nodes.push(node),
            None => root = Some(node),
        }
    }
    Ok(root)
}

impl OpenCollection {
    fn close(self) -> Node {
        if !self.is_mapping {
            return Node::Sequence(Rc::new(self.nodes));
        }
        let mut nodes = self.nodes.into_iter();
        let mut pairs = Vec::new();
        while let (Some(key), Some(value)) = (nodes.next(), nodes.next()) {
            if let Node::Scalar(key) = key {
                pairs.push((key, value));
            }
        }
        Node::Mapping(Rc::new(pairs))
    }
}

/// The length of what stands before a scalar and belongs to it: anchor, tag, and blanks and comments after them.
fn properties(scalar: &str) -> usize {
    let mut rest = scalar;
    while rest.starts_with(['&', '!']) {
        rest = rest.trim_start_matches(|c: char| !c.is_whitespace()).trim_start();
        while rest.starts_with('#') {
            rest = rest.trim_start_matches(|c| c != '\n').trim_start();
        }
    }
    scalar.len() - rest.len()
}

fn is_binary(tag: &Tag) -> bool {
    tag.is_yaml_core_schema() && tag.suffix == "binary"
}

/// Visits each scalar of a tree once, also where several aliases lead to it.
pub fn each_scalar(node: &Node, visit: &mut impl FnMut(&Scalar)) {
    fn walk(node: &Node, seen: &mut BTreeSet<usize>, visit: &mut impl FnMut(&Scalar)) {
        match node {
            Node::Scalar(scalar) => visit(scalar),
            Node::Sequence(items) => {
                if seen.insert(items.as_ptr() as usize) {
                    items.iter().for_each(|item| walk(item, seen, visit));
                }
            }
            Node::Mapping(pairs) => {
                if seen.insert(pairs.as_ptr() as usize) {
                    for (key, value) in pairs.iter() {
                        visit(key);
                        walk(value, seen, visit);
                    }
                }
            }
        }
    }
    walk(node, &mut BTreeSet::new(), visit);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn gives_each_scalar_its_text_style_and_place() {
        let text = "é: \"a\\tb\"\nlist:\n- &x !!str # no\n  plain # no\n- *x\n- |\n  block\nlast: 'it''s'\n";
        let root = parse(text).unwrap().unwrap();
        let first = root.get("é").and_then(Node::scalar).unwrap();
        assert_eq!((first.text.as_str(), first.style), ("a\tb", ScalarStyle::DoubleQuoted));
        assert_eq!(&text[first.span.clone()], "\"a\\tb\"");
        assert_eq!(&text[root.pairs()[2].0.span.clone()], "last");
        let items: Vec<_> = root.get("list").unwrap().items().iter().filter_map(Node::scalar).collect();
        assert_eq!(&text[items[0].span.clone()], "plain");
        assert!(items[0].is_plain() && std::ptr::eq(items[0], items[1]));
        assert!(items[2].is_block() && text[items[2].span.clone()].contains("block"));
        assert_eq!(root.get("last").and_then(Node::scalar).unwrap().text, "it's");
    }

    #[test]
    fn takes_the_last_of_two_keys() {
        let root = parse("a: 1\na: 2\n").unwrap().unwrap();
        assert_eq!(root.get("a").and_then(Node::scalar).unwrap().text, "2");
        assert!(root.get("b").is_none() && root.items().is_empty());
    }

    #[test]
    fn names_where_a_text_is_no_yaml() {
        for (text, line) in [
            ("a: b: c\n", 1),
            ("a: 1\n  b\n c: d\n", 3),
            ("a: [\n", 2),
            ("a: 1\n---\nb: 2\n", 2),
            ("&a [*a]", 1),
        ] {
            let error = parse(text).unwrap_err();
            assert_eq!(error.line, line, "{text:?}: {error}");
        }
        assert!(parse("# nothing\n").unwrap().is_none());
    }

    #[test]
    fn takes_no_more_stack_for_deep_nesting() {
        assert!(parse(&"[".repeat(1_000_000)).is_err());
        assert!(parse(&"- ".repeat(100_000)).is_err());
        let deep = MAX_DEPTH - 1;
        assert!(parse(&format!("{}{}", "[".repeat(deep), "]".repeat(deep))).is_ok());
    }

    proptest! {
        #[test]
        fn takes_any_text(text in "[-a:#'\"|>{}, \\[\\]\n!\\\\2&*é?%]{0,80}") {
            let _ = parse(&text);
        }
    }
}
