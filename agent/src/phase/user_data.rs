//! User-data and vendor-data of a cloud-init instance: as it came, and what cloud-init has made of them.

use std::path::Path;

use context::check::{self, Taken};
use context::document::{Document, Section};
use context::settings::Settings;
use protocol::error::Error;

/// User-data, or vendor-data.
pub(super) struct UserData {
    as_it_came: Document,
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
        let decoded = format!("{name}.txt.i");
        if let Some(as_it_came) = read(format!("{name}.txt"))? {
            return Ok(Some(Self { as_it_came, decoded: read(decoded)? }));
        }
        Ok(read(decoded)?.map(|as_it_came| Self { as_it_came, decoded: None }))
    }

    /// The section: that of the data as it came, which `check` sees too, else one that they include.
    ///
    /// # Errors
    /// As [`Document::section`].
    pub(super) fn section(&self) -> Result<Option<Section>, Error> {
        let own = self.as_it_came.section();
        if matches!(own, Ok(Some(_))) {
            return own;
        }
        match self.decoded.as_ref().map(Document::section) {
            Some(Ok(Some(included))) => Ok(Some(included)),
            _ => own,
        }
    }

    /// What cloud-init does with it, in the words of `check`; nothing is found where it has neither section nor
    /// placeholder, since it is then none of the cluster's.
    pub(super) fn taken(&self, settings: Option<&Settings>) -> Taken {
        let mut documents = [Some(&self.as_it_came), self.decoded.as_ref()].into_iter().flatten();
        let is_ours = |document: &Document| {
            !document.placeholders().is_empty() || document.section().is_ok_and(|section| section.is_some())
        };
        if !documents.any(is_ours) {
            return Taken::default();
        }
        check::check_taken(&self.as_it_came, self.decoded.as_ref(), settings)
    }
}
