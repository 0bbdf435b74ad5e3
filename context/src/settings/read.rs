//! Reading settings from their lines: what each may be, and the error of each. Which lines those are is the table's.
//!
//! An error names the line, and shows neither the pin, nor the secret, nor a certificate.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use protocol::error::Error;
use protocol::limits::{KEY_MAX_CHARS, KEYS_PER_PIN};
use protocol::url::ServiceUrl;
use protocol::{Fingerprint, Pin, Secret, Trust, key};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use super::assignment::Assignment;
use super::ready_when::ReadyWhen;
use super::types::AddressRule;

/// The pairing service of CernVM, used where `cvm_service_url` is not set (as the original agent did).
pub const DEFAULT_SERVICE_URL: &str = "https://cernvm-online.cern.ch";
/// `cvm_cluster_timeout` where it is not set: the original's 50 tries, 25 s plus 0 to 9 s apart.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(1500);
/// The longest `cvm_cluster_timeout`: a boot that waits longer has a problem that waiting does not solve.
pub const MAX_TIMEOUT: Duration = Duration::from_secs(3600);

pub(super) fn pin(line: &Assignment<'_>) -> Result<Pin, Error> {
    Pin::parse(line.value).map_err(|why| {
        line.wrong(
            &format!("is no pin: {why}"),
            "copy the pin again from where it was created, without quotes",
        )
    })
}

/// The secret, from its lines, the last one first. A line without one is an error, and so are two that differ: the values
/// would be in the clear, or sealed with another secret than was meant, and no one would see it.
pub(super) fn secret<'a>(mut lines: impl Iterator<Item = Assignment<'a>>) -> Result<Option<Secret>, Error> {
    let Some(line) = lines.next() else { return Ok(None) };
    if let Some(another) = lines.find(|other| other.value != line.value) {
        let problem = format!("stands in {} too, with another value", another.place());
        return Err(line.wrong(&problem, "keep the one that the other contexts of the cluster have"));
    }
    if line.value.is_empty() {
        let next = "write the cluster's secret there, or take the line out of all its contexts";
        return Err(line.wrong("has no value", next));
    }
    Secret::parse(line.value).map(Some).map_err(|why| {
        line.wrong(
            &format!("is no secret: {why}"),
            "copy it again from the other context of the cluster, without quotes; \
             `cernvm-pairing-server contexts` makes one",
        )
    })
}

/// Reads a switch. The words are those of cernvm-micro's `parse_user_data`, in any case. Another word is an error: a
/// master that is taken for a slave waits for itself.
pub(super) fn switch(line: Option<Assignment<'_>>, default: bool) -> Result<bool, Error> {
    let Some(line) = line else { return Ok(default) };
    let is_one_of = |words: &[&str]| words.iter().any(|word| line.value.eq_ignore_ascii_case(word));
    if is_one_of(&["yes", "on", "true", "1"]) {
        Ok(true)
    } else if is_one_of(&["no", "off", "false", "0"]) {
        Ok(false)
    } else {
        let shown: String = line.value.chars().filter(|c| !c.is_control()).take(20).collect();
        Err(line.wrong(&format!("is {shown:?}, which is neither yes nor no"), "write yes or no"))
    }
}

pub(super) fn trust(ca: Option<Assignment<'_>>, fingerprint: Option<Assignment<'_>>) -> Result<Trust, Error> {
    match (ca, fingerprint) {
        (None, None) => Ok(Trust::WebPki),
        (Some(ca), None) => authorities(&ca).map(Trust::Authorities),
        (None, Some(fingerprint)) => read_fingerprint(&fingerprint).map(Trust::Fingerprint),
        (Some(ca), Some(_)) => {
            Err(ca
                .wrong("stands beside cvm_service_fingerprint", "keep the one that the service is known by"))
        }
    }
}

fn authorities(line: &Assignment<'_>) -> Result<Vec<CertificateDer<'static>>, Error> {
    let wrong = |problem: &str| {
        line.wrong(
            problem,
            "make it with `base64 -w0 ca.pem`, of a file that has -----BEGIN CERTIFICATE-----",
        )
    };
    let pem = BASE64_STANDARD.decode(line.value).map_err(|_| wrong("is not base64 in one line"))?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let found = found.map_err(|_| wrong("is base64, but not of PEM"))?;
    if found.is_empty() {
        return Err(wrong("has no certificate in it"));
    }
    for authority in &found {
        webpki::anchor_from_trusted_cert(authority)
            .map_err(|_| wrong("has a certificate in it that cannot be read"))?;
    }
    Ok(found)
}

fn read_fingerprint(line: &Assignment<'_>) -> Result<[u8; 32], Error> {
    let read = line.value.parse::<Fingerprint>();
    read.map(|Fingerprint(digest)| digest)
        .map_err(|problem| line.wrong(problem, "copy the line that the service printed"))
}

pub(super) fn services(line: Option<Assignment<'_>>, secured: bool) -> Result<Vec<ServiceUrl>, Error> {
    let Some(line) = line else {
        let url = ServiceUrl::parse(DEFAULT_SERVICE_URL, secured).expect("the default is a URL");
        return Ok(vec![url]);
    };
    let urls = line.value.split(',').map(str::trim).filter(|url| !url.is_empty()).map(|url| {
        ServiceUrl::parse(url, secured).map_err(|problem| {
            line.wrong(&problem, "write it as https://host:port, several with commas between")
        })
    });
    let urls: Vec<_> = urls.collect::<Result<_, _>>()?;
    if urls.is_empty() {
        return Err(line.wrong("has no URL in it", "write it as https://host:port, or take the line out"));
    }
    Ok(urls)
}

pub(super) fn timeout(line: Option<Assignment<'_>>) -> Result<Duration, Error> {
    let Some(line) = line else { return Ok(DEFAULT_TIMEOUT) };
    let seconds = line.value.parse().ok().map(Duration::from_secs);
    seconds.filter(|time| (Duration::from_secs(1)..=MAX_TIMEOUT).contains(time)).ok_or_else(|| {
        let most = MAX_TIMEOUT.as_secs();
        line.wrong(
            &format!("is not a number of seconds, without a unit, from 1 to {most}"),
            &format!("write a number, or take the line out: the default is {}", DEFAULT_TIMEOUT.as_secs()),
        )
    })
}

pub(super) fn follow(line: Option<Assignment<'_>>) -> Result<Vec<PathBuf>, Error> {
    let Some(line) = line else { return Ok(Vec::new()) };
    let mut paths: Vec<PathBuf> = Vec::new();
    for path in line.value.split(',').map(str::trim).filter(|path| !path.is_empty()) {
        let is_plain = path.starts_with('/')
            && !path.ends_with('/')
            && !path.contains("//")
            && !path.split('/').any(|part| matches!(part, "." | ".."))
            && !path.chars().any(char::is_control);
        if !is_plain {
            return Err(line.wrong(
                "has in it what is no absolute path of a file",
                "write absolute paths without . and .., with commas between",
            ));
        }
        if !paths.iter().any(|known| known.as_os_str() == path) {
            paths.push(path.into());
        }
    }
    if paths.len() > FOLLOWED_MAX {
        return Err(
            line.wrong(&format!("has more than {FOLLOWED_MAX} files"), "keep those that name the master")
        );
    }
    Ok(paths)
}

/// Most files of `cvm_cluster_follow`.
const FOLLOWED_MAX: usize = 32;

/// The names of keys in a line.
pub(super) fn names(line: &Assignment<'_>) -> Result<Vec<String>, Error> {
    let mut names: Vec<String> = Vec::new();
    for name in line.value.split([',', ' ', '\t']).filter(|name| !name.is_empty()) {
        if !key::is_addressable(name) || name.len() > KEY_MAX_CHARS {
            let problem = format!(
                "has {name:.KEY_MAX_CHARS$?} in it, but a key has letters, digits, '-' and '_' only, \
                 {KEY_MAX_CHARS} at most"
            );
            return Err(line.wrong(&problem, "write the names of keys with commas between"));
        }
        if !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
    }
    if names.len() > KEYS_PER_PIN {
        let problem = format!("has more than {KEYS_PER_PIN} keys, more than a pin has");
        return Err(line.wrong(&problem, "keep those that this VM needs"));
    }
    Ok(names)
}

pub(super) fn ready_when(line: Option<Assignment<'_>>) -> Result<Vec<ReadyWhen>, Error> {
    let Some(line) = line else { return Ok(Vec::new()) };
    let items = line.value.split(',').map(str::trim).filter(|item| !item.is_empty()).map(|item| {
        ReadyWhen::parse(item).map_err(|why| {
            let shown: String = item.chars().filter(|c| !c.is_control()).take(40).collect();
            line.wrong(&format!("has {shown:?} in it, which {why}"), "correct it, or take it out")
        })
    });
    let items: Vec<_> = items.collect::<Result<_, _>>()?;
    if items.len() > MOST_READY_WHEN {
        let problem = format!("has more than {MOST_READY_WHEN} things to wait for");
        return Err(line.wrong(&problem, "keep those that start last"));
    }
    Ok(items)
}

/// The most exact of the three rules that is there.
pub(super) fn address(
    literal: Option<Assignment<'_>>,
    interface: Option<Assignment<'_>>,
    network: Option<Assignment<'_>>,
) -> Result<AddressRule, Error> {
    if let Some(line) = literal {
        let address =
            line.value.parse().ok().filter(|ip: &IpAddr| !ip.is_unspecified() && !ip.is_multicast());
        return address.map(AddressRule::Literal).ok_or_else(|| {
            line.wrong("is no IP address that a slave could reach", "write the master's IPv4 or IPv6 address")
        });
    }
    if let Some(line) = interface {
        let fits = line.value.len() < INTERFACE_NAME_BYTES && !line.value.contains(['/', ' ', '\t']);
        return if fits {
            Ok(AddressRule::Interface(line.value.to_owned()))
        } else {
            Err(line.wrong("is no name of a network interface", "write it as `ip link` shows it: eth0"))
        };
    }
    let Some(line) = network else { return Ok(AddressRule::Route) };
    let network = line.value.contains('/').then(|| line.value.parse().ok()).flatten();
    network.map(AddressRule::Network).ok_or_else(|| {
        line.wrong("is no network", "write address and prefix length: 10.0.0.0/8 or 2001:db8::/32")
    })
}

/// Most items of `cvm_master_ready_when`: each may take a second to try.
const MOST_READY_WHEN: usize = 16;
/// `IFNAMSIZ` of Linux, its final NUL included.
const INTERFACE_NAME_BYTES: usize = 16;
