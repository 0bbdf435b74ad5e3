//! Substitution: which keys a guest's files have placeholders for, and putting the values in their place.
//!
//! The files are read before the wait only to learn which keys to wait for. After it each is read again, substituted and
//! replaced in one step, so that what has changed a file meanwhile is kept.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::files;
use crate::root::Root;
use context::document::Document;
use context::placeholder::Placeholder;
use context::settings::{Keys, Settings};
use protocol::error::Error;

/// The files to substitute in, and what came of it.
pub(super) struct Substitution<'a> {
    root: &'a Root,
    files: Vec<PathBuf>,
    /// The keys that the files have placeholders for.
    keys: BTreeSet<String>,
    /// What was replaced.
    pub(super) replaced: BTreeSet<Placeholder>,
    /// What failed first; the other files are done all the same.
    pub(super) trouble: Option<Error>,
}

impl<'a> Substitution<'a> {
    /// Looks at the files.
    pub(super) fn new(root: &'a Root, files: Vec<PathBuf>) -> Self {
        files::remove_leftovers(root, files.iter().map(PathBuf::as_path));
        let mut substitution =
            Self { root, files: Vec::new(), keys: BTreeSet::new(), replaced: BTreeSet::new(), trouble: None };
        for file in files {
            match document(root, &file) {
                Ok(document) => {
                    substitution.keys.extend(document.placeholders().iter().map(Placeholder::key));
                    substitution.files.push(file);
                }
                Err(error) => substitution.failed(error),
            }
        }
        substitution
    }

    /// The keys to wait for.
    pub(super) fn keys(&self, settings: &Settings) -> Vec<String> {
        match &settings.keys {
            Keys::Only(keys) => keys.clone(),
            Keys::WithPlaceholder => self.keys.iter().cloned().collect(),
        }
    }

    /// Puts the values into every file.
    pub(super) fn substitute(&mut self, values: &BTreeMap<String, String>) {
        for file in std::mem::take(&mut self.files) {
            match substitute_in(self.root, &file, values) {
                Ok(placeholders) => self.replaced.extend(placeholders),
                Err(error) => self.failed(error),
            }
        }
    }

    fn failed(&mut self, error: Error) {
        if self.trouble.is_some() {
            log::warn!("{error}");
        } else {
            self.trouble = Some(error);
        }
    }
}

fn document(root: &Root, file: &Path) -> Result<Document, Error> {
    Document::parse(&file.display().to_string(), files::read(root, file)?.bytes)
}

fn substitute_in(
    root: &Root,
    file: &Path,
    values: &BTreeMap<String, String>,
) -> Result<BTreeSet<Placeholder>, Error> {
    let mut placeholders = BTreeSet::new();
    files::edit(root, file, |content| {
        let document = Document::parse(&file.display().to_string(), content.bytes.clone())?;
        let substituted = document.substitute(values)?;
        placeholders = substituted.replaced;
        Ok((!placeholders.is_empty()).then(|| substituted.bytes.into()))
    })?;
    if !placeholders.is_empty() {
        log::info!("{}: {}", file.display(), replaced(&placeholders));
    }
    Ok(placeholders)
}

/// `replaced ###MASTER_IP_PLACEHOLDER###`.
pub(super) fn replaced(placeholders: &BTreeSet<Placeholder>) -> String {
    if placeholders.is_empty() {
        return "no placeholder to replace".to_owned();
    }
    let names: Vec<_> = placeholders.iter().map(ToString::to_string).collect();
    format!("replaced {}", names.join(", "))
}
