//! The two fields of a key as a client sends them, and the rules that they must keep. The rules, their order and
//! their wording are the original service's; what is new is [`Field::NotText`], which it stored as Python shows it.

use pairing_core::store::Update;
use protocol::limits::KEY_MAX_CHARS;
use serde::Serialize;

/// What was sent for one field.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) enum Field {
    /// Nothing.
    #[default]
    Missing,
    /// JSON's `null`.
    Null,
    /// A text, or a number's text.
    Text(String),
    /// A boolean, a list or an object.
    NotText,
}

/// The fields of a body.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct KeyFields {
    pub(super) key: Field,
    pub(super) value: Field,
}

/// What is wrong with which field: the body of a 400.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct FieldErrors {
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<[String; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<[String; 1]>,
}

impl KeyFields {
    /// Sets a field by its name in a form; other names are ignored. Of a field that is there twice the last counts.
    pub(super) fn put(&mut self, name: &str, text: String) {
        match name {
            "key" => self.key = Field::Text(text),
            "value" => self.value = Field::Text(text),
            _ => {}
        }
    }

    /// The key and value of a POST or PUT, which has both.
    ///
    /// # Errors
    /// What is wrong with each field.
    pub(super) fn whole(self, value_max_chars: usize) -> Result<(String, String), FieldErrors> {
        const REQUIRED: &str = "This field is required.";
        match (self.key.checked(KEY_MAX_CHARS), self.value.checked(value_max_chars)) {
            (Ok(Some(key)), Ok(Some(value))) => Ok((key, value)),
            (key, value) => {
                let error = |field: Result<Option<String>, String>| match field {
                    Ok(Some(_)) => None,
                    Ok(None) => Some([REQUIRED.to_owned()]),
                    Err(error) => Some([error]),
                };
                Err(FieldErrors { value: error(value), key: error(key) })
            }
        }
    }

    /// What a PATCH changes: the fields that it has.
    ///
    /// # Errors
    /// What is wrong with each field.
    pub(super) fn partial(self, value_max_chars: usize) -> Result<Update, FieldErrors> {
        match (self.key.checked(KEY_MAX_CHARS), self.value.checked(value_max_chars)) {
            (Ok(name), Ok(value)) => Ok(Update { name, value }),
            (key, value) => Err(FieldErrors { value: value.err().map(|e| [e]), key: key.err().map(|e| [e]) }),
        }
    }
}

impl Field {
    /// The text without the blanks around it; `None` when the field is missing.
    fn checked(self, max_chars: usize) -> Result<Option<String>, String> {
        let text = match self {
            Self::Missing => return Ok(None),
            Self::Null => return Err("This field may not be null.".to_owned()),
            Self::NotText => return Err("Not a valid string.".to_owned()),
            Self::Text(text) => text,
        };
        let trimmed = text.trim();
        if trimmed.is_empty() {
            return Err("This field may not be blank.".to_owned());
        }
        // Bytes first: counting the characters of a long text takes its time.
        if trimmed.len() > max_chars && trimmed.chars().count() > max_chars {
            return Err(format!("Ensure this field has no more than {max_chars} characters."));
        }
        Ok(Some(if trimmed.len() == text.len() { text } else { trimmed.to_owned() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUIRED: &str = "This field is required.";
    const BLANK: &str = "This field may not be blank.";

    fn text(text: &str) -> Field {
        Field::Text(text.to_owned())
    }

    fn errors(value: Option<&str>, key: Option<&str>) -> FieldErrors {
        let error = |text: &str| [text.to_owned()];
        FieldErrors { value: value.map(error), key: key.map(error) }
    }

    #[test]
    fn trims_and_wants_both_of_a_whole_key() {
        for (key, value, expected) in [
            (text(" k\t"), text("  a  b\tc\nd \n"), Ok(("k".to_owned(), "a  b\tc\nd".to_owned()))),
            (text("k"), Field::Missing, Err(errors(Some(REQUIRED), None))),
            (Field::Missing, Field::Missing, Err(errors(Some(REQUIRED), Some(REQUIRED)))),
            (text(""), text(" \t\n"), Err(errors(Some(BLANK), Some(BLANK)))),
            (Field::Null, text("v"), Err(errors(None, Some("This field may not be null.")))),
            (
                Field::NotText,
                Field::NotText,
                Err(errors(Some("Not a valid string."), Some("Not a valid string."))),
            ),
        ] {
            let shown = format!("{key:?} {value:?}");
            assert_eq!(KeyFields { key, value }.whole(1000), expected, "{shown}");
        }
    }

    #[test]
    fn counts_characters_not_bytes_and_after_trimming() {
        let whole = |key: &str, value: &str| KeyFields { key: text(key), value: text(value) }.whole(1000);
        assert!(whole(&"ü".repeat(100), &"☃".repeat(1000)).is_ok());
        assert!(whole(&format!(" {} ", "k".repeat(100)), &format!("{}\n", "v".repeat(1000))).is_ok());
        assert_eq!(
            whole(&"k".repeat(101), &"v".repeat(1001)),
            Err(errors(
                Some("Ensure this field has no more than 1000 characters."),
                Some("Ensure this field has no more than 100 characters.")
            ))
        );
    }

    #[test]
    fn changes_only_what_a_patch_has() {
        assert_eq!(KeyFields::default().partial(1000), Ok(Update::default()));
        let renamed = KeyFields { key: text("b"), value: Field::Missing };
        assert_eq!(renamed.partial(1000), Ok(Update { name: Some("b".to_owned()), value: None }));
        let blank = KeyFields { key: Field::Missing, value: text("") };
        assert_eq!(blank.partial(1000), Err(errors(Some(BLANK), None)));
    }

    #[test]
    fn names_the_value_before_the_key_as_the_original_does() {
        let json = serde_json::to_string(&errors(Some(REQUIRED), Some(BLANK))).unwrap();
        assert_eq!(json, format!(r#"{{"value":["{REQUIRED}"],"key":["{BLANK}"]}}"#));
    }
}
