//! Values in YAML: the tree keeps its shape, and what a value stands in stays a text.
//!
//! Each placeholder is first replaced by a word of its length, since YAML takes its hashes for a comment. The tree of that text says in which scalar
//! it stands, and is what the tree with the values is held against.

mod placed_words;

use std::borrow::Cow;
use std::collections::{BTreeSet, HashSet};
use std::mem::{Discriminant, discriminant};
use std::net::Ipv4Addr;
use std::rc::Rc;

use super::{Insertion, Language, Unfit, words};
use crate::document::edit::{self, Edit};
use crate::yaml::{self, Node, Scalar, ScalarStyle};
use placed_words::PlacedWords;

const NOT_KEPT: &str = "would change what the YAML around it means";
const QUOTE: &str = "put the placeholder within quotes, or publish another value";

/// What to write for the values in a YAML text.
pub(super) fn edits<'v>(
    language: Language,
    text: &[u8],
    insertions: &[Insertion<'v>],
) -> Result<Vec<Edit<'v>>, Unfit> {
    let words = PlacedWords::new(text, insertions);
    let hidden = words.hide(text);
    let tree = str::from_utf8(&hidden).ok().and_then(|hidden| Some((hidden, yaml::parse(hidden).ok()?)));
    // cloud-init takes it no better.
    let Some((hidden, Some(tree))) = tree else {
        words::check(Language::Script, text, insertions)?;
        return Ok(insertions.iter().map(Insertion::as_it_is).collect());
    };
    let mut walk = TreeWalk { words: &words, hidden, quoted: Vec::new(), seen: HashSet::new() };
    walk.node(&tree, if language == Language::CloudConfig { NodeRole::Config } else { NodeRole::Text })?;
    let edits = walk.merged();
    let first = &insertions[0];
    let not_kept = || Unfit::new(first, NOT_KEPT, QUOTE);
    let made = edit::apply(text, &edits);
    // What other placeholders there are must stay hidden, or they would be comments now.
    let after = str::from_utf8(&made).ok().and_then(|made| yaml::parse(made).ok().flatten());
    let after = after.ok_or_else(not_kept)?;
    let mut seen = BTreeSet::new();
    words.same(&tree, &after, &mut seen)?;
    Ok(edits)
}

/// What a node is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NodeRole<'t> {
    /// A mapping of cloud-config's keys.
    Config,
    /// The commands of `runcmd`: text for a shell, or lists of arguments.
    Commands,
    /// A command of them.
    Command,
    /// The content of a file, by its path.
    File(&'t str),
    Text,
}

impl NodeRole<'_> {
    fn kind(self) -> Discriminant<NodeRole<'static>> {
        discriminant(&match self {
            Self::Config => NodeRole::Config,
            Self::Commands => NodeRole::Commands,
            Self::Command => NodeRole::Command,
            Self::File(_) => NodeRole::File(""),
            Self::Text => NodeRole::Text,
        })
    }
}

struct TreeWalk<'w, 'i, 'v> {
    words: &'w PlacedWords<'i, 'v>,
    /// The text with the words in it.
    hidden: &'w str,
    /// The scalars that are written anew.
    quoted: Vec<Edit<'v>>,
    /// Where the nodes lie that the walk has seen, and as what: an alias leads to one several times.
    seen: HashSet<(usize, Discriminant<NodeRole<'static>>)>,
}

impl<'v> TreeWalk<'_, '_, 'v> {
    fn node(&mut self, node: &Node, role: NodeRole<'_>) -> Result<(), Unfit> {
        match node {
            Node::Scalar(scalar) => self.scalar(scalar, role),
            Node::Sequence(items) => {
                // An alias may stand where a shell reads it, and its anchor where none does.
                if !self.seen.insert((Rc::as_ptr(items).addr(), role.kind())) {
                    return Ok(());
                }
                let mut is_script = false;
                for item in items.iter() {
                    let role = match role {
                        NodeRole::Commands => NodeRole::Command,
                        NodeRole::Command if is_script => NodeRole::Command,
                        NodeRole::Command | NodeRole::Text | NodeRole::File(_) => NodeRole::Text,
                        NodeRole::Config => NodeRole::Config,
                    };
                    self.node(item, role)?;
                    is_script |= item.scalar().is_some_and(|argument| is_shells_option(&argument.text));
                }
                Ok(())
            }
            Node::Mapping(pairs) => {
                if !self.seen.insert((Rc::as_ptr(pairs).addr(), role.kind())) {
                    return Ok(());
                }
                let path = node.get("path").and_then(Node::scalar).map_or("", |path| path.text.as_str());
                for (key, value) in pairs.iter() {
                    self.scalar(key, NodeRole::Text)?;
                    let role = match (role, key.text.as_str()) {
                        (NodeRole::Config, "runcmd" | "bootcmd" | "commands" | "condition") => {
                            NodeRole::Commands
                        }
                        (NodeRole::Config, "content") => NodeRole::File(path),
                        (NodeRole::Commands, _) => NodeRole::Commands,
                        (NodeRole::Config, _) => NodeRole::Config,
                        _ => NodeRole::Text,
                    };
                    self.node(value, role)?;
                }
                Ok(())
            }
        }
    }

    fn scalar(&mut self, scalar: &Scalar, role: NodeRole<'_>) -> Result<(), Unfit> {
        let inside: Vec<_> = self.words.find(&scalar.text).collect();
        if inside.is_empty() {
            return Ok(());
        }
        let language = match role {
            NodeRole::Commands | NodeRole::Command => Some(Language::Script),
            NodeRole::File(path) => Some(Language::of(scalar.text.as_bytes(), None, path)),
            NodeRole::Config | NodeRole::Text => None,
        };
        if let Some(language) = language.filter(|_| !scalar.is_binary) {
            let within: Vec<_> = inside
                .iter()
                .map(|(span, insertion)| Insertion { span: span.clone(), ..(*insertion).clone() })
                .collect();
            fits_within(language, scalar.text.as_bytes(), &within).map_err(|unfit| Unfit {
                at: within
                    .iter()
                    .position(|insertion| insertion.span.start == unfit.at)
                    .map_or(unfit.at, |index| inside[index].1.span.start),
                ..unfit
            })?;
        }
        let shown = self.words.show(&scalar.text);
        let begins = inside.iter().any(|(span, _)| span.start == 0);
        let divides = inside.iter().any(|(_, insertion)| insertion.value.contains([',', ' ']));
        if scalar.style == ScalarStyle::Plain && (divides || !is_surely_text(&shown, begins)) {
            let span = scalar.span.clone();
            let blanks = self.hidden[span.clone()].len() - self.hidden[span.clone()].trim_end().len();
            let with = Cow::Owned(double_quoted(&shown).into_bytes());
            self.quoted.push(Edit { span: span.start..span.end - blanks, with });
        }
        Ok(())
    }

    /// The edits: the scalars that are quoted, and elsewhere the values as they are.
    fn merged(mut self) -> Vec<Edit<'v>> {
        self.quoted.sort_by_key(|edit| edit.span.start);
        self.quoted.dedup_by(|a, b| a.span == b.span);
        let quoted = &self.quoted;
        let is_covered = |at: usize| {
            let before = quoted.partition_point(|edit| edit.span.start <= at);
            before.checked_sub(1).is_some_and(|index| quoted[index].span.contains(&at))
        };
        let plain = self.words.insertions.iter().filter(|insertion| !is_covered(insertion.span.start));
        let mut edits: Vec<_> = plain.map(Insertion::as_it_is).collect();
        edits.append(&mut self.quoted);
        edits.sort_by_key(|edit| edit.span.start);
        edits
    }
}

/// A file in a scalar is not rewritten, so what would have to be quoted in it is refused.
fn fits_within(language: Language, text: &[u8], insertions: &[Insertion<'_>]) -> Result<(), Unfit> {
    let edits = super::edits(language, text, insertions)?;
    let written_anew = insertions.iter().find(|insertion| !edits.contains(&Insertion::as_it_is(insertion)));
    written_anew.map_or(Ok(()), |insertion| Err(Unfit::new(insertion, NOT_KEPT, QUOTE)))
}

/// `-c` among a shell's options: what follows is a script.
fn is_shells_option(argument: &str) -> bool {
    argument.starts_with('-') && !argument.starts_with("--") && argument.ends_with('c')
}

/// Whether YAML 1.1 takes a plain scalar for a text, wherever it stands. Of those for which that is hard to say, no.
/// `begins` says that the scalar begins with a value.
fn is_surely_text(text: &str, begins: bool) -> bool {
    const WORDS: [&str; 9] = ["y", "n", "yes", "no", "on", "off", "true", "false", "null"];
    if text.parse::<Ipv4Addr>().is_ok() {
        return true;
    }
    let is_like_text = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/')
        || !begins && text.contains(' ') && !text.starts_with(|c: char| c.is_ascii_digit());
    is_like_text
        && !WORDS.iter().any(|word| text.eq_ignore_ascii_case(word))
        && !text.contains(": ")
        && !text.ends_with(':')
}

fn double_quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            c => quoted.push(c),
        }
    }
    quoted + "\""
}

#[cfg(test)]
mod tests;
