//! Whether the answers of a request are in order.

use serde_json::{Map, Value};

use super::parameters;
use crate::constraint::{Lookup, is_answerable};
use crate::definition::{ClusterType, Kind};
use crate::parameter::Schema;

/// What kind of fault it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// A parameter has neither an answer nor a default.
    Missing,
    /// An answer is refused.
    Value,
    /// The definition is at fault: its schema, its default or its hard-coded value.
    Definition,
}

/// Something that is wrong with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// What it is wrong with.
    pub kind: FaultKind,
    /// The parameter or the component.
    pub name: String,
    /// Where it is in the request: a JSON pointer.
    pub pointer: String,
    /// What is wrong, in Heat's words or the author's.
    pub message: String,
}

impl Fault {
    fn of_parameter(kind: FaultKind, name: &str, message: impl Into<String>) -> Self {
        Self { kind, name: name.to_owned(), pointer: pointer("parameters", name), message: message.into() }
    }
}

impl ClusterType {
    /// Everything that is wrong with a request's answers (by parameter) and selections (by optional component): all
    /// faults, in the order of the definition, one of each parameter. What only the cloud knows is not among them:
    /// [`ClusterType::lookups`]. The values that pairing fills in are not looked at here.
    #[must_use]
    pub fn check(&self, answers: &Map<String, Value>, selections: &Map<String, Value>) -> Vec<Fault> {
        let mut faults = self.check_selections(selections);
        faults.extend(self.values(answers, selections).into_iter().filter_map(|(name, schema, value)| {
            let fault = |kind, message: String| Some(Fault::of_parameter(kind, name, message));
            let schema = match Schema::parse(name, schema) {
                Ok(schema) => schema,
                Err(problem) => return fault(FaultKind::Definition, problem),
            };
            let answered = answers.get(name).is_some_and(|answer| !answer.is_null());
            let kind = match self.hardcoded.contains_key(name) {
                false if answered => FaultKind::Value,
                _ => FaultKind::Definition,
            };
            match value {
                None => fault(FaultKind::Missing, format!("The Parameter ({name}) was not provided.")),
                Some(value) => schema.check(value).err().and_then(|problem| fault(kind, problem)),
            }
        }));
        faults
    }

    /// What the cloud must be asked for: the custom constraints of answers that are in order otherwise. Those of a kind
    /// that is not among [`Lookup::KINDS`] are left to Heat.
    #[must_use]
    pub fn lookups(&self, answers: &Map<String, Value>, selections: &Map<String, Value>) -> Vec<Lookup> {
        let mut lookups = Vec::new();
        for (name, schema, value) in self.values(answers, selections) {
            let checked =
                Schema::parse(name, schema).ok().zip(value).map(|(schema, value)| schema.check(value));
            let Some(Ok((_, open))) = checked else { continue };
            lookups.extend(open.into_iter().filter(|open| is_answerable(&open.kind)).map(|open| Lookup {
                kind: open.kind,
                value: open.seen,
                parameter: name.clone(),
                pointer: pointer("parameters", name),
                description: open.description,
            }));
        }
        lookups
    }

    /// The original takes any value that Python takes for true; here a selection is true or false.
    fn check_selections(&self, selections: &Map<String, Value>) -> Vec<Fault> {
        let optional = self.components.iter().filter(|component| component.optional);
        let chosen =
            optional.filter_map(|component| Some((&component.name, selections.get(&component.name)?)));
        let wrong = chosen.filter(|(_, selection)| !selection.is_boolean());
        wrong
            .map(|(name, _)| Fault {
                kind: FaultKind::Value,
                name: name.clone(),
                pointer: pointer("selections", name),
                message: "a selection is true or false".to_owned(),
            })
            .collect()
    }

    /// The parameters that Heat will look at, without those that pairing fills in: each with its schema and the value
    /// that it would get.
    fn values<'a>(
        &'a self,
        answers: &'a Map<String, Value>,
        selections: &Map<String, Value>,
    ) -> Vec<(&'a String, &'a Value, Option<&'a Value>)> {
        let pairing = self.pairing();
        let wanted: Vec<(&String, &Value)> = match self.kind {
            Kind::Heat => parameters(&self.included(selections)),
            Kind::Magnum | Kind::Sahara => self.parameters.iter().collect(),
        };
        let open = wanted.into_iter().filter(|(name, _)| !pairing.contains(name));
        open.map(|(name, schema)| {
            let value = self.hardcoded.get(name).or_else(|| self.answer_or_default(answers, name));
            (name, schema, value)
        })
        .collect()
    }
}

/// Where a parameter or a selection stands in a request. RFC 6901, 3: `~` and `/` are escaped.
pub(crate) fn pointer(part: &str, name: &str) -> String {
    format!("/cluster/{part}/{}", name.replace('~', "~0").replace('/', "~1"))
}
