//! Where a request comes from: the address at the other end, or the one that a trusted proxy names.

use std::net::IpAddr;
use std::str::FromStr;

use hyper::HeaderMap;
use hyper::header::HeaderName;

/// The addresses that a request has come through, the last one on the right: each proxy adds whom it heard it from.
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Addresses that begin alike: `10.1.2.3` or `10.0.0.0/8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u32,
}

impl Network {
    fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                (own.to_bits() ^ other.to_bits()).leading_zeros() >= self.prefix
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                (own.to_bits() ^ other.to_bits()).leading_zeros() >= self.prefix
            }
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let explain = || format!("{text:?} is not an address or network, such as 10.1.2.3 or 10.0.0.0/8");
        let (address, prefix) = text.split_once('/').map_or((text, None), |(a, p)| (a, Some(p)));
        let address = address.parse::<IpAddr>().map_err(|_| explain())?.to_canonical();
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.map_or(Ok(bits), |prefix| prefix.parse().map_err(|_| explain()))?;
        if prefix > bits { Err(explain()) } else { Ok(Self { address, prefix }) }
    }
}

/// The proxies that are believed.
#[derive(Debug, Default)]
pub(crate) struct Proxies(pub(crate) Vec<Network>);

impl Proxies {
    /// Whether a peer is one of them.
    pub(crate) fn trusts(&self, peer: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(peer))
    }

    /// The client that a request comes from: the first address, looked at from our side, that is not one of them.
    /// SECURITY: what stands left of it is the client's own to make up.
    pub(crate) fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let lists = headers.get_all(FORWARDED_FOR).iter().rev().filter_map(|value| value.to_str().ok());
        let mut passed = lists.flat_map(|list| list.rsplit(',')).map(|address| address.trim().parse());
        let mut client = peer;
        while self.trusts(client) {
            match passed.next() {
                Some(Ok(address)) => client = address,
                Some(Err(_)) | None => break,
            }
        }
        client
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
    fn knows_what_is_in_a_network() {
        for (network, address, inside) in [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("10.0.0.0/8", "::ffff:10.0.0.1", true),
            ("10.0.0.1", "10.0.0.1", true),
            ("10.0.0.1", "10.0.0.2", false),
            ("0.0.0.0/0", "1.2.3.4", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("2001:db8::/32", "2001:db8:1::1", true),
            ("2001:db8::/32", "2001:db9::1", false),
        ] {
            assert_eq!(
                network.parse::<Network>().unwrap().contains(ip(address)),
                inside,
                "{network} {address}"
            );
        }
        for wrong in ["", "10.0.0.0/33", "::/129", "10.0.0/8", "10.0.0.0/", "10.0.0.0/-1", "proxy"] {
            assert!(wrong.parse::<Network>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn believes_nobody_but_the_proxies_that_it_was_told_of() {
        let proxies = Proxies(vec!["127.0.0.1".parse().unwrap(), "10.0.0.0/8".parse().unwrap()]);
        for (peer, forwarded, client) in [
            ("127.0.0.1", &["192.0.2.1"][..], "192.0.2.1"),
            ("127.0.0.1", &["198.51.100.9, 192.0.2.1"], "192.0.2.1"),
            ("127.0.0.1", &["192.0.2.1, 10.1.1.1"], "192.0.2.1"),
            ("127.0.0.1", &["198.51.100.9", "192.0.2.1"], "192.0.2.1"),
            ("127.0.0.1", &["2001:db8::1"], "2001:db8::1"),
            ("127.0.0.1", &["192.0.2.1, rubbish"], "127.0.0.1"),
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
}
