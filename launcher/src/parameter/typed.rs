//! An answer as a value of its parameter's type.

use serde_json::Value;

use super::number::Number;
use super::python;

/// The type of a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Type {
    String,
    Number,
    Boolean,
    List,
    Json,
}

/// Every type with its name in a template.
pub(crate) const TYPES: [(Type, &str); 5] = [
    (Type::String, "string"),
    (Type::Number, "number"),
    (Type::Json, "json"),
    (Type::List, "comma_delimited_list"),
    (Type::Boolean, "boolean"),
];

/// What oslo.utils takes for true and for false, in any case and with blanks around.
const TRUE: [&str; 6] = ["1", "t", "true", "on", "y", "yes"];
const FALSE: [&str; 6] = ["0", "f", "false", "off", "n", "no"];

impl Type {
    pub(crate) fn of(name: &str) -> Option<Self> {
        TYPES.iter().find(|(_, known)| *known == name).map(|(found, _)| *found)
    }

    pub(crate) fn name(self) -> &'static str {
        TYPES.iter().find(|(known, _)| *known == self).map_or("", |(_, name)| name)
    }

    /// What Heat makes of an answer.
    ///
    /// # Errors
    /// In words, when it is nothing of this type.
    pub(crate) fn value(self, answer: &Value) -> Result<Value, String> {
        match self {
            Self::String => Ok(Value::String(python::text(answer))),
            Self::Number => Number::of(answer).map(Number::to_json),
            Self::Boolean => boolean(answer).map(Value::Bool),
            Self::List => list(answer).map(|items| items.into_iter().map(Value::String).collect()),
            Self::Json => json(answer),
        }
    }

    /// What the constraints of a parameter see of an answer: lists and JSON as they are read, the rest as it came.
    ///
    /// # Errors
    /// As [`Type::value`].
    pub(crate) fn seen(self, answer: &Value) -> Result<Value, String> {
        let value = self.value(answer)?;
        Ok(if matches!(self, Self::List | Self::Json) { value } else { answer.clone() })
    }
}

fn boolean(answer: &Value) -> Result<bool, String> {
    let text = python::text(answer);
    let word = text.trim().to_lowercase();
    match word.as_str() {
        word if TRUE.contains(&word) => Ok(true),
        word if FALSE.contains(&word) => Ok(false),
        _ => {
            let mut known: Vec<_> = TRUE.iter().chain(&FALSE).map(|word| format!("'{word}'")).collect();
            known.sort();
            Err(format!("Unrecognized value '{text}', acceptable values are: {}", known.join(", ")))
        }
    }
}

fn list(answer: &Value) -> Result<Vec<String>, String> {
    match answer {
        Value::Array(items) => {
            let item = |item: &Value| if item.is_null() { String::new() } else { python::text(item) };
            Ok(items.iter().map(item).collect())
        }
        Value::String(text) if text.is_empty() => Ok(Vec::new()),
        Value::String(text) => Ok(text.split(',').map(str::to_owned).collect()),
        _ => Err("Value must be a comma-delimited list string or a list".to_owned()),
    }
}

fn json(answer: &Value) -> Result<Value, String> {
    match answer {
        Value::String(text) if !text.is_empty() => serde_json::from_str(text).map_err(|error| {
            let (line, column) = (error.line(), error.column().max(1));
            let before: usize =
                text.split_inclusive('\n').take(line.saturating_sub(1)).map(|l| l.chars().count()).sum();
            let at = format!("line {line} column {column} (char {})", before + column - 1);
            format!("Value must be valid JSON: {}: {at}", words_of_json(&error.to_string()))
        }),
        _ => Ok(answer.clone()),
    }
}

/// The words that Python's parser has for the commonest faults; those of serde for the others.
fn words_of_json(serde: &str) -> &str {
    let words = serde.split(" at line ").next().unwrap_or(serde);
    match words {
        "key must be a string" => "Expecting property name enclosed in double quotes",
        "expected value" | "EOF while parsing a value" => "Expecting value",
        "expected `:`" => "Expecting ':' delimiter",
        "expected `,` or `}`" | "expected `,` or `]`" => "Expecting ',' delimiter",
        "trailing characters" => "Extra data",
        _ => words,
    }
}
