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
            // Heat counts with booleans, and hands them on as they are.
            Self::Number if answer.is_boolean() => Ok(answer.clone()),
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
        Value::Array(items) => Ok(items.iter().map(python::text).collect()),
        Value::String(text) if text.is_empty() => Ok(Vec::new()),
        Value::String(text) => Ok(text.split(',').map(str::to_owned).collect()),
        _ => Err("Value must be a comma-delimited list string or a list".to_owned()),
    }
}

fn json(answer: &Value) -> Result<Value, String> {
    match answer {
        Value::String(text) if !text.is_empty() => serde_json::from_str(text)
            .map_err(|error| format!("Value must be valid JSON: {}", words_of_json(text, &error))),
        _ => Ok(answer.clone()),
    }
}

/// The words that Python's parser has for the commonest faults, with its positions; serde's for the others.
fn words_of_json(text: &str, error: &serde_json::Error) -> String {
    let serde = error.to_string();
    let serde = serde.split(" at line ").next().unwrap_or(&serde);
    let at = match serde {
        "EOF while parsing a string" => last_quote(text),
        _ if error.is_eof() => text.chars().count(),
        _ => {
            let lines = text.split_inclusive('\n').take(error.line().saturating_sub(1));
            lines.map(|line| line.chars().count()).sum::<usize>() + error.column().saturating_sub(1)
        }
    };
    let words = match serde {
        "key must be a string" => "Expecting property name enclosed in double quotes",
        "expected value" | "EOF while parsing a value" => "Expecting value",
        "expected `:`" => "Expecting ':' delimiter",
        "expected `,` or `}`" | "expected `,` or `]`" | "EOF while parsing a list" => {
            "Expecting ',' delimiter"
        }
        "EOF while parsing a string" => "Unterminated string starting at",
        "trailing characters" | "invalid number" => "Extra data",
        "trailing comma" if text.chars().nth(at) == Some('}') => {
            "Expecting property name enclosed in double quotes"
        }
        "trailing comma" => "Expecting value",
        _ => serde,
    };
    let before: String = text.chars().take(at).collect();
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    format!("{words}: line {line} column {column} (char {at})")
}

/// Where the text that is not terminated begins.
fn last_quote(text: &str) -> usize {
    let (mut start, mut inside, mut escaped) = (0, false, false);
    for (at, char) in text.chars().enumerate() {
        match char {
            _ if escaped => escaped = false,
            '\\' => escaped = inside,
            '"' => {
                inside = !inside;
                start = at;
            }
            _ => {}
        }
    }
    start
}
