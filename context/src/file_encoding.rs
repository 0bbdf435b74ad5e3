//! How an entry of cloud-config's `write_files` encodes its content.

use crate::yaml::Node;

/// What cloud-init undoes before it writes the file (`canonicalize_extraction` of `cc_write_files`, cloud-init 18.5 to
/// 26.2): base64 first, then gzip.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileEncoding {
    /// It is base64.
    pub base64: bool,
    /// It is compressed.
    pub gzip: bool,
}

impl FileEncoding {
    /// What an entry says. A word that cloud-init does not know is none, as there.
    #[must_use]
    pub fn of(entry: &Node) -> Self {
        let word =
            entry.get("encoding").and_then(Node::scalar).map(|scalar| scalar.text.trim().to_lowercase());
        let (base64, gzip) = match word.as_deref() {
            Some("gz" | "gzip") => (false, true),
            Some("gz+base64" | "gzip+base64" | "gz+b64" | "gzip+b64") => (true, true),
            Some("b64" | "base64") => (true, false),
            _ => (false, false),
        };
        Self { base64, gzip }
    }
}
