//! Which HTTP proxy the environment asks for, by curl's rules, since curl is what the original agent used.
//!
//! The proxy is always asked for a tunnel (CONNECT), for plain http too.

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

/// Whether a `no_proxy` list excepts this host: `*`, the host itself, or a domain that it is in.
fn excepts(list: &str, host: &str) -> bool {
    list.split([',', ' ']).map(|entry| entry.trim().trim_start_matches('.')).any(|entry| {
        let entry = entry.to_ascii_lowercase();
        entry == "*"
            || entry == host
            || (!entry.is_empty() && host.strip_suffix(&entry).is_some_and(|rest| rest.ends_with('.')))
    })
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
        for (list, excepted) in [
            ("*", true),
            ("other, pair.cern.ch", true),
            ("cern.ch", true),
            (".CERN.ch", true),
            ("rn.ch", false),
            ("pair", false),
            ("", false),
        ] {
            let environment = [("http_proxy", "http://proxy:1"), ("no_proxy", list)];
            check("http://pair.cern.ch", &environment, (!excepted).then_some("proxy:1"));
        }
    }
}
