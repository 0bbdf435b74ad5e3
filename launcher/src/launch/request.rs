//! What is asked for: a cluster of a type, by name.

use serde_json::{Map, Value};

/// Longest name, in characters. Heat takes 255 with the suffix, and gives nested stacks names that are some forty
/// characters longer.
const NAME_MAX: usize = 60;
/// What stands between a cluster's name and the suffix that makes its stack's name the only one.
const BEFORE_SUFFIX: &str = "--";

/// A request for a cluster.
#[derive(Debug, Clone)]
pub struct Request {
    /// What the cluster is called.
    pub name: String,
    /// The id of its type.
    pub cluster_type: String,
    /// The answers, by parameter.
    pub answers: Map<String, Value>,
    /// Which optional components are wanted.
    pub selections: Map<String, Value>,
}

impl Request {
    /// Why the name cannot be that of a stack; `None` when it can.
    #[must_use]
    pub fn problem_of_name(&self) -> Option<String> {
        let name = &self.name;
        let first = name.starts_with(|c: char| c.is_ascii_alphabetic());
        let all = name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'));
        if !(first && all) {
            return Some("a name begins with a letter and has letters, digits and _ - . only".to_owned());
        }
        (name.len() > NAME_MAX).then(|| format!("a name has at most {NAME_MAX} characters"))
    }

    /// A name for the stack that no other has: the cluster's, and 16 random bytes, as the original makes it.
    ///
    /// # Errors
    /// The system has no randomness to give.
    pub(super) fn stack_name(&self) -> Result<String, getrandom::Error> {
        use base64::Engine as _;
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes)?;
        let suffix = base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(bytes);
        Ok(format!("{}{BEFORE_SUFFIX}{suffix}", self.name))
    }
}

/// The name of the cluster that a stack belongs to.
#[must_use]
pub fn base_name(stack_name: &str) -> &str {
    stack_name.split_once(BEFORE_SUFFIX).map_or(stack_name, |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> Request {
        let (answers, selections) = Default::default();
        Request { name: name.to_owned(), cluster_type: "t".to_owned(), answers, selections }
    }

    #[test]
    fn takes_the_names_that_heat_takes_for_nested_stacks_too() {
        let long = "a".repeat(NAME_MAX);
        for good in ["a", "A-1_b.c", long.as_str()] {
            assert_eq!(named(good).problem_of_name(), None, "{good}");
        }
        for bad in ["", "1a", "-a", "ä", "a b", "a/b", &format!("{long}a")] {
            assert!(named(bad).problem_of_name().is_some(), "{bad}");
        }
    }

    #[test]
    fn no_two_stacks_have_one_name() {
        let request = named("lab");
        let (one, two) = (request.stack_name().unwrap(), request.stack_name().unwrap());
        assert_ne!(one, two);
        assert_eq!((one.len(), base_name(&one)), ("lab--".len() + 22, "lab"));
    }
}
