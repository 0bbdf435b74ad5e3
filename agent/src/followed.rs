//! The files of `cvm_cluster_follow`: a pristine copy of each, with its placeholders, and a hash of what was last written.
//!
//! A file is rendered anew from the pristine copy only if it is as the agent has written it, or still has its
//! placeholders. One that was edited is left alone, and named.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::files;
use crate::root::Root;
use context::document::Document;
use protocol::error::Error;
use protocol::key::MASTER_IP;

/// Where the copies lie; for root only, since a file may be.
const DIRECTORY: &str = "/var/lib/cernvm-cluster/follow";
const MODE: u32 = 0o600;

/// The files.
pub struct Followed<'a> {
    root: &'a Root,
    paths: &'a [PathBuf],
}

/// What is kept of a file.
#[derive(Serialize, Deserialize)]
struct RenderedFile {
    /// With its placeholders.
    pristine: Vec<u8>,
    /// The hash of what the agent has last written, or found as it would have written it.
    written: Option<String>,
}

impl<'a> Followed<'a> {
    /// These files below a root.
    #[must_use]
    pub fn new(root: &'a Root, paths: &'a [PathBuf]) -> Self {
        Self { root, paths }
    }

    /// Keeps a copy of each file that has placeholders now: before they are replaced. What fails is said.
    pub fn keep_pristine(&self) {
        for path in self.paths {
            let kept = self.kept(path);
            match files::read(self.root, &self.root.path(path)) {
                Ok(content)
                    if has_placeholders(path, &content.bytes)
                        && kept.as_ref().is_none_or(|kept| kept.pristine != content.bytes) =>
                {
                    self.keep(path, &RenderedFile { pristine: content.bytes, written: None });
                }
                Ok(_) if kept.is_none() => {
                    log::warn!("{}: it has no placeholder, so it is not followed", path.display());
                }
                Err(error) if kept.is_none() => log::warn!("{error}; it is not followed"),
                _ => {}
            }
        }
    }

    /// Notes of each file whether it is now as these values make it: then it was not edited.
    pub fn note_written(&self, values: &BTreeMap<String, String>) {
        for path in self.paths {
            let Some(mut kept) = self.kept(path) else { continue };
            let Ok(Some(rendered)) = kept.render(path, values) else { continue };
            let is_so =
                files::read(self.root, &self.root.path(path)).is_ok_and(|content| content.bytes == rendered);
            if is_so {
                kept.written = Some(hash(&rendered));
                self.keep(path, &kept);
            }
        }
    }

    /// The keys of the placeholders besides `master_ip`.
    #[must_use]
    pub fn keys(&self) -> Vec<String> {
        let kept = self.paths.iter().filter_map(|path| Some((path, self.kept(path)?)));
        let documents = kept.filter_map(|(path, kept)| kept.document(path).ok());
        let keys: BTreeSet<String> =
            documents.flat_map(|document| document.placeholders()).map(|found| found.key()).collect();
        keys.into_iter().filter(|key| key != MASTER_IP).collect()
    }

    /// Renders each file with these values; whether one has changed. A file that was edited is left alone, and so
    /// is one for which a value is missing or does not fit.
    ///
    /// # Errors
    /// 74 when a file cannot be written.
    pub fn render(&self, values: &BTreeMap<String, String>) -> Result<bool, Error> {
        let mut changed = false;
        for path in self.paths {
            let Some(mut kept) = self.kept(path) else { continue };
            let rendered = match kept.render(path, values) {
                Ok(Some(rendered)) => rendered,
                Ok(None) => {
                    log::warn!("{}: a value is missing, so it stays as it is", path.display());
                    continue;
                }
                Err(error) => {
                    log::warn!("{error}; {} stays as it is", path.display());
                    continue;
                }
            };
            let (written, mut is_edited) = (hash(&rendered), false);
            let target = self.root.path(path);
            let has_changed = files::edit(self.root, &target, |content| {
                let is_ours = content.bytes == rendered
                    || content.bytes == kept.pristine
                    || kept.written.as_ref() == Some(&hash(&content.bytes));
                is_edited = !is_ours;
                Ok(is_ours.then(|| rendered.clone().into()))
            })?;
            if is_edited {
                log::warn!("{}: it was edited since the agent wrote it, so it is left alone", path.display());
                continue;
            }
            if has_changed {
                log::info!("{}: rendered anew", path.display());
            }
            changed |= has_changed;
            if kept.written.as_ref() != Some(&written) {
                kept.written = Some(written);
                self.keep(path, &kept);
            }
        }
        Ok(changed)
    }

    fn place(&self, path: &Path) -> PathBuf {
        let name = client::digest(&[&path.display().to_string()]);
        self.root.path(DIRECTORY).join(&name[..32])
    }

    fn kept(&self, path: &Path) -> Option<RenderedFile> {
        let content = files::read(self.root, &self.place(path)).ok()?;
        content.only_root_writes.then(|| serde_json::from_slice(&content.bytes).ok()).flatten()
    }

    /// Without it the file is not rendered anew, which is said.
    fn keep(&self, path: &Path, kept: &RenderedFile) {
        let bytes = serde_json::to_vec(kept).expect("bytes and a text serialize");
        if let Err(error) = files::create(self.root, &self.place(path), &bytes, MODE) {
            log::warn!("{error}; {} is not followed", path.display());
        }
    }
}

impl RenderedFile {
    fn document(&self, path: &Path) -> Result<Document, Error> {
        Document::parse(&path.display().to_string(), self.pristine.clone())
    }

    /// The file with these values; `None` where one is missing.
    fn render(&self, path: &Path, values: &BTreeMap<String, String>) -> Result<Option<Vec<u8>>, Error> {
        let substituted = self.document(path)?.substitute(values)?;
        Ok(substituted.left.is_empty().then_some(substituted.bytes))
    }
}

fn has_placeholders(path: &Path, bytes: &[u8]) -> bool {
    Document::parse(&path.display().to_string(), bytes.to_vec())
        .is_ok_and(|document| !document.placeholders().is_empty())
}

fn hash(bytes: &[u8]) -> String {
    client::digest_of(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEMPLATE: &str = "server ###MASTER_IP_PLACEHOLDER###\n";

    struct Case {
        root: Root,
        dir: tempfile::TempDir,
        paths: Vec<PathBuf>,
    }

    impl Case {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let case = Self { root: Root::from(dir.path()), dir, paths: vec!["/etc/x.conf".into()] };
            std::fs::create_dir(case.dir.path().join("etc")).unwrap();
            case.write(TEMPLATE);
            case
        }

        fn write(&self, text: &str) {
            std::fs::write(self.dir.path().join("etc/x.conf"), text).unwrap();
        }

        fn read(&self) -> String {
            std::fs::read_to_string(self.dir.path().join("etc/x.conf")).unwrap()
        }

        fn followed(&self) -> Followed<'_> {
            Followed::new(&self.root, &self.paths)
        }

        fn render(&self, address: &str) -> bool {
            self.followed().render(&values(address)).unwrap()
        }
    }

    fn values(address: &str) -> BTreeMap<String, String> {
        BTreeMap::from([(MASTER_IP.to_owned(), address.to_owned())])
    }

    #[test]
    fn renders_from_the_pristine_copy_as_often_as_the_master_changes() {
        let case = Case::new();
        case.followed().keep_pristine();
        assert!(case.render("10.0.0.1") && !case.render("10.0.0.1"));
        assert!(case.render("10.0.0.2"));
        assert_eq!(case.read(), "server 10.0.0.2\n");
        // A boot does not take a rendered file for a pristine one.
        case.followed().keep_pristine();
        assert!(case.render("10.0.0.3"));
        // A new template is one.
        case.write("peer ###MASTER_IP_PLACEHOLDER###\n");
        case.followed().keep_pristine();
        assert!(case.render("10.0.0.3"));
        assert_eq!(case.read(), "peer 10.0.0.3\n");
    }

    #[test]
    fn knows_what_contextualize_has_written() {
        let case = Case::new();
        case.followed().keep_pristine();
        case.write("server 10.0.0.1\n");
        case.followed().note_written(&values("10.0.0.1"));
        assert!(case.render("10.0.0.2"));
        assert_eq!(case.read(), "server 10.0.0.2\n");
    }

    #[test]
    fn leaves_alone_what_was_edited_until_it_is_pristine_again() {
        let case = Case::new();
        case.followed().keep_pristine();
        assert!(case.render("10.0.0.1"));
        case.write("server 10.0.0.1 # mine\n");
        assert!(!case.render("10.0.0.2"));
        assert_eq!(case.read(), "server 10.0.0.1 # mine\n");
        case.write(TEMPLATE);
        assert!(case.render("10.0.0.2"));
    }

    #[test]
    fn renders_nothing_for_which_a_value_is_missing_or_that_was_never_pristine() {
        let case = Case::new();
        case.write("a ###MASTER_IP_PLACEHOLDER### ###TOKEN_PLACEHOLDER###\n");
        case.followed().keep_pristine();
        assert_eq!(case.followed().keys(), ["token"]);
        assert!(!case.render("10.0.0.1"));
        let case = Case::new();
        case.write("server 10.0.0.1\n");
        case.followed().keep_pristine();
        assert!(!case.render("10.0.0.2"));
        assert_eq!(case.read(), "server 10.0.0.1\n");
    }
}
