//! Values as Python writes them: Heat is written in Python, and its texts of values that are no texts are Python's.

use serde_json::{Number, Value};

/// `str(value)`.
pub(crate) fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        _ => repr(value),
    }
}

/// `repr(value)`.
pub(crate) fn repr(value: &Value) -> String {
    let join = |parts: Vec<String>| parts.join(", ");
    match value {
        Value::Null => "None".to_owned(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::Number(number) => self::number(number),
        Value::String(text) => quoted(text),
        Value::Array(items) => format!("[{}]", join(items.iter().map(repr).collect())),
        Value::Object(map) => {
            format!(
                "{{{}}}",
                join(map.iter().map(|(key, item)| format!("{}: {}", quoted(key), repr(item))).collect())
            )
        }
    }
}

/// `json.dumps(value)`: ASCII, with a blank after commas and colons.
pub(crate) fn json(value: &Value) -> String {
    let join = |parts: Vec<String>| parts.join(", ");
    match value {
        Value::Null | Value::Bool(_) => value.to_string(),
        Value::Number(number) => self::number(number),
        Value::String(text) => ascii(&Value::from(text.as_str()).to_string()),
        Value::Array(items) => format!("[{}]", join(items.iter().map(json).collect())),
        Value::Object(map) => {
            let member = |(key, item): (&String, &Value)| {
                format!("{}: {}", ascii(&Value::from(key.as_str()).to_string()), json(item))
            };
            format!("{{{}}}", join(map.iter().map(member).collect()))
        }
    }
}

/// The text of a number: that of a float always has a point or an exponent.
pub(crate) fn number(number: &Number) -> String {
    match number.as_f64() {
        Some(float) if number.is_f64() => self::float(float),
        _ => number.to_string(),
    }
}

/// The shortest text that stands for the same float; with an exponent below 1e-4 and from 1e16.
pub(crate) fn float(value: f64) -> String {
    let size = value.abs();
    if size != 0.0 && !(1e-4..1e16).contains(&size) {
        let text = format!("{value:e}");
        let Some((digits, exponent)) = text.split_once('e') else { return text };
        let (sign, exponent) = match exponent.strip_prefix('-') {
            Some(exponent) => ('-', exponent),
            None => ('+', exponent),
        };
        return format!("{digits}e{sign}{exponent:0>2}");
    }
    format!("{value:?}")
}

/// Single quotes, unless the text has some and no double ones.
fn quoted(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    let mut quoted = String::from(quote);
    for char in text.chars() {
        match char {
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            _ if char == quote => quoted.extend(['\\', char]),
            _ if char.is_ascii_control() => quoted.push_str(&format!("\\x{:02x}", u32::from(char))),
            _ => quoted.push(char),
        }
    }
    quoted.push(quote);
    quoted
}

fn ascii(json: &str) -> String {
    let mut text = String::new();
    for char in json.chars() {
        if char.is_ascii() {
            text.push(char);
        } else {
            let mut units = [0; 2];
            for unit in char.encode_utf16(&mut units) {
                text.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    #[test]
    fn writes_values_as_python_does() {
        for (value, repr, dumps) in [
            (json!([1, true, null, "a"]), "[1, True, None, 'a']", "[1, true, null, \"a\"]"),
            (json!({"a": {"b": [0.5]}}), "{'a': {'b': [0.5]}}", "{\"a\": {\"b\": [0.5]}}"),
            (json!("it's"), "\"it's\"", "\"it's\""),
            (json!("a\nü😀"), "'a\\nü😀'", "\"a\\n\\u00fc\\ud83d\\ude00\""),
            (json!(1000.0), "1000.0", "1000.0"),
            (json!(1e16), "1e+16", "1e+16"),
            (json!(1.5e-7), "1.5e-07", "1.5e-07"),
            (json!(-0.0), "-0.0", "-0.0"),
        ] {
            assert_eq!(super::repr(&value), repr);
            assert_eq!(super::json(&value), dumps);
        }
        assert_eq!(super::text(&json!("x")), "x");
    }
}
