//! A YAML document as a tree, with the place of each scalar.

use std::collections::HashMap;
use std::ops::Range;
use std::rc::Rc;

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Tag};

/// A node. An alias shares the node that it stands for, so that a tree takes no more room than its text.
#[derive(Debug, Clone)]
pub(super) enum Node {
    Scalar(Rc<Scalar>),
    Sequence(Rc<Vec<Node>>),
    /// Keys that are no scalars are left out.
    Mapping(Rc<Vec<(String, Node)>>),
}

/// A scalar, unquoted and unfolded.
#[derive(Debug)]
pub(super) struct Scalar {
    pub(super) text: String,
    /// Whether it stands there without quotes, so that it may be a number.
    pub(super) is_plain: bool,
    /// Whether it is tagged `!!binary`: base64 of bytes.
    pub(super) is_binary: bool,
    /// Where it stands, in bytes. That of a block has its tag in it, and the blanks up to what follows.
    pub(super) span: Range<usize>,
}

impl Node {
    /// The value of a mapping's key: of several the last, as PyYAML takes it.
    pub(super) fn get(&self, key: &str) -> Option<&Node> {
        let Self::Mapping(pairs) = self else { return None };
        pairs.iter().rev().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    pub(super) fn scalar(&self) -> Option<&Scalar> {
        match self {
            Self::Scalar(scalar) => Some(scalar),
            _ => None,
        }
    }

    pub(super) fn items(&self) -> &[Node] {
        match self {
            Self::Sequence(items) => items,
            _ => &[],
        }
    }
}

/// A collection that is not complete yet.
struct Open {
    anchor: usize,
    is_mapping: bool,
    nodes: Vec<Node>,
}

/// The first document of a text; `None` when there is none.
pub(super) fn parse(text: &str) -> Result<Option<Node>, ScanError> {
    let offsets: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
    let at = |index: usize| offsets.get(index).copied().unwrap_or(text.len());
    let (mut open, mut anchors) = (Vec::<Open>::new(), HashMap::new());
    for event in Parser::new_from_str(text) {
        let (event, span) = event?;
        let (anchor, node) = match event {
            Event::SequenceStart(anchor, _) => {
                open.push(Open { anchor, is_mapping: false, nodes: Vec::new() });
                continue;
            }
            Event::MappingStart(anchor, _) => {
                open.push(Open { anchor, is_mapping: true, nodes: Vec::new() });
                continue;
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(open) = open.pop() else { continue };
                (open.anchor, open.close())
            }
            Event::Scalar(value, style, anchor, tag) => {
                let scalar = Scalar {
                    text: value.into_owned(),
                    is_plain: style == ScalarStyle::Plain,
                    is_binary: tag.as_deref().is_some_and(is_binary),
                    span: at(span.start.index())..at(span.end.index()),
                };
                (anchor, Node::Scalar(Rc::new(scalar)))
            }
            Event::Alias(anchor) => match anchors.get(&anchor) {
                Some(node) => (0, Node::clone(node)),
                None => continue,
            },
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
            None => return Ok(Some(node)),
        }
    }
    Ok(None)
}

impl Open {
    fn close(self) -> Node {
        if !self.is_mapping {
            return Node::Sequence(Rc::new(self.nodes));
        }
        let mut nodes = self.nodes.into_iter();
        let mut pairs = Vec::new();
        while let (Some(key), Some(value)) = (nodes.next(), nodes.next()) {
            if let Node::Scalar(key) = key {
                pairs.push((key.text.clone(), value));
            }
        }
        Node::Mapping(Rc::new(pairs))
    }
}

fn is_binary(tag: &Tag) -> bool {
    tag.is_yaml_core_schema() && tag.suffix == "binary"
}
