//! Which service is believed: the rustls configuration for each kind of trust, and what a refusal means in words.
//!
//! rustls with ring does the cryptography and webpki the chain. Decided here is what they leave open: whether a
//! certificate's dates are the only thing wrong with it (a VM that boots may not know the time yet), when the machine's
//! own certificate store is asked, and the pinned public key (RFC 7469 calls its hash a pin).

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

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
use super::failure::{Failure, FailureKind, TlsFault};
use super::system_roots;
use protocol::Trust;

/// The TLS configuration that believes what `trust` says, and nothing else.
///
/// # Errors
/// In words, when none of the CAs of the context can serve as one.
pub fn config(trust: &Trust) -> Result<Arc<ClientConfig>, String> {
    let provider = Arc::new(crypto::provider());
    let certificates = match trust {
        Trust::WebPki => {
            let roots = webpki_roots::TLS_SERVER_ROOTS.to_vec();
            let known = web_pki(RootCertStore { roots }, &provider)?;
            CertificateCheck::Chain(WebPki { known, system: Some(provider.clone()) })
        }
        Trust::Authorities(certificates) => {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(certificates.iter().cloned());
            if roots.is_empty() {
                return Err("cvm_service_ca holds no certificate that can be used as a CA".to_owned());
            }
            CertificateCheck::Chain(WebPki { known: web_pki(roots, &provider)?, system: None })
        }
        Trust::Fingerprint(expected) => CertificateCheck::PublicKey(*expected),
    };
    let verifier = Arc::new(Verifier { certificates, provider: provider.clone() });
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

/// webpki's verifier with some CAs, and with those of the machine's certificate store where these do not do.
#[derive(Debug)]
struct WebPki {
    known: Arc<WebPkiServerVerifier>,
    /// `None`: the store is not asked. It is read when it is needed: most services have a certificate of a public CA,
    /// and reading some hundred certificates takes longer than the rest of a handshake.
    system: Option<Arc<CryptoProvider>>,
}

impl WebPki {
    fn verify(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        at: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let with = |verifier: &WebPkiServerVerifier| match verifier.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            at,
        ) {
            // A CA of the right name with another key; kept apart from a handshake's bad signature.
            Err(Error::InvalidCertificate(CertificateError::BadSignature)) => {
                Err(CertificateError::UnknownIssuer.into())
            }
            other => other,
        };
        let first = with(&self.known);
        if !matches!(first, Err(Error::InvalidCertificate(CertificateError::UnknownIssuer))) {
            return first;
        }
        let system = self.system.as_ref().and_then(|provider| {
            let roots = system_roots::read()?;
            web_pki(roots, provider).ok()
        });
        system.map_or(first, |verifier| with(&verifier))
    }
}

/// Most certificates of a chain whose dates are asked about one after the other. A chain of honest length has three.
const MAX_MOMENTS: usize = 8;

/// The chain, with the dates last: webpki looks at them before it looks at the name, so its own "expired" would hide a
/// wrong name. After "expired" from here, a clock set right would make the connection good.
fn verify_dates_last(
    verify: impl Fn(UnixTime) -> Result<ServerCertVerified, Error>,
    now: UnixTime,
) -> Result<ServerCertVerified, Error> {
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

/// What a certificate is held against.
#[derive(Debug)]
enum CertificateCheck {
    /// A chain to a trusted CA, the name and the dates.
    Chain(WebPki),
    /// SHA-256 of the `SubjectPublicKeyInfo`, in whichever certificate it comes.
    PublicKey([u8; 32]),
}

#[derive(Debug)]
struct Verifier {
    certificates: CertificateCheck,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match &self.certificates {
            CertificateCheck::Chain(web_pki) => verify_dates_last(
                |at| web_pki.verify(end_entity, intermediates, server_name, ocsp_response, at),
                now,
            ),
            CertificateCheck::PublicKey(expected) => {
                let key = ParsedCertificate::try_from(end_entity)?.subject_public_key_info();
                if crypto::sha256(&key) == *expected {
                    Ok(ServerCertVerified::assertion())
                } else {
                    Err(CertificateError::ApplicationVerificationFailure.into())
                }
            }
        }
    }

    // SECURITY: a certificate is public, so every peer can show the right one. That the peer holds the private key is
    // proved by its signature over the handshake alone: these two do what webpki's own verifier does.
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
    let refused = |fault: TlsFault, cause: String| Failure::new(FailureKind::Tls(fault), cause);
    match error {
        Error::InvalidCertificate(certificate) => match certificate {
            CertificateError::ExpiredContext { time, not_after } => refused(
                TlsFault::Dates,
                format!("its certificate ended on {}, and here it is {}", day(*not_after), day(*time)),
            ),
            CertificateError::NotValidYetContext { time, not_before } => refused(
                TlsFault::Dates,
                format!("its certificate begins on {}, and here it is {}", day(*not_before), day(*time)),
            ),
            CertificateError::NotValidForNameContext { presented, .. } if !presented.is_empty() => {
                let names: Vec<_> = presented.iter().take(MAX_NAMES).map(|name| bare_name(name)).collect();
                refused(TlsFault::Name, format!("its certificate is for another name ({})", names.join(", ")))
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                refused(TlsFault::Name, "its certificate is for another name".to_owned())
            }
            CertificateError::UnknownIssuer => {
                refused(TlsFault::Issuer, "its certificate comes from a CA that is not trusted".to_owned())
            }
            CertificateError::BadSignature => refused(
                TlsFault::Key,
                "it does not hold the private key of the certificate that it shows".to_owned(),
            ),
            CertificateError::ApplicationVerificationFailure => {
                refused(TlsFault::Key, "its public key is not the one of the fingerprint".to_owned())
            }
            // What rustls has no name for comes with webpki's own error.
            CertificateError::Other(other) => match other.0.downcast_ref() {
                Some(webpki::Error::CaUsedAsEndEntity) => {
                    refused(TlsFault::CaCertificate, "its certificate is a CA's own".to_owned())
                }
                Some(error) => refused(TlsFault::Other, format!("its certificate is not valid ({error:?})")),
                None => refused(TlsFault::Other, format!("its certificate is not valid ({other})")),
            },
            other => refused(TlsFault::Other, format!("its certificate is not valid ({other})")),
        },
        Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            refused(TlsFault::NotTls, "it does not speak TLS on this port".to_owned())
        }
        Error::AlertReceived(alert) => {
            refused(TlsFault::Other, format!("it ended the handshake ({alert:?})"))
        }
        other => refused(TlsFault::Other, other.to_string()),
    }
}

/// Most names of a certificate that a message repeats.
const MAX_NAMES: usize = 3;

/// rustls shows a name as `DnsName("pair.example.org")`.
fn bare_name(shown: &str) -> &str {
    shown.split('"').nth(1).unwrap_or(shown)
}

/// `01 Aug 2026`.
fn day(time: UnixTime) -> String {
    // IMF-fixdate, such as "Sat, 01 Aug 2026 00:00:00 GMT" (RFC 9110 section 5.6.7); httpdate shows years to 9999.
    let seconds = time.as_secs().min(253_402_300_799);
    let date = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(seconds));
    date.get(5..16).unwrap_or(&date).to_owned()
}

#[cfg(test)]
mod tests;
