//! A component: a Heat template that is one part of a cluster type's stack.

mod files;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::SystemTime;

use serde_json::{Map, Value};

pub(crate) use files::{Files, read_file};

use crate::parameter;
use crate::review::{Problem, Review};
use crate::yaml::{Dates, Node};

/// What a component may have at its top. Heat allows more; the original does not.
pub(crate) const KEYS: [&str; 5] =
    ["heat_template_version", "parameters", "resources", "conditions", "outputs"];

/// A component, with the files that it names.
#[derive(Debug, Clone)]
pub(crate) struct Component {
    pub(crate) name: String,
    pub(crate) optional: bool,
    /// Its `heat_template_version`.
    pub(crate) version: String,
    pub(crate) parameters: Map<String, Value>,
    pub(crate) resources: Map<String, Value>,
    pub(crate) conditions: Map<String, Value>,
    pub(crate) outputs: Map<String, Value>,
    /// The contents of the files that it and its nested templates name, by the addresses that stand in it.
    pub(crate) files: BTreeMap<String, String>,
    /// What does not make it invalid.
    pub(crate) warnings: Vec<Problem>,
}

impl Component {
    /// Whether one of its resources has this type.
    pub(crate) fn has(&self, resource_type: &str) -> bool {
        self.resources.values().any(|resource| resource["type"] == resource_type)
    }
}

/// Reads the component of a file, and the time of the file's last change.
///
/// # Errors
/// Everything that makes it invalid.
pub(crate) fn read(
    files: &mut Files,
    file: &Path,
    name: &str,
    optional: bool,
) -> Result<(Component, SystemTime), Vec<Problem>> {
    let mut review = Review::new(file);
    let Some((root, modified)) = document(&mut review, file) else { return Err(review.problems()) };
    for entry in root.entries().iter().filter(|entry| !KEYS.contains(&entry.key.as_str())) {
        let problem = format!("{} is no key of a component; the keys are {}", entry.key, KEYS.join(", "));
        review.note(entry.key_line, problem);
    }
    let version = review.wanted_text(&root, "heat_template_version");
    let mut parameters = Map::new();
    if let Some(node) = root.get("parameters") {
        review.keys_are_texts(node);
        parameters = parameter::read(&mut review, "parameters", node);
    }
    if let Some(node) = root.get("resources") {
        resources_have_types(&mut review, node);
    }
    let mut below = Vec::new();
    let mut fetched = BTreeMap::new();
    let mut part = |key: &str| -> Map<String, Value> {
        let Some(node) = root.get(key) else { return Map::new() };
        if review.mapping(key, node).is_none() {
            return Map::new();
        }
        match files.resolve(&mut review, &mut below, file, node, &mut fetched) {
            Value::Object(map) => map,
            _ => Map::new(),
        }
    };
    let (resources, conditions, outputs) = (part("resources"), part("conditions"), part("outputs"));
    let (mut problems, warnings) = review.into_parts();
    problems.append(&mut below);
    if !problems.is_empty() {
        return Err(problems);
    }
    let component = Component {
        name: name.to_owned(),
        optional,
        version: version.unwrap_or_default(),
        parameters,
        resources,
        conditions,
        outputs,
        files: fetched,
        warnings,
    };
    Ok((component, modified))
}

/// The mapping that a template's file holds; `None`, with notes, when there is none.
fn document(review: &mut Review<'_>, file: &Path) -> Option<(std::rc::Rc<Node>, SystemTime)> {
    let contents = read_file(file).map_err(|problem| review.note(None, problem)).ok()?;
    let text = contents.text().map_err(|problem| review.note(None, problem)).ok()?;
    let root = review.document(text, Dates::AreTexts)?;
    review.mapping("a template", &root)?;
    Some((root, contents.modified))
}

/// The original lets a resource without a type through, and then cannot make its list.
fn resources_have_types(review: &mut Review<'_>, resources: &Node) {
    for entry in resources.entries() {
        let what = format!("the resource {}", entry.key);
        if review.mapping(&what, &entry.value).is_none() {
            continue;
        }
        match entry.value.get("type") {
            Some(node) => {
                review.text(&format!("the type of {what}"), node);
            }
            None => review.note(entry.key_line, format!("{what} has no type")),
        }
    }
}
