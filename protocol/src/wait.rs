//! `Prefer: wait=N` (RFC 7240 section 4.3): the long poll on a key.

/// Longest wait that the service grants, in seconds: middleboxes cut at 60.
pub const MAX_SECONDS: u64 = 50;

/// The request header, and the one that tells what was granted (RFC 7240 sections 2 and 3).
pub const PREFER: &str = "prefer";
/// Its presence in an answer, whatever the status, says that the service knows how to wait.
pub const PREFERENCE_APPLIED: &str = "preference-applied";

/// The header's value for a wait of so many seconds.
#[must_use]
pub fn header_value(seconds: u64) -> String {
    format!("wait={seconds}")
}

/// The seconds of the first `wait` preference in a `Prefer` or `Preference-Applied` value; `None` when there is
/// none or it is not a number (RFC 7240 section 2: a preference that is not understood is ignored).
///
/// Preferences are separated by commas, their parameters by semicolons; names are case-insensitive, blanks around
/// `=` are allowed, and the value may be quoted.
#[must_use]
pub fn parse(header: &str) -> Option<u64> {
    header.split(',').find_map(|preference| {
        let (name, value) = preference.split(';').next()?.split_once('=')?;
        let value = value.trim();
        let value = value.strip_prefix('"').and_then(|v| v.strip_suffix('"')).unwrap_or(value);
        let digits = name.trim().eq_ignore_ascii_case("wait") && value.bytes().all(|b| b.is_ascii_digit());
        digits.then(|| value.parse().ok()).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_wait_as_rfc_7240_writes_it() {
        for (header, seconds) in [
            ("wait=50", Some(50)),
            ("respond-async, wait=100", Some(100)),
            ("Wait = \"7\"", Some(7)),
            ("wait=10; foo=bar", Some(10)),
            ("wait=1, wait=2", Some(1)),
            ("wait", None),
            ("wait=", None),
            ("wait=-1", None),
            ("wait=+1", None),
            ("wait=soon", None),
            ("wait=99999999999999999999999", None),
            ("waiter=3", None),
            ("", None),
        ] {
            assert_eq!(parse(header), seconds, "{header}");
        }
        assert_eq!(parse(&header_value(30)), Some(30));
    }
}
