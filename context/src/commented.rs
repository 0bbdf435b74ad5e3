//! Placeholders that YAML takes for comments, since they begin with hashes.

use crate::placeholder::{self, FoundPlaceholder};
use crate::yaml::{self, each_scalar};

/// The placeholders that would be values without their hashes, and with them begin a comment.
pub(crate) fn commented_placeholders(text: &str) -> Vec<FoundPlaceholder> {
    let Ok(Some(root)) = yaml::parse(&without_hashes(text)) else { return Vec::new() };
    let mut plain = Vec::new();
    each_scalar(&root, &mut |scalar| {
        if scalar.is_plain() {
            plain.push(scalar.span.clone());
        }
    });
    plain.sort_by_key(|span| span.start);
    let begins_comment = |found: &FoundPlaceholder| {
        let start = text[..found.span.start].trim_end_matches('#').len();
        let around = plain[..plain.partition_point(|span| span.start <= start)].last();
        around.is_some_and(|span| {
            start < span.end && (start == span.start || text[..start].ends_with(char::is_whitespace))
        })
    };
    placeholder::find(text.as_bytes()).filter(begins_comment).collect()
}

/// The text with letters in the place of all hashes of and beside its placeholders, so that none begins a comment.
pub(crate) fn without_hashes(text: &str) -> String {
    let mut with_letters = String::with_capacity(text.len());
    for found in placeholder::find(text.as_bytes()) {
        let start = text[..found.span.start].trim_end_matches('#').len().max(with_letters.len());
        let rest = text[found.span.end..].trim_start_matches('#');
        with_letters.push_str(&text[with_letters.len()..start]);
        with_letters.push_str(&text[start..text.len() - rest.len()].replace('#', "x"));
    }
    with_letters.push_str(&text[with_letters.len()..]);
    with_letters
}
