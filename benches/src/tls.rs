//! A certificate for the servers of a run, and clients that trust it and nothing else.

use std::fs;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use rustls_pki_types::ServerName;

use crate::error::{Result, WithContext};
use crate::load::connection::Target;

/// A certificate for 127.0.0.1, signed by its own key.
#[derive(Debug)]
pub(crate) struct Certificate {
    /// Where it lies, in PEM.
    pub(crate) file: PathBuf,
    /// Where its key lies, in PEM.
    pub(crate) key: PathBuf,
    /// It itself, in PEM.
    pub(crate) pem: String,
    /// A client for it.
    pub(crate) client: Arc<ClientConfig>,
}

impl Certificate {
    /// Makes one in a directory.
    pub(crate) fn make(dir: &Path) -> Result<Self> {
        let made = generate_simple_self_signed(["127.0.0.1".to_owned()]).map_err(io::Error::other);
        let CertifiedKey { cert, signing_key } = made.context("make a certificate")?;
        let (file, key) = (dir.join("certificate.pem"), dir.join("key.pem"));
        fs::write(&file, cert.pem()).context_on("write", &file)?;
        fs::write(&key, signing_key.serialize_pem()).context_on("write", &key)?;
        let mut roots = RootCertStore::empty();
        roots.add(cert.der().clone()).map_err(io::Error::other).context("trust a certificate")?;
        let client = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)
            .context("set TLS up")?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { file, key, pem: cert.pem(), client: Arc::new(client) })
    }
}

/// What can be asked and listened to.
pub(crate) trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

/// A blocking connection, plain or TLS, that gives up after 20 s of silence.
pub(crate) fn connect(target: &Target) -> Result<Box<dyn Stream>> {
    let socket = TcpStream::connect(target.address).context(format!("connect to {}", target.address))?;
    socket.set_read_timeout(Some(Duration::from_secs(20))).context("set a timeout")?;
    socket.set_nodelay(true).context("set an option")?;
    let Some(client) = &target.tls else { return Ok(Box::new(socket)) };
    let name = ServerName::IpAddress(target.address.ip().into());
    let session =
        ClientConnection::new(Arc::clone(client), name).map_err(io::Error::other).context("set TLS up")?;
    Ok(Box::new(StreamOwned::new(session, socket)))
}
