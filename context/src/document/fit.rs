//! Whether a value fits where its placeholder stands, and what has to be written there for it.
//!
//! The alphabet of [`crate::value`] has no quote, no `$` and no line end, but a blank makes two words for a shell, and
//! `: `, a leading `@` or the word `no` mean something else than text for YAML. So the place decides.

mod insertion;
mod language;
mod words;
mod yaml;

use super::edit::Edit;
pub(super) use insertion::{Insertion, Unfit};
pub(super) use language::Language;

/// What to write for the values.
pub(super) fn edits<'v>(
    language: Language,
    text: &[u8],
    insertions: &[Insertion<'v>],
) -> Result<Vec<Edit<'v>>, Unfit> {
    match language {
        _ if insertions.is_empty() => Ok(Vec::new()),
        Language::CloudConfig | Language::Yaml => yaml::edits(language, text, insertions),
        Language::Script | Language::Other => {
            words::check(language, text, insertions)?;
            Ok(insertions.iter().map(Insertion::as_it_is).collect())
        }
    }
}
