//! The service: whether it is reached and trusted, and what it knows of the cluster.

use std::net::{SocketAddr, ToSocketAddrs as _, UdpSocket};
use std::time::{Duration, Instant, SystemTime};

use client::{Failure, FailureKind, Outcome, Request, Service as _};
use context::settings::{Role, Settings};
use context::value::{self, Origin};
use protocol::error::{Error, Status};
use protocol::key::{MASTER_IP, MASTER_READY, is_ready_for};
use protocol::url::ServiceUrl;

use super::{Finding, LOOK_AT_MASTER};
use crate::address;
use crate::session::{self, ContextService};
use crate::span::in_words;

/// Longest time for a request.
const LIMIT: Duration = Duration::from_secs(15);
/// A smaller difference of clocks has no effect: an answer takes a while, and HTTP's dates have whole seconds.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(60);

/// Asks one service what it knows of the cluster. `in_use` is the master's address that a slave has in place.
pub(super) fn examine(
    url: &ServiceUrl,
    settings: &Settings,
    in_use: Option<&str>,
    findings: &mut Vec<Finding>,
) {
    let mut service = match session::service(url, settings) {
        Ok(service) => service,
        Err(error) => return findings.push(error.into()),
    };
    let began = Instant::now();
    let answer = service.send(&Request::Cluster, LIMIT);
    if let Some(reached) = service.reached() {
        let how = if reached.through_proxy { ", through a proxy" } else { "" };
        findings.push(Finding::Well(format!("{url} is reached from {}{how}", reached.local)));
    }
    findings.extend(service.http().time_of_answer().map(|time| clock(time, SystemTime::now())));
    let outcome = match answer {
        Ok(answer) => answer.outcome,
        Err(failure) => return findings.push(unreachable(failure, url, began.elapsed())),
    };
    if outcome != Outcome::Done {
        let problem =
            format!("{url} does not know the pin {}: it is mistyped, expired or deleted", settings.pin);
        return findings.push(match in_use {
            Some(_) => Finding::note(
                format!("{problem}; this VM has its values, new slaves cannot join"),
                "make a new pin for VMs that are still to be launched",
            ),
            None => Error::unknown_pin(problem).into(),
        });
    }
    let tls = if url.is_secure() { "is trusted and " } else { "" };
    findings.push(Finding::Well(format!("{url} {tls}knows the pin")));
    match keys(&mut service) {
        Ok(keys) => {
            if settings.secret.is_some() && keys.address.is_some() {
                let what = "the values there are sealed, and open with this context's cvm_cluster_secret";
                findings.push(Finding::Well(what.to_owned()));
            }
            findings.push(match settings.role {
                Role::Slave => for_slave(keys, in_use),
                Role::Master => match address::choose(&settings.address, service.reached()) {
                    Ok(own) => for_master(keys, &own.address.to_string()),
                    Err(error) => error.into(),
                },
            });
        }
        Err(failure) => findings.push(failure.into_error(url, began.elapsed()).into()),
    }
}

/// Why a service is not reached: tells a host without a route from a host on which no program answers.
fn unreachable(failure: Failure, url: &ServiceUrl, tried: Duration) -> Finding {
    if matches!(failure.kind, FailureKind::Connect | FailureKind::Timeout)
        && let Ok(addresses) = (url.host(), url.port()).to_socket_addrs()
        && let addresses = addresses.collect::<Vec<_>>()
        && !addresses.iter().any(has_route)
    {
        let hosts: Vec<_> = addresses.iter().map(|address| address.ip().to_string()).collect();
        let what = format!("cannot reach the pairing service {url}: no route leads to {}", hosts.join(", "));
        let status = failure.into_error(url, tried).status();
        return Finding::wrong(status, what, "give this VM an address and a default route: see `ip route`");
    }
    failure.into_error(url, tried).into()
}

/// Whether the kernel knows a way there. Connecting a UDP socket sends nothing.
fn has_route(address: &SocketAddr) -> bool {
    let any = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    UdpSocket::bind(any).is_ok_and(|socket| socket.connect(address).is_ok())
}

/// This machine's clock beside the service's.
fn clock(service: SystemTime, here: SystemTime) -> Finding {
    let (off, side) = match here.duration_since(service) {
        Ok(ahead) => (ahead, "ahead of"),
        Err(behind) => (behind.duration(), "behind"),
    };
    if off <= CLOCK_TOLERANCE {
        return Finding::Well("this VM's clock agrees with the service's".to_owned());
    }
    let what = format!("this VM's clock is {} {side} the service's", in_words(off));
    Finding::wrong(Status::Refused, what, "set this VM's clock (NTP), or the service's")
}

/// The keys that every cluster has; `None` where one is not there.
struct ClusterKeys {
    address: Option<String>,
    ready: Option<String>,
    /// How long ago `ready` was set; `None` where the service does not say.
    ready_age: Option<Duration>,
}

fn keys(service: &mut ContextService) -> Result<ClusterKeys, Failure> {
    let mut get = |key| match service.send(&Request::Get { key, wait: 0 }, LIMIT)?.outcome {
        Outcome::Value(value) => Ok(Some(value)),
        _ => Ok(None),
    };
    Ok(ClusterKeys { address: get(MASTER_IP)?, ready: get(MASTER_READY)?, ready_age: service.age() })
}

fn for_slave(keys: ClusterKeys, in_use: Option<&str>) -> Finding {
    let Some(address) = keys.address else {
        return Finding::wrong(
            Status::TimedOut,
            "the master has not come yet: there is no master_ip",
            LOOK_AT_MASTER,
        );
    };
    if let Err(error) = value::check(MASTER_IP, &address, Origin::Received) {
        return error.into();
    }
    match keys.ready {
        Some(ready) if is_ready_for(&ready, &address) => match in_use {
            Some(in_use) if in_use != address => Finding::stale(
                format!("the master is {address} now, and this VM uses {in_use}"),
                "reboot: what runs at every boot gets the new address; `cloud-init clean --reboot` repeats the \
                 rest of the first boot too",
            ),
            _ => Finding::Well(format!("the master, {address}, is ready{}", said_when(keys.ready_age))),
        },
        _ => Finding::wrong(
            Status::TimedOut,
            format!("the master, {address}, is not ready yet"),
            LOOK_AT_MASTER,
        ),
    }
}

/// For the end of a sentence: a `master_ready` of days ago may be that of a machine which is no more.
fn said_when(age: Option<Duration>) -> String {
    age.map(|age| format!(", as it said {} ago", in_words(age))).unwrap_or_default()
}

fn for_master(keys: ClusterKeys, own: &str) -> Finding {
    match (keys.address, keys.ready) {
        (None, _) => Finding::wrong(
            Status::TimedOut,
            format!("the slaves cannot learn this master's address, {own}, yet: there is no master_ip"),
            "run `cernvm-cluster-agent master-ready`, or reboot",
        ),
        (Some(address), _) if address != own => Finding::wrong(
            Status::Nonsense,
            format!("the slaves learn another master's address, not this one's, {own}"),
            "give this master a pin of its own, or reboot it to take the other's place",
        ),
        (Some(address), Some(ready)) if is_ready_for(&ready, &address) => Finding::Well(format!(
            "the slaves know that this master, {own}, is ready{}",
            said_when(keys.ready_age)
        )),
        _ => Finding::wrong(
            Status::TimedOut,
            format!("the slaves are not told yet that this master, {own}, is ready"),
            "see `systemctl status cernvm-cluster-master-ready`: it runs when everything else has started",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn says_by_how_much_a_clock_is_off() {
        let year = 365 * 86_400;
        for (service, here, expected) in [
            (1_000, 1_060, "ok    this VM's clock agrees with the service's"),
            (1_060, 1_000, "ok    this VM's clock agrees with the service's"),
            (1_000, 1_061, "!!    this VM's clock is 61 s ahead of the service's"),
            (10_000, 4_600, "!!    this VM's clock is 90 min behind the service's"),
            (0, 129_600, "!!    this VM's clock is 36 h ahead of the service's"),
            (56 * year, year, "!!    this VM's clock is 20075 days behind the service's"),
        ] {
            let said = clock(at(service), at(here)).to_string();
            assert_eq!(said.lines().next(), Some(expected));
        }
    }

    #[track_caller]
    fn check(finding: &Finding, status: impl Into<Option<Status>>, begins: &str) {
        assert_eq!(finding.status(), status.into(), "{finding}");
        assert!(finding.to_string().starts_with(begins), "{finding}");
    }

    fn found(address: &str, ready: &str) -> ClusterKeys {
        let there = |value: &str| (!value.is_empty()).then(|| value.to_owned());
        ClusterKeys { address: there(address), ready: there(ready), ready_age: None }
    }

    #[test]
    fn says_how_far_the_master_is() {
        check(&for_slave(found("", ""), None), Status::TimedOut, "!!    the master has not come yet");
        check(
            &for_slave(found("10.0.0.5", ""), None),
            Status::TimedOut,
            "!!    the master, 10.0.0.5, is not ready yet",
        );
        check(
            &for_slave(found("10.0.0.5", "10.0.0.4"), None),
            Status::TimedOut,
            "!!    the master, 10.0.0.5, is not ready yet",
        );
        check(&for_slave(found("10.0.0.5", "10.0.0.5"), None), None, "ok    the master, 10.0.0.5, is ready");
        check(&for_slave(found("10.0.0.5", "true"), None), None, "ok    the master, 10.0.0.5, is ready");
        check(
            &for_slave(found("$(reboot)", "true"), None),
            Status::Nonsense,
            "!!    the value of 'master_ip'",
        );
        check(&for_slave(found("10.0.0.5", "10.0.0.5"), Some("10.0.0.5")), None, "ok    the master");
        let moved = for_slave(found("10.0.0.6", "10.0.0.6"), Some("10.0.0.5"));
        check(&moved, Status::TooLate, "!!    the master is 10.0.0.6 now, and this VM uses 10.0.0.5");
        let own = "10.0.0.5";
        check(&for_master(found("", ""), own), Status::TimedOut, "!!    the slaves cannot learn");
        check(&for_master(found(own, ""), own), Status::TimedOut, "!!    the slaves are not told yet");
        check(
            &for_master(found("10.0.0.4", "10.0.0.4"), own),
            Status::Nonsense,
            "!!    the slaves learn another",
        );
        check(&for_master(found(own, own), own), None, "ok    the slaves know");
    }
}
