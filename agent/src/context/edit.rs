//! Edits by byte span: whatever no edit covers stays byte for byte.

use std::borrow::Cow;
use std::ops::Range;

/// Other bytes in the place of some.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Edit<'v> {
    /// What is replaced.
    pub(super) span: Range<usize>,
    /// What comes in its place.
    pub(super) with: Cow<'v, [u8]>,
}

impl Edit<'_> {
    /// The same edit where everything lies `by` bytes further on.
    pub(super) fn shifted(self, by: usize) -> Self {
        Self { span: self.span.start + by..self.span.end + by, with: self.with }
    }
}

/// `bytes` with the edits made; they are in order and do not overlap.
pub(super) fn apply(bytes: &[u8], edits: &[Edit<'_>]) -> Vec<u8> {
    let grown: usize = edits.iter().map(|e| e.with.len()).sum();
    let mut out = Vec::with_capacity(bytes.len() + grown);
    let mut kept = 0;
    for edit in edits {
        out.extend_from_slice(&bytes[kept..edit.span.start]);
        out.extend_from_slice(&edit.with);
        kept = edit.span.end;
    }
    out.extend_from_slice(&bytes[kept..]);
    out
}
