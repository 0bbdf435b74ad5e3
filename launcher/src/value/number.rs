//! Numbers as Heat reads them: whole ones stay exact, others are floats.

use std::cmp::Ordering;
use std::fmt;
use std::sync::LazyLock;

use regex_lite::Regex;
use serde_json::{Number as JsonNumber, Value};

use super::python;

/// What Python's `float` takes, without infinity, "not a number" and underscores.
static FLOAT: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"^[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?$")
        .expect("a constant pattern compiles")
});

/// A number.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Number {
    Integer(i128),
    Float(f64),
}

impl Number {
    /// The number that an answer stands for: a number, a boolean (1 or 0), or a text with blanks around it.
    ///
    /// # Errors
    /// In words, for anything else.
    pub(crate) fn of(value: &Value) -> Result<Self, String> {
        match value {
            Value::Number(number) => Ok(Self::of_json(number)),
            Value::Bool(boolean) => Ok(Self::Integer(i128::from(*boolean))),
            Value::String(text) => {
                // Python's own words, which Heat hands on.
                let error = || format!("could not convert string to float: {}", python::repr(value));
                Self::of_text(text.trim()).ok_or_else(error)
            }
            Value::Null => Err("a number is wanted, not null".to_owned()),
            Value::Array(_) => Err("a number is wanted, not a list".to_owned()),
            Value::Object(_) => Err("a number is wanted, not an object".to_owned()),
        }
    }

    fn of_json(number: &JsonNumber) -> Self {
        let integer = number.as_i128().filter(|_| !number.is_f64());
        integer.map_or_else(|| Self::Float(number.as_f64().unwrap_or(f64::NAN)), Self::Integer)
    }

    fn of_text(text: &str) -> Option<Self> {
        if let Ok(integer) = text.parse() {
            return Some(Self::Integer(integer));
        }
        let float = FLOAT.is_match(text).then(|| text.parse::<f64>().ok()).flatten()?;
        float.is_finite().then_some(Self::Float(float))
    }

    /// The number in JSON. Beyond 64 bits only its size is kept.
    pub(crate) fn to_json(self) -> Value {
        match self {
            Self::Integer(integer) => {
                JsonNumber::from_i128(integer).map_or_else(|| float(integer as f64), Value::Number)
            }
            Self::Float(value) => float(value),
        }
    }

    /// Without the fraction; what is less than 0 is 0, what is more than 64 bits the most that they hold.
    pub(crate) fn to_u64(self) -> u64 {
        match self {
            Self::Integer(integer) => u64::try_from(integer.max(0)).unwrap_or(u64::MAX),
            Self::Float(float) => {
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates")]
                let whole = float as u64;
                whole
            }
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "compared with a float, which has no more digits")]
    fn as_f64(self) -> f64 {
        match self {
            Self::Integer(integer) => integer as f64,
            Self::Float(float) => float,
        }
    }

    /// Whether the rest of a division by `step` is `offset`. The rest has the sign of the step, as in Python.
    #[expect(clippy::cast_precision_loss, reason = "a float divided by it has no more digits")]
    pub(crate) fn is_multiple(self, step: i128, offset: i128) -> bool {
        match self {
            Self::Integer(integer) => {
                let rest = integer.wrapping_rem(step);
                let rest = if rest != 0 && (rest < 0) != (step < 0) { rest + step } else { rest };
                rest == offset
            }
            Self::Float(float) => {
                let step = step as f64;
                (float - step * (float / step).floor() - offset as f64).abs() < f64::EPSILON
            }
        }
    }
}

fn float(value: f64) -> Value {
    JsonNumber::from_f64(value).map_or(Value::Null, Value::Number)
}

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        self.partial_cmp(other) == Some(Ordering::Equal)
    }
}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Integer(a), Self::Integer(b)) => Some(a.cmp(b)),
            _ => self.as_f64().partial_cmp(&other.as_f64()),
        }
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer(integer) => write!(f, "{integer}"),
            Self::Float(float) => f.write_str(&python::float(*float)),
        }
    }
}
