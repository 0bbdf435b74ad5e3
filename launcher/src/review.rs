//! What is wrong with a definition, and where.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::yaml::{Content, Dates, Entry, Node};

/// Something that is wrong with a file of a definition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file, as the catalogue found it.
    pub file: PathBuf,
    /// The line, counted from 1, where there is one.
    pub line: Option<u64>,
    /// What is wrong, and what is wanted.
    pub problem: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, "{line}:")?;
        }
        write!(f, " {}", self.problem)
    }
}

/// A file of a definition that is looked over; it takes note of all that is wrong with it.
pub(crate) struct Review<'a> {
    file: &'a Path,
    problems: Vec<Problem>,
    warnings: Vec<Problem>,
}

impl<'a> Review<'a> {
    pub(crate) fn new(file: &'a Path) -> Self {
        Self { file, problems: Vec::new(), warnings: Vec::new() }
    }

    /// Notes what makes the definition invalid.
    pub(crate) fn note(&mut self, line: impl Into<Option<u64>>, problem: impl Into<String>) {
        self.problems.push(self.problem(line.into(), problem.into()));
    }

    /// Notes what does not make it invalid, but does not work or has no effect.
    pub(crate) fn warn(&mut self, line: impl Into<Option<u64>>, problem: impl Into<String>) {
        self.warnings.push(self.problem(line.into(), problem.into()));
    }

    fn problem(&self, line: Option<u64>, problem: String) -> Problem {
        Problem { file: self.file.to_owned(), line, problem }
    }

    /// Whether nothing makes it invalid so far.
    pub(crate) fn is_clean(&self) -> bool {
        self.problems.is_empty()
    }

    pub(crate) fn problems(self) -> Vec<Problem> {
        self.problems
    }

    /// What makes it invalid, and what does not.
    pub(crate) fn into_parts(self) -> (Vec<Problem>, Vec<Problem>) {
        (self.problems, self.warnings)
    }

    /// The document of a file's text; `None`, with a note, when there is none.
    pub(crate) fn document(&mut self, text: &str, dates: Dates) -> Option<std::rc::Rc<Node>> {
        match crate::yaml::parse(text, dates) {
            Ok(Some(node)) => Some(node),
            Ok(None) => {
                self.note(None, "the file is empty");
                None
            }
            Err(invalid) => {
                self.note(invalid.line, format!("no YAML: {}", invalid.problem));
                None
            }
        }
    }

    /// The entries of a node that must be a mapping.
    pub(crate) fn mapping<'n>(&mut self, what: &str, node: &'n Node) -> Option<&'n [Entry]> {
        self.expect(node.is_mapping(), what, node, "a mapping").then(|| node.entries())
    }

    /// The items of a node that must be a list.
    pub(crate) fn list<'n>(&mut self, what: &str, node: &'n Node) -> Option<&'n [std::rc::Rc<Node>]> {
        self.expect(node.is_list(), what, node, "a list").then(|| node.items())
    }

    /// The text of a node that must be one.
    pub(crate) fn text(&mut self, what: &str, node: &Node) -> Option<String> {
        let quotable = matches!(node.content, Content::Boolean(_) | Content::Number(_) | Content::Date(_));
        let wanted = if quotable { "a text; put it in quotes" } else { "a text" };
        self.expect(node.text().is_some(), what, node, wanted);
        node.text().map(str::to_owned)
    }

    /// The value of a key that must be there.
    pub(crate) fn wanted<'n>(&mut self, around: &'n Node, key: &str) -> Option<&'n Node> {
        let value = around.get(key);
        if value.is_none() {
            self.note(around.line, format!("{key} is missing"));
        }
        value
    }

    /// The text of a key that must be there.
    pub(crate) fn wanted_text(&mut self, around: &Node, key: &str) -> Option<String> {
        let node = self.wanted(around, key)?;
        self.text(key, node)
    }

    /// Whether it is as it must be; if not, with a note.
    pub(crate) fn expect(&mut self, is: bool, what: &str, node: &Node, wanted: &str) -> bool {
        if !is {
            self.note(node.line, format!("{what} is {}; it must be {wanted}", node.kind()));
        }
        is
    }

    /// Notes keys that are no texts, here and in everything below.
    pub(crate) fn keys_are_texts(&mut self, node: &Node) {
        for entry in node.keys_that_are_no_texts() {
            self.note(entry.key_line, format!("the key {} is no text; put it in quotes", entry.key));
        }
    }
}
