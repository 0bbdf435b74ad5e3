//! What a value must be before it goes into a context: values land in scripts that root runs, so that a holder of
//! the pin must not be able to put syntax there.

use std::net::IpAddr;

use protocol::error::{Error, Status};
use protocol::key::MASTER_IP;
use protocol::limits::VALUE_MAX_CHARS;
use protocol::node;

/// What a value may hold besides ASCII letters and digits: enough for tokens, addresses, paths, lists and base64, and
/// nothing that a shell, YAML, JSON or INI takes for syntax in the middle of a word.
const PUNCTUATION: &str = "._-+/=:@,~%";

const UNSAFE: &str = "has a character in it that a script may take for syntax (ASCII letters, digits, blanks and \
                      ._-+/=:@,~% are safe)";

/// Whose value it is that is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Ours, to be published.
    Published,
    /// The service's answer.
    Received,
}

/// Whether a slave may put `value` in the place of a placeholder for `key`.
///
/// # Errors
/// [`Status::BadContext`] or [`Status::Nonsense`]; the message does not show the value.
pub fn check(key: &str, value: &str, origin: Origin) -> Result<(), Error> {
    match problem(key, value) {
        None => Ok(()),
        Some(problem) => {
            let status = match origin {
                Origin::Published => Status::BadContext,
                Origin::Received => Status::Nonsense,
            };
            Err(Error::unsafe_value(status, key, problem))
        }
    }
}

fn problem(key: &str, value: &str) -> Option<&'static str> {
    if key == MASTER_IP {
        let is_address = value.parse::<IpAddr>().is_ok() || is_host_name(value);
        return (!is_address).then_some("is neither an IP address nor a host name");
    }
    // Only the kind of a bad character is named: a character of a secret is a part of it.
    value
        .chars()
        .find_map(|c| match c {
            '\n' | '\r' => Some("has a line end in it"),
            c if c.is_control() => Some("has a control character in it"),
            c if !c.is_ascii() => Some("has a character in it that is not ASCII"),
            ' ' => None,
            c if c.is_ascii_alphanumeric() || PUNCTUATION.contains(c) => None,
            _ => Some(UNSAFE),
        })
        .or_else(|| value.is_empty().then_some("is empty"))
        .or_else(|| (value.trim() != value).then_some("begins or ends with a blank"))
        .or_else(|| (value.len() > VALUE_MAX_CHARS).then_some("is longer than any service takes"))
}

/// A host name whose last label is not a number, so that a misspelt IPv4 address is none.
fn is_host_name(text: &str) -> bool {
    let last = text.rsplit('.').next().unwrap_or_default();
    node::is_host_name(text) && !last.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn takes_addresses_and_host_names_for_master_ip() {
        let long_label = format!("{}.ch", "a".repeat(63));
        for value in [
            "10.0.0.1",
            "2001:db8::1",
            "::ffff:10.0.0.1",
            "master",
            "node-1.example.org",
            "3com.com",
            &long_label,
        ] {
            assert_eq!(problem(MASTER_IP, value), None, "{value}");
        }
        let too_long = format!("{}.ch", "a".repeat(64));
        for value in [
            "",
            " ",
            "10.0.0",
            "10.0.0.256",
            "10.0.0.1/24",
            "10.0.0.1\n",
            " 10.0.0.1",
            "[::1]",
            "fe80::1%eth0",
            "a..b",
            "a.",
            ".a",
            "-a",
            "a-",
            "a_b",
            "a b",
            "$(reboot)",
            "mäster",
            &too_long,
            &"a.".repeat(127),
        ] {
            assert_eq!(
                problem(MASTER_IP, value),
                Some("is neither an IP address nor a host name"),
                "{value}"
            );
        }
    }

    #[test]
    fn takes_tokens_and_base64_for_other_keys() {
        let munge_key = "A".repeat(1368);
        for value in ["K10a::server:b4f", "dG9rZW4=", "/srv/nfs", "a b", "x@y,z~1%", "0", &munge_key] {
            assert_eq!(problem("k3s_token", value), None, "{value}");
        }
    }

    #[test]
    fn refuses_what_a_script_may_take_for_syntax() {
        for bad in [
            "'", "\"", "`", "$", "\\", ";", "&", "|", "<", ">", "(", ")", "{", "}", "[", "]", "*", "?", "!",
            "#", "^",
        ] {
            assert!(problem("token", &format!("a{bad}b")).unwrap().contains("syntax"), "{bad}");
        }
        for (value, expected) in [
            ("a\nb", "line end"),
            ("a\r", "line end"),
            ("a\0", "control"),
            ("a\tb", "control"),
            ("\u{7f}", "control"),
            ("\u{85}", "control"),
            ("é", "not ASCII"),
            ("", "empty"),
            (" a", "blank"),
            ("a ", "blank"),
        ] {
            assert!(problem("token", value).unwrap().contains(expected), "{value:?}");
        }
        assert!(problem("token", &"a".repeat(VALUE_MAX_CHARS + 1)).unwrap().contains("longer"));
    }

    #[test]
    fn says_whose_fault_it_is_and_shows_no_value() {
        for (origin, status) in
            [(Origin::Published, Status::BadContext), (Origin::Received, Status::Nonsense)]
        {
            let error = check("k3s_token", "s3cr3t$", origin).unwrap_err();
            assert_eq!(error.status(), status);
            assert!(error.to_string().starts_with("the value of 'k3s_token' has a character"), "{error}");
            assert!(!format!("{error:?}").contains("s3cr3t"));
        }
    }

    proptest! {
        #[test]
        fn lets_nothing_but_its_alphabet_through(value in ".{0,20}", key in "master_ip|token") {
            if check(&key, &value, Origin::Received).is_ok() {
                let safe = |c: char| c.is_ascii_alphanumeric() || c == ' ' || PUNCTUATION.contains(c);
                prop_assert!(!value.is_empty() && value.chars().all(safe));
            }
        }
    }
}
