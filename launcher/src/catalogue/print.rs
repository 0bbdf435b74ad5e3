//! The catalogue as the command `types` shows it.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::Listing;
use crate::review::Problem;

/// A listing for a person: one line a type, then what is wrong, with file and line.
#[must_use]
pub fn text(listing: &Listing) -> String {
    let width = listing.types.iter().map(|found| found.id.chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    for found in &listing.types {
        let _ = writeln!(text, "{:width$}  {:6}  {}", found.id, found.kind.name(), found.title);
    }
    if listing.types.is_empty() {
        text += "no cluster types\n";
    }
    for warning in listing.types.iter().flat_map(|found| &found.warnings) {
        let _ = writeln!(text, "warning: {warning}");
    }
    for broken in listing.broken.values().flatten() {
        let _ = writeln!(text, "broken: {}", broken);
    }
    text.truncate(text.trim_end().len());
    text
}

/// A listing for a program: `types` as clients of the catalogue see them, with `kind`; `warnings` and `broken` with id,
/// file, line and problem.
#[must_use]
pub fn to_json(listing: &Listing) -> Value {
    let types = listing.types.iter().map(|found| {
        let mut public = found.public();
        public["kind"] = found.kind.name().into();
        public
    });
    let of =
        |id: &str, w: &Problem| json!({ "id": id, "file": w.file, "line": w.line, "problem": w.problem });
    let warnings = listing.types.iter().flat_map(|found| found.warnings.iter().map(|w| of(&found.id, w)));
    let broken = listing.broken.iter().flat_map(|(id, found)| found.iter().map(|w| of(id, w)));
    json!({
        "types": types.collect::<Value>(),
        "warnings": warnings.collect::<Value>(),
        "broken": broken.collect::<Value>(),
    })
}
