//! A value for a placeholder, and why it must not go there.

use std::borrow::Cow;
use std::ops::Range;

use crate::document::edit::Edit;

/// A placeholder in a text, and the value that goes there.
#[derive(Debug, Clone)]
pub(in crate::document) struct Insertion<'v> {
    /// The placeholder's bytes in the text.
    pub(in crate::document) span: Range<usize>,
    /// The key of the value.
    pub(in crate::document) key: String,
    pub(in crate::document) value: &'v str,
}

/// A value that must not go where its placeholder stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::document) struct Unfit {
    /// The placeholder's offset.
    pub(in crate::document) at: usize,
    pub(in crate::document) key: String,
    /// What is wrong with the value there; not the value.
    pub(in crate::document) problem: &'static str,
    /// What makes it fit.
    pub(in crate::document) next: &'static str,
}

impl Unfit {
    pub(in crate::document) fn new(
        insertion: &Insertion<'_>,
        problem: &'static str,
        next: &'static str,
    ) -> Self {
        Self { at: insertion.span.start, key: insertion.key.clone(), problem, next }
    }
}

impl<'v> Insertion<'v> {
    /// The value, with nothing around it.
    pub(in crate::document) fn as_it_is(&self) -> Edit<'v> {
        Edit { span: self.span.clone(), with: Cow::Borrowed(self.value.as_bytes()) }
    }
}
