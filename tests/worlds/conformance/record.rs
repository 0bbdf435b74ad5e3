//! The format of the records.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

/// Requests and answers in the order in which they were recorded.
#[derive(Debug, Deserialize)]
pub(crate) struct Scenario {
    /// Its name: the file's.
    pub(crate) scenario: String,
    /// What happens in it.
    pub(crate) exchanges: Vec<Step>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Step {
    /// Something outside HTTP: `age PIN SECONDS` or `restart`.
    Control {
        /// Its words.
        control: Vec<String>,
    },
    Exchange(Box<Exchange>),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Exchange {
    /// Number within the scenario.
    pub(crate) id: u32,
    /// For readers.
    #[serde(default, rename = "note")]
    _note: Option<String>,
    pub(crate) request: RecordedRequest,
    /// Variables to take from the JSON answer.
    #[serde(default)]
    pub(crate) capture: BTreeMap<String, Capture>,
    pub(crate) response: RecordedResponse,
    /// Whether a new implementation is not held to it, and why.
    pub(crate) quirk: bool,
    #[serde(default, rename = "why")]
    _why: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RecordedRequest {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Option<RequestBody>,
    #[serde(default)]
    pub(crate) chunked: bool,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub(crate) enum RequestBody {
    Text(String),
    Base64(String),
    Parts(Vec<Part>),
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Part {
    Text { text: String },
    Repeat { repeat: String, count: usize },
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Capture {
    /// The member of the answer's object.
    pub(crate) field: String,
    /// Regular expression for its whole text.
    #[serde(rename = "match")]
    pub(crate) pattern: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RecordedResponse {
    pub(crate) status: u16,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: ResponseBody,
    pub(crate) compare: Vec<Aspect>,
}

/// What of an answer is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Aspect {
    Status,
    ContentType,
    Body,
    Allow,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub(crate) enum ResponseBody {
    Json {
        json: Value,
    },
    Text {
        text: String,
    },
    Base64 {
        base64: String,
    },
    Empty,
    /// An HTML page of the site, left out.
    Unrecorded,
}

impl Scenario {
    /// The scenarios of a directory, by name.
    pub(crate) fn all(dir: &Path) -> Vec<Self> {
        let files = std::fs::read_dir(dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
        let mut paths: Vec<_> = files.map(|file| file.expect("the directory can be read").path()).collect();
        paths.sort();
        paths.iter().map(|path| Self::read(path)).collect()
    }

    fn read(path: &Path) -> Self {
        let text = std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        serde_json::from_slice(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    }
}
