//! User-data and vendor-data of a cloud-init instance: as it came, and what cloud-init has made of them.

use std::path::Path;

use context::check::{self, TakenUserData};
use context::document::{Document, Section};
use context::settings::Settings;
use protocol::error::Error;

/// User-data, or vendor-data.
pub(super) struct UserData {
    as_it_came: Option<Document>,
    /// What cloud-init hands to its handlers, with what `#include` brought; `None` where it has made nothing of it.
    decoded: Option<Document>,
}

impl UserData {
    /// That of an instance; `name` is `user-data` or `vendor-data`. `None` where there is none.
    ///
    /// # Errors
    /// As [`Document::read`].
    pub(super) fn read(instance: &Path, name: &str) -> Result<Option<Self>, Error> {
        let read = |name: String| {
            let file = instance.join(name);
            let is_there = file.metadata().is_ok_and(|meta| meta.len() > 0);
            is_there.then(|| Document::read(&file)).transpose()
        };
        let data = Self { as_it_came: read(format!("{name}.txt"))?, decoded: read(format!("{name}.txt.i"))? };
        let is_there = data.documents().next().is_some();
        Ok(is_there.then_some(data))
    }

    /// The data as it came first.
    fn documents(&self) -> impl Iterator<Item = &Document> {
        self.as_it_came.iter().chain(&self.decoded)
    }

    /// The section: that of the data as it came, which `check` sees too, else one that they include.
    ///
    /// # Errors
    /// As [`Document::section`], of the first.
    pub(super) fn section(&self) -> Result<Option<Section>, Error> {
        let mut found = self.documents().map(Document::section);
        let first = found.next().unwrap_or(Ok(None));
        if matches!(first, Ok(Some(_))) {
            return first;
        }
        match found.next() {
            Some(Ok(Some(included))) => Ok(Some(included)),
            _ => first,
        }
    }

    /// What cloud-init does with it, in the words of `check`. Nothing is found where it has neither section nor
    /// placeholder, since it is then none of the cluster's, and where the data as it came is not there: what cloud-init
    /// has made of it shows no loss.
    pub(super) fn taken(&self, settings: Option<&Settings>) -> TakenUserData {
        let is_ours = |document: &Document| {
            !document.placeholders().is_empty() || document.section().is_ok_and(|section| section.is_some())
        };
        match &self.as_it_came {
            Some(as_it_came) if self.documents().any(is_ours) => {
                check::check_taken(as_it_came, self.decoded.as_ref(), settings)
            }
            _ => TakenUserData::default(),
        }
    }
}
