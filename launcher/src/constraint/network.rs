//! Addresses, networks and MAC addresses, as netaddr reads them.

use std::net::IpAddr;
use std::sync::LazyLock;

use regex_lite::Regex;

/// The forms of a MAC address that netaddr takes.
static MAC: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(concat!(
        "^(?i:(?:[0-9a-f]{1,2}:){5}[0-9a-f]{1,2}|(?:[0-9a-f]{1,2}-){5}[0-9a-f]{1,2}",
        "|(?:[0-9a-f]{1,4}[:.]){2}[0-9a-f]{1,4}|(?:[0-9a-f]{1,4}-){2}[0-9a-f]{1,4}",
        "|[0-9a-f]{5,6}[:-][0-9a-f]{5,6}|[0-9a-f]{11,12})$"
    ))
    .expect("a constant pattern compiles")
});

pub(super) fn ip_addr(value: &str) -> Result<(), String> {
    value.parse::<IpAddr>().map(|_| ()).map_err(|_| "Invalid IP address".to_owned())
}

pub(super) fn mac_addr(value: &str) -> Result<(), String> {
    if MAC.is_match(value) { Ok(()) } else { Err("Invalid MAC address.".to_owned()) }
}

/// An address with the length of its mask. Bits of a host may be set.
pub(super) fn net_cidr(value: &str) -> Result<(), String> {
    let invalid = || format!("Invalid net cidr invalid IPNetwork {value} ");
    let recommended =
        |cidr: String| format!("'{value}' isn't a recognized IP subnet cidr, '{cidr}' is recommended");
    let (address, mask) =
        value.split_once('/').map_or((value, None), |(address, mask)| (address, Some(mask)));
    let whole = address.parse::<IpAddr>().ok();
    let address = whole.or_else(|| partial(address)).ok_or_else(invalid)?;
    let bits = if address.is_ipv4() { 32 } else { 128 };
    let Some(mask) = mask else { return Err(recommended(format!("{address}/{bits}"))) };
    if let Some(length) = mask.parse::<u8>().ok().filter(|length| *length <= bits) {
        let is_plain = whole.is_some() && (address.is_ipv6() || mask == length.to_string());
        return if is_plain { Ok(()) } else { Err(recommended(format!("{address}/{length}"))) };
    }
    // A mask in the form of an address: netaddr takes it, Neutron does not.
    match mask.parse::<IpAddr>() {
        Ok(IpAddr::V4(mask))
            if address.is_ipv4()
                && u32::from(mask).leading_ones() + u32::from(mask).trailing_zeros() == 32 =>
        {
            Err(recommended(format!("{address}/{}", u32::from(mask).leading_ones())))
        }
        _ => Err(invalid()),
    }
}

/// An IPv4 address without its last octets, which netaddr takes for zeros.
fn partial(address: &str) -> Option<IpAddr> {
    let mut octets = [0; 4];
    let parts: Vec<&str> = address.split('.').collect();
    if parts.len() >= octets.len() {
        return None;
    }
    for (octet, part) in octets.iter_mut().zip(parts) {
        *octet = part.parse().ok()?;
    }
    Some(IpAddr::from(octets))
}

pub(super) fn ip_or_cidr(value: &str) -> Result<(), String> {
    if value.contains('/') {
        return net_cidr(value);
    }
    value.parse::<IpAddr>().map(|_| ()).map_err(|_| format!("'{value}' is not a valid IP address"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_networks_with_their_mask() {
        for value in ["10.0.0.0/24", "10.0.0.5/24", "::/0", "fe80::1/64", "0.0.0.0/0"] {
            assert_eq!(net_cidr(value), Ok(()), "{value}");
        }
        for (value, words) in [
            ("10.0.0.0", "'10.0.0.0/32' is recommended"),
            ("10.0.0.0/255.255.255.0", "'10.0.0.0/24' is recommended"),
            ("::1", "'::1/128' is recommended"),
            ("10/8", "'10.0.0.0/8' is recommended"),
            ("10.1", "'10.1.0.0/32' is recommended"),
            ("10.0.0.0/33", "invalid IPNetwork"),
            ("10.0.0.0/255.0.255.0", "invalid IPNetwork"),
            ("10.0.0.0/24 ", "invalid IPNetwork"),
        ] {
            assert!(net_cidr(value).unwrap_err().contains(words), "{value}: {:?}", net_cidr(value));
        }
        assert!(
            ip_or_cidr("10.0.0.1").is_ok() && ip_or_cidr("10.0.0.1/8").is_ok() && ip_or_cidr("10").is_err()
        );
    }

    #[test]
    fn takes_the_forms_of_a_mac_address() {
        for value in
            ["fa:16:3e:0:0:1", "FA-16-3E-00-00-01", "fa16.3e00.0001", "fa163e-000001", "fa163e000001"]
        {
            assert!(mac_addr(value).is_ok(), "{value}");
        }
        for value in ["", "fa:16:3e:00:00", "fa:16:3e:00:00:0g", "fa:16-3e:00:00:01"] {
            assert!(mac_addr(value).is_err(), "{value}");
        }
    }
}
