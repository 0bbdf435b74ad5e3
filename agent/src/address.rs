//! The address that the master pushes: by which its slaves can reach it.
//!
//! The rule is in docs/behaviour.md, "Address". The kernel is asked through getifaddrs(3), and for the default route by
//! connecting a UDP socket, which sends nothing.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};

use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;

use client::Reached;
use context::settings::AddressRule;
use protocol::error::Error;

/// Most other addresses of the machine in the line about the chosen one.
const MOST_OTHERS: usize = 6;

/// An address, and why it is this one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChosenAddress {
    /// The address.
    pub address: IpAddr,
    why: String,
    /// What other addresses slaves might rather need, with their interfaces. Empty where the context says which.
    others: Vec<String>,
}

/// `10.0.0.5, the address that reached the service`: for the one line about it.
impl fmt::Display for ChosenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}", self.address, self.why)?;
        if self.others.is_empty() {
            return Ok(());
        }
        let others = self.others.join(", ");
        write!(f, "; it also has {others}: cvm_cluster_interface or cvm_cluster_network chooses another")
    }
}

/// The addresses of this machine that other machines can use.
///
/// # Errors
/// 74 when they cannot be read.
pub fn held() -> Result<Vec<IpAddr>, Error> {
    let addresses = MachineAddresses::read()?.addresses;
    Ok(addresses.into_iter().map(|own| own.address).filter(|address| is_global(*address)).collect())
}

/// Chooses the address by the context's rule; `reached` is how the service was reached.
///
/// # Errors
/// 65 when no address of this machine fits the rule, 74 when the machine's addresses cannot be read.
pub fn choose(rule: &AddressRule, reached: Option<Reached>) -> Result<ChosenAddress, Error> {
    if let AddressRule::Literal(address) = rule {
        return Ok(chosen(*address, "from cvm_cluster_master_ip"));
    }
    choose_from(rule, reached, &MachineAddresses::read()?)
}

fn chosen(address: IpAddr, why: impl Into<String>) -> ChosenAddress {
    ChosenAddress { address, why: why.into(), others: Vec::new() }
}

fn choose_from(
    rule: &AddressRule,
    reached: Option<Reached>,
    machine: &MachineAddresses,
) -> Result<ChosenAddress, Error> {
    match rule {
        AddressRule::Literal(address) => Ok(chosen(*address, "from cvm_cluster_master_ip")),
        AddressRule::Interface(name) => machine
            .global_of(name)
            .map(|address| chosen(address, format!("the first of cvm_cluster_interface {name}")))
            .ok_or_else(|| {
                machine.no_address("cvm_cluster_interface", &format!("no global address on {name}"))
            }),
        AddressRule::Network(network) => machine
            .first(|own| network.contains(own.address))
            .map(|address| chosen(address, format!("the first in cvm_cluster_network {network}")))
            .ok_or_else(|| machine.no_address("cvm_cluster_network", &format!("no address in {network}"))),
        AddressRule::Route => {
            let chosen = by_route(reached, machine)?;
            Ok(ChosenAddress { others: machine.others(chosen.address), ..chosen })
        }
    }
}

/// The address that reached the service, unless slaves could not use it.
fn by_route(reached: Option<Reached>, machine: &MachineAddresses) -> Result<ChosenAddress, Error> {
    let why_not = match reached {
        Some(Reached { through_proxy: true, .. }) => "the service is behind a proxy",
        Some(Reached { local, .. }) if !is_global(local) => "the service is on this machine or its link",
        Some(Reached { local, .. }) => return Ok(machine.prefer_ipv4(local)),
        None => "no service was reached",
    };
    if let Some(address) = machine.default_route {
        return Ok(chosen(address, format!("the default route's, since {why_not}")));
    }
    if let Some(address) = machine.first(|own| is_global(own.address)) {
        return Ok(chosen(address, format!("the first there is, since {why_not} and no route leads out")));
    }
    match reached {
        // A trial on one machine without a network.
        Some(Reached { local, .. }) => {
            Ok(chosen(local, "which other machines cannot reach, since this one has no other"))
        }
        None => Err(machine.no_address("cvm_cluster_master_ip", "no address that slaves could reach")),
    }
}

/// Whether other machines can use the address.
pub(crate) fn is_global(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            !(v4.is_loopback()
                || v4.is_link_local()
                || v4.is_unspecified()
                || v4.is_multicast()
                || v4.is_broadcast())
        }
        IpAddr::V6(v6) => {
            !(v6.is_loopback() || v6.is_unicast_link_local() || v6.is_unspecified() || v6.is_multicast())
        }
    }
}

/// An address of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
struct LocalAddress {
    interface: String,
    address: IpAddr,
}

/// What the kernel says of this machine's addresses.
#[derive(Debug, Clone, Default)]
struct MachineAddresses {
    /// Those of interfaces that are up, in the kernel's order.
    addresses: Vec<LocalAddress>,
    /// The source address of the default route, IPv4 before IPv6.
    default_route: Option<IpAddr>,
}

impl MachineAddresses {
    fn read() -> Result<Self, Error> {
        let all = getifaddrs().map_err(|errno| Error::cannot_read("/proc/net".as_ref(), errno.into()))?;
        let addresses = all
            .filter(|interface| interface.flags.contains(InterfaceFlags::IFF_UP))
            .filter_map(|interface| {
                let storage = interface.address?;
                let v4 = storage.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
                let address = v4.or_else(|| storage.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))?;
                Some(LocalAddress { interface: interface.interface_name, address })
            })
            .collect();
        // Addresses for documentation (RFC 5737, RFC 3849): no machine has a route of its own to them.
        let default_route = source_towards(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)))
            .or_else(|| source_towards(IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1))))
            .filter(|address| is_global(*address));
        Ok(Self { addresses, default_route })
    }

    fn first(&self, wanted: impl Fn(&LocalAddress) -> bool) -> Option<IpAddr> {
        // Among those wanted, one that other machines can use comes first; IPv4 before IPv6.
        let mut fitting: Vec<IpAddr> =
            self.addresses.iter().filter(|own| wanted(own)).map(|own| own.address).collect();
        fitting.sort_by_key(|address| (!is_global(*address), address.is_ipv6()));
        fitting.first().copied()
    }

    fn global_of(&self, interface: &str) -> Option<IpAddr> {
        self.first(|own| own.interface == interface && is_global(own.address))
    }

    /// The address itself, or for an IPv6 one the IPv4 of its interface: contexts say `host:port`, which an IPv6
    /// address would break.
    fn prefer_ipv4(&self, local: IpAddr) -> ChosenAddress {
        let interface = self.addresses.iter().find(|own| own.address == local).map(|own| &own.interface);
        let v4 = |interface: &String| self.global_of(interface).filter(IpAddr::is_ipv4);
        match interface.filter(|_| local.is_ipv6()).and_then(|interface| Some((v4(interface)?, interface))) {
            Some((address, interface)) => {
                let why = format!("the IPv4 address of {interface}, over which IPv6 reached the service");
                chosen(address, why)
            }
            None => chosen(local, "the address that reached the service"),
        }
    }

    /// The addresses beside this one that other machines can use, as `eth1 192.168.7.5`.
    fn others(&self, address: IpAddr) -> Vec<String> {
        let other = |own: &&LocalAddress| own.address != address && is_global(own.address);
        let others = self.addresses.iter().filter(other);
        others.map(|own| format!("{} {}", own.interface, own.address)).take(MOST_OTHERS).collect()
    }

    fn no_address(&self, setting: &str, problem: &str) -> Error {
        let all: Vec<String> =
            self.addresses.iter().map(|own| format!("{} {}", own.interface, own.address)).collect();
        Error::context(
            setting,
            format!("this machine has {problem}; it has {}", all.join(", ")),
            "correct the setting, or name the address with cvm_cluster_master_ip",
        )
    }
}

/// The address from which packets to `target` would go out. Nothing is sent.
fn source_towards(target: IpAddr) -> Option<IpAddr> {
    let any: IpAddr =
        if target.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    // The discard port; any would do.
    socket.connect((target, 9)).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// A machine with these `interface address` pairs.
    fn machine(addresses: &[(&str, &str)], default_route: Option<&str>) -> MachineAddresses {
        let own = |(interface, address): &(&str, &str)| LocalAddress {
            interface: (*interface).to_owned(),
            address: ip(address),
        };
        MachineAddresses {
            addresses: addresses.iter().map(own).collect(),
            default_route: default_route.map(ip),
        }
    }

    fn ordinary() -> MachineAddresses {
        let addresses = [
            ("lo", "127.0.0.1"),
            ("docker0", "172.17.0.1"),
            ("eth0", "10.0.0.5"),
            ("eth1", "192.168.7.5"),
            ("lo", "::1"),
            ("eth0", "fe80::1"),
            ("eth0", "2001:db8::5"),
            ("eth2", "2001:db8:2::5"),
        ];
        machine(&addresses, Some("10.0.0.5"))
    }

    #[track_caller]
    fn check(rule: &AddressRule, reached: Option<(&str, bool)>, machine: &MachineAddresses, expected: &str) {
        let reached = reached.map(|(local, through_proxy)| Reached { local: ip(local), through_proxy });
        let shown = match choose_from(rule, reached, machine) {
            Ok(chosen) => chosen.to_string(),
            Err(error) => error.to_string(),
        };
        assert!(shown.contains(expected), "{shown}");
    }

    #[test]
    fn takes_the_address_that_reached_the_service() {
        let route = AddressRule::Route;
        check(&route, Some(("192.168.7.5", false)), &ordinary(), "192.168.7.5, the address that reached");
        check(&route, Some(("2001:db8:2::5", false)), &ordinary(), "2001:db8:2::5, the address that reached");
        check(
            &route,
            Some(("10.0.0.5", false)),
            &ordinary(),
            "; it also has docker0 172.17.0.1, eth1 192.168.7.5, eth0 2001:db8::5, eth2 2001:db8:2::5: cvm_cluster_interface or",
        );
        check(&route, Some(("2001:db8::5", false)), &ordinary(), "10.0.0.5, the IPv4 address of eth0");
    }

    #[test]
    fn takes_the_default_routes_where_that_address_means_nothing_to_slaves() {
        let route = AddressRule::Route;
        for local in ["127.0.0.1", "::1", "169.254.1.1", "fe80::1"] {
            check(&route, Some((local, false)), &ordinary(), "10.0.0.5, the default route's");
        }
        check(
            &route,
            Some(("192.168.7.5", true)),
            &ordinary(),
            "10.0.0.5, the default route's, since the service is behind a proxy",
        );
        check(&route, None, &ordinary(), "10.0.0.5, the default route's");
        let unrouted = machine(&[("lo", "127.0.0.1"), ("tap0", "10.9.9.1")], None);
        check(&route, Some(("127.0.0.1", false)), &unrouted, "10.9.9.1, the first there is");
        let alone = machine(&[("lo", "127.0.0.1")], None);
        check(&route, Some(("127.0.0.1", false)), &alone, "127.0.0.1, which other machines cannot reach");
        check(&route, None, &alone, "no address that slaves could reach");
    }

    #[test]
    fn goes_by_the_context_where_that_says_which() {
        let interface = |name: &str| AddressRule::Interface(name.to_owned());
        check(&interface("eth0"), None, &ordinary(), "10.0.0.5, the first of");
        check(&interface("eth2"), None, &ordinary(), "2001:db8:2::5, the first of");
        check(&interface("lo"), None, &ordinary(), "no global address on lo");
        check(&interface("eth9"), None, &ordinary(), "no global address on eth9; it has lo 127.0.0.1");
        let network = |text: &str| AddressRule::Network(text.parse().unwrap());
        check(&network("192.168.0.0/16"), None, &ordinary(), "192.168.7.5");
        check(&network("0.0.0.0/0"), None, &ordinary(), "172.17.0.1");
        check(&network("::/0"), None, &ordinary(), "2001:db8::5");
        check(&network("127.0.0.0/8"), None, &ordinary(), "127.0.0.1");
        check(&network("10.1.0.0/16"), None, &ordinary(), "no address in 10.1.0.0/16");
        check(&AddressRule::Literal(ip("1.2.3.4")), None, &ordinary(), "1.2.3.4, from cvm_cluster_master_ip");
    }

    #[test]
    fn reads_this_machine() {
        let machine = MachineAddresses::read().unwrap();
        assert!(machine.addresses.iter().any(|own| own.address.is_loopback()), "{machine:?}");
        assert!(machine.default_route.is_none_or(is_global), "{machine:?}");
    }
}
