//! The files that cloud-init's `write_files` makes (`cc_write_files`, cloud-init 18.5 to 26.2).
//!
//! The network stage writes them with the placeholders still in, once per instance. So the agent substitutes in the
//! written files themselves. Running the module again would append a second time where an entry says `append: true`,
//! and would undo what else has changed the file since.
//!
//! What the context says of a file decides what the agent does to it: the file may lie where another user can change it.
//! The entries come from cloud-init's own dump of the merged configuration, `instance/cloud-config.txt`, or, as in
//! cloud-init, from the first of the vendor's that has a list of its own.

use std::borrow::Cow;
use std::io::Read as _;
use std::path::{Component, Path, PathBuf};

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use flate2::Compression;
use flate2::read::{GzEncoder, MultiGzDecoder};

use context::document::MAX_FILE_BYTES;
use context::file_encoding::FileEncoding;
use context::placeholder;
use context::yaml::{self, Node, Scalar};
use protocol::error::Error;

/// Of a file for which an entry names none (`DEFAULT_PERMS`).
const DEFAULT_MODE: u32 = 0o644;
/// As Python's `b64decode` is asked: without a look at the bits that carry nothing.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// A file as the context describes it: all entries of one path, in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct WrittenFile {
    /// Below the guest's root, absolute and without `..`.
    pub(super) path: PathBuf,
    pub(super) content: WrittenContent,
    /// Whether there was, or may have been, something before the content.
    pub(super) appends: bool,
    /// User and group by name, as the entry has them; `None`: root.
    pub(super) owner: Option<String>,
    pub(super) mode: u32,
    /// Whether cloud-init writes it in its final stage only, after the agent.
    pub(super) is_deferred: bool,
}

/// What cloud-init writes into a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum WrittenContent {
    Known(Vec<u8>),
    /// It was fetched from an address, or could not be decoded.
    Unknown,
}

/// The files of a dump, in the order in which they first occur; `None` when it has no `write_files`.
///
/// # Errors
/// `Context` when it is no YAML; `name` is what messages call it.
pub(super) fn files(name: &str, dump: &str) -> Result<Option<Vec<WrittenFile>>, Error> {
    let Some(entries) = list(name, dump)? else { return Ok(None) };
    let mut files = Vec::<WrittenFile>::new();
    for entry in entries.items() {
        let Some(file) = WrittenFile::new(entry) else { continue };
        match files.iter_mut().find(|seen| seen.path == file.path && seen.is_deferred == file.is_deferred) {
            Some(seen) => seen.then(file),
            None => files.push(file),
        }
    }
    Ok(Some(files))
}

/// The dump with the content of deferred entries edited that hide it in base64: there the agent's substitution in text
/// does not see it, and cloud-init writes those files later. `edit` gets path and content, and says what it becomes.
///
/// # Errors
/// As [`files`]; those of `edit`.
pub(super) fn edit_encoded<'d>(
    name: &str,
    dump: &'d str,
    mut edit: impl FnMut(&Path, &[u8]) -> Result<Option<Vec<u8>>, Error>,
) -> Result<Cow<'d, str>, Error> {
    let Some(entries) = list(name, dump)? else { return Ok(Cow::Borrowed(dump)) };
    let mut edits = Vec::new();
    for entry in entries.items().iter().filter(|entry| flag(entry, "defer")) {
        let (Some(path), Some(scalar)) = (path(entry), entry.get("content").and_then(Node::scalar)) else {
            continue;
        };
        let encoding = FileEncoding::of(entry);
        if !encoding.base64 && !scalar.is_binary {
            continue;
        }
        let WrittenContent::Known(content) = content(entry) else { continue };
        if let Some(edited) = edit(&path, &content)? {
            edits.push((scalar.span.clone(), encode(edited, encoding, scalar.is_binary)));
        }
    }
    // An alias leads to one scalar several times.
    edits.sort_by_key(|(span, _)| std::cmp::Reverse(span.start));
    edits.dedup_by(|a, b| a.0 == b.0);
    let mut edited = dump.to_owned();
    for (span, encoded) in edits {
        let old = &dump[span.clone()];
        let blanks = &old[old.trim_end().len()..];
        edited.replace_range(span, &format!("\"{encoded}\"{blanks}"));
    }
    Ok(Cow::Owned(edited))
}

fn list(name: &str, dump: &str) -> Result<Option<Node>, Error> {
    let parsed = yaml::parse(dump).map_err(|error| {
        Error::context(
            name,
            format!("it is not the YAML that cloud-init writes ({error})"),
            "run `cloud-init schema --system` to see what cloud-init makes of the context",
        )
    })?;
    Ok(parsed.and_then(|root| root.get("write_files").cloned()))
}

impl WrittenFile {
    /// `None` for an entry that cloud-init passes over.
    fn new(entry: &Node) -> Option<Self> {
        Some(Self {
            path: path(entry)?,
            content: content(entry),
            appends: flag(entry, "append"),
            owner: entry.get("owner").and_then(Node::scalar).map(|owner| owner.text.clone()),
            mode: mode(entry),
            is_deferred: flag(entry, "defer"),
        })
    }

    /// What a later entry of the same path makes of it.
    fn then(&mut self, later: Self) {
        let appends = later.appends;
        let earlier = std::mem::replace(self, later);
        if !appends {
            return;
        }
        self.appends = earlier.appends;
        self.content = match (earlier.content, std::mem::replace(&mut self.content, WrittenContent::Unknown))
        {
            (WrittenContent::Known(mut content), WrittenContent::Known(more)) => {
                content.extend(more);
                WrittenContent::Known(content)
            }
            _ => WrittenContent::Unknown,
        };
    }

    /// Whether the context may mean a placeholder in it.
    pub(super) fn has_placeholder(&self) -> bool {
        match &self.content {
            WrittenContent::Known(content) => placeholder::find(content).next().is_some(),
            WrittenContent::Unknown => true,
        }
    }

    /// The user who owns it, by name.
    pub(super) fn user(&self) -> &str {
        self.owner
            .as_deref()
            .and_then(|owner| owner.split(':').next())
            .filter(|user| !user.is_empty())
            .unwrap_or("root")
    }
}

/// `os.path.abspath`, as a service whose working directory is `/` has it.
fn path(entry: &Node) -> Option<PathBuf> {
    let text = &entry.get("path")?.scalar()?.text;
    let mut path = PathBuf::from("/");
    for component in Path::new(text).components() {
        match component {
            Component::Normal(name) => path.push(name),
            Component::ParentDir => {
                path.pop();
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    (path != Path::new("/")).then_some(path)
}

/// cloud-init's `is_true`.
fn flag(entry: &Node, key: &str) -> bool {
    entry.get(key).is_some_and(is_true)
}

/// As cloud-init's `util.is_true`.
pub(super) fn is_true(node: &Node) -> bool {
    let text = node.scalar().map(|scalar| scalar.text.trim().to_ascii_lowercase());
    matches!(text.as_deref(), Some("true" | "1" | "on" | "yes"))
}

/// `decode_perms`: a number as it is, a text in octal.
fn mode(entry: &Node) -> u32 {
    let Some(scalar) = entry.get("permissions").and_then(Node::scalar) else { return DEFAULT_MODE };
    let digits = scalar.text.trim();
    let mode = if scalar.is_plain() {
        digits.parse()
    } else {
        u32::from_str_radix(digits.trim_start_matches("0o"), 8)
    };
    mode.unwrap_or(DEFAULT_MODE) & 0o7777
}

/// The scalar's text for this content.
fn encode(content: Vec<u8>, encoding: FileEncoding, is_binary: bool) -> String {
    let mut bytes = content;
    if encoding.gzip {
        let mut packed = Vec::new();
        GzEncoder::new(&bytes[..], Compression::default())
            .read_to_end(&mut packed)
            .expect("memory can be read and written");
        bytes = packed;
    }
    if encoding.base64 && is_binary {
        bytes = BASE64.encode(bytes).into_bytes();
    }
    BASE64.encode(bytes)
}

fn content(entry: &Node) -> WrittenContent {
    if entry.get("source").and_then(|source| source.get("uri")).is_some() {
        return WrittenContent::Unknown;
    }
    let content = entry.get("content").and_then(Node::scalar);
    content
        .map_or(Some(Vec::new()), |scalar| decode(scalar, FileEncoding::of(entry)))
        .map_or(WrittenContent::Unknown, WrittenContent::Known)
}

/// `extract_contents`; `None` where it fails.
fn decode(scalar: &Scalar, encoding: FileEncoding) -> Option<Vec<u8>> {
    let is_null = scalar.is_plain() && matches!(scalar.text.as_str(), "" | "~" | "null");
    let mut bytes = if is_null { Vec::new() } else { scalar.text.clone().into_bytes() };
    if scalar.is_binary {
        bytes = from_base64(&bytes)?;
    }
    if encoding.base64 {
        bytes = from_base64(&bytes)?;
    }
    if encoding.gzip {
        let limit = u64::try_from(MAX_FILE_BYTES).ok()?;
        let mut unpacked = Vec::new();
        MultiGzDecoder::new(&bytes[..]).take(limit + 1).read_to_end(&mut unpacked).ok()?;
        bytes = unpacked;
    }
    (bytes.len() <= MAX_FILE_BYTES).then_some(bytes)
}

/// What is not of the alphabet is passed over, as Python does.
fn from_base64(text: &[u8]) -> Option<Vec<u8>> {
    let is_of_it = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=');
    BASE64.decode(text.iter().copied().filter(is_of_it).collect::<Vec<_>>()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As cloud-init dumps it: `yaml.dump` of PyYAML 6 with the arguments of `cloudinit.safeyaml.dumps`.
    const DUMP: &str = include_str!("write_files/dump.yaml");
    const IP: &str = "###MASTER_IP_PLACEHOLDER###";

    fn known(file: &WrittenFile) -> &str {
        match &file.content {
            WrittenContent::Known(content) if content.starts_with(&[0x1f]) => "packed",
            WrittenContent::Known(content) => std::str::from_utf8(content).unwrap(),
            WrittenContent::Unknown => "unknown",
        }
    }

    #[test]
    fn reads_cloud_inits_dump() {
        let files = files("dump", DUMP).unwrap().unwrap();
        let found: Vec<_> = files.iter().map(|file| (file.path.to_str().unwrap(), known(file))).collect();
        let token = format!("token={IP}\n");
        let binary = format!("{}{IP}", "x".repeat(70));
        let expected = [
            ("/etc/one", "a: ###MASTER_IP_PLACEHOLDER###\n\npath: /not/in/a/content\n\n"),
            ("/etc/it's", "x"),
            (
                "/srv/a path with blanks that is longer than eighty columns wide, which folds it in the dump/of cloud-init",
                IP,
            ),
            ("/etc/odd\u{7}\u{e9}", IP),
            ("/etc/b64", &token),
            ("/etc/wrapped", &token),
            ("/etc/binary", &binary),
            ("/file", IP),
            ("/etc/shared", IP),
            ("/etc/url", "unknown"),
            ("/etc/gz", IP),
        ];
        assert_eq!(found, expected);
        assert!(files[1].appends && !files[0].appends);
        let modes: Vec<_> = files.iter().map(|file| file.mode).take(4).collect();
        assert_eq!(modes, [0o644, 0o600, 0o644, 420]);
        assert_eq!(
            (files[4].owner.as_deref(), files[4].user(), files[0].user()),
            (Some("alice:users"), "alice", "root")
        );
        let deferred: Vec<_> =
            files.iter().enumerate().filter(|(_, file)| file.is_deferred).map(|(at, _)| at).collect();
        assert_eq!(deferred, [4, 5, 7, 10]);
    }

    #[test]
    fn puts_the_entries_of_one_path_together() {
        let entry = |more: &str| format!("-   path: /x\n    content: {more}\n");
        let check = |entries: &[&str], content: &str, appends: bool| {
            let dump =
                format!("write_files:\n{}", entries.iter().map(|more| entry(more)).collect::<String>());
            let files = files("dump", &dump).unwrap().unwrap();
            assert_eq!((files.len(), known(&files[0]), files[0].appends), (1, content, appends), "{dump}");
        };
        check(&["a", "b\n    append: true"], "ab", false);
        check(&["a\n    append: true", "b\n    append: true"], "ab", true);
        check(&["a\n    append: true", "b"], "b", false);
        check(&["a\n    source: {uri: 'http://x'}", "b\n    append: true"], "unknown", false);
        check(&["a\n    encoding: gz"], "unknown", false);
    }

    #[test]
    fn finds_none_where_there_is_none() {
        for dump in ["", "#cloud-config\n{}\n", "- write_files\n", "a: b\n"] {
            assert_eq!(files("dump", dump).unwrap(), None, "{dump:?}");
        }
        for dump in
            ["write_files: []\n", "write_files:\n", "write_files: {path: /x}\n", "write_files: [{path: /}]\n"]
        {
            assert_eq!(files("dump", dump).unwrap(), Some(Vec::new()), "{dump:?}");
        }
        for dump in ["a: [", "\u{0}write_files:\n- path", "a: 'b"] {
            assert!(files("dump", dump).unwrap_err().to_string().contains("not the YAML"), "{dump:?}");
        }
    }

    #[test]
    fn edits_the_encoded_content_of_deferred_entries_and_nothing_else() {
        let mut paths = Vec::new();
        let edited = edit_encoded("dump", DUMP, |path, content| {
            paths.push(path.to_str().unwrap().to_owned());
            let text = std::str::from_utf8(content).unwrap();
            Ok(Some(text.replace(IP, "192.0.2.1").into_bytes()))
        })
        .unwrap();
        assert_eq!(paths, ["/etc/b64", "/etc/wrapped", "/etc/gz"]);
        let (before, after) =
            (files("dump", DUMP).unwrap().unwrap(), files("dump", &edited).unwrap().unwrap());
        assert_eq!(before.len(), after.len());
        for (before, after) in before.iter().zip(&after) {
            let hidden = paths.iter().any(|path| Path::new(path) == before.path);
            let expected =
                if hidden { known(before).replace(IP, "192.0.2.1") } else { known(before).to_owned() };
            assert_eq!(known(after), expected);
            assert_eq!((&before.path, before.mode, &before.owner), (&after.path, after.mode, &after.owner));
        }
        assert_eq!(edit_encoded("dump", DUMP, |_, _| Ok(None)).unwrap(), DUMP);
    }
}
