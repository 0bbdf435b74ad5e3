//! Which keys the schema of a parameter may have, by the original's rules. What Heat says of constraints and defaults is
//! not looked at here: a definition with wrong ones is listed all the same.

use serde_json::{Map, Value};

use super::typed::{TYPES, Type};
use crate::definition::Review;
use crate::yaml::{Content, Node};

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
        schema(review, name, &entry.value, "type");
        parameters.insert(name.clone(), entry.value.to_json());
    }
    parameters
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
