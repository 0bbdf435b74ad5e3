//! A client of the service, for the commands that make pins: one request, with TLS as a context would have it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::header::{ACCEPT, CONTENT_LENGTH, HOST};
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
#[derive(Debug)]
pub struct Remote {
    /// Its URL, without a slash at the end.
    pub url: String,
    /// Whom to believe that they are it.
    pub trust: Trust,
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
        Ok(Self { url: url.trim_end_matches('/').to_owned(), trust, host: host.to_owned(), port, tls })
    }

    /// Makes a cluster, and gives its pin.
    ///
    /// # Errors
    /// The service cannot be reached, or does not make one.
    pub async fn create_pin(&self) -> Result<Pin, Error> {
        let late = |_| Err(format!("no answer in {} s", PATIENCE.as_secs()));
        let pin = timeout(PATIENCE, self.create()).await.unwrap_or_else(late);
        pin.map_err(|problem| Error::Client { url: self.url.clone(), problem })
    }

    async fn create(&self) -> Result<Pin, String> {
        let host = self.host.trim_start_matches('[').trim_end_matches(']');
        let stream =
            TcpStream::connect((host, self.port)).await.map_err(|err| format!("cannot connect: {err}"))?;
        match &self.tls {
            None => self.ask(stream).await,
            Some(config) => {
                let name = ServerName::try_from(host.to_owned()).map_err(|err| err.to_string())?;
                let stream = TlsConnector::from(config.clone()).connect(name, stream).await;
                self.ask(stream.map_err(|err| format!("TLS: {err}"))?).await
            }
        }
    }

    async fn ask(&self, stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Result<Pin, String> {
        let failed = |err: hyper::Error| format!("no answer: {err}");
        let io = TokioIo::new(stream);
        let (mut requests, connection) = hyper::client::conn::http1::handshake(io).await.map_err(failed)?;
        let connection = tokio::spawn(connection);
        let uri: Uri = self.url.parse().expect("it was parsed before");
        let request = Request::post(format!("{}/api/v1/clusters", uri.path().trim_end_matches('/')))
            .header(HOST, format!("{}:{}", self.host, self.port))
            .header(ACCEPT, "application/json")
            .header(CONTENT_LENGTH, 0)
            .body(Empty::<Bytes>::new())
            .expect("a host that is part of a URL can be in a header");
        let answer = requests.send_request(request).await.map_err(failed)?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), ANSWER_MAX_BYTES).collect().await;
        connection.abort();
        let body = body.map_err(|err| format!("half an answer: {err}"))?.to_bytes();
        if status != StatusCode::CREATED {
            let detail: Option<bodies::Detail<'_>> = serde_json::from_slice(&body).ok();
            return Err(format!("it answered {status}. {}", detail.map_or("".into(), |body| body.detail)));
        }
        let cluster: bodies::Cluster<'_> = serde_json::from_slice(&body)
            .map_err(|_| "the answer is not that of a pairing service".to_owned())?;
        Pin::parse(&cluster.pin).map_err(|err| format!("it made a pin that is none: {err}"))
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
