//! Values in YAML: the tree keeps its shape, and what a value stands in stays a text.
//!
//! Each placeholder is first put out of YAML's sight by a word of its length. The tree of that text says in which scalar
//! it stands, and is what the tree with the values is held against.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashSet};
use std::mem::{Discriminant, discriminant};
use std::net::Ipv4Addr;
use std::ops::Range;
use std::rc::Rc;

use super::edit::{self, Edit};
use super::fit::{self, Insertion, Language, Unfit};
use crate::yaml::{self, Node, Scalar, ScalarStyle};

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
        fit::in_words(Language::Script, text, insertions)?;
        return Ok(insertions.iter().map(fit::as_it_is).collect());
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

/// The words in the place of placeholders.
struct PlacedWords<'i, 'v> {
    insertions: &'i [Insertion<'v>],
    /// What they begin with, and no other word of the text has in it.
    prefix: String,
}

impl<'i, 'v> PlacedWords<'i, 'v> {
    const DIGITS: usize = 7;

    fn new(text: &[u8], insertions: &'i [Insertion<'v>]) -> Self {
        let prefixes = (b'a'..=b'z').flat_map(|a| (b'a'..=b'z').map(move |b| [b'Q', a, b, b'Q']));
        let free = prefixes.into_iter().find(|prefix| !text.windows(4).any(|window| window == prefix));
        let prefix = String::from_utf8_lossy(&free.unwrap_or(*b"QzzQ")).into_owned();
        Self { insertions, prefix }
    }

    /// The text with them; every offset stays what it is.
    fn hide(&self, text: &[u8]) -> Vec<u8> {
        let edits: Vec<_> = self
            .insertions
            .iter()
            .enumerate()
            .map(|(index, insertion)| {
                let word = format!("{}{index:0width$}", self.prefix, width = Self::DIGITS);
                let word = format!("{word:x<length$}", length = insertion.span.len());
                Edit { span: insertion.span.clone(), with: Cow::Owned(word.into_bytes()) }
            })
            .collect();
        edit::apply(text, &edits)
    }

    /// The words in a text: where, and for what.
    fn find<'t>(
        &'t self,
        text: &'t str,
    ) -> impl Iterator<Item = (Range<usize>, &'i Insertion<'v>)> + use<'i, 't, 'v> {
        text.match_indices(&self.prefix).filter_map(|(at, prefix)| {
            let digits = text.get(at + prefix.len()..at + prefix.len() + Self::DIGITS)?;
            let insertion = self.insertions.get(digits.parse::<usize>().ok()?)?;
            Some((at..at + insertion.span.len(), insertion))
        })
    }

    /// A text with the values in their place.
    fn show(&self, text: &str) -> String {
        let mut shown = String::new();
        let mut from = 0;
        for (span, insertion) in self.find(text) {
            shown.push_str(&text[from..span.start]);
            shown.push_str(insertion.value);
            from = span.end;
        }
        shown + &text[from..]
    }

    /// Whether the second tree is the first with the values in it.
    fn same(&self, hidden: &Node, shown: &Node, seen: &mut BTreeSet<usize>) -> Result<(), Unfit> {
        let unlike = || Unfit::new(&self.insertions[0], NOT_KEPT, QUOTE);
        match (hidden, shown) {
            (Node::Scalar(hidden), Node::Scalar(shown)) => self.same_scalar(hidden, shown),
            (Node::Sequence(before), Node::Sequence(after)) if before.len() == after.len() => {
                if !seen.insert(Rc::as_ptr(before).addr()) {
                    return Ok(());
                }
                before.iter().zip(after.iter()).try_for_each(|(before, after)| self.same(before, after, seen))
            }
            (Node::Mapping(before), Node::Mapping(after)) if before.len() == after.len() => {
                if !seen.insert(Rc::as_ptr(before).addr()) {
                    return Ok(());
                }
                before.iter().zip(after.iter()).try_for_each(|((key, before), (key_after, after))| {
                    self.same_scalar(key, key_after)?;
                    self.same(before, after, seen)
                })
            }
            _ => Err(unlike()),
        }
    }

    fn same_scalar(&self, hidden: &Scalar, shown: &Scalar) -> Result<(), Unfit> {
        let mut words = self.find(&hidden.text).map(|(_, insertion)| insertion);
        if self.show(&hidden.text) == shown.text {
            return Ok(());
        }
        Err(Unfit::new(words.next().unwrap_or(&self.insertions[0]), NOT_KEPT, QUOTE))
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
        let mut edits: Vec<_> = plain.map(fit::as_it_is).collect();
        edits.append(&mut self.quoted);
        edits.sort_by_key(|edit| edit.span.start);
        edits
    }
}

/// A file in a scalar is not rewritten, so what would have to be quoted in it is refused.
fn fits_within(language: Language, text: &[u8], insertions: &[Insertion<'_>]) -> Result<(), Unfit> {
    let edits = fit::edits(language, text, insertions)?;
    let written_anew = insertions.iter().find(|insertion| !edits.contains(&fit::as_it_is(insertion)));
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
mod tests {
    use super::*;
    use crate::document::Document;
    use crate::value::{self, Origin};
    use proptest::prelude::*;
    use protocol::error::Status;
    use std::collections::BTreeMap;

    const PLACE: &str = "###VALUE_PLACEHOLDER###";
    /// Each of them means something to YAML 1.1 where it stands alone.
    const ODD: &str = "a: b|@x|%x|=|no|0x1F|-x|- x|-|y|~|1e3|1:30|2001-12-14|a:|.5|null|True|:x|x,y|---|6443";

    fn substituted(text: &str, value: &str) -> Result<String, protocol::error::Error> {
        let values = BTreeMap::from([("value".to_owned(), value.to_owned())]);
        let document = Document::parse("f", text.as_bytes().to_vec()).unwrap();
        document.substitute(&values).map(|done| String::from_utf8(done.bytes).unwrap())
    }

    fn scalars(node: &Node, found: &mut Vec<(String, bool)>) {
        match node {
            Node::Scalar(scalar) => {
                found.push((scalar.text.clone(), !scalar.is_plain() || is_surely_text(&scalar.text, false)));
            }
            Node::Sequence(items) => items.iter().for_each(|item| scalars(item, found)),
            Node::Mapping(pairs) => {
                for (key, value) in pairs.iter() {
                    found.push((key.text.clone(), true));
                    scalars(value, found);
                }
            }
        }
    }

    /// Texts in which the placeholder stands where no shell reads it.
    const TEXTS: [&str; 9] = [
        "#cloud-config\nfqdn: @\nb: c\n",
        "#cloud-config\nfqdn: pre@\nb: [first, @, last]\n",
        "#cloud-config\na: {b: @, c: d}\n",
        "#cloud-config\na: \"@\"\nb: '@'\nc: |\n  @\nd: >-\n  x\n  @\n",
        "#cloud-config\n- @\n-   @\n  and @\n",
        "#cloud-config\n@: first\n? @\n: last\n",
        "#cloud-config\na: &x @\nb: *x\n",
        "#cloud-config\n# @\na: x # @\n",
        "#cloud-config\nruncmd:\n- [echo, @]\n- [sh, -c, 'echo \"$1\"', x, '@']\n",
    ];

    #[track_caller]
    fn keeps_tree(text: &str, value: &str) {
        let Ok(shown) = substituted(&text.replace('@', PLACE), value) else {
            // Refused, as what cannot be told from a syntax is; but not what stands alone.
            assert!(text.contains("pre@") || text.contains("sh, -c"), "{text} {value:?}");
            return;
        };
        let (mut before, mut after) = (Vec::new(), Vec::new());
        // What stands in for the value in the expected tree is quoted where it stands alone.
        scalars(&yaml::parse(&text.replace('@', "QQQ")).unwrap().unwrap(), &mut before);
        scalars(&yaml::parse(&shown).unwrap().unwrap(), &mut after);
        let before: Vec<_> = before.into_iter().map(|(text, _)| text.replace("QQQ", value)).collect();
        assert!(after.iter().all(|(text, is_text)| *is_text || !text.contains(value)), "{shown}");
        let after: Vec<_> = after.into_iter().map(|(text, _)| text).collect();
        assert_eq!(before, after, "{shown}");
    }

    #[test]
    fn keeps_the_tree_and_the_text_of_odd_values() {
        for text in TEXTS {
            for value in ODD.split('|') {
                keeps_tree(text, value);
            }
        }
    }

    #[test]
    fn leaves_every_byte_where_the_value_needs_no_quotes() {
        for text in ["#cloud-config\nfqdn:   @ # the master\n", "#cloud-config\na: [ x, '@' ]\n"] {
            for value in ["10.0.0.1", "node-1.example.org", "/srv/nfs", "K10a::server:b4f"] {
                let shown = substituted(&text.replace('@', PLACE), value).unwrap();
                assert_eq!(shown, text.replace('@', value));
            }
        }
        let shown = substituted(&format!("#cloud-config\na:  {PLACE}  # x\n"), "no").unwrap();
        assert_eq!(shown, "#cloud-config\na:  \"no\"  # x\n");
    }

    #[test]
    fn refuses_what_a_shell_would_take_apart_and_names_the_line() {
        let refused = [
            ("#!/bin/sh\nTOKEN=@ true\n", 2),
            ("#!/bin/sh\ncurl -H x=@\n", 2),
            ("export TOKEN=@\n", 1),
            ("#cloud-config\na: b\nruncmd:\n- curl -H header=@ http://x/\n", 4),
            ("#cloud-config\nbootcmd:\n- [sh, -c, 'A=@ b']\n", 3),
            ("#cloud-config\nwrite_files:\n- path: /x\n  content: |\n    #!/bin/sh\n    A=@\n", 6),
            ("#cloud-config\nwrite_files:\n- path: /x\n  content: |\n    y\n    A=@\n", 6),
            ("#cloud-config\nwrite_files:\n- path: /x.yaml\n  content: |\n    y: @\n", 5),
            (
                "Content-Type: multipart/mixed; boundary=b\nMIME-Version: 1.0\n\n--b\nContent-Type: text/x-shellscript\n\nA=@\n--b--\n",
                7,
            ),
        ];
        for (text, line) in refused {
            let text = text.replace('@', PLACE);
            for value in ["x touch /tmp/p: ", "Basic dXNlcjo6cGFzcw==: x"] {
                let error = substituted(&text, value.trim()).unwrap_err();
                assert_eq!(error.status(), Status::Nonsense, "{text}");
                assert!(error.place().unwrap().ends_with(&format!("line {line}")), "{text}: {error}");
                assert!(!error.to_string().contains(value.trim()), "{error}");
            }
            assert!(substituted(&text, "K10a").is_ok(), "{text}");
        }
        let taken = [
            "#!/bin/sh\nTOKEN=\"@\" true\n",
            "TOKEN='@'\n",
            "Welcome to @\n",
            "#cloud-config\nruncmd:\n- curl -H \"header: @\" http://x/\n",
            "#cloud-config\nssh_authorized_keys:\n- @\n",
        ];
        for text in taken {
            assert!(substituted(&text.replace('@', PLACE), "a b").is_ok(), "{text}");
        }
    }

    #[test]
    fn takes_a_text_that_is_no_yaml_for_a_script() {
        let text = format!("#cloud-config\na: [\nb={PLACE}\n");
        assert!(substituted(&text, "a b").is_err());
        assert_eq!(substituted(&text, "ab").unwrap(), "#cloud-config\na: [\nb=ab\n");
    }

    proptest! {
        #[test]
        fn keeps_the_tree_of_any_text_with_any_value(
            index in 0..TEXTS.len(), value in "[-._+/=:@,~%a-zA-Z0-9 ]{1,12}",
        ) {
            if value::check("value", &value, Origin::Received).is_ok() {
                keeps_tree(TEXTS[index], &value);
            }
        }
    }
}
