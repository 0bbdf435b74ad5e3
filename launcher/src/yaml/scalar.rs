//! What a scalar is by YAML 1.1, as PyYAML's resolver and constructors have it.

use std::sync::LazyLock;

use regex_lite::Regex;
use saphyr_parser::{ScalarStyle, Tag};
use serde_json::Number;

use super::Content;

/// A pattern that is compiled when it is first used.
macro_rules! pattern {
    ($($text:expr),+) => {
        LazyLock::new(|| Regex::new(concat!($($text),+)).expect("a constant pattern compiles"))
    };
}

/// Binary, octal (a leading 0), decimal, hexadecimal, sexagesimal. Underscores count for nothing.
static INTEGER: LazyLock<Regex> =
    pattern!(r"^[-+]?(?:0b[01_]+|0[0-7_]+|0|[1-9][0-9_]*|0x[0-9a-fA-F_]+|[1-9][0-9_]*(?::[0-5]?[0-9])+)$");

/// A point is wanted, and a sign in the exponent: `1e3` is a text.
static FLOAT: LazyLock<Regex> = pattern!(
    r"^(?:[-+]?[0-9][0-9_]*\.[0-9_]*(?:[eE][-+][0-9]+)?|\.[0-9][0-9_]*(?:[eE][-+][0-9]+)?",
    r"|[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+\.[0-9_]*)$"
);

static NOT_FINITE: LazyLock<Regex> = pattern!(r"^(?:[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$");

static DATE: LazyLock<Regex> = pattern!(
    r"^(?:\d{4}-\d\d-\d\d|\d{4}-\d\d?-\d\d?(?:[Tt]|[ \t]+)\d\d?:\d\d:\d\d(?:\.\d*)?",
    r"(?:[ \t]*(?:Z|[-+]\d\d?(?::\d\d)?))?)$"
);

/// What a scalar is.
///
/// # Errors
/// In words, when PyYAML refuses it, or when JSON has nothing for it.
pub(super) fn resolve(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Result<Content, String> {
    // "!" alone says nothing to PyYAML.
    let is_alone =
        |tag: &Tag| tag.handle.is_empty() && tag.suffix == "!" || tag.handle == "!" && tag.suffix.is_empty();
    let Some(tag) = tag.filter(|tag| !is_alone(tag)) else {
        return if style == ScalarStyle::Plain { plain(text) } else { Ok(Content::Text(text.to_owned())) };
    };
    let wrong = || format!("{text:?} is not what its tag !!{} says", tag.suffix);
    match tag.suffix.as_str() {
        _ if !tag.is_yaml_core_schema() => Err(unknown_tag(tag)),
        "str" => Ok(Content::Text(text.to_owned())),
        "null" => Ok(Content::Null),
        "bool" => boolean(&text.to_ascii_lowercase()).map(Content::Boolean).ok_or_else(wrong),
        "int" => integer(text).map(Content::Number).ok_or_else(wrong),
        "float" => float(text)
            .or_else(|| Number::from_f64(integer(text)?.as_f64()?))
            .map(Content::Number)
            .ok_or_else(wrong),
        "timestamp" if DATE.is_match(text) => Ok(Content::Date(text.to_owned())),
        _ => Err(unknown_tag(tag)),
    }
}

/// What is said of a tag that stands for no value of JSON.
pub(super) fn unknown_tag(tag: &Tag) -> String {
    let name = if tag.is_yaml_core_schema() { "!!" } else { tag.handle.as_str() };
    format!("the tag {name}{} is not understood; leave it out", tag.suffix)
}

fn plain(text: &str) -> Result<Content, String> {
    Ok(match text {
        "" | "~" | "null" | "Null" | "NULL" => Content::Null,
        "<<" => Content::Merge,
        "=" => return Err("= alone has no value in YAML 1.1; put it in quotes".to_owned()),
        _ if NOT_FINITE.is_match(text) => {
            return Err(format!("{text} is a number that JSON does not have; put it in quotes for a text"));
        }
        _ if DATE.is_match(text) => Content::Date(text.to_owned()),
        _ => match boolean(text) {
            Some(boolean) => Content::Boolean(boolean),
            None => match integer(text).or_else(|| float(text)) {
                Some(number) => Content::Number(number),
                None => Content::Text(text.to_owned()),
            },
        },
    })
}

fn boolean(text: &str) -> Option<bool> {
    match text {
        "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => Some(true),
        "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => Some(false),
        _ => None,
    }
}

fn integer(text: &str) -> Option<Number> {
    if !INTEGER.is_match(text) {
        return None;
    }
    let text = text.replace('_', "");
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(&text)),
    };
    let parse = |digits: &str, radix| i128::from_str_radix(digits, radix).ok();
    let value = if let Some(digits) = digits.strip_prefix("0b") {
        parse(digits, 2)
    } else if let Some(digits) = digits.strip_prefix("0x") {
        parse(digits, 16)
    } else if digits.len() > 1 && digits.starts_with('0') {
        parse(digits, 8)
    } else {
        digits.split(':').try_fold(0_i128, |sum, part| sum.checked_mul(60)?.checked_add(parse(part, 10)?))
    };
    let value = value.map(|value| if negative { -value } else { value });
    match value.and_then(|value| {
        let unsigned = u64::try_from(value).map(Number::from).ok();
        unsigned.or_else(|| i64::try_from(value).map(Number::from).ok())
    }) {
        Some(number) => Some(number),
        // More than 64 bits: a JSON number keeps its size, not its last digits.
        None => text.parse().ok().and_then(Number::from_f64),
    }
}

fn float(text: &str) -> Option<Number> {
    if !FLOAT.is_match(text) {
        return None;
    }
    let text = text.replace('_', "");
    let negative = text.starts_with('-');
    let digits = text.trim_start_matches(['-', '+']);
    let value = digits.split(':').try_fold(0.0, |sum, part| Some(sum * 60.0 + part.parse::<f64>().ok()?))?;
    Number::from_f64(if negative { -value } else { value })
}
