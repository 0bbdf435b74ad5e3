//! Where a request comes from: the address at the other end, or the one that a trusted proxy names.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};

use hyper::HeaderMap;
use hyper::header::HeaderName;
pub use protocol::Network;

/// The addresses that a request has come through, the last one on the right: each proxy adds the address of its client.
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// The same, as RFC 7239 has it; looked at where the other is not there.
const FORWARDED: HeaderName = HeaderName::from_static("forwarded");

/// The proxies that are believed.
#[derive(Debug, Default)]
pub(crate) struct Proxies {
    networks: Vec<Network>,
    /// Whether a header of theirs that cannot be read was logged.
    warned: AtomicBool,
}

impl Proxies {
    /// Believes these.
    pub(crate) fn new(networks: Vec<Network>) -> Self {
        for network in networks.iter().filter(|network| network.prefix() == 0) {
            log::warn!(
                "--trusted-proxy {network} trusts every client, which can then take any address and escape every limit"
            );
        }
        Self { networks, warned: AtomicBool::new(false) }
    }

    /// Whether a peer is one of them.
    pub(crate) fn trusts(&self, peer: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(peer))
    }

    /// The client that a request comes from: the first address, looked at from our side, that is not one of them.
    ///
    /// SECURITY: what stands left of it is the client's own to make up, and so is all that stands left of what cannot
    /// be read.
    pub(crate) fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let (name, node): (_, fn(&str) -> Option<IpAddr>) = if headers.contains_key(FORWARDED_FOR) {
            (FORWARDED_FOR, address)
        } else {
            (FORWARDED, forwarded_for)
        };
        let lists = headers.get_all(&name).iter().rev();
        let mut passed = lists.flat_map(|list| list.as_bytes().rsplit(|&byte| byte == b','));
        let mut client = peer;
        while self.trusts(client) {
            let Some(entry) = passed.next() else { break };
            match std::str::from_utf8(entry).ok().and_then(|entry| node(entry.trim())) {
                Some(address) => client = address,
                None => {
                    if !self.warned.swap(true, Ordering::Relaxed) {
                        log::warn!(
                            "the proxy {peer} sends {name} with an entry that is no address; \
                             its requests count as its own from there on"
                        );
                    }
                    break;
                }
            }
        }
        client
    }
}

/// An address, with or without a port: `192.0.2.1`, `192.0.2.1:4711`, `2001:db8::1`, `[2001:db8::1]`,
/// `[2001:db8::1]:4711`.
fn address(text: &str) -> Option<IpAddr> {
    let inside = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    if let Some(inside) = inside {
        return inside.parse::<Ipv6Addr>().ok().map(IpAddr::V6);
    }
    text.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|socket| socket.ip()))
}

/// The address of `for=` in an element of `Forwarded` (RFC 7239 section 4): names of hosts and obfuscated ones are
/// none.
fn forwarded_for(element: &str) -> Option<IpAddr> {
    let mut nodes = element.split(';').filter_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        name.trim().eq_ignore_ascii_case("for").then(|| value.trim().trim_matches('"'))
    });
    match (nodes.next(), nodes.next()) {
        (Some(node), None) => address(node),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn believes_nobody_but_the_proxies_that_it_was_told_of() {
        let proxies = Proxies::new(vec!["127.0.0.1".parse().unwrap(), "10.0.0.0/8".parse().unwrap()]);
        for (peer, forwarded, client) in [
            ("127.0.0.1", &["192.0.2.1"][..], "192.0.2.1"),
            ("127.0.0.1", &["198.51.100.9, 192.0.2.1"], "192.0.2.1"),
            ("127.0.0.1", &["192.0.2.1, 10.1.1.1"], "192.0.2.1"),
            ("127.0.0.1", &["198.51.100.9", "192.0.2.1"], "192.0.2.1"),
            ("127.0.0.1", &["2001:db8::1"], "2001:db8::1"),
            ("127.0.0.1", &["192.0.2.1, rubbish"], "127.0.0.1"),
            ("127.0.0.1", &["192.0.2.1", "rubbish"], "127.0.0.1"),
            ("127.0.0.1", &["192.0.2.1, "], "127.0.0.1"),
            ("127.0.0.1", &["192.0.2.1:4711"], "192.0.2.1"),
            ("127.0.0.1", &["[2001:db8::1]:4711"], "2001:db8::1"),
            ("127.0.0.1", &["[2001:db8::1]"], "2001:db8::1"),
            ("127.0.0.1", &[], "127.0.0.1"),
            ("127.0.0.1", &["10.1.1.1"], "10.1.1.1"),
            ("192.0.2.7", &["192.0.2.1"], "192.0.2.7"),
        ] {
            let mut headers = HeaderMap::new();
            for list in forwarded {
                headers.append(FORWARDED_FOR, HeaderValue::from_static(list));
            }
            assert_eq!(proxies.client(ip(peer), &headers), ip(client), "{peer} {forwarded:?}");
        }
    }

    /// A line that is not ASCII must not be skipped, or the client's own line counts instead.
    #[test]
    fn stops_at_a_line_that_cannot_be_read() {
        let proxies = Proxies::new(vec!["127.0.0.1".parse().unwrap()]);
        let mut headers = HeaderMap::new();
        headers.append(FORWARDED_FOR, HeaderValue::from_static("198.51.100.9"));
        headers.append(FORWARDED_FOR, HeaderValue::from_bytes(b"192.0.2.1\xe9").unwrap());
        assert_eq!(proxies.client(ip("127.0.0.1"), &headers), ip("127.0.0.1"));
    }

    #[test]
    fn reads_the_header_of_rfc_7239_too() {
        let proxies = Proxies::new(vec!["127.0.0.1".parse().unwrap(), "10.0.0.0/8".parse().unwrap()]);
        for (forwarded, client) in [
            ("for=192.0.2.1", "192.0.2.1"),
            ("For=\"192.0.2.1:4711\";proto=https;by=10.0.0.1", "192.0.2.1"),
            ("for=198.51.100.9, for=192.0.2.1, for=10.0.0.7", "192.0.2.1"),
            ("for=\"[2001:db8::1]:4711\"", "2001:db8::1"),
            ("for=198.51.100.9, for=unknown", "127.0.0.1"),
            ("for=198.51.100.9, for=_hidden", "127.0.0.1"),
            ("for=198.51.100.9, proto=https", "127.0.0.1"),
        ] {
            let headers = HeaderMap::from_iter([(FORWARDED, HeaderValue::from_static(forwarded))]);
            assert_eq!(proxies.client(ip("127.0.0.1"), &headers), ip(client), "{forwarded}");
        }
    }
}
