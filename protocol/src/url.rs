//! The URL of a pairing service, as `cvm_service_url` gives it.
//!
//! A context is written by hand and was read by curl before, so the text may lack the scheme; what a service's base
//! URL has no use for (user, query, fragment) is refused here, with a reason, before any request. The syntax is
//! RFC 3986's, narrowed: a host is an IP literal or an ASCII host name, and nothing is decoded or normalised besides
//! the case of scheme and host. Nothing here resolves a name.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Longest URL taken, in bytes: far above any real one, far below what an HTTP request line can carry.
const MAX_LENGTH: usize = 1024;
/// Longest host name (RFC 1035 section 2.3.4), in bytes.
const MAX_HOST: usize = 253;
/// The path of the service's page.
const PAGE: &str = "/cluster_pairing";
/// Longest label of a host name (RFC 1035 section 2.3.4), in bytes.
const MAX_LABEL: usize = 63;

/// A service's base URL: scheme, host, port and perhaps a path under which the API lives.
///
/// Two are equal when they lead to the same place: `HTTP://Pair:80/` equals `http://pair`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceUrl {
    secure: bool,
    /// A name in lower case, or an IP literal; an IPv6 one without its brackets.
    host: String,
    port: u16,
    /// Empty, or begins with a slash and does not end with one.
    path: String,
}

impl ServiceUrl {
    /// Reads one URL of `cvm_service_url`. `secured` says that the context has a CA or a fingerprint: then a URL
    /// without a scheme means `https://`, else `http://`, which is what curl made of it for the original agent.
    ///
    /// # Errors
    /// Says what is wrong with it, to be read after the setting's name, without repeating a password in it.
    pub fn parse(text: &str, secured: bool) -> Result<Self, String> {
        if text.len() > MAX_LENGTH {
            return Err(format!("is longer than {MAX_LENGTH} characters"));
        }
        if let Some(bad) = text.chars().find(|c| !c.is_ascii_graphic()) {
            return Err(match bad {
                ' ' | '\t' => "has a blank in it".to_owned(),
                c if c.is_ascii() => "has a control character in it".to_owned(),
                c => format!("has {c:?} in it; write a host name in its ASCII form (xn--…)"),
            });
        }
        let (secure, rest) = scheme(text, secured)?;
        if rest.contains(['?', '#']) {
            return Err(
                "has a query or a fragment ('?' or '#'), which a service's URL has no use for".to_owned()
            );
        }
        if rest.starts_with('/') {
            return Err("has no host, or more slashes than two before it".to_owned());
        }
        let (authority, path) = match rest.find('/') {
            Some(slash) => rest.split_at(slash),
            None => (rest, ""),
        };
        if authority.contains('@') {
            return Err("has a user name in it, which the service has no use for".to_owned());
        }
        let (host, port) = split_port(authority)?;
        let port = match port {
            "" if secure => 443,
            "" => 80,
            digits => port_number(digits)?,
        };
        Ok(Self { secure, host: read_host(host)?, port, path: read_path(path)? })
    }

    /// Whether the service is spoken to over TLS.
    #[must_use]
    pub fn is_secure(&self) -> bool {
        self.secure
    }

    /// `https` or `http`.
    #[must_use]
    pub fn scheme(&self) -> &'static str {
        if self.secure { "https" } else { "http" }
    }

    /// The host: a name in lower case or an IP literal, without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, the scheme's own where none was given.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Scheme, host and port: `https://[2001:db8::1]:8443`.
    #[must_use]
    pub fn origin(&self) -> String {
        let port = if self.port == if self.secure { 443 } else { 80 } {
            String::new()
        } else {
            format!(":{}", self.port)
        };
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        format!("{}://{host}{port}", self.scheme())
    }

    /// The same host, port and path by another scheme.
    #[must_use]
    pub fn with_scheme(&self, secure: bool) -> Self {
        Self { secure, ..self.clone() }
    }

    /// Whether other machines cannot use it: it names this machine by loopback.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        match self.host.parse::<IpAddr>() {
            Ok(address) => address.to_canonical().is_loopback() || address.is_unspecified(),
            Err(_) => {
                let name = self.host.trim_end_matches('.');
                name == "localhost" || name.ends_with(".localhost")
            }
        }
    }

    /// The URL of something under this one: `join("api/v1/clusters")`; a slash at the front is the same.
    #[must_use]
    pub fn join(&self, path: &str) -> String {
        format!("{self}/{}", path.trim_start_matches('/'))
    }
}

/// The URL as a request has it, without a slash at the end: `https://[2001:db8::1]:8443/pairing`.
impl fmt::Display for ServiceUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.origin())?;
        f.write_str(&self.path)
    }
}

/// Whether it is https, and what follows the scheme.
fn scheme(text: &str, secured: bool) -> Result<(bool, &str), String> {
    let Some((scheme, rest)) = text.split_once("://") else {
        if let Some(scheme) = ["https:", "http:"].iter().find(|scheme| {
            text.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme))
                && !text[scheme.len()..].bytes().next().is_some_and(|b| b.is_ascii_digit())
        }) {
            return Err(format!("begins with {scheme} without two slashes; write {scheme}//"));
        }
        return Ok((secured, text));
    };
    if scheme.eq_ignore_ascii_case("https") {
        return Ok((true, rest));
    }
    if !scheme.eq_ignore_ascii_case("http") {
        return Err("is neither http:// nor https://".to_owned());
    }
    if secured {
        return Err(
            "is http://, but the context has a CA or fingerprint, which only https:// can hold to: write \
                    https://, or take cvm_service_ca and cvm_service_fingerprint out"
                .to_owned(),
        );
    }
    Ok((false, rest))
}

/// Host, with its brackets if it has them, and the digits of the port, if any.
fn split_port(authority: &str) -> Result<(&str, &str), String> {
    let end = if authority.starts_with('[') {
        authority.find(']').ok_or("has a '[' without its ']'")? + 1
    } else {
        authority.find(':').unwrap_or(authority.len())
    };
    let (host, port) = authority.split_at(end);
    if host.is_empty() {
        return Err("has no host".to_owned());
    }
    match port.strip_prefix(':') {
        _ if port.is_empty() => Ok((host, "")),
        Some(digits) if !digits.contains(':') => Ok((host, digits)),
        Some(_) => Err("has too many colons; an IPv6 address goes into square brackets".to_owned()),
        None => Err("has something between ']' and the port".to_owned()),
    }
}

fn port_number(digits: &str) -> Result<u16, String> {
    // u16's own parser takes a leading '+'.
    let number = digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok()).flatten();
    number
        .filter(|port| *port != 0)
        .ok_or_else(|| "has a port that is not a number from 1 to 65535".to_owned())
}

fn read_host(host: &str) -> Result<String, String> {
    if let Some(literal) = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
        if literal.contains('%') {
            return Err("has a link-local address with a zone, which no other machine could use".to_owned());
        }
        let address: Ipv6Addr =
            literal.parse().map_err(|_| "has something in brackets that is not an IPv6 address")?;
        return Ok(address.to_string());
    }
    let name = host.strip_suffix('.').unwrap_or(host);
    let last = name.rsplit('.').next().unwrap_or_default();
    // SECURITY: the resolver would read 127.1 or 0x7f.1 as addresses, and a reader of the context would not.
    if last.bytes().all(|b| b.is_ascii_digit()) || last.starts_with("0x") || last.starts_with("0X") {
        let address: Ipv4Addr =
            host.parse().map_err(|_| "has a host that ends like an IPv4 address but is none")?;
        return Ok(address.to_string());
    }
    let is_label = |label: &str| {
        (1..=MAX_LABEL).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    if name.len() > MAX_HOST || !name.split('.').all(is_label) {
        return Err("has a host that is not a host name".to_owned());
    }
    Ok(host.to_ascii_lowercase())
}

fn read_path(path: &str) -> Result<String, String> {
    // RFC 3986's pchar, and the slash.
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/%".contains(&b);
    if let Some(bad) = path.bytes().find(|b| !allowed(*b)) {
        return Err(format!("has {:?} in its path", char::from(bad)));
    }
    let escaped = |part: &str| part.len() >= 2 && part.as_bytes()[..2].iter().all(u8::is_ascii_hexdigit);
    if !path.split('%').skip(1).all(escaped) {
        return Err("has a '%' in its path that no two hexadecimal digits follow".to_owned());
    }
    let path = path.trim_end_matches('/');
    if let Some(part) = path_of_service(path) {
        return Err(format!(
            "has the path {part} in it, which the agent puts there itself; leave out the path"
        ));
    }
    Ok(path.to_owned())
}

/// The beginning of a path of the API, or the path of the page, at the end of a URL's path. A proxy may have the service
/// below a path of its own.
fn path_of_service(path: &str) -> Option<&str> {
    let api = path.match_indices("/api").map(|(at, api)| &path[at..at + api.len()]).find(|part| {
        let rest = &path[part.as_ptr().addr() - path.as_ptr().addr() + part.len()..];
        rest.is_empty() || rest == "/v1" || rest.starts_with("/v1/")
    });
    api.or_else(|| [PAGE, "/pairing.js"].into_iter().find(|page| path.ends_with(page)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(text: &str, secured: bool, expected: Result<&str, &str>) {
        match (ServiceUrl::parse(text, secured), expected) {
            (Ok(url), Ok(shown)) => assert_eq!(url.to_string(), shown, "{text}"),
            (Err(problem), Err(part)) => assert!(problem.contains(part), "{text}: {problem}"),
            (got, _) => panic!("{text}: {got:?}"),
        }
    }

    #[test]
    fn reads_what_a_context_may_say() {
        check("https://cernvm-online.cern.ch", false, Ok("https://cernvm-online.cern.ch"));
        check("HTTPS://CernVM-Online.CERN.ch:443/", false, Ok("https://cernvm-online.cern.ch"));
        check("http://10.1.2.3:8000", false, Ok("http://10.1.2.3:8000"));
        check("http://pair:443", false, Ok("http://pair:443"));
        check("https://pair:80", false, Ok("https://pair:80"));
        check("https://pair.example.org/a/b//", false, Ok("https://pair.example.org/a/b"));
        check("https://pair/%7Ejoe/", false, Ok("https://pair/%7Ejoe"));
        check("http://[2001:DB8::1]:8000/x", false, Ok("http://[2001:db8::1]:8000/x"));
        check("http://[::1]", false, Ok("http://[::1]"));
        check("http://pair_1.example.org.", false, Ok("http://pair_1.example.org."));
        check("http://pair:/", false, Ok("http://pair"));
    }

    #[test]
    fn takes_a_missing_scheme_as_curl_did_unless_trust_is_given() {
        check("pair", false, Ok("http://pair"));
        check("pair:8000/x", false, Ok("http://pair:8000/x"));
        check("pair", true, Ok("https://pair"));
        check("pair:8443", true, Ok("https://pair:8443"));
        check("[::1]:8000", false, Ok("http://[::1]:8000"));
        check("http", false, Ok("http://http"));
        check("http:8000", false, Ok("http://http:8000"));
        check("pair/apiary", false, Ok("http://pair/apiary"));
        check("pair/api/v2", false, Ok("http://pair/api/v2"));
        check("https://pair", true, Ok("https://pair"));
        check("http://pair", true, Err("write https://"));
    }

    #[test]
    fn refuses_the_rest_and_says_why() {
        for (text, part) in [
            ("", "no host"),
            ("http://", "no host"),
            ("http:///x", "no host"),
            ("http://:80", "no host"),
            ("ftp://pair", "neither"),
            ("://pair", "neither"),
            ("http://joe:secret@pair", "user name"),
            ("http://pair/?a=b", "query"),
            ("http://pair#x", "query"),
            ("http://pa ir", "blank"),
            ("http://pair\n", "control"),
            ("http://pär", "xn--"),
            ("http://pair:0", "port"),
            ("http://pair:65536", "port"),
            ("http://pair:+80", "port"),
            ("http://pair:80x", "port"),
            ("2001:db8::1", "brackets"),
            ("http://[::1", "without its"),
            ("http://[::1]80", "between"),
            ("http://[pair]", "not an IPv6"),
            ("http://[fe80::1%25eth0]", "zone"),
            ("http://256.1.1.1", "IPv4"),
            ("http://127.1", "IPv4"),
            ("http://0x7f.0x1", "IPv4"),
            ("http://10.1.2.3.", "IPv4"),
            ("http://pair..org", "host name"),
            ("http://.", "host"),
            ("http://pa\\ir", "host name"),
            ("http://pair/a\\b", "path"),
            ("http://pair/%7", "'%'"),
            ("http://pair/%zz", "'%'"),
            ("http://pair/api/v1", "leave out the path"),
            ("http://pair/api/", "leave out the path"),
            ("pair:8000/x/api/v1/clusters/ipfkrhe25pku", "leave out the path"),
            ("https://pair/x/cluster_pairing", "leave out the path"),
            ("https:/pair", "write https://"),
            ("HTTP:pair", "write http://"),
            ("https:///pair", "no host"),
        ] {
            check(text, false, Err(part));
        }
        check(&format!("http://{}", "a".repeat(64)), false, Err("host name"));
        check(&format!("http://{}", "a.".repeat(300)), false, Err("host name"));
        check(&"a".repeat(2000), false, Err("longer"));
    }

    #[test]
    fn never_repeats_a_password() {
        let problem = ServiceUrl::parse("http://joe:secret@pair", false).unwrap_err();
        assert!(!problem.contains("secret"), "{problem}");
    }

    #[test]
    fn knows_which_urls_other_machines_cannot_use() {
        for (text, loopback) in [
            ("http://127.0.0.1:8000", true),
            ("http://127.9.9.9", true),
            ("http://[::1]:8000/x", true),
            ("http://[::ffff:127.0.0.1]", true),
            ("http://0.0.0.0:8000", true),
            ("https://localhost", true),
            ("https://LOCALHOST.", true),
            ("https://pair.localhost", true),
            ("https://localhost.example.org", false),
            ("http://10.0.0.1", false),
            ("http://pair", false),
        ] {
            assert_eq!(ServiceUrl::parse(text, false).unwrap().is_loopback(), loopback, "{text}");
        }
        assert_eq!(ServiceUrl::parse("http://[::1]:8000/x", false).unwrap().origin(), "http://[::1]:8000");
    }

    #[test]
    fn joins_below_its_own_path() {
        let url = ServiceUrl::parse("http://pair:8000/x/", false).unwrap();
        for path in ["api/v1", "/api/v1"] {
            assert_eq!(url.join(path), "http://pair:8000/x/api/v1");
        }
        assert_eq!((url.scheme(), url.host(), url.port()), ("http", "pair", 8000));
    }

    proptest! {
        #[test]
        fn never_panics(text in ".{0,80}", secured: bool) {
            let _ = ServiceUrl::parse(&text, secured);
        }

        #[test]
        fn reads_back_what_it_shows(text in "(https?://)?[A-Za-z0-9.:\\[\\]-]{1,20}(:[0-9]{1,5})?(/[a-z%0-9/]{0,9})?", secured: bool) {
            if let Ok(url) = ServiceUrl::parse(&text, secured) {
                let again = ServiceUrl::parse(&url.to_string(), secured).unwrap();
                prop_assert_eq!(&again, &url);
            }
        }
    }
}
