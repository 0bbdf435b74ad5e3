//! Substitution: which keys a guest's files have placeholders for, and putting the values in their place.
//!
//! The files are read before the wait only to learn which keys to wait for. After it each is read again, substituted and
//! replaced in one step, so that what has changed a file meanwhile is kept.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::write_files::{self, WrittenFile};
use crate::files;
use crate::record::Placeholders;
use crate::root::Root;
use context::document::Document;
use context::placeholder::Placeholder;
use context::settings::{AwaitedKeys, Settings};
use protocol::error::{Error, Status};

/// What every placeholder ends with.
const END_OF_PLACEHOLDER: &[u8] = b"_PLACEHOLDER###";

/// The files to substitute in.
#[derive(Debug, Default)]
pub(super) struct Targets {
    /// The files in which every placeholder is replaced.
    pub(super) files: Vec<PathBuf>,
    /// What `write_files` has made.
    pub(super) written: Vec<WrittenFile>,
    /// cloud-init's dumps of its configuration. They come last: what is substituted in them can no longer be compared
    /// with the files that `write_files` has made from them, should this run be cut off.
    pub(super) configurations: Vec<PathBuf>,
    /// A copy for people, which no later stage reads.
    pub(super) copy: Option<PathBuf>,
    /// What could not be found out.
    pub(super) trouble: Option<Error>,
}

impl From<Vec<PathBuf>> for Targets {
    fn from(files: Vec<PathBuf>) -> Self {
        Self { files, ..Self::default() }
    }
}

impl Targets {
    /// The same files, to look at.
    pub(super) fn to_read(&self) -> Self {
        Self {
            files: self.files.clone(),
            written: self.written.clone(),
            configurations: self.configurations.clone(),
            copy: None,
            trouble: None,
        }
    }

    /// The placeholders that a run would replace now, by file; not those of the copy for people, which nothing reads.
    pub(super) fn placeholders(&self, root: &Root) -> Placeholders {
        let mut found = Placeholders::new();
        let mut add = |path: &Path, names: &BTreeSet<Placeholder>| {
            if !names.is_empty() {
                found.insert(path.display().to_string(), names.iter().map(ToString::to_string).collect());
            }
        };
        for file in self.files.iter().chain(&self.configurations) {
            if let Ok(document) = document(root, file) {
                add(file, &document.placeholders());
            }
        }
        for file in &self.written {
            let path = root.path(&file.path);
            if let Ok(content) = files::read(root, &path) {
                add(&path, &file.placeholders_in(&content, false));
            }
        }
        found
    }

    /// Every path on this machine.
    pub(super) fn paths(&self, root: &Root) -> Vec<PathBuf> {
        let written = self.written.iter().map(|file| root.path(&file.path));
        let others = self.files.iter().chain(&self.configurations).chain(&self.copy).cloned();
        written.chain(others).collect()
    }

    /// Whether cloud-init chose them: one that cannot be read is then no reason to fail, unless it has a placeholder.
    fn are_cloud_inits(&self) -> bool {
        !self.configurations.is_empty()
    }
}

/// A substitution, and what came of it.
pub(super) struct Substitution<'a> {
    root: &'a Root,
    targets: Targets,
    /// Whether this instance never had a success: what cloud-init wrote may then have been cut off.
    is_first: bool,
    /// The keys that the files have placeholders for.
    keys: BTreeSet<String>,
    /// What was replaced in files that something reads.
    pub(super) replaced: BTreeSet<Placeholder>,
    /// What was replaced in the copy for people.
    replaced_in_copy: BTreeSet<Placeholder>,
    /// What failed first; the other files are done all the same.
    pub(super) trouble: Option<Error>,
}

impl<'a> Substitution<'a> {
    /// Looks at the files, and makes sure that those which cloud-init wrote outlive a power cut.
    pub(super) fn new(root: &'a Root, mut targets: Targets, is_first: bool) -> Self {
        files::remove_leftovers(root, targets.paths(root).iter().map(PathBuf::as_path));
        let mut substitution = Self {
            root,
            is_first,
            keys: BTreeSet::new(),
            replaced: BTreeSet::new(),
            replaced_in_copy: BTreeSet::new(),
            trouble: targets.trouble.take(),
            targets: Targets::default(),
        };
        let is_cloud_inits = targets.are_cloud_inits();
        targets.files.retain(|file| substitution.find_placeholders(file, is_cloud_inits));
        targets.configurations.retain(|file| substitution.find_placeholders(file, is_cloud_inits));
        let copy = targets.copy.take();
        targets.copy = copy.filter(|file| document(root, file).is_ok());
        for file in &targets.written {
            substitution.look_at_written(file);
        }
        substitution.targets = targets;
        substitution
    }

    /// The keys to wait for.
    pub(super) fn keys(&self, settings: &Settings) -> Vec<String> {
        match &settings.keys {
            AwaitedKeys::Only(keys) => keys.clone(),
            AwaitedKeys::WithPlaceholder => {
                self.keys.iter().filter(|key| settings.brings(key)).cloned().collect()
            }
        }
    }

    /// Whether one of the files has a placeholder; the copy for people aside.
    pub(super) fn has_placeholder(&self) -> bool {
        !self.keys.is_empty()
    }

    /// Puts the values into every file, or into none when one does not fit where its placeholder stands.
    pub(super) fn substitute(&mut self, values: &BTreeMap<String, String>) {
        let targets = std::mem::take(&mut self.targets);
        if let Some(error) = self.unfit(&targets, values) {
            self.failed(error);
            return;
        }
        // First: a run that is cut off after the others must not make the next one believe that only this had one.
        if let Some(copy) = &targets.copy {
            match substitute_in(self.root, copy, values) {
                Ok(placeholders) => self.replaced_in_copy = placeholders,
                Err(error) => log::warn!("{error}"),
            }
        }
        for file in &targets.written {
            self.substitute_in_written(file, values);
        }
        for file in &targets.configurations {
            if let Err(error) = self.substitute_in_encoded(file, values) {
                self.failed(error);
            }
        }
        for file in targets.files.iter().chain(&targets.configurations) {
            match substitute_in(self.root, file, values) {
                Ok(placeholders) => self.replaced.extend(placeholders),
                Err(error) => self.failed(error),
            }
        }
    }

    /// What a value would break, before anything is written.
    fn unfit(&self, targets: &Targets, values: &BTreeMap<String, String>) -> Option<Error> {
        let is_unfit = |error: &Error| error.status() == Status::Nonsense;
        let in_file = |file: &PathBuf| document(self.root, file).ok()?.substitute(values).err();
        let in_written = |file: &WrittenFile| file.try_values(self.root, values).err();
        let files = targets.files.iter().chain(&targets.configurations);
        let encoded = |file: &PathBuf| {
            let content = files::read(self.root, file).ok()?;
            edited_encoded(&file.display().to_string(), str::from_utf8(&content.bytes).ok()?, values).err()
        };
        files
            .filter_map(in_file)
            .chain(targets.configurations.iter().filter_map(encoded))
            .chain(targets.written.iter().filter_map(in_written))
            .find(is_unfit)
    }

    /// Why a run that failed in nothing has not done what the context asks for: only the copy for people had
    /// placeholders, or the context is known to have them where nothing reads them.
    pub(super) fn missed(&self, is_unread: bool) -> Option<Error> {
        let missed = self.replaced.is_empty() && (is_unread || !self.replaced_in_copy.is_empty());
        missed.then(|| {
            Error::new(
                Status::BadContext,
                "nothing that cloud-init's later stages read has a placeholder: they stand only in what its network \
                 stage has already acted upon, or in what it does not take",
                "run `cernvm-cluster-agent check` on the context; what the network stage reads needs cvm_cluster_early=yes",
            )
        })
    }

    /// Whether to substitute in a file; notes the keys that it needs.
    fn find_placeholders(&mut self, file: &Path, is_cloud_inits: bool) -> bool {
        match document(self.root, file) {
            Ok(document) => {
                self.keys.extend(document.placeholders().iter().map(Placeholder::key));
                return true;
            }
            Err(error)
                if is_cloud_inits
                    && files::contains(self.root, file, END_OF_PLACEHOLDER).is_ok_and(|has| !has) =>
            {
                log::info!("{error}; it has no placeholder and stays as it is");
            }
            Err(error) => self.failed(error),
        }
        false
    }

    fn look_at_written(&mut self, file: &WrittenFile) {
        let path = self.root.path(&file.path);
        // cloud-init does not sync what it writes, and does not write it again after a power cut.
        if let Err(error) = files::sync(self.root, &path)
            && error.io().is_none_or(|error| error.kind() != std::io::ErrorKind::NotFound)
        {
            log::debug!("{error}");
        }
        if let Ok(content) = files::read(self.root, &path) {
            self.keys.extend(file.placeholders_in(&content, self.is_first).iter().map(Placeholder::key));
        }
    }

    fn substitute_in_written(&mut self, file: &WrittenFile, values: &BTreeMap<String, String>) {
        let path = self.root.path(&file.path);
        match file.substitute(self.root, &path, values, self.is_first) {
            Ok(done) => {
                if done.was_cut {
                    log::warn!(
                        "{}: it was empty or cut off, as a power cut leaves it; written again as the context says",
                        path.display()
                    );
                }
                if !done.replaced.is_empty() {
                    log::info!("{}: {}", path.display(), replaced(&done.replaced));
                }
                if !done.left.is_empty() {
                    log::warn!(
                        "{}: {} stays where the text around it is no longer that of write_files",
                        path.display(),
                        list(&done.left)
                    );
                }
                self.replaced.extend(done.replaced);
            }
            Err(error) if error.io().is_some_and(|error| error.kind() == std::io::ErrorKind::NotFound) => {
                if self.is_first && !file.is_deferred && file.has_placeholder() {
                    log::warn!(
                        "{}: write_files of the context has an entry for it, and it is not there",
                        path.display()
                    );
                }
            }
            Err(error) if !file.has_placeholder() => {
                log::info!("{error}; its write_files entry has no placeholder")
            }
            // At a later boot the user may have put something else there.
            Err(error) if !self.is_first => log::warn!("{error}"),
            Err(error) => self.failed(error),
        }
    }

    /// Substitutes in the contents of deferred `write_files` entries that are in base64.
    fn substitute_in_encoded(&mut self, file: &Path, values: &BTreeMap<String, String>) -> Result<(), Error> {
        let name = file.display().to_string();
        let mut placeholders = BTreeSet::new();
        files::edit(self.root, file, |content| {
            let Ok(dump) = str::from_utf8(&content.bytes) else { return Ok(None) };
            let (edited, replaced) = edited_encoded(&name, dump, values)?;
            placeholders = replaced;
            Ok(Some(edited.into_owned().into_bytes().into()))
        })?;
        self.replaced.extend(placeholders);
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

/// A dump with the values in the contents that it has in base64, and what was replaced there.
fn edited_encoded<'d>(
    name: &str,
    dump: &'d str,
    values: &BTreeMap<String, String>,
) -> Result<(Cow<'d, str>, BTreeSet<Placeholder>), Error> {
    let mut replaced = BTreeSet::new();
    let edited = write_files::edit_encoded(name, dump, |path, content| {
        let document = Document::parse(&path.display().to_string(), content.to_vec())?;
        let substituted = document.substitute(values)?;
        replaced.extend(substituted.replaced.iter().cloned());
        Ok((!substituted.replaced.is_empty()).then_some(substituted.bytes))
    })?;
    Ok((edited, replaced))
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
    format!("replaced {}", list(placeholders))
}

fn list(placeholders: &BTreeSet<Placeholder>) -> String {
    placeholders.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
