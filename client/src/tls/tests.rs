//! TLS 1.2 and 1.3 with a service that shows one certificate and signs with one key, which need not belong together.

use super::*;
use crate::mock_server::{MockAction, MockServer};
use crate::{HttpService, Outcome, Request, Service as _};
use protocol::Pin;
use protocol::url::ServiceUrl;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, PublicKeyData as _, date_time_ymd};
use rustls::ServerConfig;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::PrivatePkcs8KeyDer;
use std::io::{Read as _, Write as _};
use std::time::Duration;

/// A CA, and the certificates that it signs.
struct Ca {
    certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

/// What a service shows, and the key with which it signs.
struct Shown {
    chain: Vec<CertificateDer<'static>>,
    /// The one that belongs to the certificate.
    key: KeyPair,
}

impl Ca {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap().der().clone();
        Self { certificate, issuer: Issuer::new(params, key) }
    }

    fn sign(&self, name: &str, change: impl Fn(&mut CertificateParams)) -> Shown {
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap().der().clone();
        Shown { chain: vec![certificate], key }
    }

    fn trust(&self) -> Trust {
        Trust::Authorities(vec![self.certificate.clone()])
    }
}

impl Shown {
    fn fingerprint(&self) -> Trust {
        let spki = self.key.subject_public_key_info();
        Trust::Fingerprint(crypto::sha256(&spki))
    }
}

/// Shows a certificate whether or not it has the key that belongs to it.
#[derive(Debug)]
struct Shows(Arc<CertifiedKey>);

impl ResolvesServerCert for Shows {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

/// What a client of this trust makes of a service on 127.0.0.1 that shows a chain and signs with a key, in each
/// version of TLS.
fn ask(trust: &Trust, chain: &[CertificateDer<'static>], key: &KeyPair) -> Vec<Result<Outcome, Failure>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let key = PrivatePkcs8KeyDer::from(key.serialize_der());
    let key = provider.key_provider.load_private_key(key.into()).unwrap();
    let shows = Arc::new(Shows(Arc::new(CertifiedKey::new(chain.to_vec(), key))));
    let in_version = |version: &'static rustls::SupportedProtocolVersion| {
        let config = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(shows.clone());
        let acts = vec![MockAction::answer("200 OK", "", "a: b"); 3];
        let service = MockServer::start_with(Some(Arc::new(config)), acts);
        let url = ServiceUrl::parse(&service.url("https"), true).unwrap();
        let mut client = HttpService::new(url, Pin::parse("enico1qq0oey").unwrap(), trust).unwrap();
        let request = Request::Get { key: "a", wait: 0 };
        let mut send = || client.send(&request, Duration::from_secs(10)).map(|answer| answer.outcome);
        let first = send();
        if first.is_ok() {
            assert_eq!((send(), send()), (first.clone(), first.clone()));
            assert_eq!(service.connections(), 1, "a handshake for each request");
        }
        drop(client);
        first
    };
    [&rustls::version::TLS12, &rustls::version::TLS13].map(in_version).into()
}

#[track_caller]
fn check(trust: &Trust, shown: &Shown, key: &KeyPair, expected: Result<(), (TlsFault, &str)>) {
    for result in ask(trust, &shown.chain, key) {
        match (result, expected) {
            (Ok(outcome), Ok(())) => assert_eq!(outcome, Outcome::Value("b".to_owned())),
            (Err(failure), Err((fault, part))) => {
                assert_eq!(failure.kind, FailureKind::Tls(fault), "{failure}");
                assert!(failure.cause.contains(part), "{failure}");
            }
            (got, _) => panic!("{got:?}, not {expected:?}"),
        }
    }
}

fn expired(params: &mut CertificateParams) {
    params.not_before = date_time_ymd(2019, 1, 1);
    params.not_after = date_time_ymd(2020, 2, 3);
}

fn not_yet(params: &mut CertificateParams) {
    params.not_before = date_time_ymd(2999, 12, 31);
    params.not_after = date_time_ymd(3000, 12, 31);
}

#[test]
fn believes_the_ca_of_the_context_and_no_other() {
    let (ours, other) = (Ca::new(), Ca::new());
    let shown = ours.sign("127.0.0.1", |_| ());
    check(&ours.trust(), &shown, &shown.key, Ok(()));
    check(&other.trust(), &shown, &shown.key, Err((TlsFault::Issuer, "a CA that is not trusted")));
    check(&Trust::WebPki, &shown, &shown.key, Err((TlsFault::Issuer, "a CA that is not trusted")));
}

#[test]
fn wants_the_name_of_the_url() {
    let ca = Ca::new();
    for name in ["pair.example.org", "127.0.0.2"] {
        let shown = ca.sign(name, |_| ());
        check(&ca.trust(), &shown, &shown.key, Err((TlsFault::Name, "another name")));
    }
}

#[test]
fn says_of_dates_only_what_a_clock_could_heal() {
    let ca = Ca::new();
    let shown = ca.sign("127.0.0.1", expired);
    check(&ca.trust(), &shown, &shown.key, Err((TlsFault::Dates, "ended on 03 Feb 2020, and here it is ")));
    let shown = ca.sign("127.0.0.1", not_yet);
    check(&ca.trust(), &shown, &shown.key, Err((TlsFault::Dates, "begins on 31 Dec 2999, and here it is ")));
    let shown = ca.sign("pair.example.org", expired);
    check(&ca.trust(), &shown, &shown.key, Err((TlsFault::Name, "another name")));
    let shown = ca.sign("127.0.0.1", expired);
    check(&Ca::new().trust(), &shown, &shown.key, Err((TlsFault::Issuer, "a CA that is not trusted")));
}

#[test]
fn finds_no_moment_for_certificates_that_were_never_valid_together() {
    let root = Ca::new();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(rcgen::DnType::CommonName, "in between");
    not_yet(&mut params);
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, &root.issuer).unwrap().der().clone();
    let between = Ca { certificate: certificate.clone(), issuer: Issuer::new(params, key) };
    let mut shown = between.sign("127.0.0.1", expired);
    shown.chain.push(certificate);
    check(&root.trust(), &shown, &shown.key, Err((TlsFault::Other, "not valid")));
}

#[test]
fn wants_the_private_key_of_the_certificate_also_under_a_ca() {
    let ca = Ca::new();
    let shown = ca.sign("127.0.0.1", |_| ());
    let wrong = KeyPair::generate().unwrap();
    check(&ca.trust(), &shown, &wrong, Err((TlsFault::Key, "not hold the private key")));
}

#[test]
fn believes_a_fingerprint_whatever_the_certificate_says() {
    let ca = Ca::new();
    for shown in [
        ca.sign("127.0.0.1", |_| ()),
        ca.sign("pair.example.org", expired),
        ca.sign("pair.example.org", not_yet),
    ] {
        check(&shown.fingerprint(), &shown, &shown.key, Ok(()));
        let other = ca.sign("127.0.0.1", |_| ());
        check(
            &other.fingerprint(),
            &shown,
            &shown.key,
            Err((TlsFault::Key, "not the one of the fingerprint")),
        );
    }
}

#[test]
fn wants_the_private_key_of_the_fingerprint() {
    let shown = Ca::new().sign("127.0.0.1", |_| ());
    let wrong = KeyPair::generate().unwrap();
    check(&shown.fingerprint(), &shown, &wrong, Err((TlsFault::Key, "not hold the private key")));
}

#[test]
fn says_what_to_do_with_a_certificate_that_is_its_own_ca() {
    let mut params = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap().der().clone();
    let trust = Trust::Authorities(vec![certificate.clone()]);
    let shown = Shown { chain: vec![certificate], key };
    check(&trust, &shown, &shown.key, Err((TlsFault::CaCertificate, "a CA's own")));
    check(&shown.fingerprint(), &shown, &shown.key, Ok(()));
}

#[test]
fn knows_a_port_that_speaks_no_tls() {
    for (says, kind) in [
        ("HTTP/1.1 400 Bad Request\r\n\r\n", FailureKind::Tls(TlsFault::NotTls)),
        ("220 mail.example.org ESMTP\r\n", FailureKind::Tls(TlsFault::NotTls)),
        ("", FailureKind::Broken),
    ] {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let service = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(says.as_bytes());
        });
        let url = ServiceUrl::parse(&url, false).unwrap();
        let mut client = HttpService::new(url, Pin::parse("enico1qq0oey").unwrap(), &Trust::WebPki).unwrap();
        let failure = client.send(&Request::Cluster, Duration::from_secs(10)).unwrap_err();
        assert_eq!(failure.kind, kind, "{failure}");
        service.join().unwrap();
    }
}

#[test]
fn refuses_a_ca_that_is_none() {
    let trust = Trust::Authorities(vec![CertificateDer::from(vec![1, 2, 3])]);
    assert!(config(&trust).unwrap_err().contains("no certificate that can be used as a CA"));
}

#[test]
fn calls_no_other_fault_a_cas_own_certificate() {
    let ca = Ca::new();
    let for_clients = |params: &mut CertificateParams| {
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    };
    let critical = |params: &mut CertificateParams| {
        let mut unknown = rcgen::CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99999, 1], vec![5, 0]);
        unknown.set_criticality(true);
        params.custom_extensions = vec![unknown];
    };
    for shown in [ca.sign("127.0.0.1", for_clients), ca.sign("127.0.0.1", critical)] {
        check(&ca.trust(), &shown, &shown.key, Err((TlsFault::Other, "its certificate is not valid (")));
    }
}

#[test]
fn writes_days_as_people_do() {
    for (seconds, expected) in [
        (0, "01 Jan 1970"),
        (951_782_400, "29 Feb 2000"),
        (4_102_444_800, "01 Jan 2100"),
        (u64::MAX, "31 Dec 9999"),
    ] {
        assert_eq!(day(UnixTime::since_unix_epoch(Duration::from_secs(seconds))), expected);
    }
}
