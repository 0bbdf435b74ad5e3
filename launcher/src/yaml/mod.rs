//! A YAML document as PyYAML's `safe_load` reads it, with the line of each node.
//!
//! The original reads its definitions with PyYAML, which follows YAML 1.1: `scalar.rs` says what a plain scalar is there.
//! Mappings merge with `<<`, and of equal keys the last one counts.

mod scalar;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt;
use std::rc::Rc;

use saphyr_parser::{Event, Marker, Parser, ScanError, Span, Tag};
use serde_json::{Map, Number, Value};

/// How deep collections may lie in one another: PyYAML's recursion ends at about this depth.
const MAX_DEPTH: usize = 200;

/// How many nodes a document may stand for with its aliases written out: a text of a few lines can stand for billions.
const MAX_NODES: usize = 200_000;

/// A node with the line, counted from 1, on which it begins.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) line: u64,
    pub(crate) content: Content,
    /// How many nodes it stands for, itself included.
    size: usize,
}

/// What a node is.
#[derive(Debug, Clone)]
pub(crate) enum Content {
    Null,
    Boolean(bool),
    Number(Number),
    Text(String),
    /// A date or a time, as it is written. PyYAML makes an object of it.
    Date(String),
    List(Vec<Rc<Node>>),
    Mapping(Vec<Entry>),
    /// The key `<<`, until its mapping is complete.
    Merge,
}

/// What becomes of a date or a time that is not in quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dates {
    /// It is one: so PyYAML has it.
    AreDates,
    /// It is a text: so Heat's client reads a template.
    AreTexts,
}

/// A key with its value.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    /// The key's text. That of a number or a boolean is the one that JSON has for it.
    pub(crate) key: String,
    /// Whether the key is a text.
    pub(crate) key_is_text: bool,
    pub(crate) key_line: u64,
    pub(crate) value: Rc<Node>,
}

/// Why a text is not a YAML document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Invalid {
    /// Counted from 1.
    pub(crate) line: u64,
    pub(crate) problem: String,
}

impl Invalid {
    fn new(line: u64, problem: impl Into<String>) -> Self {
        Self { line, problem: problem.into() }
    }
}

impl From<ScanError> for Invalid {
    fn from(error: ScanError) -> Self {
        Self::new(line(error.marker()), error.info())
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.problem)
    }
}

impl Node {
    /// The value of a mapping's key.
    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        self.entries().iter().find(|entry| entry.key == key).map(|entry| &*entry.value)
    }

    /// The text that it is.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.content {
            Content::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Whether it is a mapping.
    pub(crate) fn is_mapping(&self) -> bool {
        matches!(self.content, Content::Mapping(_))
    }

    /// Whether it is a list.
    pub(crate) fn is_list(&self) -> bool {
        matches!(self.content, Content::List(_))
    }

    /// The entries of a mapping; none of anything else.
    pub(crate) fn entries(&self) -> &[Entry] {
        match &self.content {
            Content::Mapping(entries) => entries,
            _ => &[],
        }
    }

    /// The items of a list; none of anything else.
    pub(crate) fn items(&self) -> &[Rc<Self>] {
        match &self.content {
            Content::List(items) => items,
            _ => &[],
        }
    }

    /// What it is, for a person.
    pub(crate) fn kind(&self) -> &'static str {
        match &self.content {
            Content::Null => "nothing",
            Content::Boolean(_) => "a boolean",
            Content::Number(_) => "a number",
            Content::Text(_) => "a text",
            Content::Date(_) => "a date",
            Content::List(_) => "a list",
            Content::Mapping(_) => "a mapping",
            Content::Merge => "<<",
        }
    }

    /// The same in JSON. A date becomes its text.
    pub(crate) fn to_json(&self) -> Value {
        match &self.content {
            Content::Null | Content::Merge => Value::Null,
            Content::Boolean(boolean) => Value::Bool(*boolean),
            Content::Number(number) => Value::Number(number.clone()),
            Content::Text(text) | Content::Date(text) => Value::String(text.clone()),
            Content::List(items) => items.iter().map(|item| item.to_json()).collect(),
            Content::Mapping(entries) => Value::Object(
                entries.iter().map(|e| (e.key.clone(), e.value.to_json())).collect::<Map<_, _>>(),
            ),
        }
    }

    /// The entries of a mapping whose keys are no texts, here and in everything below.
    pub(crate) fn keys_that_are_no_texts(&self) -> Vec<&Entry> {
        match &self.content {
            Content::List(items) => items.iter().flat_map(|item| item.keys_that_are_no_texts()).collect(),
            Content::Mapping(entries) => entries
                .iter()
                .flat_map(|e| {
                    (!e.key_is_text).then_some(e).into_iter().chain(e.value.keys_that_are_no_texts())
                })
                .collect(),
            _ => Vec::new(),
        }
    }
}

/// The document of a text; `None` when there is none.
///
/// # Errors
/// [`Invalid`] when PyYAML would refuse it (no YAML, a second document, a tag that names no plain value), and when it
/// nests too deep or stands for too many nodes.
pub(crate) fn parse(text: &str, dates: Dates) -> Result<Option<Rc<Node>>, Invalid> {
    let (mut open, mut anchors, mut root) = (Vec::<OpenCollection>::new(), HashMap::new(), None);
    // As PyYAML, without the mark that some editors put before a text.
    for event in Parser::new_from_str(text.trim_start_matches('\u{feff}')) {
        let (event, span) = event?;
        let (anchor, node) = match event {
            Event::SequenceStart(anchor, tag) => {
                open.push(OpenCollection::new(anchor, false, tag.as_deref(), span, open.len())?);
                continue;
            }
            Event::MappingStart(anchor, tag) => {
                open.push(OpenCollection::new(anchor, true, tag.as_deref(), span, open.len())?);
                continue;
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(open) = open.pop() else { continue };
                (open.anchor, open.close()?)
            }
            Event::Scalar(value, style, anchor, tag) => {
                let content = match scalar::resolve(&value, style, tag.as_deref()) {
                    Ok(Content::Date(text)) if dates == Dates::AreTexts => Content::Text(text),
                    Ok(content) => content,
                    Err(problem) => return Err(Invalid::new(line(&span.start), problem)),
                };
                (anchor, Node { line: line(&span.start), content, size: 1 })
            }
            Event::Alias(anchor) => {
                let Some(node) = anchors.get(&anchor) else {
                    return Err(Invalid::new(line(&span.start), "an alias stands inside its own anchor"));
                };
                add(&mut open, &mut root, &Rc::clone(node));
                continue;
            }
            Event::DocumentStart(_) if root.is_some() => {
                return Err(Invalid::new(line(&span.start), "a second document begins; one is wanted"));
            }
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd => {
                continue;
            }
        };
        let node = Rc::new(node);
        if anchor > 0 {
            anchors.insert(anchor, Rc::clone(&node));
        }
        add(&mut open, &mut root, &node);
    }
    match root {
        Some(root) if matches!(root.content, Content::Merge) => Err(Invalid::new(root.line, NO_KEY)),
        root => Ok(root),
    }
}

/// What is said of `<<` where it is no key.
const NO_KEY: &str = "<< is a key and no value; put it in quotes for a text";

fn add(open: &mut [OpenCollection], root: &mut Option<Rc<Node>>, node: &Rc<Node>) {
    match open.last_mut() {
        Some(around) => around.nodes.push(Rc::clone(node)),
        None => *root = Some(Rc::clone(node)),
    }
}

fn line(marker: &Marker) -> u64 {
    marker.line() as u64
}

/// A collection that is not complete yet.
struct OpenCollection {
    anchor: usize,
    is_mapping: bool,
    line: u64,
    nodes: Vec<Rc<Node>>,
}

impl OpenCollection {
    fn new(
        anchor: usize,
        is_mapping: bool,
        tag: Option<&Tag>,
        span: Span,
        depth: usize,
    ) -> Result<Self, Invalid> {
        let line = line(&span.start);
        if depth == MAX_DEPTH {
            return Err(Invalid::new(line, format!("collections nest more than {MAX_DEPTH} deep")));
        }
        let plain = if is_mapping { "map" } else { "seq" };
        if let Some(tag) = tag.filter(|tag| !(tag.is_yaml_core_schema() && tag.suffix == plain)) {
            return Err(Invalid::new(line, scalar::unknown_tag(tag)));
        }
        Ok(Self { anchor, is_mapping, line, nodes: Vec::new() })
    }

    fn close(self) -> Result<Node, Invalid> {
        let size = self.nodes.iter().fold(1, |size: usize, node| size.saturating_add(node.size));
        if size > MAX_NODES {
            let problem = format!("with its aliases written out it has more than {MAX_NODES} nodes");
            return Err(Invalid::new(self.line, problem));
        }
        let merges = |node: &&Rc<Node>| matches!(node.content, Content::Merge);
        let values = self.nodes.iter().skip(usize::from(self.is_mapping));
        if let Some(node) = values.step_by(1 + usize::from(self.is_mapping)).find(merges) {
            return Err(Invalid::new(node.line, NO_KEY));
        }
        let content =
            if self.is_mapping { Content::Mapping(mapping(&self.nodes)?) } else { Content::List(self.nodes) };
        Ok(Node { line: self.line, content, size })
    }
}

/// The entries of keys and values that follow one another: first what is merged, then what is said here.
fn mapping(nodes: &[Rc<Node>]) -> Result<Vec<Entry>, Invalid> {
    let mut entries = Entries::default();
    let pairs = || nodes.chunks_exact(2).map(|pair| (&pair[0], &pair[1]));
    for (_, value) in pairs().filter(|(key, _)| matches!(key.content, Content::Merge)) {
        merge(&mut entries, value)?;
    }
    for (key, value) in pairs().filter(|(key, _)| !matches!(key.content, Content::Merge)) {
        let (text, key_is_text) = match &key.content {
            Content::Text(text) => (text.clone(), true),
            Content::Date(text) => (text.clone(), false),
            Content::List(_) | Content::Mapping(_) => {
                return Err(Invalid::new(key.line, format!("a key is {}; a text is wanted", key.kind())));
            }
            _ => (key.to_json().to_string(), false),
        };
        entries.insert(Entry { key: text, key_is_text, key_line: key.line, value: Rc::clone(value) });
    }
    Ok(entries.list)
}

/// Takes in a mapping, or a list of mappings of which an earlier one counts for more.
fn merge(entries: &mut Entries, value: &Rc<Node>) -> Result<(), Invalid> {
    let sources = match &value.content {
        Content::Mapping(_) => std::slice::from_ref(value),
        Content::List(items) => items.as_slice(),
        _ => &[],
    };
    if !(value.is_mapping() || value.is_list()) || sources.iter().any(|source| !source.is_mapping()) {
        return Err(Invalid::new(value.line, "<< merges a mapping or a list of mappings"));
    }
    for source in sources.iter().rev() {
        for entry in source.entries() {
            entries.insert(entry.clone());
        }
    }
    Ok(())
}

/// Entries, each key once: a later one takes the place of an earlier one.
#[derive(Default)]
struct Entries {
    list: Vec<Entry>,
    places: HashMap<(String, bool), usize>,
}

impl Entries {
    fn insert(&mut self, entry: Entry) {
        let key = (entry.key.clone(), entry.key_is_text);
        match self.places.get(&key) {
            Some(&place) => self.list[place] = entry,
            None => {
                self.places.insert(key, self.list.len());
                self.list.push(entry);
            }
        }
    }
}
