//! A line of a section that sets something.

use protocol::error::Error;

use crate::document::Section;

/// A line that sets something.
pub(super) struct Assignment<'a> {
    pub(super) key: &'a str,
    pub(super) value: &'a str,
    pub(super) section: &'a Section,
    pub(super) number: usize,
}

impl Assignment<'_> {
    pub(super) fn place(&self) -> String {
        self.section.place_of(self.number)
    }

    pub(super) fn wrong(&self, problem: &str, next: &str) -> Error {
        let problem = format!("{} {problem}", self.key);
        Error::context(self.place(), problem, next.to_owned())
    }
}
