//! Which service is believed: the rustls configuration for each kind of trust, and what a refusal means in words.
//!
//! rustls with ring does the cryptography and webpki the chain. Ours are two decisions that they leave open: whether
//! a certificate's dates are the only thing wrong with it (a VM that boots may not know the time yet), and the pinned
//! public key (RFC 7469 calls its hash a pin).

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, InvalidMessage, RootCertStore,
    SignatureScheme,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::crypto;
use super::failure::{Failure, Kind};
use crate::settings::Trust;

/// The TLS configuration that believes what `trust` says, and nothing else.
///
/// # Errors
/// In words, when none of the CAs of the context can serve as one.
pub(super) fn config(trust: &Trust) -> Result<Arc<ClientConfig>, String> {
    let provider = Arc::new(crypto::provider());
    let verifier: Arc<dyn ServerCertVerifier> = match trust {
        Trust::WebPki => {
            let roots = webpki_roots::TLS_SERVER_ROOTS.to_vec();
            Arc::new(DatesLast(web_pki(RootCertStore { roots }, &provider)?))
        }
        Trust::Authorities(certificates) => {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(certificates.iter().cloned());
            if roots.is_empty() {
                return Err("cvm_service_ca holds no certificate that can be used as a CA".to_owned());
            }
            Arc::new(DatesLast(web_pki(roots, &provider)?))
        }
        Trust::Fingerprint(expected) => {
            Arc::new(PublicKey { expected: *expected, provider: provider.clone() })
        }
    };
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider has cipher suites for TLS 1.2 and 1.3")
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

fn web_pki(
    roots: RootCertStore,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<WebPkiServerVerifier>, String> {
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .build()
        .map_err(|error| error.to_string())
}

/// webpki's verifier, but a certificate outside its dates is only called so when all else is right.
///
/// webpki looks at the dates before it looks at the name, so its own "expired" would hide a wrong name. Whoever reads
/// "expired" here may take it that a clock set right would have made the connection good.
#[derive(Debug)]
struct DatesLast(Arc<WebPkiServerVerifier>);

/// Most certificates of a chain whose dates are asked about one after the other. A chain of honest length has three.
const MAX_MOMENTS: usize = 8;

impl ServerCertVerifier for DatesLast {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verify = |at| {
            match self.0.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, at) {
                // A CA of the right name with another key; kept apart from a handshake's bad signature.
                Err(Error::InvalidCertificate(CertificateError::BadSignature)) => {
                    Err(CertificateError::UnknownIssuer.into())
                }
                other => other,
            }
        };
        let first = match verify(now) {
            Err(error) if dates(&error).is_some() => error,
            other => return other,
        };
        // Ask again at moments within the dates, until one is found or another fault shows.
        let mut last = first.clone();
        for _ in 0..MAX_MOMENTS {
            let Some(moment) = dates(&last) else { return Err(last) };
            match verify(moment) {
                Ok(_) => return Err(first),
                Err(error) => last = error,
            }
        }
        // No moment suits all certificates of the chain: no clock would help, so not an error with a moment in it.
        Err(CertificateError::Expired.into())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

/// For a certificate outside its dates: the nearest moment within them.
fn dates(error: &Error) -> Option<UnixTime> {
    match error {
        Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. }) => Some(*not_after),
        Error::InvalidCertificate(CertificateError::NotValidYetContext { not_before, .. }) => {
            Some(*not_before)
        }
        _ => None,
    }
}

/// Believes the holder of one private key, whatever certificate the public key comes in.
#[derive(Debug)]
struct PublicKey {
    /// SHA-256 of the `SubjectPublicKeyInfo`.
    expected: [u8; 32],
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for PublicKey {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let key = ParsedCertificate::try_from(end_entity)?.subject_public_key_info();
        if crypto::sha256(&key) == self.expected {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(CertificateError::ApplicationVerificationFailure.into())
        }
    }

    // SECURITY: a certificate is public, so anybody can show the right one. That the peer holds the private key is
    // proved by its signature over the handshake alone: these two must stay as strict as webpki's own.
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// What a TLS error means, in words.
pub(super) fn failure(error: &Error) -> Failure {
    let refused = |cause: String| Failure::new(Kind::Tls { dates_only: false }, cause);
    match error {
        Error::InvalidCertificate(certificate) => match certificate {
            CertificateError::ExpiredContext { time, not_after } => Failure::new(
                Kind::Tls { dates_only: true },
                format!("its certificate ended on {}, and here it is {}", day(*not_after), day(*time)),
            ),
            CertificateError::NotValidYetContext { time, not_before } => Failure::new(
                Kind::Tls { dates_only: true },
                format!("its certificate begins on {}, and here it is {}", day(*not_before), day(*time)),
            ),
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                refused("its certificate is for another name".to_owned())
            }
            CertificateError::UnknownIssuer => {
                refused("its certificate comes from a CA that is not trusted".to_owned())
            }
            CertificateError::BadSignature => {
                refused("it does not hold the private key of the certificate that it shows".to_owned())
            }
            CertificateError::ApplicationVerificationFailure => {
                refused("its public key is not that of cvm_service_fingerprint".to_owned())
            }
            // webpki's words for it: CaUsedAsEndEntity.
            CertificateError::Other(_) => refused(
                "its certificate is a CA's own; to trust just this one, use cvm_service_fingerprint"
                    .to_owned(),
            ),
            other => refused(format!("its certificate is not valid ({other})")),
        },
        Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            refused("it does not speak TLS on this port".to_owned())
        }
        Error::AlertReceived(alert) => refused(format!("it ended the handshake ({alert:?})")),
        other => refused(other.to_string()),
    }
}

/// `2026-08-01`, by Howard Hinnant's days-from-civil algorithm turned round
/// (<https://howardhinnant.github.io/date_algorithms.html>), for dates from 1970 on.
fn day(time: UnixTime) -> String {
    let days = time.as_secs() / 86_400 + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::scripted::{Act, Scripted};
    use crate::client::{HttpService, Outcome, Request, Service as _};
    use crate::url::ServiceUrl;
    use protocol::Pin;
    use rcgen::{
        BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, PublicKeyData as _, date_time_ymd,
    };
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
            let acts = vec![Act::answer("200 OK", "", "a: b"); 3];
            let service = Scripted::start_with(Some(Arc::new(config)), acts);
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
    fn check(trust: &Trust, shown: &Shown, key: &KeyPair, expected: Result<(), (bool, &str)>) {
        for result in ask(trust, &shown.chain, key) {
            match (result, expected) {
                (Ok(outcome), Ok(())) => assert_eq!(outcome, Outcome::Value("b".to_owned())),
                (Err(failure), Err((dates_only, part))) => {
                    assert_eq!(failure.kind, Kind::Tls { dates_only }, "{failure}");
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
        check(&other.trust(), &shown, &shown.key, Err((false, "a CA that is not trusted")));
        check(&Trust::WebPki, &shown, &shown.key, Err((false, "a CA that is not trusted")));
    }

    #[test]
    fn wants_the_name_of_the_url() {
        let ca = Ca::new();
        for name in ["pair.example.org", "127.0.0.2"] {
            let shown = ca.sign(name, |_| ());
            check(&ca.trust(), &shown, &shown.key, Err((false, "another name")));
        }
    }

    #[test]
    fn says_of_dates_only_what_a_clock_could_heal() {
        let ca = Ca::new();
        let shown = ca.sign("127.0.0.1", expired);
        check(&ca.trust(), &shown, &shown.key, Err((true, "ended on 2020-02-03, and here it is 2")));
        let shown = ca.sign("127.0.0.1", not_yet);
        check(&ca.trust(), &shown, &shown.key, Err((true, "begins on 2999-12-31, and here it is 2")));
        let shown = ca.sign("pair.example.org", expired);
        check(&ca.trust(), &shown, &shown.key, Err((false, "another name")));
        let shown = ca.sign("127.0.0.1", expired);
        check(&Ca::new().trust(), &shown, &shown.key, Err((false, "a CA that is not trusted")));
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
        check(&root.trust(), &shown, &shown.key, Err((false, "not valid")));
    }

    #[test]
    fn wants_the_private_key_of_the_certificate_also_under_a_ca() {
        let ca = Ca::new();
        let shown = ca.sign("127.0.0.1", |_| ());
        let wrong = KeyPair::generate().unwrap();
        check(&ca.trust(), &shown, &wrong, Err((false, "not hold the private key")));
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
                Err((false, "not that of cvm_service_fingerprint")),
            );
        }
    }

    #[test]
    fn wants_the_private_key_of_the_fingerprint() {
        let shown = Ca::new().sign("127.0.0.1", |_| ());
        let wrong = KeyPair::generate().unwrap();
        check(&shown.fingerprint(), &shown, &wrong, Err((false, "not hold the private key")));
    }

    #[test]
    fn says_what_to_do_with_a_certificate_that_is_its_own_ca() {
        let mut params = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap().der().clone();
        let trust = Trust::Authorities(vec![certificate.clone()]);
        let shown = Shown { chain: vec![certificate], key };
        check(&trust, &shown, &shown.key, Err((false, "use cvm_service_fingerprint")));
        check(&shown.fingerprint(), &shown, &shown.key, Ok(()));
    }

    #[test]
    fn knows_a_port_that_speaks_no_tls() {
        for (says, kind) in [
            ("HTTP/1.1 400 Bad Request\r\n\r\n", Kind::Tls { dates_only: false }),
            ("220 mail.example.org ESMTP\r\n", Kind::Tls { dates_only: false }),
            ("", Kind::Connect),
        ] {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let url = format!("https://{}", listener.local_addr().unwrap());
            let service = std::thread::spawn(move || {
                let (mut stream, _) = listener.accept().unwrap();
                let _ = stream.read(&mut [0; 4096]);
                let _ = stream.write_all(says.as_bytes());
            });
            let url = ServiceUrl::parse(&url, false).unwrap();
            let mut client =
                HttpService::new(url, Pin::parse("enico1qq0oey").unwrap(), &Trust::WebPki).unwrap();
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
    fn writes_days_as_people_do() {
        for (seconds, expected) in [
            (0, "1970-01-01"),
            (951_782_400, "2000-02-29"),
            (951_868_800, "2000-03-01"),
            (1_735_689_599, "2024-12-31"),
            (1_735_689_600, "2025-01-01"),
            (4_102_444_800, "2100-01-01"),
        ] {
            assert_eq!(day(UnixTime::since_unix_epoch(Duration::from_secs(seconds))), expected);
        }
    }
}
