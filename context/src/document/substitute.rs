//! Putting values in the place of placeholders.

use std::collections::{BTreeMap, BTreeSet};

use super::codec::Codec;
use super::edit::{self, Edit};
use super::fit::{self, Insertion, Language, Unfit};
use super::mime::{self, MimePart, TooManyParts};
use super::text::{Content, Text};
use super::{Document, MAX_DECODED_BYTES};
use crate::placeholder::{self, Placeholder};
use protocol::error::Error;

/// A context with values in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Substituted {
    /// The file's new content.
    pub bytes: Vec<u8>,
    /// The placeholders that got their value.
    pub replaced: BTreeSet<Placeholder>,
    /// Those for whose key there was none.
    pub left: BTreeSet<Placeholder>,
}

impl Document {
    /// Puts the values of `values`, by key, in the place of their placeholders, in one pass: a placeholder in a value
    /// is text. Whatever is outside the placeholders stays as it is, also where it must be encoded again; but a YAML
    /// scalar that a value would make no text of is quoted.
    ///
    /// # Errors
    /// [`Status::Nonsense`](protocol::error::Status::Nonsense), with part and line, when a value would mean more than a
    /// text where its placeholder stands.
    ///
    /// `Context`, with part and line, when the values would make the context larger than any needs to be.
    pub fn substitute(&self, values: &BTreeMap<String, String>) -> Result<Substituted, Error> {
        let mut pass = SubstitutionPass {
            values,
            room: MAX_DECODED_BYTES,
            replaced: BTreeSet::new(),
            left: BTreeSet::new(),
        };
        let edits = pass.edits(&self.text)?;
        let bytes = edit::apply(&self.text.bytes, &edits);
        Ok(Substituted { bytes, replaced: pass.replaced, left: pass.left })
    }
}

struct SubstitutionPass<'v> {
    values: &'v BTreeMap<String, String>,
    /// How many bytes of values may still be put in.
    room: usize,
    replaced: BTreeSet<Placeholder>,
    left: BTreeSet<Placeholder>,
}

impl<'v> SubstitutionPass<'v> {
    /// The edits of a text, its encoded parts included.
    fn edits(&mut self, text: &Text) -> Result<Vec<Edit<'v>>, Error> {
        let mut edits = Vec::new();
        let mut from = 0;
        for leaf in &text.leaves {
            self.plain(text, from..leaf.span.start, Language::Other, &mut edits)?;
            match &leaf.content {
                Content::Encoded(codec, inner) => {
                    let inside = self.edits(inner)?;
                    let made = codec.edits(&text.bytes[leaf.span.clone()], &inner.bytes, &inside);
                    edits.extend(made.into_iter().map(|edit| edit.shifted(leaf.span.start)));
                }
                Content::Plain | Content::Opaque(_) => {
                    let language =
                        Language::of(&text.bytes[leaf.span.clone()], Some(&leaf.headers), &text.name);
                    self.plain(text, leaf.span.clone(), language, &mut edits)?;
                }
            }
            from = leaf.span.end;
        }
        let language = match text.leaves.as_slice() {
            [] => Language::of(&text.bytes, None, &text.name),
            _ => Language::Other,
        };
        self.plain(text, from..text.bytes.len(), language, &mut edits)?;
        keeps_its_parts(text, &edits)?;
        Ok(edits)
    }

    /// The edits of a stretch that can be read as it lies there.
    fn plain(
        &mut self,
        text: &Text,
        span: std::ops::Range<usize>,
        language: Language,
        edits: &mut Vec<Edit<'v>>,
    ) -> Result<(), Error> {
        let bytes = &text.bytes[span.clone()];
        let mut insertions = Vec::new();
        for found in placeholder::find(bytes) {
            let key = found.placeholder.key();
            let Some(value) = self.values.get(&key) else {
                self.left.insert(found.placeholder);
                continue;
            };
            self.room = self.room.checked_sub(value.len()).ok_or_else(|| {
                let most = MAX_DECODED_BYTES >> 20;
                Error::context(
                    text.place_at(span.start + found.span.start),
                    format!("with the values put in, the context grows by more than {most} MiB"),
                    "use fewer placeholders, or shorter values",
                )
            })?;
            insertions.push(Insertion { span: found.span, key, value });
            self.replaced.insert(found.placeholder);
        }
        let made = fit::edits(language, bytes, &insertions)
            .map_err(|unfit| unfit_value(&unfit, text.place_at(span.start + unfit.at)))?;
        edits.extend(made.into_iter().map(|edit| edit.shifted(span.start)));
        Ok(())
    }
}

fn unfit_value(unfit: &Unfit, place: String) -> Error {
    Error::unfit_value(place, &unfit.key, unfit.problem, unfit.next)
}

/// SECURITY: a value alone on its line can be a boundary, and one in a part's headers can end them. Then what follows
/// would be another part, or none.
fn keeps_its_parts(text: &Text, edits: &[Edit<'_>]) -> Result<(), Error> {
    if edits.is_empty() || Codec::of(&text.bytes).is_some() {
        return Ok(());
    }
    let bodies = |leaves: Result<Option<Vec<MimePart>>, TooManyParts>| {
        leaves.ok().flatten().map(|leaves| leaves.into_iter().map(|leaf| leaf.body).collect::<Vec<_>>())
    };
    let mut moved = edit::MovedOffsets::new(edits);
    let before = bodies(mime::leaves(&text.bytes));
    let expected = before.map(|bodies| -> Vec<_> {
        bodies.into_iter().map(|body| moved.to(body.start)..moved.to(body.end)).collect()
    });
    if bodies(mime::leaves(&edit::apply(&text.bytes, edits))) == expected {
        return Ok(());
    }
    Err(Error::context(
        text.name.clone(),
        "a value would be a boundary between its MIME parts, or end the headers of one",
        "keep placeholders out of MIME headers, or publish another value",
    ))
}
