//! Which keys the schema of a parameter may have, by the original's rules. What Heat says of constraints and defaults is
//! only warned of: a definition with wrong ones is listed all the same.

use serde_json::{Map, Value};

use super::{PairingTags, Schema};
use crate::review::Review;
use crate::value::{TYPES, Type};
use crate::yaml::{Content, Entry, Node};

/// Reads the parameters of a definition or a component.
pub(crate) fn read(review: &mut Review<'_>, what: &str, node: &Node) -> Map<String, Value> {
    let mut parameters = Map::new();
    for entry in review.mapping(what, node).unwrap_or_default() {
        let name = &entry.key;
        if review.mapping(&format!("the parameter {name}"), &entry.value).is_none() {
            continue;
        }
        match entry.value.get("type") {
            None => review.note(entry.key_line, format!("the parameter {name} has no type")),
            Some(node) if node.text().and_then(Type::of).is_some() => {}
            Some(node) => {
                review.note(
                    node.line,
                    format!("the type of {name} must be one of {}", TYPES.map(|(_, name)| name).join(", ")),
                );
            }
        }
        let noted = review.is_clean();
        schema(review, name, &entry.value, "type");
        let json = entry.value.to_json();
        if noted && review.is_clean() {
            warn(review, name, entry, &json);
        }
        parameters.insert(name.clone(), json);
    }
    parameters
}

/// Warns of what the original shows all the same: a schema that Heat refuses in every launch, and tags of pairing that
/// have no effect.
fn warn(review: &mut Review<'_>, name: &str, entry: &Entry, json: &Value) {
    match Schema::parse(name, json) {
        Err(problem) => review.warn(entry.key_line, format!("Heat refuses the parameter {name}: {problem}")),
        Ok(schema) => {
            let default = json.get("default").filter(|default| !default.is_null());
            if let Some(Err(problem)) = default.map(|default| schema.check(default)) {
                review.warn(entry.key_line, format!("Heat refuses the default of {name}: {problem}"));
            }
        }
    }
    for tag in json["tags"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if tag.starts_with("pairing.") && !PairingTags::TAGS.contains(&tag) {
            let known = PairingTags::TAGS.join(", ");
            review.warn(entry.key_line, format!("the tag {tag} of {name} has no effect; there are {known}"));
        }
    }
}

/// Looks over `parameter_overrides`: schemas without a type. The original's generator uses them, the builder does not.
pub(crate) fn read_overrides(review: &mut Review<'_>, what: &str, node: &Node) {
    for entry in review.mapping(what, node).unwrap_or_default() {
        if review.mapping(&format!("the override of {}", entry.key), &entry.value).is_some() {
            schema(review, &entry.key, &entry.value, "");
        }
    }
}

fn schema(review: &mut Review<'_>, name: &str, node: &Node, allowed: &str) {
    for entry in node.entries() {
        let what = format!("{} of {name}", entry.key);
        let is_boolean = matches!(entry.value.content, Content::Boolean(_));
        match entry.key.as_str() {
            "label" | "description" => {
                review.text(&what, &entry.value);
            }
            "hidden" | "immutable" => {
                review.expect(is_boolean, &what, &entry.value, "a boolean");
            }
            "constraints" => {
                review.list(&what, &entry.value);
            }
            "default" | "tags" => {}
            key if key == allowed => {}
            key => review.note(entry.key_line, format!("{key} is no key of a parameter ({name})")),
        }
    }
}
