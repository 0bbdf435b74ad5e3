//! A client of the service, for the commands that make pins: one request, with TLS as a context would have it.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_LENGTH, HOST};
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use protocol::Pin;
use protocol::bodies;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::error::Error;
use crate::tls;
use crate::token::CreateToken;

/// How long making a pin may take in all. A person waits for it.
const PATIENCE: Duration = Duration::from_secs(30);
/// Longest answer, in bytes; a pin takes 80.
const ANSWER_MAX_BYTES: usize = 4096;

/// Whom to believe that they are the service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// Whom the authorities of the web have signed.
    Public,
    /// Whom the authorities in this PEM file have signed.
    Authorities(PathBuf),
    /// Who has the key with this fingerprint, whatever else his certificate says.
    Fingerprint(String),
}

/// A service somewhere.
pub struct Remote {
    /// Its URL, without a slash at the end.
    pub url: String,
    /// Whom to believe that they are it.
    pub trust: Trust,
    /// What it asks of those who make pins.
    pub token: Option<CreateToken>,
    host: String,
    port: u16,
    /// `None`: plain HTTP.
    tls: Option<Arc<ClientConfig>>,
}

impl Remote {
    /// The service at a URL.
    ///
    /// # Errors
    /// The URL makes no sense or does not go with the trust, or the file of the authorities cannot be used.
    pub fn new(url: &str, trust: Trust) -> Result<Self, Error> {
        let wrong = |problem| Error::Url { url: url.to_owned(), problem };
        let uri: Uri = url.parse().map_err(|_| wrong("this is not a URL"))?;
        let secure = match uri.scheme_str() {
            Some("https") => true,
            Some("http") if trust != Trust::Public => {
                return Err(wrong("plain http has no key that could be looked at: use https"));
            }
            Some("http") => false,
            _ => return Err(wrong("a URL begins with http:// or https://")),
        };
        let host =
            uri.host().filter(|host| !host.is_empty()).ok_or_else(|| wrong("there is no host in it"))?;
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let tls = secure.then(|| config(&trust)).transpose()?;
        Ok(Self {
            url: url.trim_end_matches('/').to_owned(),
            trust,
            token: None,
            host: host.to_owned(),
            port,
            tls,
        })
    }

    /// Makes a cluster, and gives its pin.
    ///
    /// # Errors
    /// The service cannot be reached, does not prove to be it, or makes no pin.
    pub async fn create_pin(&self) -> Result<Pin, Error> {
        let late = |_| Err(self.failed(format!("no answer in {} s", PATIENCE.as_secs())));
        timeout(PATIENCE, self.create()).await.unwrap_or_else(late)
    }

    async fn create(&self) -> Result<Pin, Error> {
        let host = self.host.trim_start_matches('[').trim_end_matches(']');
        let stream = TcpStream::connect((host, self.port)).await;
        let stream = stream.map_err(|err| self.failed(format!("cannot connect: {err}")))?;
        match &self.tls {
            None => self.ask(stream).await,
            Some(config) => {
                let name =
                    ServerName::try_from(host.to_owned()).map_err(|err| self.failed(err.to_string()))?;
                let stream = TlsConnector::from(config.clone()).connect(name, stream).await;
                let untrusted =
                    |err: io::Error| Error::Untrusted { url: self.url.clone(), problem: err.to_string() };
                self.ask(stream.map_err(untrusted)?).await
            }
        }
    }

    async fn ask(&self, stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Result<Pin, Error> {
        let failed = |err: hyper::Error| self.failed(format!("no answer: {err}"));
        let (mut requests, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
        let connection = tokio::spawn(connection);
        let uri: Uri = self.url.parse().expect("it was parsed before");
        let mut request = Request::post(format!("{}/api/v1/clusters", uri.path().trim_end_matches('/')))
            .header(HOST, format!("{}:{}", self.host, self.port))
            .header(ACCEPT, "application/json")
            .header(CONTENT_LENGTH, 0)
            .body(Empty::<Bytes>::new())
            .expect("a host that is part of a URL can be in a header");
        if let Some(token) = &self.token {
            request.headers_mut().insert(AUTHORIZATION, token.header());
        }
        let answer = requests.send_request(request).await.map_err(failed)?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), ANSWER_MAX_BYTES).collect().await;
        connection.abort();
        let body = body.map_err(|err| self.failed(format!("half an answer: {err}")))?.to_bytes();
        if status != StatusCode::CREATED {
            let detail = serde_json::from_slice(&body).map(|bodies::Detail { detail }| detail.into_owned());
            return Err(self.failed(format!("it answered {status}. {}", detail.unwrap_or_default())));
        }
        let cluster: Result<bodies::Cluster<'_>, _> = serde_json::from_slice(&body);
        let pin = cluster.ok().and_then(|cluster| Pin::parse(&cluster.pin).ok());
        pin.ok_or_else(|| self.failed("the answer is not that of a pairing service".to_owned()))
    }

    fn failed(&self, problem: String) -> Error {
        Error::Client { url: self.url.clone(), problem }
    }
}

fn config(trust: &Trust) -> Result<Arc<ClientConfig>, Error> {
    let provider = tls::crypto();
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .expect("ring has suites for both versions");
    let builder = match trust {
        Trust::Public => {
            let roots = webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect::<RootCertStore>();
            builder.with_root_certificates(roots)
        }
        Trust::Authorities(path) => {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(tls::read_chain(path)?);
            builder.with_root_certificates(roots)
        }
        Trust::Fingerprint(fingerprint) => {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Pinned {
                fingerprint: fingerprint.clone(),
                provider,
            }))
        }
    };
    Ok(Arc::new(builder.with_no_client_auth()))
}

/// Looks at the public key and at nothing else of a certificate.
#[derive(Debug)]
struct Pinned {
    fingerprint: String,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let key = ParsedCertificate::try_from(certificate)?.subject_public_key_info();
        if tls::fingerprint(&key) == self.fingerprint {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(CertificateError::ApplicationVerificationFailure.into())
        }
    }

    // SECURITY: that the peer has the private key to the pinned one is shown by these signatures alone.
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(url: &str, trust: Trust, problem: Option<&str>) {
        let said = Remote::new(url, trust).err().map(|err| err.to_string());
        assert_eq!(said, problem.map(|problem| format!("{url}: {problem}")));
    }

    #[test]
    fn takes_urls_that_go_with_the_trust() {
        let pinned = || Trust::Fingerprint("sha256:00".to_owned());
        check("http://127.0.0.1:8000", Trust::Public, None);
        check("https://pair.example.org/", Trust::Public, None);
        check("https://[::1]:8443/behind/a/proxy", pinned(), None);
        check("http://127.0.0.1", pinned(), Some("plain http has no key that could be looked at: use https"));
        check("127.0.0.1:8000", Trust::Public, Some("a URL begins with http:// or https://"));
        check("ftp://example.org", Trust::Public, Some("a URL begins with http:// or https://"));
        check("not a url", Trust::Public, Some("this is not a URL"));
    }
}
