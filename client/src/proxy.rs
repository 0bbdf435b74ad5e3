//! Which HTTP proxy the environment asks for, by curl's rules, since curl is what the original agent used.
//!
//! As curl does, https goes through a tunnel (CONNECT), and http is passed on: the proxy gets the request itself, with
//! the whole URL in its first line (RFC 9112 section 3.2.2).

use std::net::IpAddr;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use protocol::Network;
use protocol::url::ServiceUrl;

/// The proxy for this service, from an environment such as [`std::env::var`] reads.
pub(super) fn of(service: &ServiceUrl, variable: impl Fn(&str) -> Option<String>) -> Option<ureq::Proxy> {
    // curl takes HTTP_PROXY in lower case only: a CGI environment has it in capitals from a request's header.
    let names: &[&str] = if service.is_secure() {
        &["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"]
    } else {
        &["http_proxy", "all_proxy", "ALL_PROXY"]
    };
    let set = |name: &&str| variable(name).filter(|value| !value.is_empty());
    let wanted = names.iter().find_map(set)?;
    if ["no_proxy", "NO_PROXY"].iter().find_map(set).is_some_and(|list| excepts(&list, service.host())) {
        return None;
    }
    // Not the proxy's URL itself: there may be a password in it.
    match ureq::Proxy::new(&wanted) {
        Ok(proxy) if proxy.protocol() == ureq::ProxyProtocol::Http => Some(proxy),
        Ok(_) => {
            log::warn!("the environment names a proxy for {service} that is not http://; going without");
            None
        }
        Err(_) => {
            log::warn!("the environment names a proxy for {service} that is not a URL; going without");
            None
        }
    }
}

/// Whether a `no_proxy` list excepts this host: `*`, the host itself, a domain that it is in, or a network that its
/// address is in (curl knows those since 7.86).
fn excepts(list: &str, host: &str) -> bool {
    let address: Option<IpAddr> = host.parse().ok();
    let host = host.trim_end_matches('.');
    list.split([',', ' ', '\t']).filter(|entry| !entry.is_empty()).any(|entry| {
        if let Some(address) = address {
            let network = unbracketed(entry).parse::<Network>();
            return entry == "*" || network.is_ok_and(|network| network.contains(address));
        }
        let domain = entry.trim_start_matches('.').trim_end_matches('.').to_ascii_lowercase();
        entry == "*"
            || domain == host
            || (!domain.is_empty() && host.strip_suffix(&domain).is_some_and(|rest| rest.ends_with('.')))
    })
}

/// An IPv6 address may stand in brackets, as in a URL.
fn unbracketed(entry: &str) -> &str {
    entry.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(entry)
}

/// What a request must have so that a proxy passes it on.
#[derive(Debug, Clone)]
pub(super) struct ProxyHeaders {
    /// Scheme, host and port of the service.
    origin: String,
    /// The value of `Proxy-Authorization`.
    credentials: Option<String>,
}

impl ProxyHeaders {
    /// For requests to this service through this proxy.
    pub(super) fn new(service: &ServiceUrl, proxy: &ureq::Proxy) -> Self {
        let credentials = proxy.username().map(|user| {
            let both = format!("{user}:{}", proxy.password().unwrap_or_default());
            format!("Basic {}", BASE64_STANDARD.encode(both))
        });
        Self { origin: service.origin(), credentials }
    }

    /// The head of a request, or its beginning, with the whole URL in its first line.
    pub(super) fn rewrite(&self, head: &[u8]) -> Vec<u8> {
        let (method, rest) = head.split_at(head.iter().position(|b| *b == b' ').map_or(0, |at| at + 1));
        let line = rest.windows(2).position(|two| two == b"\r\n").map_or(rest.len(), |at| at + 2);
        let (line, rest) = rest.split_at(line);
        let credentials = self.credentials.as_ref();
        let credentials =
            credentials.map(|value| format!("Proxy-Authorization: {value}\r\n")).unwrap_or_default();
        [method, self.origin.as_bytes(), line, credentials.as_bytes(), rest].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(url: &str, environment: &[(&str, &str)], expected: Option<&str>) {
        let service = ServiceUrl::parse(url, false).unwrap();
        let variable = |name: &str| {
            environment.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        };
        let proxy = of(&service, variable).map(|proxy| format!("{}:{}", proxy.host(), proxy.port()));
        assert_eq!(proxy.as_deref(), expected, "{url} {environment:?}");
    }

    #[test]
    fn chooses_as_curl_does() {
        check("http://pair", &[], None);
        check("http://pair", &[("http_proxy", "")], None);
        check("http://pair", &[("http_proxy", "http://proxy:3128")], Some("proxy:3128"));
        check("http://pair", &[("HTTP_PROXY", "http://proxy:3128")], None);
        check("http://pair", &[("https_proxy", "http://proxy:3128")], None);
        check("https://pair", &[("HTTPS_PROXY", "proxy:3128")], Some("proxy:3128"));
        check("https://pair", &[("ALL_PROXY", "http://user:word@proxy")], Some("proxy:80"));
        check("https://pair", &[("ALL_PROXY", "socks5://proxy")], None);
        check("https://pair", &[("ALL_PROXY", "http://")], None);
    }

    #[test]
    fn leaves_out_what_no_proxy_names() {
        for (host, list, excepted) in [
            ("pair.cern.ch", "*", true),
            ("pair.cern.ch", "other, pair.cern.ch", true),
            ("pair.cern.ch", "cern.ch", true),
            ("pair.cern.ch", ".CERN.ch", true),
            ("pair.cern.ch.", "cern.ch", true),
            ("pair.cern.ch", "rn.ch", false),
            ("pair.cern.ch", "pair", false),
            ("pair.cern.ch", "", false),
            ("pair.cern.ch", "10.0.0.0/8", false),
            ("10.1.2.3", "192.0.2.0/24,10.0.0.0/8", true),
            ("10.1.2.3", "10.1.2.3", true),
            ("10.1.2.3", "10.1.2.0/28", true),
            ("10.1.2.30", "10.1.2.0/28", false),
            ("10.1.2.3", "2.3", false),
            ("[2001:db8::7]", "2001:db8::/32", true),
            ("[2001:db8::7]", "[2001:db8::7]", true),
            ("[2001:db9::7]", "2001:db8::/32", false),
        ] {
            let environment = [("http_proxy", "http://proxy:1"), ("no_proxy", list)];
            check(&format!("http://{host}"), &environment, (!excepted).then_some("proxy:1"));
        }
    }

    #[test]
    fn rewrites_the_head_of_a_request() {
        let service = ServiceUrl::parse("http://pair:8000/x", false).unwrap();
        let rewrite = |proxy: &str| {
            let forward = ProxyHeaders::new(&service, &ureq::Proxy::new(proxy).unwrap());
            String::from_utf8(forward.rewrite(b"GET /x/a HTTP/1.1\r\nhost: pair:8000\r\n\r\n")).unwrap()
        };
        assert_eq!(rewrite("http://proxy"), "GET http://pair:8000/x/a HTTP/1.1\r\nhost: pair:8000\r\n\r\n");
        assert_eq!(
            rewrite("http://joe:word@proxy"),
            "GET http://pair:8000/x/a HTTP/1.1\r\nProxy-Authorization: Basic am9lOndvcmQ=\r\nhost: pair:8000\r\n\r\n"
        );
    }
}
