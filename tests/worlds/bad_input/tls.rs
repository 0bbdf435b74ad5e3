//! Services that are not who they should be.

use std::sync::Arc;

use rcgen::{CertifiedKey, KeyPair, PublicKeyData, generate_simple_self_signed};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::json;
use worlds::fixtures;
use worlds::guest::Guest;
use worlds::mock_server::{MockServer, Reply};
use worlds::service::Service;

use crate::{PIN, fails, slave};

#[test]
fn a_certificate_of_an_unknown_ca_is_refused_at_once() {
    let service = Service::with(&["--tls-self-signed"]);
    fails(
        &slave(PIN, &format!("https://{}", service.address())),
        77,
        &["TLS", &service.address().to_string()],
    );
}

#[test]
fn a_service_without_tls_is_not_taken_for_one_with() {
    let service = Service::start();
    fails(&slave(PIN, &format!("https://{}", service.address())), 77, &["TLS"]);
}

#[test]
fn the_pinned_key_is_believed_and_the_right_certificate_with_a_wrong_key_is_not() {
    let right =
        generate_simple_self_signed(vec!["pair.example.org".into()]).expect("a certificate can be made");
    let fingerprint = format!(
        "cvm_service_fingerprint=sha256:{}",
        sha256_hex(&right.signing_key.subject_public_key_info())
    );
    let wrong = KeyPair::generate().expect("a key can be made");

    let impostor =
        MockServer::start_tls(presenting(&right, &wrong), |_, _| unreachable!("no request gets this far"));
    fails(&pinned(&impostor, &fingerprint), 77, &["TLS"]);
    assert!(impostor.seen().is_empty());

    let honest = MockServer::start_tls(presenting(&right, &right.signing_key), |_, _| {
        Reply::json(404, &json!({"detail": "Not found."}))
    });
    // The same service with its own key gets as far as saying that it does not know the pin.
    fails(&pinned(&honest, &fingerprint), 77, &["pin"]);
    assert_eq!(honest.lines(), vec![format!("GET /api/v1/clusters/{PIN}"); 2]);

    let other =
        generate_simple_self_signed(vec!["pair.example.org".into()]).expect("a certificate can be made");
    let stranger = MockServer::start_tls(presenting(&other, &other.signing_key), |_, _| {
        unreachable!("no request gets this far")
    });
    fails(&pinned(&stranger, &fingerprint), 77, &["TLS"]);
    assert!(stranger.seen().is_empty());
}

fn pinned(service: &MockServer, fingerprint: &str) -> Guest {
    let context = fixtures::slave(PIN, &service.url());
    Guest::new("slave", fixtures::with_settings(&context, &["cvm_cluster_timeout=3", fingerprint]))
}

/// A TLS server that shows this certificate and signs with that key.
fn presenting(certificate: &CertifiedKey<KeyPair>, key: &KeyPair) -> ServerConfig {
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let key = ring::sign::any_supported_type(&key).expect("ring signs with what rcgen makes");
    // Unlike the usual way, this one does not look whether they belong together.
    let shown = sign::CertifiedKey::new(vec![certificate.cert.der().clone()], key);
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let config =
        config.with_safe_default_protocol_versions().expect("ring has them all").with_no_client_auth();
    config.with_cert_resolver(Arc::new(Always(Arc::new(shown))))
}

#[derive(Debug)]
struct Always(Arc<sign::CertifiedKey>);

impl ResolvesServerCert for Always {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<sign::CertifiedKey>> {
        Some(self.0.clone())
    }
}

fn sha256_hex(bytes: &[u8]) -> String {
    let hash = ring::default_provider();
    let suite = hash.cipher_suites.iter().find_map(|suite| match suite {
        rustls::SupportedCipherSuite::Tls13(suite) if suite.common.hash_provider.output_len() == 32 => {
            Some(suite.common.hash_provider)
        }
        _ => None,
    });
    let hash = suite.expect("ring has SHA-256").hash(bytes);
    hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}
