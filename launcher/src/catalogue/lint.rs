//! What is wrong with a valid definition: the original shows it, and fails when a cluster of it is launched.

use std::collections::HashSet;

use serde_json::{Map, Value};

use crate::definition::ClusterType;
use crate::parameter::Schema;
use crate::review::Review;
use crate::stack;
use crate::yaml::Node;

/// Warns of components that do not go together, names that nothing has, and hard-coded values that do not fit.
pub(super) fn warn(review: &mut Review<'_>, root: &Node, of: &ClusterType) {
    if of.components.is_empty() {
        return;
    }
    let line = |key: &str| root.get(key).map(|node| node.line);
    let everything: Map<String, Value> =
        of.components.iter().map(|component| (component.name.clone(), Value::Bool(true))).collect();
    let all = of.included(&everything);
    let parameters = stack::parameters(&all);
    match stack::template(&all) {
        // With all that is optional a clash may be meant: one or the other.
        Err(_) => {
            let least = of.included(&Map::new());
            if let (false, Err(error)) = (least.is_empty(), stack::template(&least)) {
                review.warn(line("components"), format!("a launch fails: {error}"));
            }
        }
        Ok(template) => references(review, line("components"), &template),
    }
    for (name, value) in &of.hardcoded {
        let line = root.get("hardcoded_parameters").and_then(|node| node.get(name)).map(|node| node.line);
        let Some((_, schema)) = parameters.iter().find(|(known, _)| *known == name) else {
            review
                .warn(line, format!("the hard-coded {name} has no effect: no component has this parameter"));
            continue;
        };
        let refused = Schema::parse(name, schema).ok().and_then(|schema| schema.check(value).err());
        if let Some(problem) = refused {
            review.warn(line, format!("Heat refuses the hard-coded value of {name}: {problem}"));
        }
    }
}

/// Warns of names that are used twice or that nothing has.
fn references(review: &mut Review<'_>, line: Option<u64>, template: &Value) {
    let names = |part: &str| template[part].as_object().into_iter().flatten().map(|(name, _)| name.as_str());
    let resources: HashSet<&str> = names("resources").collect();
    let parameters: HashSet<&str> = names("parameters").collect();
    for name in names("resources").filter(|name| parameters.contains(name)) {
        review.warn(line, format!("a launch fails: {name} is both a parameter and a resource"));
    }
    let mut named = Vec::new();
    functions(template, &mut named);
    for (function, name) in named {
        let known = match function {
            "get_param" => parameters.contains(name) || name.starts_with("OS::"),
            _ => resources.contains(name),
        };
        if !known {
            review.warn(line, format!("a launch fails: {function} names {name}, which no component has"));
        }
    }
}

/// The functions below a value that name a parameter or a resource.
fn functions<'a>(value: &'a Value, named: &mut Vec<(&'a str, &'a str)>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| functions(item, named)),
        Value::Object(map) => {
            for (key, value) in map {
                let first = value.as_str().or_else(|| value.get(0)?.as_str());
                match (key.as_str(), first) {
                    ("get_param" | "get_resource" | "get_attr", Some(name)) if map.len() == 1 => {
                        named.push((key, name));
                    }
                    _ => functions(value, named),
                }
            }
        }
        _ => {}
    }
}
