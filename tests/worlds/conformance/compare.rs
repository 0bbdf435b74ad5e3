//! When an answer is as the recorded one: status equal; media type and parameters without regard to case, `q`
//! dropped, anything where the reference sent none; JSON by value, text by bytes, nothing where there was nothing;
//! `Allow` as a set wherever the reference sent it.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;
use worlds::http::Response;

use crate::record::{Aspect, RecordedResponse, ResponseBody};
use crate::template::{ANY, Variables, fill, fill_tree};

/// What differs between the recorded answer and the one that came.
pub(crate) fn differences(
    expected: &RecordedResponse,
    got: &Response,
    method: &str,
    variables: &Variables,
) -> Vec<String> {
    let differs = |aspect: &Aspect| match aspect {
        Aspect::Status => differs("status", &expected.status, &got.status),
        Aspect::ContentType => content_type(expected, got),
        Aspect::Body if method == "HEAD" => None,
        Aspect::Body => body(&expected.body, &got.body, variables),
        Aspect::Allow => allow(expected, got),
    };
    expected.compare.iter().filter_map(differs).collect()
}

fn differs<T: PartialEq + std::fmt::Debug>(what: &str, expected: &T, got: &T) -> Option<String> {
    (expected != got).then(|| format!("{what}: expected {expected:?}, got {got:?}"))
}

fn content_type(expected: &RecordedResponse, got: &Response) -> Option<String> {
    let expected = expected.headers.get("Content-Type")?;
    let got = got.headers.get("Content-Type").unwrap_or_else(|| "none".into());
    differs("content-type", &media_type(expected), &media_type(&got))
}

/// Type and parameters, in lower case, without `q`, which the reference echoed from the Accept header.
fn media_type(value: &str) -> (String, BTreeMap<String, String>) {
    let mut pieces = value.split(';').map(|piece| piece.trim().to_lowercase());
    let name = pieces.next().unwrap_or_default();
    let parameters = pieces.filter(|piece| !piece.is_empty()).map(|piece| {
        let (name, value) = piece.split_once('=').unwrap_or((&piece, ""));
        (name.trim().to_owned(), value.trim().trim_matches('"').to_owned())
    });
    (name, parameters.filter(|(name, _)| name != "q").collect())
}

fn allow(expected: &RecordedResponse, got: &Response) -> Option<String> {
    let expected = methods(expected.headers.get("Allow")?);
    differs("allow", &expected, &methods(&got.headers.get("Allow").unwrap_or_default()))
}

fn methods(allow: &str) -> BTreeSet<String> {
    allow.split(',').map(|m| m.trim().to_uppercase()).filter(|m| !m.is_empty()).collect()
}

fn body(expected: &ResponseBody, got: &[u8], variables: &Variables) -> Option<String> {
    let bytes = match expected {
        ResponseBody::Unrecorded => return None,
        ResponseBody::Json { json } => return json_body(&fill_tree(json, variables), got),
        ResponseBody::Text { text } => fill(text, variables).into_bytes(),
        ResponseBody::Base64 { base64 } => BASE64_STANDARD.decode(base64).expect("the record is base64"),
        ResponseBody::Empty => Vec::new(),
    };
    (bytes != got).then(|| {
        let (expected, got) = (String::from_utf8_lossy(&bytes), String::from_utf8_lossy(got));
        format!("body: expected {expected:?}, got {got:?}")
    })
}

fn json_body(expected: &Value, got: &[u8]) -> Option<String> {
    match serde_json::from_slice(got) {
        Ok(got) if same(expected, &got) => None,
        Ok(got) => Some(format!("body: expected {expected}, got {got}")),
        Err(e) => Some(format!("body: expected JSON, got {:?} ({e})", String::from_utf8_lossy(got))),
    }
}

/// Whether JSON values are equal: `true` is not `1`, but `1` is `1.0`, and `{{any}}` matches any text.
fn same(expected: &Value, got: &Value) -> bool {
    match (expected, got) {
        (Value::String(expected), Value::String(got)) => text_matches(expected, got),
        (Value::Number(expected), Value::Number(got)) => {
            expected == got || expected.as_f64().is_some_and(|number| got.as_f64() == Some(number))
        }
        (Value::Array(expected), Value::Array(got)) => {
            expected.len() == got.len() && expected.iter().zip(got).all(|(a, b)| same(a, b))
        }
        (Value::Object(expected), Value::Object(got)) => {
            expected.len() == got.len()
                && expected.iter().all(|(name, value)| got.get(name).is_some_and(|other| same(value, other)))
        }
        _ => expected == got,
    }
}

/// Whether a text is the expected one, in which each `{{any}}` stands for any text, also none.
fn text_matches(expected: &str, got: &str) -> bool {
    let Some((before, after)) = expected.split_once(ANY) else { return expected == got };
    got.strip_prefix(before).is_some_and(|rest| {
        let mut tails = rest.char_indices().map(|(at, _)| &rest[at..]).chain([""]);
        tails.any(|tail| text_matches(after, tail))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn compares_json_by_value() {
        for (expected, got, equal) in [
            (json!({"a": 1, "b": [true]}), json!({"b": [true], "a": 1}), true),
            (json!(1), json!(1.0), true),
            (json!(true), json!(1), false),
            (json!(null), json!(""), false),
            (json!({"a": 1}), json!({"a": 1, "b": 2}), false),
            (json!([1]), json!([1, 1]), false),
            (json!("JSON parse error - {{any}}"), json!("JSON parse error - what ever"), true),
            (json!("JSON parse error - {{any}}"), json!("JSON parse error"), false),
            (json!("got {{any}}."), json!("got list"), false),
            (json!("a{{any}}b{{any}}c"), json!("a-b-b-c"), true),
            (json!("a{{any}}b{{any}}c"), json!("a-c"), false),
            (json!("{{any}}"), json!(""), true),
            (json!("{{any}}"), json!(1), false),
        ] {
            assert_eq!(same(&expected, &got), equal, "{expected} and {got}");
        }
    }

    #[test]
    fn compares_media_types_without_case_and_q() {
        assert_eq!(media_type("Text/Plain; Charset=\"UTF-8\""), media_type("text/plain;charset=utf-8"));
        assert_eq!(media_type("application/json; q=0.5"), media_type("application/json"));
        assert_ne!(media_type("text/plain"), media_type("text/plain; charset=utf-8"));
    }

    #[test]
    fn compares_methods_as_a_set() {
        assert_eq!(methods("GET, POST"), methods("post,GET"));
        assert_ne!(methods("GET"), methods("GET, HEAD"));
    }
}
