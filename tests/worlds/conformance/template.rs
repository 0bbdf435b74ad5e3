//! Variables in the records: `{{pin}}` stands for what an earlier answer of the scenario said.

use std::collections::BTreeMap;

use serde_json::Value;

/// What matches any text; only in expected JSON.
pub(crate) const ANY: &str = "{{any}}";

/// The variables of one scenario.
pub(crate) type Variables = BTreeMap<String, String>;

/// Puts the values of variables into a text. A variable that nothing has set stays, and will not match.
pub(crate) fn fill(text: &str, variables: &Variables) -> String {
    variables
        .iter()
        .fold(text.to_owned(), |text, (name, value)| text.replace(&format!("{{{{{name}}}}}"), value))
}

/// The same in every text of a JSON value.
pub(crate) fn fill_tree(value: &Value, variables: &Variables) -> Value {
    match value {
        Value::String(text) => Value::String(fill(text, variables)),
        Value::Array(items) => items.iter().map(|item| fill_tree(item, variables)).collect(),
        Value::Object(members) => {
            members.iter().map(|(name, item)| (fill(name, variables), fill_tree(item, variables))).collect()
        }
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn fills_what_is_set_and_leaves_the_rest() {
        let variables = Variables::from([("pin".into(), "abc".into()), ("pin2".into(), "def".into())]);
        assert_eq!(fill("/{{pin}}/{{pin2}}/{{any}}/{{pin3}}", &variables), "/abc/def/{{any}}/{{pin3}}");
        assert_eq!(fill_tree(&json!({"p": ["{{pin}}", 1]}), &variables), json!({"p": ["abc", 1]}));
    }
}
