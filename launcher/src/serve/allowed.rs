//! Which addresses a request may have the launcher speak to.
//!
//! SECURITY: `auth_url` and `middleware_url` come from the request. Without a list, a caller could have the launcher speak
//! to anything that it reaches, and send tokens of its own there.

use std::str::FromStr;

use protocol::url::ServiceUrl;

/// An address that is allowed, with everything below its path. `*` in place of the port allows every port of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedUrl {
    url: ServiceUrl,
    every_port: bool,
}

/// What a port is replaced by before an address with `*` is read.
const SOME_PORT: &str = ":1";

impl FromStr for AllowedUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (head, tail) = text.split_once("://").ok_or("begins with neither http:// nor https://")?;
        let (authority, path) = tail.find('/').map_or((tail, ""), |at| tail.split_at(at));
        let (authority, every_port) = match authority.strip_suffix(":*") {
            Some(host) => (format!("{host}{SOME_PORT}"), true),
            None => (authority.to_owned(), false),
        };
        let url = ServiceUrl::parse(&format!("{head}://{authority}{path}"), false)?;
        Ok(Self { url, every_port })
    }
}

impl AllowedUrl {
    /// Whether an address is this one, or below it.
    fn allows(&self, url: &ServiceUrl) -> bool {
        let path = |url: &ServiceUrl| url.to_string()[url.origin().len()..].to_owned();
        let (wanted, allowed) = (path(url), path(&self.url));
        self.url.scheme() == url.scheme()
            && self.url.host() == url.host()
            && (self.every_port || self.url.port() == url.port())
            && wanted.strip_prefix(&allowed).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

/// Whether an address is on a list.
pub(super) fn is_allowed(list: &[AllowedUrl], text: &str) -> bool {
    let has_scheme = text.starts_with("http://") || text.starts_with("https://");
    // A path with dots could lead out of the one that is allowed.
    has_scheme
        && !text.contains("/.")
        && !text.contains('%')
        && ServiceUrl::parse(text, false).is_ok_and(|url| list.iter().any(|allowed| allowed.allows(&url)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn allows_what_is_listed_and_what_is_below_it() {
        let list: Vec<AllowedUrl> =
            ["https://cloud:5000/v3", "http://127.0.0.1:*"].map(|text| text.parse().unwrap()).into();
        for good in [
            "https://cloud:5000/v3",
            "https://CLOUD:5000/v3/",
            "https://cloud:5000/v3/x",
            "http://127.0.0.1/",
            "http://127.0.0.1:9/a/b",
        ] {
            assert!(is_allowed(&list, good), "{good}");
        }
        for bad in [
            "http://cloud:5000/v3",
            "https://cloud:5001/v3",
            "https://cloud:5000/v33",
            "https://cloud:5000/",
            "https://cloud:5000/v3/../x",
            "https://cloud:5000/v3/%2e%2e/x",
            "https://cloud:5000/v3?x",
            "https://u@cloud:5000/v3",
            "https://127.0.0.1/",
            "http://127.0.0.2/",
            "http://127.0.0.1.example.org/",
            "fake",
            "",
        ] {
            assert!(!is_allowed(&list, bad), "{bad}");
        }
        for bad in ["fake", "cloud:5000", "ftp://cloud", "http://"] {
            assert!(bad.parse::<AllowedUrl>().is_err(), "{bad}");
        }
    }
}
