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
use protocol::Trust;

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
mod tests;
