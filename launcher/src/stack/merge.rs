//! How components come together in one template.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use super::StackError;
use crate::component::Component;

/// The parameters of components: of a name that several define the first definition.
pub(crate) fn parameters<'a>(included: &[&'a Component]) -> Vec<(&'a String, &'a Value)> {
    let mut merged: Vec<(&String, &Value)> = Vec::new();
    let mut names = std::collections::HashSet::new();
    for (name, schema) in included.iter().flat_map(|component| &component.parameters) {
        if names.insert(name) {
            merged.push((name, schema));
        }
    }
    merged
}

/// The template of components.
///
/// # Errors
/// When there are none, or when they do not go together.
pub(crate) fn template(included: &[&Component]) -> Result<Value, StackError> {
    let first = included.first().ok_or(StackError::Nothing)?;
    if let Some(other) = included.iter().find(|component| component.version != first.version) {
        return Err(StackError::Versions {
            first: first.name.clone(),
            second: other.name.clone(),
            versions: format!("{}, {}", first.version, other.version),
        });
    }
    let merged: Map<_, _> =
        parameters(included).into_iter().map(|(name, schema)| (name.clone(), schema.clone())).collect();
    Ok(json!({
        "heat_template_version": first.version,
        "parameters": merged,
        "conditions": union("condition", included, |component| &component.conditions)?,
        "resources": union("resource", included, |component| &component.resources)?,
        "outputs": union("output", included, |component| &component.outputs)?,
    }))
}

fn union<'a>(
    what: &'static str,
    included: &[&'a Component],
    part: impl Fn(&'a Component) -> &'a Map<String, Value>,
) -> Result<Map<String, Value>, StackError> {
    let mut union = Map::new();
    let mut owners = HashMap::new();
    for component in included {
        for (name, value) in part(component) {
            if let Some(first) = owners.insert(name, &component.name) {
                return Err(StackError::Twice {
                    what,
                    name: name.clone(),
                    first: first.clone(),
                    second: component.name.clone(),
                });
            }
            union.insert(name.clone(), value.clone());
        }
    }
    Ok(union)
}
