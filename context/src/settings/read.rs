//! Reading the settings out of ucernvm sections.
//!
//! A setting without a value counts as absent, save for `cvm_cluster_keys` and `cvm_cluster_secret`. Unknown keys belong to other programs. An
//! error names the line, and shows neither the pin, nor the secret, nor a certificate.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use protocol::limits::{KEY_MAX_CHARS, KEYS_PER_PIN};
use protocol::{Fingerprint, Pin, Secret, key};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use super::{
    AddressRule, AwaitedKeys, DEFAULT_SERVICE_URL, DEFAULT_TIMEOUT, FoundSection, MAX_TIMEOUT, ReadyWhen,
    Role, Setting, Settings, Trust,
};
use crate::document::Section;
use protocol::error::Error;
use protocol::url::ServiceUrl;

impl Settings {
    /// Reads the settings: later sections override earlier ones key by key, as extra user-data does user-data.
    ///
    /// # Errors
    /// [`Status::BadContext`], with the line, for the first setting that makes no sense, and for a line that was
    /// probably meant as the pin, the secret or the service's URL and sets none of them: a pin must not go to another
    /// service than the context names, and a value not in the clear to one that should not read it.
    ///
    /// [`Status::BadContext`]: protocol::error::Status::BadContext
    pub fn from_sections(sections: &[Section]) -> Result<FoundSection, Error> {
        let Some(last) = sections.last() else { return Ok(FoundSection::NoSection) };
        let lines = Assignments(sections);
        let Some(pin) = lines.get(Setting::Pin) else {
            lines.refuse_meant(Setting::Pin, "this machine would belong to no cluster")?;
            return Ok(FoundSection::NoPin { place: last.place() });
        };
        if lines.last(Setting::ServiceUrl).is_none() {
            lines.refuse_meant(Setting::ServiceUrl, "the pin would go to the default service")?;
        }
        if lines.last(Setting::Secret).is_none() {
            lines.refuse_meant(Setting::Secret, "the cluster's values would not be sealed")?;
        }
        let trust = trust(&lines)?;
        Ok(FoundSection::Cluster(Self {
            pin: read_pin(&pin)?,
            role: if is_on(&lines, Setting::Master)? { Role::Master } else { Role::Slave },
            secret: secret(&lines)?,
            services: services(&lines, trust != Trust::WebPki)?,
            trust,
            timeout: lines.get(Setting::Timeout).map_or(Ok(DEFAULT_TIMEOUT), |line| timeout(&line))?,
            keys: lines
                .last(Setting::AwaitedKeys)
                .map_or(Ok(AwaitedKeys::WithPlaceholder), |line| names(&line).map(AwaitedKeys::Only))?,
            literal: lines.get(Setting::Literal).map_or(Ok(Vec::new()), |line| names(&line))?,
            address: address(&lines)?,
            ready_when: ready_when(&lines)?,
            early: is_on(&lines, Setting::Early)?,
            follow: lines.get(Setting::Follow).map_or(Ok(Vec::new()), |line| follow(&line))?,
            nodes: switch(&lines, Setting::Nodes, true)?,
            repair: is_on(&lines, Setting::Repair)?,
        }))
    }
}

/// The lines of all sections.
struct Assignments<'a>(&'a [Section]);

/// A line that sets something.
struct Assignment<'a> {
    key: &'a str,
    value: &'a str,
    section: &'a Section,
    number: usize,
}

impl<'a> Assignments<'a> {
    /// The lines of this setting, the last one first.
    fn all(&self, setting: Setting) -> impl Iterator<Item = Assignment<'a>> {
        self.0.iter().rev().flat_map(move |section| {
            let entries = section.entries().iter().rev().filter(move |entry| entry.key == setting.name());
            entries.map(move |entry| Assignment {
                key: &entry.key,
                value: &entry.value,
                section,
                number: entry.line,
            })
        })
    }

    /// The last line of this setting.
    fn last(&self, setting: Setting) -> Option<Assignment<'a>> {
        self.all(setting).next()
    }

    /// The last line of this setting, if that has a value.
    fn get(&self, setting: Setting) -> Option<Assignment<'a>> {
        self.last(setting).filter(|line| !line.value.is_empty())
    }

    /// Refuses a line that was probably meant as this setting and does not set it; `consequence` says why that matters.
    fn refuse_meant(&self, setting: Setting, consequence: &str) -> Result<(), Error> {
        let name = setting.name();
        for section in self.0 {
            let unknown = section.entries().iter().filter(|entry| Setting::named(&entry.key).is_none());
            let misspelt = unknown
                .filter(|entry| Setting::nearest(&entry.key) == Some(setting))
                .map(|entry| (entry.line, entry.key.as_str()));
            let ignored = section.ignored_lines().iter().map(|line| (line.number, line.key.as_str()));
            let meant = ignored.filter(|(_, key)| *key == name || Setting::nearest(key) == Some(setting));
            if let Some((line, key)) = misspelt.chain(meant).next() {
                let problem = format!("{key:?} is probably meant as {name}, and {consequence}");
                return Err(Error::context(section.place_of(line), problem, format!("write {name}=VALUE")));
            }
        }
        Ok(())
    }
}

impl Assignment<'_> {
    fn place(&self) -> String {
        self.section.place_of(self.number)
    }

    fn wrong(&self, problem: &str, next: &str) -> Error {
        let problem = format!("{} {problem}", self.key);
        Error::context(self.place(), problem, next.to_owned())
    }
}

fn read_pin(line: &Assignment<'_>) -> Result<Pin, Error> {
    Pin::parse(line.value).map_err(|why| {
        line.wrong(
            &format!("is no pin: {why}"),
            "copy the pin again from where it was created, without quotes",
        )
    })
}

/// The secret. A line without one is an error, and so are two that differ: the values would be in the clear, or sealed
/// with another secret than was meant, and no one would see it.
fn secret(lines: &Assignments<'_>) -> Result<Option<Secret>, Error> {
    let Some(line) = lines.last(Setting::Secret) else { return Ok(None) };
    let another = lines.all(Setting::Secret).find(|other| other.value != line.value);
    if let Some(another) = another {
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

/// Reads a switch; off where there is no line. The words are those of cernvm-micro's `parse_user_data`, in any case.
/// Another word is an error: a master that is taken for a slave waits for itself.
fn is_on(lines: &Assignments<'_>, setting: Setting) -> Result<bool, Error> {
    switch(lines, setting, false)
}

/// The same, where no line may mean something else.
fn switch(lines: &Assignments<'_>, setting: Setting, default: bool) -> Result<bool, Error> {
    let Some(line) = lines.get(setting) else { return Ok(default) };
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

fn trust(lines: &Assignments<'_>) -> Result<Trust, Error> {
    match (lines.get(Setting::ServiceCa), lines.get(Setting::ServiceFingerprint)) {
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

fn services(lines: &Assignments<'_>, secured: bool) -> Result<Vec<ServiceUrl>, Error> {
    let Some(line) = lines.get(Setting::ServiceUrl) else {
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

fn timeout(line: &Assignment<'_>) -> Result<Duration, Error> {
    let seconds = line.value.parse().ok().map(Duration::from_secs);
    seconds.filter(|time| (Duration::from_secs(1)..=MAX_TIMEOUT).contains(time)).ok_or_else(|| {
        let most = MAX_TIMEOUT.as_secs();
        line.wrong(
            &format!("is not a number of seconds, without a unit, from 1 to {most}"),
            &format!("write a number, or take the line out: the default is {}", DEFAULT_TIMEOUT.as_secs()),
        )
    })
}

fn follow(line: &Assignment<'_>) -> Result<Vec<PathBuf>, Error> {
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
fn names(line: &Assignment<'_>) -> Result<Vec<String>, Error> {
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

fn ready_when(lines: &Assignments<'_>) -> Result<Vec<ReadyWhen>, Error> {
    let Some(line) = lines.get(Setting::ReadyWhen) else { return Ok(Vec::new()) };
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
fn address(lines: &Assignments<'_>) -> Result<AddressRule, Error> {
    if let Some(line) = lines.get(Setting::MasterIp) {
        let address =
            line.value.parse().ok().filter(|ip: &IpAddr| !ip.is_unspecified() && !ip.is_multicast());
        return address.map(AddressRule::Literal).ok_or_else(|| {
            line.wrong("is no IP address that a slave could reach", "write the master's IPv4 or IPv6 address")
        });
    }
    if let Some(line) = lines.get(Setting::Interface) {
        let fits = line.value.len() < INTERFACE_NAME_BYTES && !line.value.contains(['/', ' ', '\t']);
        return if fits {
            Ok(AddressRule::Interface(line.value.to_owned()))
        } else {
            Err(line.wrong("is no name of a network interface", "write it as `ip link` shows it: eth0"))
        };
    }
    let Some(line) = lines.get(Setting::Network) else { return Ok(AddressRule::Route) };
    let network = line.value.contains('/').then(|| line.value.parse().ok()).flatten();
    network.map(AddressRule::Network).ok_or_else(|| {
        line.wrong("is no network", "write address and prefix length: 10.0.0.0/8 or 2001:db8::/32")
    })
}

/// Most items of `cvm_master_ready_when`: each may take a second to try.
const MOST_READY_WHEN: usize = 16;
/// `IFNAMSIZ` of Linux, its final NUL included.
const INTERFACE_NAME_BYTES: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::Document;
    use proptest::prelude::*;
    use protocol::error::Status;

    const PIN: &str = "cvm_cluster_pin=enico1qq0oey";

    fn section(lines: &str) -> Section {
        let text = format!("[ucernvm-begin]\n{lines}\n[ucernvm-end]\n");
        Document::parse("f", text.into_bytes()).unwrap().section().unwrap().unwrap()
    }

    fn read(lines: &str) -> Result<FoundSection, Error> {
        Settings::from_sections(&[section(lines)])
    }

    fn settings(lines: &str) -> Settings {
        match read(&format!("{PIN}\n{lines}")) {
            Ok(FoundSection::Cluster(settings)) => settings,
            other => panic!("{lines}: {other:?}"),
        }
    }

    /// The settings are in line 3, after the marker and the pin.
    fn refuses(lines: &str, expected: &str) {
        let error = read(&format!("{PIN}\n{lines}")).unwrap_err();
        assert!(error.to_string().starts_with(&format!("f line 3: {expected}")), "{lines}: {error}");
        assert_eq!(error.status(), Status::BadContext);
    }

    #[test]
    fn says_when_there_is_nothing_to_do() {
        assert_eq!(Settings::from_sections(&[]).unwrap(), FoundSection::NoSection);
        for lines in ["", "cvm_cluster_master=yes", "cvm_cluster_pin=", "cvm_cluster_pin=a\ncvm_cluster_pin="]
        {
            assert_eq!(read(lines).unwrap(), FoundSection::NoPin { place: "f line 1".into() }, "{lines}");
        }
    }

    #[test]
    fn keeps_the_placeholders_that_are_to_stay() {
        let settings = settings("cvm_cluster_literal=master_ip, k3s_token\ncvm_cluster_keys=k3s_token,a");
        let brought = ["master_ip", "k3s_token", "a", "b"].map(|key| settings.brings(key));
        assert_eq!(brought, [false, false, true, false]);
        refuses("cvm_cluster_literal=a b/c", "cvm_cluster_literal has \"b/c\" in it");
    }

    #[test]
    fn takes_a_pin_alone() {
        let expected = Settings {
            pin: Pin::parse("enico1qq0oey").unwrap(),
            role: Role::Slave,
            secret: None,
            services: vec![ServiceUrl::parse("https://cernvm-online.cern.ch", false).unwrap()],
            trust: Trust::WebPki,
            timeout: Duration::from_secs(1500),
            keys: AwaitedKeys::WithPlaceholder,
            literal: Vec::new(),
            address: AddressRule::Route,
            ready_when: Vec::new(),
            early: false,
            follow: Vec::new(),
            nodes: true,
            repair: false,
        };
        assert_eq!(settings("cvm_cluster_nodes=no"), Settings { nodes: false, ..expected.clone() });
        assert_eq!(settings(""), expected);
        assert_eq!(settings("cvm_service_url=\ncvm_cluster_timeout=\nanother_program=1"), expected);
    }

    #[test]
    fn refuses_a_pin_that_no_url_should_carry_without_showing_it() {
        for pin in ["s3cr3t/../x", "s3cr3t?x", "\"s3cr3t", "s3cr3t x", "s3cr3tü", &"s3cr3t".repeat(20)] {
            let error = read(&format!("\ncvm_cluster_pin={pin}")).unwrap_err();
            assert!(error.to_string().starts_with("f line 3: cvm_cluster_pin is no pin: it "), "{error}");
            assert!(!format!("{error}{error:?}").contains("s3cr3t"), "{error}");
        }
    }

    #[test]
    fn knows_a_master_as_the_original_did() {
        for value in ["yes", "YES", "on", "true", "True", "1"] {
            assert_eq!(settings(&format!("cvm_cluster_master={value}")).role, Role::Master, "{value}");
        }
        for value in ["", "no", "off", "FALSE", "0"] {
            assert_eq!(settings(&format!("cvm_cluster_master={value}")).role, Role::Slave, "{value}");
        }
    }

    #[test]
    fn refuses_a_role_that_is_not_understood() {
        for value in ["y", "2", "yess", "master", "ja"] {
            refuses(&format!("cvm_cluster_master={value}"), &format!("cvm_cluster_master is {value:?}"));
            refuses(&format!("cvm_cluster_early={value}"), &format!("cvm_cluster_early is {value:?}"));
        }
    }

    #[test]
    fn takes_quotes_and_trailing_comments_off_as_sh_did() {
        let found = settings(
            "cvm_cluster_master='yes'\ncvm_service_url=\"http://pair\"  # ours\ncvm_cluster_timeout=7 # s",
        );
        assert_eq!(found.role, Role::Master);
        assert_eq!(found.services[0].to_string(), "http://pair");
        assert_eq!(found.timeout, Duration::from_secs(7));
    }

    #[test]
    fn sends_no_pin_to_another_service_than_was_meant() {
        refuses("cvm_service_url: http://pair", "\"cvm_service_url\" is probably meant as cvm_service_url");
        refuses("cvm_sevice_url=http://pair", "\"cvm_sevice_url\" is probably meant as cvm_service_url");
        assert_eq!(settings("cvm_sevice_url=x\ncvm_service_url=http://pair").services.len(), 1);
    }

    #[test]
    fn does_not_take_a_misspelt_pin_for_no_pin() {
        let error = read("cvm_cluster_pim=enico1qq0oey").unwrap_err();
        assert!(error.to_string().contains("meant as cvm_cluster_pin"), "{error}");
        assert!(!error.to_string().contains("enico"), "{error}");
    }

    /// 32 bytes, and so 43 characters.
    const SECRET: &str = "s3cr3t-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

    #[test]
    fn reads_the_files_to_follow() {
        let paths = settings("cvm_cluster_follow=/etc/x.conf, /etc/y.conf,/etc/x.conf").follow;
        assert_eq!(paths, ["/etc/x.conf", "/etc/y.conf"].map(PathBuf::from));
        for wrong in ["x.conf", "/etc/../shadow", "/etc/", "/etc//x", "/a,b"] {
            refuses(
                &format!("cvm_cluster_follow={wrong}"),
                "cvm_cluster_follow has in it what is no absolute path",
            );
        }
    }

    #[test]
    fn reads_a_secret() {
        let line = format!("cvm_cluster_secret={SECRET}");
        assert_eq!(settings(&line).secret, Some(Secret::parse(SECRET).unwrap()));
        assert_eq!(settings(&format!("{line}\n{line}")).secret, settings(&line).secret);
        assert_eq!(settings("").secret, None);
    }

    #[test]
    fn refuses_a_secret_that_is_none_without_showing_it() {
        let long = format!("{SECRET}A");
        let padded = format!("{SECRET}=");
        let end = format!("{}B", &SECRET[..42]);
        for (value, expected) in [
            ("", "has no value"),
            ("s3cr3t", "is no secret: it has 6 characters, and a secret has 43"),
            (&long, "is no secret: it has 44 characters"),
            (&padded, "is no secret: it has a character in it that base64url has not"),
            ("s3cr3t! s3cr3t", "is no secret: it has a character in it"),
            (&end, "is no secret: its last character"),
        ] {
            refuses(&format!("cvm_cluster_secret={value}"), &format!("cvm_cluster_secret {expected}"));
        }
        for lines in [
            format!("cvm_cluster_secret={SECRET}\ncvm_cluster_secret={}", SECRET.replace('3', "4")),
            format!("cvm_cluster_secret={SECRET}\ncvm_cluster_secret="),
            format!("cvm_cluster_secret=\ncvm_cluster_secret={SECRET}"),
        ] {
            let error = read(&format!("{PIN}\n{lines}")).unwrap_err();
            let expected = "f line 4: cvm_cluster_secret stands in f line 3 too, with another value";
            assert_eq!(error.to_string(), expected);
        }
        for line in ["cvm_cluster_secret: X", "cvm_cluster_secert=X", "cvm_cluster_secret X"] {
            let line = line.replace('X', SECRET);
            let error = read(&format!("{PIN}\n{line}")).unwrap_err();
            assert!(error.to_string().contains("meant as cvm_cluster_secret"), "{line}: {error}");
            assert!(!format!("{error:?}{}", error.next_step()).contains("s3cr3t"), "{error}");
        }
    }

    #[test]
    fn finds_two_secrets_in_two_sections() {
        let of = |secret: &str| section(&format!("{PIN}\ncvm_cluster_secret={secret}"));
        assert!(Settings::from_sections(&[of(SECRET), of(SECRET)]).is_ok());
        let error = Settings::from_sections(&[of(&SECRET.replace('3', "4")), of(SECRET)]).unwrap_err();
        assert_eq!(error.status(), Status::BadContext);
        assert!(!format!("{error:?}").contains("cr3t"), "{error:?}");
    }

    #[test]
    fn lets_later_lines_and_sections_override() {
        assert_eq!(settings("cvm_cluster_timeout=1\nCVM_CLUSTER_TIMEOUT=2").timeout, Duration::from_secs(2));
        let first = section(&format!("{PIN}\ncvm_cluster_timeout=1\ncvm_cluster_interface=eth0"));
        let extra = section("cvm_cluster_master=on\ncvm_cluster_timeout=2");
        let FoundSection::Cluster(settings) = Settings::from_sections(&[first, extra]).unwrap() else {
            panic!()
        };
        assert_eq!((settings.role, settings.timeout), (Role::Master, Duration::from_secs(2)));
        assert_eq!(settings.address, AddressRule::Interface("eth0".into()));
    }

    #[test]
    fn reads_services() {
        let urls = |lines: &str| -> Vec<String> {
            settings(lines).services.iter().map(ToString::to_string).collect()
        };
        assert_eq!(urls("cvm_service_url=pair:8000"), ["http://pair:8000"]);
        assert_eq!(urls("cvm_service_url= https://a , http://b/x ,"), ["https://a", "http://b/x"]);
        let fingerprint = format!("cvm_service_fingerprint=sha256:{}", "0".repeat(64));
        assert_eq!(urls(&format!("cvm_service_url=pair\n{fingerprint}")), ["https://pair"]);
        refuses(&format!("cvm_service_url=http://pair\n{fingerprint}"), "cvm_service_url is http://");
        refuses("cvm_service_url=https://a,ftp://b", "cvm_service_url is neither");
        refuses("cvm_service_url=,", "cvm_service_url has no URL in it");
    }

    #[test]
    fn reads_timeouts() {
        for (text, seconds) in [("1", 1), ("3600", 3600), ("090", 90)] {
            assert_eq!(
                settings(&format!("cvm_cluster_timeout={text}")).timeout,
                Duration::from_secs(seconds)
            );
        }
        for text in ["0", "3601", "-1", "1.5", "10s", "99999999999999999999"] {
            refuses(&format!("cvm_cluster_timeout={text}"), "cvm_cluster_timeout is not a number of seconds");
        }
    }

    #[test]
    fn reads_keys() {
        let only = |names: &[&str]| AwaitedKeys::Only(names.iter().map(ToString::to_string).collect());
        assert_eq!(settings("cvm_cluster_keys=").keys, only(&[]));
        assert_eq!(
            settings("cvm_cluster_keys=k3s_token, b-1,k3s_token c").keys,
            only(&["k3s_token", "b-1", "c"])
        );
        for bad in ["a/b", "ü", "a,b.c", &"a".repeat(101)] {
            refuses(&format!("cvm_cluster_keys={bad}"), "cvm_cluster_keys has ");
        }
        let many: Vec<_> = (0..=KEYS_PER_PIN).map(|n| n.to_string()).collect();
        refuses(&format!("cvm_cluster_keys={}", many.join(",")), "cvm_cluster_keys has more than 256 keys");
    }

    #[test]
    fn reads_addresses_the_most_exact_first() {
        let rule = |lines: &str| settings(lines).address;
        let network = |text: &str| AddressRule::Network(text.parse().unwrap());
        assert_eq!(rule("cvm_cluster_network=10.0.0.0/8"), network("10.0.0.0/8"));
        assert_eq!(rule("cvm_cluster_network=::/0"), network("::/0"));
        assert_eq!(
            rule("cvm_cluster_network=::/0\ncvm_cluster_interface=eth0.7"),
            AddressRule::Interface("eth0.7".into())
        );
        let literal = AddressRule::Literal("10.0.0.1".parse().unwrap());
        assert_eq!(rule("cvm_cluster_master_ip=10.0.0.1\ncvm_cluster_interface=eth0"), literal);
        refuses("cvm_cluster_master_ip=master", "cvm_cluster_master_ip is no IP address");
        refuses("cvm_cluster_master_ip=0.0.0.0", "cvm_cluster_master_ip is no IP address");
        refuses("cvm_cluster_interface=eth0/1", "cvm_cluster_interface is no name");
        refuses("cvm_cluster_interface=sixteencharacter", "cvm_cluster_interface is no name");
        for bad in ["10.0.0.0", "10.0.0.0/33", "::/129", "/8", "a/8", "10.0.0.0/"] {
            refuses(&format!("cvm_cluster_network={bad}"), "cvm_cluster_network is no network");
        }
    }

    #[test]
    fn reads_what_a_master_waits_for() {
        let items = |lines: &str| -> Vec<String> {
            settings(lines).ready_when.iter().map(ToString::to_string).collect()
        };
        assert_eq!(items(""), [""; 0]);
        assert_eq!(items("cvm_master_ready_when="), [""; 0]);
        let all = ["tcp:6443", "unit:slurmctld.service", "file:/run/ready"];
        assert_eq!(items(&format!("cvm_master_ready_when={}", all.join(" , "))), all);
        refuses(
            "cvm_master_ready_when=tcp:6443,cmd:reboot",
            "cvm_master_ready_when has \"cmd:reboot\" in it",
        );
        let many = vec!["tcp:1"; 17].join(",");
        refuses(&format!("cvm_master_ready_when={many}"), "cvm_master_ready_when has more than 16");
    }

    #[test]
    fn reads_fingerprints() {
        let expected = Trust::Fingerprint(std::array::from_fn(|n| u8::try_from(n).unwrap()));
        let pairs: Vec<_> = (0..32).map(|n| format!("{n:02x}")).collect();
        for hex in [pairs.concat(), pairs.join(":"), pairs.join(":").to_uppercase()] {
            assert_eq!(settings(&format!("cvm_service_fingerprint=sha256:{hex}")).trust, expected);
            assert_eq!(settings(&format!("cvm_service_fingerprint=SHA256:{hex}")).trust, expected);
        }
        let hex = pairs.concat();
        for bad in [
            &hex[..],
            "sha256:",
            &format!("sha1:{hex}"),
            &format!("sha256:{hex}00"),
            &format!("sha256:{}g", &hex[1..]),
            &format!("sha256:{}", hex.replacen("00", "0:0", 1)),
        ] {
            refuses(&format!("cvm_service_fingerprint={bad}"), "cvm_service_fingerprint is not sha256:");
        }
    }

    #[test]
    fn reads_authorities() {
        let ca = rcgen::generate_simple_self_signed(["pair".to_owned()]).unwrap().cert;
        let of = |pem: &str| format!("cvm_service_ca={}", BASE64_STANDARD.encode(pem));
        let Trust::Authorities(found) = settings(&of(&ca.pem().repeat(2))).trust else { panic!() };
        assert_eq!(found, [ca.der().clone(), ca.der().clone()]);
        refuses("cvm_service_ca=/etc/ca.pem", "cvm_service_ca is not base64");
        refuses(&of("hello"), "cvm_service_ca has no certificate in it");
        refuses(&of("-----BEGIN CERTIFICATE-----\n!"), "cvm_service_ca is base64, but not of PEM");
        refuses(
            &of("-----BEGIN CERTIFICATE-----\nYQ==\n-----END CERTIFICATE-----\n"),
            "cvm_service_ca has a certificate in it that cannot be read",
        );
        let both = format!("{}\ncvm_service_fingerprint=sha256:{}", of(&ca.pem()), "0".repeat(64));
        refuses(&both, "cvm_service_ca stands beside cvm_service_fingerprint");
    }

    proptest! {
        #[test]
        fn takes_any_lines(
            lines in prop::collection::vec(
                ("cvm_(master_ready_when|cluster_(pin|secret|timeout|keys|network|interface|master_ip)|service_(url|ca|fingerprint))", ".{0,12}"),
                0..8,
            ),
        ) {
            let lines: Vec<_> = lines.iter().map(|(key, value)| format!("{key}={value}")).collect();
            let _ = read(&lines.join("\n"));
        }
    }
}
