//! Which certificate of a service is believed.

use rustls_pki_types::CertificateDer;

/// Which service to believe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// The CAs of the web (Mozilla's list, in the binary).
    WebPki,
    /// Only these CAs, from `cvm_service_ca`.
    Authorities(Vec<CertificateDer<'static>>),
    /// Whoever holds the private key of this public key: SHA-256 of the SubjectPublicKeyInfo (as in RFC 7469).
    Fingerprint([u8; 32]),
}
