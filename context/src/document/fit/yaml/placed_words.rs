//! Words that stand where placeholders do while YAML is read: a placeholder begins with hashes, which YAML takes for a
//! comment.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ops::Range;
use std::rc::Rc;

use super::{Insertion, NOT_KEPT, QUOTE, Unfit};
use crate::document::edit::{self, Edit};
use crate::yaml::{Node, Scalar};

/// The words in the place of placeholders.
pub(super) struct PlacedWords<'i, 'v> {
    pub(super) insertions: &'i [Insertion<'v>],
    /// What they begin with, and no other word of the text has in it.
    prefix: String,
}

impl<'i, 'v> PlacedWords<'i, 'v> {
    const DIGITS: usize = 7;

    pub(super) fn new(text: &[u8], insertions: &'i [Insertion<'v>]) -> Self {
        let prefixes = (b'a'..=b'z').flat_map(|a| (b'a'..=b'z').map(move |b| [b'Q', a, b, b'Q']));
        let free = prefixes.into_iter().find(|prefix| !text.windows(4).any(|window| window == prefix));
        let prefix = String::from_utf8_lossy(&free.unwrap_or(*b"QzzQ")).into_owned();
        Self { insertions, prefix }
    }

    /// The text with them; every offset stays what it is.
    pub(super) fn hide(&self, text: &[u8]) -> Vec<u8> {
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
    pub(super) fn find<'t>(
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
    pub(super) fn show(&self, text: &str) -> String {
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
    pub(super) fn same(&self, hidden: &Node, shown: &Node, seen: &mut BTreeSet<usize>) -> Result<(), Unfit> {
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
