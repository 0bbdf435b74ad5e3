//! What Heat is asked for: the template of the components that are included, the files that it names, and the values of
//! its parameters.

mod check;
mod contexts;
#[cfg(test)]
mod examples;
pub(crate) mod expression;
mod merge;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde_json::{Map, Value};

pub(crate) use check::pointer;
pub use check::{Fault, FaultKind};
pub use contexts::Context;
pub(crate) use merge::{parameters, template};

use crate::component::Component;
use crate::definition::{ClusterType, Kind};
use crate::parameter::Schema;
use crate::value::python;

/// A stack that is not created yet.
#[derive(Debug, Clone, PartialEq)]
pub struct Stack {
    /// The merged template.
    pub template: Value,
    /// The contents of the files that the template names, by their addresses in it. Nested templates are JSON.
    pub files: BTreeMap<String, String>,
    /// The values of the template's parameters, of the types that they came with; those of strings are texts.
    pub parameters: Map<String, Value>,
}

/// Why a type makes no stack of a request. Each is a fault of the definition, or of the program that fills pairing's
/// parameters in, never of the answers: these are looked at by [`ClusterType::check`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StackError {
    /// Only Heat makes stacks.
    #[error("clusters of kind {0} cannot be launched")]
    Kind(&'static str),
    /// Every component is optional, and none is selected.
    #[error("no component is selected")]
    Nothing,
    /// Two components that are included have something of the same name.
    #[error("the components {first} and {second} both have the {what} {name}")]
    Twice {
        /// `resource`, `condition` or `output`.
        what: &'static str,
        /// Its name.
        name: String,
        /// The component that has it first.
        first: String,
        /// The one that has it again.
        second: String,
    },
    /// Two components that are included are written for different versions of Heat's templates.
    #[error(
        "the components {first} and {second} have different versions of Heat's templates ({versions}); \
         give both the same heat_template_version"
    )]
    Versions {
        /// The first component.
        first: String,
        /// The one that differs.
        second: String,
        /// Both versions.
        versions: String,
    },
    /// A parameter that is tagged for pairing was not filled in, and has no default.
    #[error("the parameter {0} is tagged for pairing and was not filled in")]
    NotFilled(String),
    /// What was filled in does not fit the parameter.
    #[error("the parameter {name} does not take what pairing fills in: {problem}")]
    Unfit {
        /// The parameter.
        name: String,
        /// What Heat would say of the value. It may hold the value, so it is not for a log.
        problem: String,
    },
}

impl ClusterType {
    /// The stack of a request whose answers are in order: `answers` by parameter, `selections` by optional component, and
    /// `filled`, what pairing fills into the parameters of [`ClusterType::pairing`].
    ///
    /// A hard-coded value counts for more than an answer, and an answer for more than a default. Answers to parameters
    /// that are not shown, and values of parameters that no included component has, do not reach Heat. An answer of
    /// `null` is none.
    ///
    /// # Errors
    /// [`StackError`].
    pub fn stack(
        &self,
        answers: &Map<String, Value>,
        selections: &Map<String, Value>,
        filled: &Map<String, Value>,
    ) -> Result<Stack, StackError> {
        if self.kind != Kind::Heat {
            return Err(StackError::Kind(self.kind.name()));
        }
        let included = self.included(selections);
        let template = merge::template(&included)?;
        let pairing = self.pairing();
        let mut parameters = Map::new();
        for (name, schema) in merge::parameters(&included) {
            let value = self.hardcoded.get(name).or_else(|| {
                if pairing.contains(name) {
                    given(filled, name)
                } else {
                    self.answer_or_default(answers, name)
                }
            });
            match value {
                Some(value) => {
                    if pairing.contains(name) {
                        fits(name, schema, value)?;
                    }
                    parameters.insert(name.clone(), sent(schema, value));
                }
                None if pairing.contains(name) && schema.get("default").is_none_or(Value::is_null) => {
                    return Err(StackError::NotFilled(name.clone()));
                }
                None => {}
            }
        }
        let files = included.iter().flat_map(|component| component.files.clone()).collect();
        Ok(Stack { template, files, parameters })
    }

    /// The components that are not optional, and of the optional ones those that are selected.
    pub(crate) fn included(&self, selections: &Map<String, Value>) -> Vec<&Component> {
        let selected = |name: &str| selections.get(name) == Some(&Value::Bool(true));
        self.components.iter().filter(|component| !component.optional || selected(&component.name)).collect()
    }

    /// The value of a parameter that is shown. The default is that of the form, which has the first definition of all.
    pub(crate) fn answer_or_default<'a>(
        &'a self,
        answers: &'a Map<String, Value>,
        name: &str,
    ) -> Option<&'a Value> {
        let shown = self.parameters.get(name)?;
        given(answers, name).or_else(|| shown.get("default").filter(|default| !default.is_null()))
    }
}

/// A value as it goes to Heat. A number or a boolean for a string goes as the text that Heat makes of it: as a number it
/// would be no answer to a constraint of strings, and Heat fails with 500.
fn sent(schema: &Value, value: &Value) -> Value {
    match value {
        Value::Number(_) | Value::Bool(_) if schema["type"] == "string" => python::text(value).into(),
        _ => value.clone(),
    }
}

/// Looks over what pairing fills in. A schema that Heat refuses is [`ClusterType::check`]'s to tell.
fn fits(name: &str, schema: &Value, value: &Value) -> Result<(), StackError> {
    let Ok(schema) = Schema::parse(name, schema) else { return Ok(()) };
    match schema.check(value) {
        Ok(_) => Ok(()),
        Err(problem) => Err(StackError::Unfit { name: name.to_owned(), problem }),
    }
}

/// A value that is there and not null.
fn given<'a>(values: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    values.get(name).filter(|value| !value.is_null())
}
