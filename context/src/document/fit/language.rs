//! What reads a text, by which is decided what a value must be there.

use crate::document::mime::Headers;

/// What reads a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::document) enum Language {
    /// A cloud-config, or cloud-init's dump of one: YAML with commands and files in it.
    CloudConfig,
    /// Another YAML file.
    Yaml,
    /// A script.
    Script,
    /// Unknown. A shell may source it.
    Other,
}

impl Language {
    /// The language of a text, by its first line, by the type of its MIME part and by the name of its file.
    pub(in crate::document) fn of(text: &[u8], headers: Option<&Headers>, name: &str) -> Self {
        let text = text.strip_prefix(crate::document::BOM).unwrap_or(text);
        let content_type = headers.and_then(|headers| headers.content_type.as_deref()).unwrap_or_default();
        let starts = |words: &[&str]| words.iter().any(|word| text.starts_with(word.as_bytes()));
        if starts(&["#!", "#cloud-boothook"]) {
            Self::Script
        } else if starts(&["#cloud-config"]) || content_type.starts_with("text/cloud-config") {
            Self::CloudConfig
        } else if matches!(content_type, "text/x-shellscript" | "text/cloud-boothook") {
            Self::Script
        } else if is_yaml_name(name) {
            Self::Yaml
        } else {
            Self::Other
        }
    }
}

/// Whether a file's name says that it is YAML or JSON.
pub(in crate::document) fn is_yaml_name(name: &str) -> bool {
    [".yaml", ".yml", ".json"].iter().any(|end| name.ends_with(end))
}
