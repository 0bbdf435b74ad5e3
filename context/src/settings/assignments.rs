//! The lines of the sections that set something, the last one first.

use protocol::error::Error;

use super::Setting;
use crate::document::Section;

/// The lines of all sections.
pub(super) struct Assignments<'a>(pub(super) &'a [Section]);

/// A line that sets something.
pub(super) struct Assignment<'a> {
    key: &'a str,
    pub(super) value: &'a str,
    section: &'a Section,
    number: usize,
}

impl<'a> Assignments<'a> {
    /// The lines of this setting, the last one first.
    pub(super) fn all(&self, setting: Setting) -> impl Iterator<Item = Assignment<'a>> {
        self.0.iter().rev().flat_map(move |section| {
            let entries = section.entries().iter().rev().filter(move |entry| entry.key == setting.name());
            entries.map(move |entry| Assignment {
                key: &entry.key,
                value: &entry.value,
                section,
                number: entry.line,
            })
        })
    }

    /// The last line of this setting.
    pub(super) fn last(&self, setting: Setting) -> Option<Assignment<'a>> {
        self.all(setting).next()
    }

    /// The last line of this setting, if that has a value.
    pub(super) fn get(&self, setting: Setting) -> Option<Assignment<'a>> {
        self.last(setting).filter(|line| !line.value.is_empty())
    }

    /// Refuses a line that was probably meant as this setting and does not set it; `consequence` says why that matters.
    pub(super) fn refuse_meant(&self, setting: Setting, consequence: &str) -> Result<(), Error> {
        let name = setting.name();
        for section in self.0 {
            let unknown = section.entries().iter().filter(|entry| Setting::named(&entry.key).is_none());
            let misspelt = unknown
                .filter(|entry| Setting::nearest(&entry.key) == Some(setting))
                .map(|entry| (entry.line, entry.key.as_str()));
            let ignored = section.ignored_lines().iter().map(|line| (line.number, line.key.as_str()));
            let meant = ignored.filter(|(_, key)| *key == name || Setting::nearest(key) == Some(setting));
            if let Some((line, key)) = misspelt.chain(meant).next() {
                let problem = format!("{key:?} is probably meant as {name}, and {consequence}");
                return Err(Error::context(section.place_of(line), problem, format!("write {name}=VALUE")));
            }
        }
        Ok(())
    }
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
