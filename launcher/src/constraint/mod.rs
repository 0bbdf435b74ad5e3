//! What a parameter's value must be besides its type.

mod cron;
mod custom;
mod dns;
mod lookup;
mod moment;
mod network;
mod parse;
mod pattern;

use serde_json::Value;

pub use lookup::Lookup;
pub(crate) use lookup::is_answerable;
#[cfg(test)]
pub(crate) use parse::KINDS;
pub(crate) use parse::mapping;

use crate::value::{Number, Type, python};
use pattern::Pattern;

/// A constraint, with what the author wants to be said of a value that breaks it.
#[derive(Debug)]
pub(crate) struct Constraint {
    rule: Rule,
    description: Option<String>,
}

#[derive(Debug)]
enum Rule {
    Range { min: Option<Number>, max: Option<Number> },
    Length { min: Option<Number>, max: Option<Number> },
    Modulo { step: i128, offset: i128 },
    AllowedValues(Vec<Value>),
    AllowedPattern(Pattern),
    Custom(String),
}

/// What became of a value.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Fits,
    /// Why not, in Heat's words or the author's.
    Refused(String),
    /// Only the cloud knows.
    AskTheCloud {
        kind: String,
        description: Option<String>,
    },
}

impl Constraint {
    /// Heat's name of the kind.
    pub(crate) fn name(&self) -> &'static str {
        match self.rule {
            Rule::Range { .. } => "Range",
            Rule::Length { .. } => "Length",
            Rule::Modulo { .. } => "Modulo",
            Rule::AllowedValues(_) => "AllowedValues",
            Rule::AllowedPattern(_) => "AllowedPattern",
            Rule::Custom(_) => "CustomConstraint",
        }
    }

    pub(crate) fn is_custom(&self) -> bool {
        matches!(self.rule, Rule::Custom(_))
    }

    /// Whether parameters of a type can have it.
    pub(crate) fn fits(&self, parameter_type: Type) -> bool {
        match self.rule {
            Rule::Range { .. } | Rule::Modulo { .. } => parameter_type == Type::Number,
            Rule::Length { .. } => matches!(parameter_type, Type::String | Type::List | Type::Json),
            Rule::AllowedPattern(_) => parameter_type == Type::String,
            Rule::AllowedValues(_) | Rule::Custom(_) => parameter_type != Type::Json,
        }
    }

    /// Looks a value over; `seen` is what [`Type::seen`] has of an answer.
    pub(crate) fn check(&self, parameter_type: Type, seen: &Value) -> Outcome {
        let refused = match &self.rule {
            Rule::Range { min, max } => range(seen, *min, *max),
            Rule::Length { min, max } => length(parameter_type, seen, *min, *max),
            Rule::Modulo { step, offset } => modulo(seen, *step, *offset),
            Rule::AllowedValues(allowed) => allowed_values(parameter_type, seen, allowed),
            Rule::AllowedPattern(pattern) => {
                let text = python::text(seen);
                let words = || format!("\"{text}\" does not match pattern \"{}\"", pattern.text());
                (!pattern.matches(&text)).then(words)
            }
            Rule::Custom(kind) => match custom::check(kind, seen) {
                custom::Verdict::Fits => None,
                custom::Verdict::Refused(words) => Some(words),
                custom::Verdict::OnlyTheCloudKnows => {
                    return Outcome::AskTheCloud {
                        kind: kind.clone(),
                        description: self.description.clone(),
                    };
                }
            },
        };
        match refused {
            None => Outcome::Fits,
            Some(words) => Outcome::Refused(self.description.clone().unwrap_or(words)),
        }
    }
}

fn shown(bound: Option<Number>) -> String {
    bound.map_or_else(|| "None".to_owned(), |bound| bound.to_string())
}

fn within(value: Number, min: Option<Number>, max: Option<Number>) -> bool {
    min.is_none_or(|min| value >= min) && max.is_none_or(|max| value <= max)
}

fn range(seen: &Value, min: Option<Number>, max: Option<Number>) -> Option<String> {
    let value = Number::of(seen).ok()?;
    let words =
        || format!("{} is out of range (min: {}, max: {})", python::text(seen), shown(min), shown(max));
    (!within(value, min, max)).then(words)
}

fn length(parameter_type: Type, seen: &Value, min: Option<Number>, max: Option<Number>) -> Option<String> {
    let length = match seen {
        Value::Array(items) => items.len(),
        Value::Object(map) => map.len(),
        Value::String(text) => text.chars().count(),
        // Heat fails, with 500.
        _ if parameter_type == Type::Json => return Some(format!("{seen} has no length")),
        _ => python::text(seen).chars().count(),
    };
    let words = || format!("length ({length}) is out of range (min: {}, max: {})", shown(min), shown(max));
    (!within(Number::Integer(length as i128), min, max)).then(words)
}

fn modulo(seen: &Value, step: i128, offset: i128) -> Option<String> {
    let value = Number::of(seen).ok()?;
    let words = || format!("{} is not a multiple of {step} with an offset of {offset}", python::text(seen));
    (!value.is_multiple(step, offset)).then(words)
}

/// Of a list every member must be among them; anything else is compared as a value of the parameter's type.
fn allowed_values(parameter_type: Type, seen: &Value, allowed: &[Value]) -> Option<String> {
    let same = |a: &Value, b: &Value| match (a, b) {
        // Python's true is 1.
        (Value::Number(_) | Value::Bool(_), Value::Number(_) | Value::Bool(_)) => {
            Number::of(a).ok() == Number::of(b).ok()
        }
        _ => a == b,
    };
    let is_allowed = match seen {
        Value::Array(items) => items.iter().all(|item| allowed.iter().any(|allowed| same(item, allowed))),
        _ => {
            let value = parameter_type.value(seen).ok()?;
            let mut is_allowed = false;
            for allowed in allowed {
                match parameter_type.value(allowed) {
                    Ok(allowed) => is_allowed |= same(&value, &allowed),
                    Err(_) => {
                        let (text, name) = (python::text(allowed), parameter_type.name());
                        return Some(format!("Value \"{text}\" is invalid for data type \"{name}\"."));
                    }
                }
            }
            is_allowed
        }
    };
    let words = || {
        format!(
            "{} is not an allowed value {}",
            python::json(seen),
            python::json(&Value::Array(allowed.to_vec()))
        )
    };
    (!is_allowed).then(words)
}
