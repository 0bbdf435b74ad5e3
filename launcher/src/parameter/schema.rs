//! The schema of a parameter as Heat reads it.
//!
//! Heat's rules are those of `heat/engine/parameters.py`, `constraints.py` and `hot/parameters.py` of Zed; 218 of its
//! answers are recorded in tests/fixtures/builder/heat-parameters.json.

use serde_json::Value;

use crate::constraint::{Constraint, Outcome, mapping};
use crate::value::{Type, python};

/// The keys of a parameter in a template.
pub(crate) const KEYS: [&str; 8] =
    ["type", "label", "description", "default", "hidden", "immutable", "constraints", "tags"];

/// A parameter that Heat takes.
#[derive(Debug)]
pub(crate) struct Schema {
    pub(crate) parameter_type: Type,
    constraints: Vec<Constraint>,
}

/// A constraint that only the cloud can answer: its name, and what the author wants to be said.
pub(crate) struct CloudConstraint {
    pub(crate) kind: String,
    pub(crate) seen: String,
    pub(crate) description: Option<String>,
}

impl Schema {
    /// Reads the schema of the parameter `name`.
    ///
    /// # Errors
    /// Why Heat refuses every launch of a template with it, in its words: `InvalidSchemaError`.
    pub(crate) fn parse(name: &str, schema: &Value) -> Result<Self, String> {
        let map = mapping(schema, &KEYS, &format!("parameter ({name})"))?;
        let parameter_type = match map.get("type") {
            None => return Err(format!("Missing parameter type for parameter: {name}")),
            Some(value) => value
                .as_str()
                .and_then(Type::of)
                .ok_or_else(|| format!("Invalid type ({})", python::text(value)))?,
        };
        if map.get("tags").is_some_and(|tags| !(tags.is_array() || tags.is_null())) {
            return Err(format!("Tags property should be a list for parameter: {name}"));
        }
        let constraints = match map.get("constraints") {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::Array(list)) => list.iter().map(Constraint::parse).collect::<Result<_, _>>()?,
            Some(_) => {
                return Err(format!("Invalid parameter constraints for parameter {name}, expected a list"));
            }
        };
        if let Some(wrong) = constraints.iter().find(|constraint| !constraint.fits(parameter_type)) {
            return Err(format!("{} constraint invalid for {}", wrong.name(), parameter_type.name()));
        }
        let schema = Self { parameter_type, constraints };
        if let Some(default) = map.get("default").filter(|default| !default.is_null()) {
            schema.default_fits(default)?;
        }
        Ok(schema)
    }

    /// Heat looks at a default's constraints, without those that it has to ask for, and hardly at its type.
    fn default_fits(&self, default: &Value) -> Result<(), String> {
        let invalid = |words: &str| Err(format!("Invalid default {} ({words})", python::text(default)));
        let seen = match self.parameter_type.seen(default) {
            Ok(seen) => seen,
            Err(_) if self.parameter_type == Type::List => {
                return Err("Default must be a comma-delimited list string or a list".to_owned());
            }
            Err(words) if self.parameter_type == Type::Number && self.offline().next().is_some() => {
                return invalid(&words);
            }
            Err(_) => return Ok(()),
        };
        for constraint in self.offline() {
            if let Outcome::Refused(words) = constraint.check(self.parameter_type, &seen) {
                return invalid(&words);
            }
        }
        Ok(())
    }

    fn offline(&self) -> impl Iterator<Item = &Constraint> {
        self.constraints.iter().filter(|constraint| !constraint.is_custom())
    }

    /// The value that Heat makes of an answer, and the constraints that are left to ask the cloud for.
    ///
    /// # Errors
    /// Why Heat refuses the answer, in its words or the author's.
    pub(crate) fn check(&self, answer: &Value) -> Result<(Value, Vec<CloudConstraint>), String> {
        let value = self.parameter_type.value(answer)?;
        let seen = self.parameter_type.seen(answer)?;
        let mut open = Vec::new();
        for constraint in &self.constraints {
            match constraint.check(self.parameter_type, &seen) {
                Outcome::Fits => {}
                Outcome::Refused(words) => return Err(words),
                Outcome::AskTheCloud { kind, description } => {
                    open.push(CloudConstraint { kind, seen: python::text(&seen), description });
                }
            }
        }
        Ok((value, open))
    }
}
