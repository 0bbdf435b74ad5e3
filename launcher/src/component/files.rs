//! The files that a definition names: its components, nested templates, and what `get_file` fetches.
//!
//! SECURITY: a definition names files, and their contents go to the cloud. So a file must lie below the type's own
//! folder, after symbolic links are followed. A component may be named by an absolute path, as the original has it; then
//! what it names must lie below its folder or the type's. Nothing is fetched over the network.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Component as Part, Path, PathBuf};
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use crate::review::{Problem, Review};
use crate::yaml::{Content, Entry, Node};

/// The largest file that is read. Heat takes templates of half a MiB, Nova user-data of 64 KiB.
const MAX_BYTES: u64 = 2 * 1024 * 1024;

/// How deep templates may nest: Heat's own limit of nested stacks.
const MAX_NESTING: usize = 5;

/// What a file holds.
pub(crate) struct Contents {
    bytes: Vec<u8>,
    /// When it was changed last.
    pub(crate) modified: SystemTime,
}

impl Contents {
    /// Its text.
    ///
    /// # Errors
    /// In words, when it is not UTF-8.
    pub(crate) fn text(&self) -> Result<&str, String> {
        str::from_utf8(&self.bytes).map_err(|error| format!("no UTF-8 after byte {}", error.valid_up_to()))
    }
}

/// Reads a regular file.
///
/// # Errors
/// In words, without the file's name.
pub(crate) fn read_file(path: &Path) -> Result<Contents, String> {
    let cannot = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => "no such file".to_owned(),
        _ => format!("cannot be read: {error}"),
    };
    // Looked at before it is opened: to open a pipe is to wait for its other end.
    if !fs::metadata(path).map_err(cannot)?.is_file() {
        return Err("is no regular file".to_owned());
    }
    let file = File::open(path).map_err(cannot)?;
    let modified = file.metadata().and_then(|meta| meta.modified()).map_err(cannot)?;
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(cannot)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(format!("has more than {MAX_BYTES} bytes"));
    }
    Ok(Contents { bytes, modified })
}

/// Where the files of a type may lie.
pub(crate) struct Files {
    id: String,
    folder: PathBuf,
    /// Without symbolic links; the first is the type's folder.
    roots: Vec<PathBuf>,
}

impl Files {
    pub(crate) fn new(id: &str, folder: &Path) -> Self {
        let roots = fs::canonicalize(folder).into_iter().collect();
        Self { id: id.to_owned(), folder: folder.to_owned(), roots }
    }

    /// The file of a component's name.
    ///
    /// # Errors
    /// In words, when there is none, or when it lies where it may not.
    pub(crate) fn component(&mut self, name: &str) -> Result<PathBuf, String> {
        let path = self.folder.join("components").join(format!("{name}.yaml"));
        if Path::new(name).is_absolute() {
            // As the original: an absolute name is the whole path.
            let path = PathBuf::from(name);
            let real = fs::canonicalize(&path).map_err(|_| format!("no such file: {name}"))?;
            self.roots.extend(real.parent().map(Path::to_owned));
            return Ok(path);
        }
        self.within(&path).map(|_| path)
    }

    /// The path without symbolic links of a file that may be read.
    fn within(&self, path: &Path) -> Result<PathBuf, String> {
        let shown = self.shown(path);
        let real = fs::canonicalize(path).map_err(|_| format!("no such file: {shown}"))?;
        if self.roots.iter().any(|root| real.starts_with(root)) {
            Ok(real)
        } else {
            Err(format!("{shown} lies outside of the type's folder; copy it there"))
        }
    }

    fn shown(&self, path: &Path) -> String {
        path.strip_prefix(&self.folder).unwrap_or(path).display().to_string()
    }

    /// What a node is in JSON, with the addresses of files in place of their names. The files' contents go to `fetched`;
    /// what is wrong with nested templates goes to `below`.
    pub(crate) fn resolve(
        &self,
        review: &mut Review<'_>,
        below: &mut Vec<Problem>,
        file: &Path,
        node: &Node,
        fetched: &mut BTreeMap<String, String>,
    ) -> Value {
        Walk { files: self, below, fetched, nesting: Vec::new() }.value(review, file, node)
    }

    /// The address by which Heat knows a file: the path below the type's folder, so that no folder of this machine
    /// shows in it.
    fn address(&self, real: &Path) -> String {
        let within = self.roots.first().and_then(|root| real.strip_prefix(root).ok());
        let path = match within {
            Some(path) => Path::new("/cluster-types").join(&self.id).join(path),
            None => real.to_owned(),
        };
        let encode = |text: &str| -> String {
            text.bytes()
                .map(|byte| match byte {
                    b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                        char::from(byte).to_string()
                    }
                    _ => format!("%{byte:02X}"),
                })
                .collect()
        };
        let parts = path.components().filter(|part| !matches!(part, Part::RootDir));
        let parts: Vec<_> = parts.map(|part| encode(&part.as_os_str().to_string_lossy())).collect();
        format!("file:///{}", parts.join("/"))
    }
}

/// A walk through a template and the templates nested in it.
struct Walk<'a> {
    files: &'a Files,
    below: &'a mut Vec<Problem>,
    fetched: &'a mut BTreeMap<String, String>,
    /// The nested templates that are being read, the outer ones first.
    nesting: Vec<PathBuf>,
}

impl Walk<'_> {
    fn value(&mut self, review: &mut Review<'_>, file: &Path, node: &Node) -> Value {
        match &node.content {
            Content::List(items) => items.iter().map(|item| self.value(review, file, item)).collect(),
            Content::Mapping(entries) => {
                let mut map = Map::new();
                for entry in entries {
                    map.insert(entry.key.clone(), self.entry(review, file, entry));
                }
                Value::Object(map)
            }
            _ => node.to_json(),
        }
    }

    fn entry(&mut self, review: &mut Review<'_>, file: &Path, entry: &Entry) -> Value {
        let is_template = |name: &str| name.ends_with(".yaml") || name.ends_with(".template");
        let fetched = match (entry.key.as_str(), entry.value.text()) {
            ("get_file", Some(name)) => self.named(file, name).and_then(|real| self.text(&real)),
            ("type", Some(name)) if is_template(name) => {
                self.named(file, name).and_then(|real| self.template(&real))
            }
            _ => return self.value(review, file, &entry.value),
        };
        match fetched {
            Ok(address) => Value::String(address),
            Err(problem) => {
                review.note(entry.value.line, format!("{}: {problem}", entry.key));
                Value::Null
            }
        }
    }

    /// The path of a name in a file.
    fn named(&self, file: &Path, name: &str) -> Result<PathBuf, String> {
        if let Some((scheme, _)) = name.split_once("://").filter(|(scheme, _)| *scheme != "file") {
            return Err(format!("{scheme}:// is not fetched; copy the file into the type's folder"));
        }
        let name = name.strip_prefix("file://").unwrap_or(name);
        self.files.within(&file.parent().unwrap_or(Path::new("")).join(name))
    }

    /// Fetches the contents of a file as they are. Bytes that are no text go in base64, as Heat's client sends them.
    fn text(&mut self, real: &Path) -> Result<String, String> {
        let address = self.files.address(real);
        if !self.fetched.contains_key(&address) {
            let contents = read_file(real)?;
            let text = contents.text().map_or_else(|_| STANDARD.encode(&contents.bytes), str::to_owned);
            self.fetched.insert(address.clone(), text);
        }
        Ok(address)
    }

    /// Fetches a nested template, with the addresses of the files that it names, in JSON.
    fn template(&mut self, real: &Path) -> Result<String, String> {
        let address = self.files.address(real);
        if self.nesting.iter().any(|outer| outer == real) {
            return Err("this template nests itself".to_owned());
        }
        if self.nesting.len() == MAX_NESTING {
            return Err(format!("templates nest more than {MAX_NESTING} deep"));
        }
        let mut review = Review::new(real);
        let root = super::document(&mut review, real).map(|(root, _)| root);
        if let Some(root) = root {
            review.wanted(&root, "heat_template_version");
            if let Some(resources) = root.get("resources") {
                super::resources_have_types(&mut review, resources);
            }
            self.nesting.push(real.to_owned());
            let template = self.value(&mut review, real, &root);
            self.nesting.pop();
            self.fetched.insert(address.clone(), template.to_string());
        }
        self.below.extend(review.problems());
        Ok(address)
    }
}
