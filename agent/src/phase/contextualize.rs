//! `contextualize`: get the values as a master or a slave, and put them into the guest's files.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::{Guest, bootloader, cloud_init, obtain};
use crate::cli::Target;
use crate::files;
use crate::root::Root;
use context::document::Document;
use context::placeholder::Placeholder;
use context::settings::{Found, Keys, Role, Settings};
use protocol::error::Error;

/// Contextualizes this guest; what was done, in one sentence.
///
/// # Errors
/// What failed first. Whatever could be substituted has been, and files that were not are whole.
pub fn contextualize(root: &Root, user_data: &[PathBuf], target: Target) -> Result<String, Error> {
    match target {
        Target::Files { files, wait } => {
            let guest = Guest::find(root, user_data)?;
            let files = if files.is_empty() { guest.user_data.clone() } else { below(root, &files) };
            run(&guest, &files, wait)
        }
        Target::CloudInit { files } => match cloud_init::guest(root)? {
            Some(guest) if files.is_empty() => run(&guest, &cloud_init::files(root), true),
            Some(guest) => run(&guest, &below(root, &files), true),
            None => Ok("cloud-init has no instance with user-data: nothing to do".to_owned()),
        },
        Target::Bootloader => {
            let outcome = bootloader::guest(root).and_then(|guest| match guest {
                Some(guest) => run(&guest, &guest.user_data, true),
                None => Ok("the boot loader found no user-data: nothing to do".to_owned()),
            });
            let marked = bootloader::mark(root);
            outcome.and_then(|done| marked.map(|()| done))
        }
    }
}

fn below(root: &Root, files: &[PathBuf]) -> Vec<PathBuf> {
    files.iter().map(|file| root.path(file)).collect()
}

fn run(guest: &Guest, files: &[PathBuf], wait: bool) -> Result<String, Error> {
    let settings = match guest.settings()? {
        Found::Cluster(settings) => settings,
        Found::NoPin { place } => {
            return Ok(format!("no cvm_cluster_pin in the ucernvm section of {place}: nothing to do"));
        }
        Found::NoSection => return Ok("there is no ucernvm section: nothing to do".to_owned()),
    };
    let mut work = Work::read(files);
    let obtained = match settings.role {
        Role::Master => obtain::push(guest, &settings),
        Role::Slave => obtain::gather(guest, &settings, &work.keys(&settings), wait),
    };
    work.substitute(&obtained.values);
    match obtained.trouble.or(work.trouble) {
        Some(error) => Err(error),
        None => {
            guest.remember(&settings, &obtained.values);
            Ok(format!("{}; {}", obtained.how, replaced(&work.replaced)))
        }
    }
}

/// The files to substitute in.
struct Work {
    documents: Vec<(PathBuf, Document)>,
    replaced: BTreeSet<Placeholder>,
    /// What failed first; the other files are done all the same.
    trouble: Option<Error>,
}

impl Work {
    fn read(files: &[PathBuf]) -> Self {
        let mut work = Self { documents: Vec::new(), replaced: BTreeSet::new(), trouble: None };
        for file in files {
            match Document::read(file) {
                Ok(document) => work.documents.push((file.clone(), document)),
                Err(error) => work.failed(error),
            }
        }
        work
    }

    /// The keys to wait for.
    fn keys(&self, settings: &Settings) -> Vec<String> {
        match &settings.keys {
            Keys::Only(keys) => keys.clone(),
            Keys::WithPlaceholder => {
                let placeholders = self.documents.iter().flat_map(|(_, document)| document.placeholders());
                placeholders
                    .map(|placeholder| placeholder.key())
                    .collect::<BTreeSet<_>>()
                    .into_iter()
                    .collect()
            }
        }
    }

    fn substitute(&mut self, values: &BTreeMap<String, String>) {
        for (file, document) in std::mem::take(&mut self.documents) {
            if let Err(error) = self.substitute_in(&file, &document, values) {
                self.failed(error);
            }
        }
    }

    fn substitute_in(
        &mut self,
        file: &Path,
        document: &Document,
        values: &BTreeMap<String, String>,
    ) -> Result<(), Error> {
        let substituted = document.substitute(values)?;
        if !substituted.replaced.is_empty() {
            files::replace(file, &substituted.bytes)?;
            log::info!("{}: {}", file.display(), replaced(&substituted.replaced));
            self.replaced.extend(substituted.replaced);
        }
        Ok(())
    }

    fn failed(&mut self, error: Error) {
        if self.trouble.is_some() {
            log::warn!("{error}");
        } else {
            self.trouble = Some(error);
        }
    }
}

fn replaced(placeholders: &BTreeSet<Placeholder>) -> String {
    if placeholders.is_empty() {
        return "no placeholder to replace".to_owned();
    }
    let names: Vec<_> = placeholders.iter().map(ToString::to_string).collect();
    format!("replaced {}", names.join(", "))
}
