//! Whether a value fits where its placeholder stands, and what has to be written there for it.
//!
//! The alphabet of [`crate::value`] has no quote, no `$` and no line end, but a blank makes two words for a shell, and
//! `: `, a leading `@` or the word `no` mean something else than text for YAML. So the place decides.

use std::borrow::Cow;
use std::ops::Range;

use super::edit::Edit;
use super::mime::Headers;
use super::yaml_fit;
use crate::shell_words::{self, ShellPlace};

/// A placeholder in a text, and the value that goes there.
#[derive(Debug, Clone)]
pub(super) struct Insertion<'v> {
    /// The placeholder's bytes in the text.
    pub(super) span: Range<usize>,
    /// The key of the value.
    pub(super) key: String,
    pub(super) value: &'v str,
}

/// A value that must not go where its placeholder stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unfit {
    /// The placeholder's offset.
    pub(super) at: usize,
    pub(super) key: String,
    /// What is wrong with the value there; not the value.
    pub(super) problem: &'static str,
    /// What makes it fit.
    pub(super) next: &'static str,
}

impl Unfit {
    pub(super) fn new(insertion: &Insertion<'_>, problem: &'static str, next: &'static str) -> Self {
        Self { at: insertion.span.start, key: insertion.key.clone(), problem, next }
    }
}

/// What reads a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Language {
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
    pub(super) fn of(text: &[u8], headers: Option<&Headers>, name: &str) -> Self {
        let text = text.strip_prefix(super::BOM).unwrap_or(text);
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
pub(super) fn is_yaml_name(name: &str) -> bool {
    [".yaml", ".yml", ".json"].iter().any(|end| name.ends_with(end))
}

/// What to write for the values.
pub(super) fn edits<'v>(
    language: Language,
    text: &[u8],
    insertions: &[Insertion<'v>],
) -> Result<Vec<Edit<'v>>, Unfit> {
    match language {
        _ if insertions.is_empty() => Ok(Vec::new()),
        Language::CloudConfig | Language::Yaml => yaml_fit::edits(language, text, insertions),
        Language::Script | Language::Other => {
            in_words(language, text, insertions)?;
            Ok(insertions.iter().map(as_it_is).collect())
        }
    }
}

/// The value, with nothing around it.
pub(super) fn as_it_is<'v>(insertion: &Insertion<'v>) -> Edit<'v> {
    Edit { span: insertion.span.clone(), with: Cow::Borrowed(insertion.value.as_bytes()) }
}

/// Whether the values fit into a text that is no YAML.
pub(super) fn in_words(language: Language, text: &[u8], insertions: &[Insertion<'_>]) -> Result<(), Unfit> {
    let spans = insertions.iter().map(|insertion| insertion.span.clone());
    let places = match language {
        Language::Script => shell_words::places(text, spans),
        _ => spans.map(|span| shell_words::place_in_line(text, span.start)).collect(),
    };
    insertions.iter().zip(places).try_for_each(|(insertion, place)| in_place(insertion, place))
}

fn in_place(insertion: &Insertion<'_>, place: ShellPlace) -> Result<(), Unfit> {
    let value = insertion.value;
    let next = "put the placeholder within quotes, or publish another value";
    match place {
        ShellPlace::Free => Ok(()),
        ShellPlace::Word { .. } if value.contains(' ') => {
            Err(Unfit::new(insertion, "has a blank in it, and would be more than one word there", next))
        }
        ShellPlace::Word { .. } if value.contains('~') => {
            Err(Unfit::new(insertion, "has a '~' in it, which a shell may take for a directory there", next))
        }
        ShellPlace::Word { is_start: true } | ShellPlace::Quoted { is_start: true }
            if value.starts_with('-') =>
        {
            Err(Unfit::new(
                insertion,
                "begins with '-', and would be an option there",
                "put the option's name and '=' before the placeholder, or publish another value",
            ))
        }
        ShellPlace::Word { .. } | ShellPlace::Quoted { .. } => Ok(()),
    }
}
