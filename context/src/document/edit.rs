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

/// Where offsets come to lie once edits are made; it is asked for them in order.
pub(super) struct MovedOffsets<'e, 'v> {
    edits: std::slice::Iter<'e, Edit<'v>>,
    /// Where the last edit behind ends, before and after.
    before: usize,
    after: usize,
}

impl<'e, 'v> MovedOffsets<'e, 'v> {
    pub(super) fn new(edits: &'e [Edit<'v>]) -> Self {
        Self { edits: edits.iter(), before: 0, after: 0 }
    }

    /// The new place of `offset`, which lies inside no edit.
    pub(super) fn to(&mut self, offset: usize) -> usize {
        while let Some(edit) = self.edits.as_slice().first().filter(|edit| edit.span.end <= offset) {
            self.after += edit.span.start - self.before + edit.with.len();
            self.before = edit.span.end;
            self.edits.next();
        }
        self.after + (offset - self.before)
    }
}
