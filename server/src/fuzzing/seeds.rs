//! The requests that the original service was recorded with: each by itself, and those of a scenario together.

use std::collections::BTreeSet;
use std::path::Path;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;

use super::{BETWEEN, MOST, PIN};

/// Longest body that is taken, in bytes: a fuzzer is slow where inputs are long.
const BODY_MAX: usize = 4096;

/// The seeds, the same every time.
///
/// # Panics
/// Where the records are not, or are not what they were.
#[must_use]
pub fn seeds() -> Vec<Vec<u8>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/conformance");
    let files = directory.read_dir().unwrap_or_else(|err| panic!("{}: {err}", directory.display()));
    let mut seeds = BTreeSet::new();
    for path in files.filter_map(|file| file.ok().map(|file| file.path())) {
        let text = std::fs::read(&path).unwrap_or_else(|err| panic!("{}: {err}", path.display()));
        let record: Value =
            serde_json::from_slice(&text).unwrap_or_else(|err| panic!("{}: {err}", path.display()));
        let exchanges = record["exchanges"].as_array().expect("a record has exchanges");
        let requests: Vec<_> = exchanges.iter().filter_map(|exchange| wire(&exchange["request"])).collect();
        seeds.extend(requests.chunks(MOST).map(|together| together.join(BETWEEN)));
        seeds.extend(requests);
    }
    seeds.into_iter().collect()
}

/// A recorded request as an input has it; none for a step that is no request, and for what is too long.
fn wire(request: &Value) -> Option<Vec<u8>> {
    let text = |value: &Value| value.as_str().map(fill);
    let mut head = format!("{} {}\n", text(&request["method"])?, text(&request["path"])?);
    for header in request["headers"].as_array()? {
        head.push_str(&format!("{}: {}\n", text(&header[0])?, text(&header[1])?));
    }
    let body = match &request["body"] {
        Value::Null => Vec::new(),
        body if body["text"].is_string() => text(&body["text"])?.into_bytes(),
        body if body["base64"].is_string() => BASE64_STANDARD.decode(body["base64"].as_str()?).ok()?,
        body => repeated(body["parts"].as_array()?)?,
    };
    (body.len() <= BODY_MAX).then(|| [head.as_bytes(), b"\n", &body].concat())
}

fn repeated(parts: &[Value]) -> Option<Vec<u8>> {
    let parts = parts.iter().map(|part| match part["repeat"].as_str() {
        Some(repeat) => Some(repeat.repeat(usize::try_from(part["count"].as_u64()?).ok()?)),
        None => part["text"].as_str().map(fill),
    });
    Some(parts.collect::<Option<Vec<_>>>()?.concat().into_bytes())
}

/// The first pin of a record is ours; the others are unknown.
fn fill(text: &str) -> String {
    let text = text.replace("{{pin}}", PIN);
    (2..=5).fold(text, |text, number| {
        text.replace(&format!("{{{{pin{number}}}}}"), &format!("enico1qq0oe{number}"))
    })
}
