//! `allowed_pattern`: a regular expression of Python.

use std::iter::Peekable;
use std::str::Chars;

use fancy_regex::{Regex, RegexBuilder};

/// How far a pattern may backtrack before it is left to Heat: SECURITY: the value comes from the request, and a pattern
/// such as `(a+)+b` takes a time that doubles with each character.
const MAX_STEPS: usize = 100_000;

/// How many bytes a compiled pattern may take.
const MAX_SIZE: usize = 4 << 20;

/// A compiled pattern.
#[derive(Debug)]
pub(super) struct Pattern {
    text: String,
    regex: Regex,
}

impl Pattern {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// In words. Heat answers 500 to every launch of a template with such a pattern.
    pub(super) fn new(text: &str) -> Result<Self, String> {
        let regex = RegexBuilder::new(&format!(r"\A(?:{})", from_python(text)))
            .backtrack_limit(MAX_STEPS)
            .delegate_size_limit(MAX_SIZE)
            .build()
            .map_err(|error| format!("allowed_pattern {text:?} is no regular expression: {error}"))?;
        Ok(Self { text: text.to_owned(), regex })
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Whether the match at the start of a value ends with it. As Heat does: the first match counts, so `a|ab` does not
    /// take `ab`. A value on which the pattern takes too long is left to Heat.
    pub(super) fn matches(&self, value: &str) -> bool {
        match self.regex.find(value) {
            Ok(found) => found.is_some_and(|found| found.end() == value.len()),
            Err(_) => true,
        }
    }
}

/// What differs between Python's syntax and that of the regex crates: `\Z` is the end of the text, and within brackets
/// `[`, `&&`, `--` and `~~` are characters as any other.
fn from_python(pattern: &str) -> String {
    let mut text = String::with_capacity(pattern.len());
    let mut chars = pattern.chars().peekable();
    while let Some(char) = chars.next() {
        match char {
            '\\' if chars.next_if_eq(&'Z').is_some() => text.push_str(r"\z"),
            '\\' => text.extend(['\\'].into_iter().chain(chars.next())),
            '[' => class(&mut chars, &mut text),
            _ => text.push(char),
        }
    }
    text
}

/// The characters of a class, after its opening bracket: all of them escaped that mean something elsewhere.
fn class(chars: &mut Peekable<Chars<'_>>, text: &mut String) {
    text.push('[');
    text.extend(chars.next_if_eq(&'^'));
    // A bracket in the first place, and a hyphen beside no character or a range, are characters.
    let (mut first, mut after_character, mut in_range) = (true, false, false);
    while let Some(char) = chars.next() {
        match char {
            ']' if !first => return text.push(']'),
            '-' if after_character && chars.peek().is_some_and(|next| *next != ']') => {
                text.push('-');
                (after_character, in_range) = (false, true);
                continue;
            }
            '\\' => text.extend(['\\'].into_iter().chain(chars.next())),
            '[' | ']' | '&' | '~' | '-' | '^' => text.extend(['\\', char]),
            _ => text.push(char),
        }
        (first, after_character, in_range) = (false, !in_range, false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_as_python_does() {
        for (pattern, value, wanted) in [
            ("[a-z]+", "abc", true),
            ("[a-z]+", "abc\n", false),
            ("^a$", "a\n", false),
            ("a|ab", "ab", false),
            ("(a|ab)$", "ab", true),
            (r"\d+(?=x)", "1", false),
            (r"(?!root$)[a-z]+", "root", false),
            (r"(?!root$)[a-z]+", "roots", true),
            (r"(?<!x)y", "y", true),
            (r"(\w)\1", "aa", true),
            (r"(?P<c>\w)(?P=c)", "ab", false),
            (r"a\Z", "a", true),
            ("[]a]+", "]a", true),
            ("[^]a]+", "bc", true),
            ("[[&&~~]+", "[&~", true),
            ("[+--]+", "+,-", true),
            ("[+--]+", "*", false),
            ("[--/]+", "-./", true),
            ("[a-c-]+", "b-", true),
            ("[-a]+", "-a", true),
            ("[a^]+", "a^", true),
            (r"[\w-]+", "a-b", true),
            (r"[\]\[]+", "[]", true),
            ("(?i)abc", "ABC", true),
            ("", "", true),
            ("ü+", "üü", true),
        ] {
            assert_eq!(Pattern::new(pattern).map(|p| p.matches(value)), Ok(wanted), "{pattern} {value:?}");
        }
        assert!(Pattern::new("(").unwrap_err().contains("no regular expression"));
    }

    #[test]
    fn leaves_a_value_to_heat_that_would_take_for_ever() {
        let pattern = Pattern::new(r"(?=(a+))((a|a)+)+\1b").unwrap();
        assert!(pattern.matches(&"a".repeat(40)));
    }
}
