//! Certificates of a test's own, and connections over TLS that trust one of them.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{
    ALL_VERSIONS, ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion,
};

/// A connection over TLS.
pub type Connection = StreamOwned<ClientConnection, TcpStream>;

/// A certificate for an address, signed by its own key, and that key.
#[derive(Debug)]
pub struct Certified {
    /// The certificate, in PEM.
    pub certificate: String,
    /// The key, in PEM.
    pub key: String,
}

impl Certified {
    /// For a host name or an address.
    ///
    /// # Panics
    /// When it is neither.
    #[must_use]
    pub fn new(host: &str) -> Self {
        let made = rcgen::generate_simple_self_signed([host.to_owned()]).expect("a certificate can be made");
        Self { certificate: made.cert.pem(), key: made.signing_key.serialize_pem() }
    }

    /// Puts both into files.
    ///
    /// # Panics
    /// When they cannot be written.
    pub fn write(&self, certificate: &Path, key: &Path) {
        // Key first: a reader in between finds a pair that does not match, and keeps the old one.
        std::fs::write(key, &self.key).expect("it can be written");
        std::fs::write(certificate, &self.certificate).expect("it can be written");
    }

    /// A connection to the server that has exactly this certificate; the handshake comes with the first bytes.
    ///
    /// # Panics
    /// When no server accepts.
    #[must_use]
    pub fn connect(&self, to: SocketAddr) -> Connection {
        connect(&self.client(ALL_VERSIONS), to)
    }

    /// A client that trusts exactly this certificate, speaks these versions of TLS, and remembers its sessions.
    ///
    /// # Panics
    /// When the certificate is none.
    #[must_use]
    pub fn client(&self, versions: &[&'static SupportedProtocolVersion]) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        let certificate = CertificateDer::from_pem_slice(self.certificate.as_bytes()).expect("it is one");
        roots.add(certificate).expect("it is one");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .expect("ring has suites for both versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Arc::new(config)
    }
}

/// A connection of this client; the handshake comes with the first bytes.
///
/// # Panics
/// When no server accepts.
#[must_use]
pub fn connect(client: &Arc<ClientConfig>, to: SocketAddr) -> Connection {
    let tls = ClientConnection::new(client.clone(), ServerName::from(to.ip()))
        .expect("a configuration and a name do");
    StreamOwned::new(tls, TcpStream::connect(to).expect("it accepts"))
}

/// Whether a service answers on this connection.
pub fn answers(stream: &mut (impl Read + Write)) -> bool {
    let mut said = Vec::new();
    let mut byte = [0];
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").is_ok() && {
        while !said.ends_with(b"alive\n") && stream.read(&mut byte).is_ok_and(|count| count == 1) {
            said.push(byte[0]);
        }
        said.starts_with(b"HTTP/1.1 200 ")
    }
}
