//! A cluster type from its folder: `cluster-type.yaml`, and for Heat what lies below `components/`.
//!
//! The rules are the original's: which keys there are, which must be there, and of what type each is. Everything that is
//! wrong is noted, not only the first fault.

use std::path::Path;
use std::rc::Rc;

use serde_json::{Map, Number, Value};

use super::lint;
use crate::component::{self, Files};
use crate::definition::{ClusterType, Instruction, Kind};
use crate::parameter;
use crate::review::{Problem, Review};
use crate::yaml::{Content, Dates, Node};

/// The name of a definition's file.
pub(super) const FILE: &str = "cluster-type.yaml";

/// What a definition of kind `heat` may have; of the others it may have any key.
pub(super) const HEAT_KEYS: [&str; 10] = [
    "title",
    "description",
    "kind",
    "order",
    "logo_url",
    "components",
    "parameter_groups",
    "hardcoded_parameters",
    "parameter_overrides",
    "instructions",
];

/// Reads the definition in a folder.
///
/// # Errors
/// Everything that makes it invalid.
pub(super) fn read(id: &str, folder: &Path) -> Result<ClusterType, Vec<Problem>> {
    let file = folder.join(FILE);
    let mut review = Review::new(&file);
    let contents = match component::read_file(&file) {
        Ok(contents) => contents,
        Err(problem) => return Err(refuse(review, problem)),
    };
    let text = match contents.text() {
        Ok(text) => text,
        Err(problem) => return Err(refuse(review, problem)),
    };
    let Some(root) = review.document(text, Dates::AreDates) else { return Err(review.problems()) };
    if review.mapping("a definition", &root).is_none() {
        return Err(review.problems());
    }
    review.keys_are_texts(&root);

    let title = review.wanted_text(&root, "title");
    let description = review.wanted_text(&root, "description");
    let logo_url = review.wanted_text(&root, "logo_url");
    let kind = kind(&mut review, &root);
    let order = order(&mut review, &root);
    let parameter_groups = parameter_groups(&mut review, &root);
    let instructions = instructions(&mut review, &root);
    let mut cluster_type = ClusterType {
        id: id.to_owned(),
        title: title.unwrap_or_default(),
        description: description.unwrap_or_default(),
        kind: kind.unwrap_or(Kind::Heat),
        order: order.unwrap_or(Number::from(0)),
        logo_url: logo_url.unwrap_or_default(),
        parameters: Map::new(),
        parameter_groups,
        instructions,
        last_modified: contents.modified,
        cluster_template: None,
        warnings: Vec::new(),
        components: Vec::new(),
        hardcoded: Map::new(),
    };
    let mut below = Vec::new();
    match kind {
        Some(Kind::Heat) => below = heat(&mut review, &root, folder, &mut cluster_type),
        Some(kind) => {
            cluster_type.cluster_template =
                review.wanted_text(&root, &format!("{}_cluster_template", kind.name()));
            if let Some(node) = review.wanted(&root, "parameters") {
                cluster_type.parameters = parameter::read(&mut review, "parameters", node);
            }
        }
        None => {}
    }
    if review.is_clean() && below.is_empty() {
        lint::warn(&mut review, &root, &cluster_type);
    }
    let (mut problems, warnings) = review.into_parts();
    problems.append(&mut below);
    cluster_type.warnings.extend(warnings);
    cluster_type
        .warnings
        .extend(cluster_type.components.iter().flat_map(|component| component.warnings.clone()));
    if problems.is_empty() { Ok(cluster_type) } else { Err(problems) }
}

fn refuse(mut review: Review<'_>, problem: String) -> Vec<Problem> {
    review.note(None, problem);
    review.problems()
}

fn kind(review: &mut Review<'_>, root: &Node) -> Option<Kind> {
    let node = review.wanted(root, "kind")?;
    let kind =
        [Kind::Heat, Kind::Magnum, Kind::Sahara].into_iter().find(|kind| node.text() == Some(kind.name()));
    if kind.is_none() {
        review.note(node.line, "kind must be heat, magnum or sahara, in small letters");
    }
    kind
}

fn order(review: &mut Review<'_>, root: &Node) -> Option<Number> {
    let node = review.wanted(root, "order")?;
    match &node.content {
        Content::Number(number) => Some(number.clone()),
        _ => {
            review.expect(false, "order", node, "a number");
            None
        }
    }
}

/// Groups as they are written: label and description are texts, `parameters` is a list of texts, anything else passes.
fn parameter_groups(review: &mut Review<'_>, root: &Node) -> Value {
    let Some(node) = root.get("parameter_groups") else { return Value::Array(Vec::new()) };
    for group in review.list("parameter_groups", node).unwrap_or_default() {
        if review.mapping("a parameter group", group).is_none() {
            continue;
        }
        for key in ["label", "description"] {
            group.get(key).map(|node| review.text(&format!("{key} of a parameter group"), node));
        }
        let Some(names) = group.get("parameters") else { continue };
        for name in review.list("parameters of a parameter group", names).unwrap_or_default() {
            review.text("a name in a parameter group", name);
        }
    }
    node.to_json()
}

/// The original lets one through that lacks a text, and then cannot make its list; here all three are wanted.
fn instructions(review: &mut Review<'_>, root: &Node) -> Vec<Instruction> {
    let Some(node) = root.get("instructions") else { return Vec::new() };
    let mut instructions = Vec::new();
    for item in review.list("instructions", node).unwrap_or_default() {
        if review.mapping("an instruction", item).is_none() {
            continue;
        }
        let texts = ["id", "title", "text"].map(|key| review.wanted_text(item, key));
        if let [Some(id), Some(title), Some(text)] = texts {
            instructions.push(Instruction { id, title, text });
        }
    }
    instructions
}

/// What only definitions of kind `heat` have. Returns what is wrong with the components' files.
fn heat(review: &mut Review<'_>, root: &Node, folder: &Path, into: &mut ClusterType) -> Vec<Problem> {
    for entry in root.entries().iter().filter(|entry| !HEAT_KEYS.contains(&entry.key.as_str())) {
        let problem = match entry.key.as_str() {
            "parameters" => {
                "parameters stand in the components of a type of kind heat, not in its definition".to_owned()
            }
            key => format!("{key} is no key of a definition; the keys are {}", HEAT_KEYS.join(", ")),
        };
        review.note(entry.key_line, problem);
    }
    if let Some(node) = root.get("parameter_overrides") {
        parameter::read_overrides(review, "parameter_overrides", node);
    }
    into.hardcoded = root.get("hardcoded_parameters").map(|node| hardcoded(review, node)).unwrap_or_default();
    let Some(list) = review.wanted(root, "components") else { return Vec::new() };
    let mut problems = Vec::new();
    let mut files = Files::new(&into.id, folder);
    for item in review.list("components", list).unwrap_or_default() {
        let Some((name, optional)) = component_head(review, item) else { continue };
        let file = match files.component(&name) {
            Ok(file) => file,
            Err(problem) => {
                review.note(item.line, format!("component {name}: {problem}"));
                continue;
            }
        };
        match component::read(&mut files, &file, &name, optional) {
            Ok((component, modified)) => {
                into.last_modified = into.last_modified.max(modified);
                into.components.push(component);
            }
            Err(mut found) => problems.append(&mut found),
        }
    }
    // What else is wrong is why there is none.
    if problems.is_empty() && list.items().len() == into.components.len() && list.is_list() {
        for wanted in ["OS::Neutron::Router", "OS::Neutron::Net"] {
            if !into.components.iter().any(|component| component.has(wanted)) {
                review.note(list.line, format!("no component has a resource of type {wanted}"));
            }
        }
    }
    into.show_parameters();
    problems
}

fn component_head(review: &mut Review<'_>, item: &Rc<Node>) -> Option<(String, bool)> {
    review.mapping("a component", item)?;
    let name = review.wanted_text(item, "name");
    let optional = match item.get("optional") {
        None => Some(false),
        Some(node) => match node.content {
            Content::Boolean(optional) => Some(optional),
            _ => {
                review.expect(false, "optional", node, "a boolean");
                None
            }
        },
    };
    name.zip(optional)
}

fn hardcoded(review: &mut Review<'_>, node: &Node) -> Map<String, Value> {
    let mut values = Map::new();
    for entry in review.mapping("hardcoded_parameters", node).unwrap_or_default() {
        let scalar =
            matches!(entry.value.content, Content::Text(_) | Content::Number(_) | Content::Boolean(_));
        let what = format!("the hard-coded value of {}", entry.key);
        if review.expect(scalar, &what, &entry.value, "a text, a number or a boolean") {
            values.insert(entry.key.clone(), entry.value.to_json());
        }
    }
    values
}

impl ClusterType {
    /// The union of all components' parameters: of a name that several define the first definition, without hard-coded
    /// names and those that pairing fills in.
    fn show_parameters(&mut self) {
        let pairing = self.pairing();
        for component in &self.components {
            for (name, schema) in &component.parameters {
                if !(self.hardcoded.contains_key(name)
                    || pairing.contains(name)
                    || self.parameters.contains_key(name))
                {
                    self.parameters.insert(name.clone(), schema.clone());
                }
            }
        }
    }
}
