//! Keys: the names under a pin.

use std::net::IpAddr;

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

/// Whether a `master_ready` of this value is that of the master at `address`. An old master's value, which is not an
/// address, counts for any, unless it says no.
#[must_use]
pub fn is_ready_for(ready: &str, address: &str) -> bool {
    match ready.parse::<IpAddr>() {
        Ok(ready) => address.parse() == Ok(ready),
        Err(_) => !["no", "off", "false", "0"].iter().any(|no| ready.eq_ignore_ascii_case(no)),
    }
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
    fn a_master_is_ready_at_the_address_that_it_names() {
        for (ready, address, is_ready) in [
            ("10.0.0.1", "10.0.0.1", true),
            ("10.0.0.2", "10.0.0.1", false),
            ("fd00::1", "fd00:0::1", true),
            ("yes", "10.0.0.1", true),
            ("No", "10.0.0.1", false),
            ("0", "10.0.0.1", false),
        ] {
            assert_eq!(is_ready_for(ready, address), is_ready, "{ready} {address}");
        }
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
