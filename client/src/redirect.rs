//! Where a redirect may lead: to the same host alone, and never out of TLS.

use super::failure::{Failure, FailureKind};
use protocol::url::ServiceUrl;

/// Whether the status asks for another place (RFC 9110 section 15.4; the others of 3xx do not).
pub(super) fn is_redirect(status: u16) -> bool {
    matches!(status, 301 | 302 | 303 | 307 | 308)
}

/// The URL to ask next. `from` is the URL that answered with `status` and `location`; `write` says that the request
/// was not a GET.
///
/// A write is repeated for 307 and 308, and for a move of the same path into TLS: the web server that forces https
/// answers 301 to everything, and has passed nothing on.
///
/// # Errors
/// [`FailureKind::Redirect`], which names the host that it led to, but not the path: that has the pin in it.
pub(super) fn follow(
    from: &str,
    status: u16,
    location: Option<&str>,
    write: bool,
) -> Result<String, Failure> {
    let refuse = |why: String| Failure::new(FailureKind::Redirect, format!("a redirect ({status}) {why}"));
    let (base, _) = split(from).ok_or_else(|| refuse("to a request without a URL".to_owned()))?;
    let location = location.ok_or_else(|| refuse("that does not say where to".to_owned()))?;
    let target = if location.starts_with("//") {
        format!("{}:{location}", base.scheme())
    } else if location.starts_with('/') {
        format!("{base}{location}")
    } else {
        location.to_owned()
    };
    let (to, rest) = split(&target).ok_or_else(|| refuse("to something that is not a URL".to_owned()))?;
    if to.host() != base.host() {
        return Err(refuse(format!("to another host, {to}")));
    }
    if base.is_secure() && !to.is_secure() {
        return Err(refuse(format!("out of TLS, to {to}")));
    }
    if write && !matches!(status, 307 | 308) && !(status != 303 && moves_into_tls(from, &target)) {
        return Err(refuse(format!("of a write to {to}, which only 307 and 308 may do")));
    }
    Ok(format!("{to}{rest}"))
}

/// Whether `to` is the same host and path as `from`, but https where that was http.
pub(super) fn moves_into_tls(from: &str, to: &str) -> bool {
    match (split(from), split(to)) {
        (Some((old, old_rest)), Some((new, new_rest))) => {
            !old.is_secure() && new.is_secure() && old.host() == new.host() && old_rest == new_rest
        }
        _ => false,
    }
}

/// Scheme, host and port of an absolute http or https URL, and its path and query, without a fragment.
fn split(url: &str) -> Option<(ServiceUrl, &str)> {
    let url = url.split('#').next().unwrap_or_default();
    let authority = url.find("://")? + 3;
    let end = url[authority..].find(['/', '?']).map_or(url.len(), |at| authority + at);
    let (origin, rest) = url.split_at(end);
    Some((ServiceUrl::parse(origin, false).ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FROM: &str = "http://pair:8000/api/v1/clusters/enico1qq0oey/keys";

    #[track_caller]
    fn check(from: &str, location: &str, expected: Result<&str, &str>) {
        match (follow(from, 307, Some(location), false), expected) {
            (Ok(url), Ok(expected)) => assert_eq!(url, expected),
            (Err(failure), Err(part)) => {
                assert!(failure.cause.contains(part), "{failure}");
                assert!(!failure.cause.contains("enico1qq0oey"), "{failure}");
            }
            (got, _) => panic!("{location}: {got:?}"),
        }
    }

    #[test]
    fn stays_on_the_host() {
        check(FROM, "/x/?a=b#c", Ok("http://pair:8000/x/?a=b"));
        check(FROM, "https://pair/x", Ok("https://pair/x"));
        check(FROM, "https://PAIR:8443/x", Ok("https://pair:8443/x"));
        check(FROM, "//pair:8001/x", Ok("http://pair:8001/x"));
        check(FROM, "https://other/enico1qq0oey", Err("another host, https://other"));
        check(FROM, "https://pair.evil/x", Err("another host"));
        check(FROM, "https://pair@evil/x", Err("not a URL"));
        check(FROM, "//evil/x", Err("another host"));
        check(FROM, "\\\\evil", Err("not a URL"));
        check(FROM, "keys2", Err("not a URL"));
        check(FROM, "ftp://pair/x", Err("not a URL"));
        check(FROM, "", Err("not a URL"));
        check("http://[::1]:80/a", "http://[::1]/b", Ok("http://[::1]/b"));
    }

    #[test]
    fn never_leaves_tls() {
        check("https://pair/a", "http://pair/b", Err("out of TLS"));
        check("https://pair/a", "https://pair/b", Ok("https://pair/b"));
    }

    #[test]
    fn repeats_a_write_only_where_the_status_says_so() {
        for status in [301, 302, 303, 307, 308] {
            assert!(is_redirect(status));
            let follows = follow(FROM, status, Some("/x"), true).is_ok();
            assert_eq!(follows, matches!(status, 307 | 308), "{status}");
            assert!(follow(FROM, status, Some("/x"), false).is_ok(), "{status}");
        }
        let same = "https://pair/api/v1/clusters/enico1qq0oey/keys";
        for (status, location, follows) in [
            (301, same, true),
            (302, same, true),
            (303, same, false),
            (301, "https://pair/elsewhere", false),
            (301, "http://pair:8001/api/v1/clusters/enico1qq0oey/keys", false),
        ] {
            assert_eq!(follow(FROM, status, Some(location), true).is_ok(), follows, "{status} {location}");
        }
        assert!(follow(FROM, 307, None, false).is_err());
        for status in [200, 300, 304, 305, 306] {
            assert!(!is_redirect(status));
        }
    }
}
