//! Keys: the names under a pin.

/// The key that holds the master's address.
pub const MASTER_IP: &str = "master_ip";
/// The key that exists once the master has booted. Our agents put the address that is ready as its value.
pub const MASTER_READY: &str = "master_ready";

/// Whether a URL of API v1 can address a key of this name: `[a-zA-Z0-9_-]+`. The service stores others too
/// (POST carries the name in its body); they only show in the list.
#[must_use]
pub fn is_addressable(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

/// The line that a GET of a key answers as `text/plain`.
#[must_use]
pub fn to_line(name: &str, value: &str) -> String {
    [name, ": ", value].concat()
}

/// The value in such a line; `None` when the line is not one of this key.
#[must_use]
pub fn from_line<'a>(name: &str, line: &'a str) -> Option<&'a str> {
    line.strip_prefix(name)?.strip_prefix(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_back_its_own_line() {
        assert_eq!(from_line(MASTER_IP, &to_line(MASTER_IP, "10.10.25.5")), Some("10.10.25.5"));
        assert_eq!(from_line(MASTER_IP, &to_line(MASTER_IP, "a: b")), Some("a: b"));
        assert_eq!(from_line(MASTER_IP, "master_ready: yes"), None);
        assert_eq!(from_line(MASTER_IP, "<html>"), None);
    }

    #[test]
    fn knows_what_a_url_can_address() {
        for name in ["master_ip", "A-b_9", "-", "0"] {
            assert!(is_addressable(name), "{name}");
        }
        for name in ["", "a.b", "a b", "ü", "a/b"] {
            assert!(!is_addressable(name), "{name}");
        }
    }
}
