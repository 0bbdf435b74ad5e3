use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use proptest::prelude::*;
use protocol::error::Status;
use protocol::limits::KEYS_PER_PIN;
use protocol::url::ServiceUrl;
use protocol::{Pin, Secret, Trust};

use super::*;
use crate::document::Document;

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
    for lines in ["", "cvm_cluster_master=yes", "cvm_cluster_pin=", "cvm_cluster_pin=a\ncvm_cluster_pin="] {
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
    let FoundSection::Cluster(settings) = Settings::from_sections(&[first, extra]).unwrap() else { panic!() };
    assert_eq!((settings.role, settings.timeout), (Role::Master, Duration::from_secs(2)));
    assert_eq!(settings.address, AddressRule::Interface("eth0".into()));
}

#[test]
fn reads_services() {
    let urls =
        |lines: &str| -> Vec<String> { settings(lines).services.iter().map(ToString::to_string).collect() };
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
        assert_eq!(settings(&format!("cvm_cluster_timeout={text}")).timeout, Duration::from_secs(seconds));
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
    let items =
        |lines: &str| -> Vec<String> { settings(lines).ready_when.iter().map(ToString::to_string).collect() };
    assert_eq!(items(""), [""; 0]);
    assert_eq!(items("cvm_master_ready_when="), [""; 0]);
    let all = ["tcp:6443", "unit:slurmctld.service", "file:/run/ready"];
    assert_eq!(items(&format!("cvm_master_ready_when={}", all.join(" , "))), all);
    refuses("cvm_master_ready_when=tcp:6443,cmd:reboot", "cvm_master_ready_when has \"cmd:reboot\" in it");
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
