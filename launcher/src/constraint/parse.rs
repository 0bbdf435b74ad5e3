//! A constraint as a template writes it.

use serde_json::{Map, Value};

use super::pattern::Pattern;
use super::{Constraint, Rule};
use crate::value::{Number, python};

/// The keys of a constraint. Of several kinds in one constraint Heat takes the first of this order.
pub(crate) const KINDS: [&str; 6] =
    ["range", "length", "allowed_values", "allowed_pattern", "modulo", "custom_constraint"];

impl Constraint {
    /// Reads a constraint.
    ///
    /// # Errors
    /// Why Heat refuses every launch of a template with it, in its words.
    pub(crate) fn parse(constraint: &Value) -> Result<Self, String> {
        let keys: Vec<_> = KINDS.into_iter().chain(["description"]).collect();
        let map = mapping(constraint, &keys, "parameter constraints")?;
        let description = match map.get("description") {
            None | Some(Value::Null) => None,
            Some(value) => Some(python::text(value)).filter(|text| !text.is_empty()),
        };
        let kind = KINDS.into_iter().find_map(|kind| Some((kind, map.get(kind)?)));
        let (kind, value) = kind.ok_or("No constraint expressed")?;
        let rule = match kind {
            "range" => bounds(value, kind).map(|(min, max)| Rule::Range { min, max })?,
            "length" => length(value)?,
            "modulo" => modulo(value)?,
            "allowed_values" => {
                Rule::AllowedValues(value.as_array().cloned().ok_or("AllowedValues must be a list")?)
            }
            "allowed_pattern" => {
                Rule::AllowedPattern(Pattern::new(value.as_str().ok_or("AllowedPattern must be a string")?)?)
            }
            _ => Rule::Custom(python::text(value)),
        };
        Ok(Self { rule, description })
    }
}

type Bounds = (Option<Number>, Option<Number>);

fn bounds(value: &Value, kind: &str) -> Result<Bounds, String> {
    let map = mapping(value, &["min", "max"], &format!("{kind} constraint"))?;
    match (number(map, "min")?, number(map, "max")?) {
        (None, None) => {
            Err(format!("A {kind} constraint must have a min value and/or a max value specified."))
        }
        bounds => Ok(bounds),
    }
}

fn length(value: &Value) -> Result<Rule, String> {
    let (min, max) = bounds(value, "length")?;
    if [min, max].into_iter().flatten().any(|bound| matches!(bound, Number::Float(_))) {
        return Err("min/max length must be integral".to_owned());
    }
    Ok(Rule::Length { min, max })
}

fn modulo(value: &Value) -> Result<Rule, String> {
    let map = mapping(value, &["step", "offset"], "modulo constraint")?;
    let (Some(step), Some(offset)) = (number(map, "step")?, number(map, "offset")?) else {
        return Err("A modulo constraint must have a step value and an offset value specified.".to_owned());
    };
    let (Number::Integer(step), Number::Integer(offset)) = (step, offset) else {
        return Err("step/offset must be integer".to_owned());
    };
    if step == 0 {
        return Err("step cannot be 0.".to_owned());
    }
    if offset.unsigned_abs() >= step.unsigned_abs() {
        return Err("offset must be smaller (by absolute value) than step.".to_owned());
    }
    if (step < 0 && offset > 0) || (step > 0 && offset < 0) {
        return Err("step and offset must be both positive or both negative.".to_owned());
    }
    Ok(Rule::Modulo { step, offset })
}

fn number(map: &Map<String, Value>, key: &str) -> Result<Option<Number>, String> {
    match map.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => Number::of(value).map(Some).map_err(|problem| format!("{key}: {problem}")),
    }
}

/// The members of an object that has no other keys than these.
///
/// # Errors
/// In Heat's words.
pub(crate) fn mapping<'a>(
    value: &'a Value,
    keys: &[&str],
    what: &str,
) -> Result<&'a Map<String, Value>, String> {
    let map = value.as_object().ok_or_else(|| format!("Invalid {what}, expected a mapping"))?;
    match map.keys().find(|key| !keys.contains(&key.as_str())) {
        Some(key) => Err(format!("Invalid key '{key}' for {what}")),
        None => Ok(map),
    }
}
