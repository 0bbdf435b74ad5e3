//! TLS: where the key and the certificate come from, and how they are replaced while the service runs.
//!
//! One provider (ring), TLS 1.2 and 1.3 with rustls' own choice of suites, HTTP/1.1 only. Clients that have the
//! fingerprint of the key look at nothing else, so a certificate that we sign ourselves says no more than it must.

pub(crate) mod tickets;

use std::fmt::{Display, Write as _};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use rcgen::{CertificateParams, KeyPair};
use ring::digest::{SHA256, SHA256_OUTPUT_LEN, digest};
use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, ring as provider};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use self::tickets::{Ticketer, Tickets};
use crate::clock::{Clock as _, SystemClock, Timestamp};
use crate::error::Error;

/// What an error names when no file is at fault.
const SELF_SIGNED: &str = "the self-signed certificate";

/// Where the key and the certificate come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tls {
    /// From PEM files; read again by [`Certificate::reload`].
    Files {
        /// The certificate and those between it and its authority, in that order.
        certificate: PathBuf,
        /// The private key: PKCS #8, PKCS #1 or SEC 1.
        key: PathBuf,
    },
    /// A key that is made once.
    SelfSigned {
        /// Where it is kept, for this user alone; `None`: nowhere.
        key: Option<PathBuf>,
    },
}

/// The certificate in use. Clones are handles of the same.
#[derive(Debug, Clone)]
pub struct Certificate {
    source: Tls,
    current: Arc<Current>,
}

#[derive(Debug)]
struct Current(RwLock<Loaded>);

/// A key with its certificate.
#[derive(Debug, Clone)]
struct Loaded {
    certified: Arc<CertifiedKey>,
    /// The end of the certificate's validity.
    expires: Timestamp,
    /// The hash of the public key, which the sessions of clients are bound to.
    identity: [u8; SHA256_OUTPUT_LEN],
}

impl Certificate {
    /// Reads the key and the certificate, or makes them.
    ///
    /// # Errors
    /// A file cannot be read or written, or what is in it is no use.
    pub(crate) fn load(source: Tls) -> Result<Self, Error> {
        let loaded = load(&source, IfMissing::Create)?;
        let certificate = Self { source, current: Arc::new(Current(RwLock::new(loaded))) };
        certificate.log("in use");
        Ok(certificate)
    }

    /// Reads the files again. New connections get what is in them now, open ones keep what they have.
    ///
    /// # Errors
    /// A file is missing or cannot be read, or what is in it cannot be used; the certificate in use stays in use.
    pub fn reload(&self) -> Result<(), Error> {
        // A new key would be another identity: clients that have the fingerprint of the old one would not come back.
        let loaded = load(&self.source, IfMissing::Fail)?;
        let before = self.fingerprint();
        *self.current.0.write().unwrap_or_else(PoisonError::into_inner) = loaded;
        let same = self.fingerprint() == before;
        self.log(if same { "read again, with the same key" } else { "read again, with ANOTHER key" });
        Ok(())
    }

    /// The end of the certificate's validity.
    pub(crate) fn expires(&self) -> Timestamp {
        self.current.get().expires
    }

    fn log(&self, what: &str) {
        let fingerprint = self.fingerprint().unwrap_or_default();
        let expires = self.expires();
        log::info!(
            fingerprint:%, expires:%;
            "certificate {what}: key {fingerprint}, valid until {expires}"
        );
        if expires <= SystemClock.now() {
            log::warn!("the certificate has expired: clients without the fingerprint of its key refuse it");
        }
    }

    /// `sha256:<hex>` of the public key (its SubjectPublicKeyInfo): what `cvm_service_fingerprint` in a context takes.
    /// `None` for a kind of key that does not tell.
    #[must_use]
    pub fn fingerprint(&self) -> Option<String> {
        Some(fingerprint(self.current.get().certified.key.public_key()?.as_ref()))
    }

    /// What makes TLS of a connection. Sessions are resumed by the tickets that these keys seal.
    pub(crate) fn acceptor(&self, tickets: Arc<Tickets>) -> TlsAcceptor {
        let mut config = ServerConfig::builder_with_provider(crypto())
            .with_safe_default_protocol_versions()
            .expect("ring has suites for both versions")
            .with_no_client_auth()
            .with_cert_resolver(self.current.clone());
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config.ticketer = Arc::new(Ticketer { tickets, certificate: self.current.clone() });
        TlsAcceptor::from(Arc::new(config))
    }
}

impl Current {
    fn get(&self) -> Loaded {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.get().certified)
    }
}

/// The one place that names the cryptography provider.
pub(crate) fn crypto() -> Arc<CryptoProvider> {
    Arc::new(provider::default_provider())
}

/// The fingerprint of a public key in DER.
pub(crate) fn fingerprint(public_key: &[u8]) -> String {
    let mut text = "sha256:".to_owned();
    for byte in digest(&SHA256, public_key).as_ref() {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// What to do where there is no key yet.
#[derive(Clone, Copy, PartialEq, Eq)]
enum IfMissing {
    Create,
    Fail,
}

fn load(source: &Tls, if_missing: IfMissing) -> Result<Loaded, Error> {
    let (chain, private, place) = match source {
        Tls::Files { certificate, key } => {
            warn_if_open(key);
            (read_chain(certificate)?, read_key(key)?, key.display().to_string())
        }
        Tls::SelfSigned { key } => {
            let key = match key {
                Some(path) => kept_or_new(path, if_missing)?,
                // It lives as long as the process, so there is nothing to read again.
                None if if_missing == IfMissing::Fail => {
                    return Err(unusable(SELF_SIGNED, &"its key is in no file that could be read again"));
                }
                None => generate()?,
            };
            (vec![self_signed(&key)?], key.into(), SELF_SIGNED.to_owned())
        }
    };
    let (expires, identity) = read_certificate(&chain[0]).map_err(|err| unusable(&place, &err))?;
    let certified = CertifiedKey::from_der(chain, private, &crypto());
    Ok(Loaded { certified: Arc::new(certified.map_err(|err| unusable(place, &err))?), expires, identity })
}

/// Whether a private key is that of the first certificate, both in PEM.
pub(crate) fn belong_together(chain: &[u8], private: &[u8]) -> bool {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain).collect();
    match (chain, PrivateKeyDer::from_pem_slice(private)) {
        (Ok(chain), Ok(private)) => CertifiedKey::from_der(chain, private, &crypto()).is_ok(),
        _ => false,
    }
}

/// The end of a certificate's validity, and the hash of its public key.
fn read_certificate(
    certificate: &CertificateDer<'_>,
) -> Result<(Timestamp, [u8; SHA256_OUTPUT_LEN]), String> {
    let (_, certificate) = X509Certificate::from_der(certificate).map_err(|err| err.to_string())?;
    let seconds = certificate.validity().not_after.timestamp();
    // Before 1970 it had expired too.
    let expires = Timestamp(u64::try_from(seconds).unwrap_or_default().saturating_mul(1_000_000));
    let identity = digest(&SHA256, certificate.public_key().raw);
    Ok((expires, identity.as_ref().try_into().expect("it has the length of its algorithm")))
}

/// Warns of a private key that others can read.
fn warn_if_open(path: &Path) {
    if fs::metadata(path).is_ok_and(|found| found.mode() & 0o007 != 0) {
        log::warn!("{}: every user of this machine can read the private key; chmod 0600 it", path.display());
    }
}

/// Reads the certificates of a file.
///
/// # Errors
/// The file cannot be read, or has none.
pub(crate) fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let chain: Vec<_> = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|err| unreadable(path, err))?;
    if chain.is_empty() {
        return Err(unusable(path.display(), &"there is no certificate in it"));
    }
    Ok(chain)
}

fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, Error> {
    PrivateKeyDer::from_pem_file(path).map_err(|err| unreadable(path, err))
}

fn unreadable(path: &Path, err: pem::Error) -> Error {
    match err {
        pem::Error::Io(source) => Error::file("read", path, source),
        pem::Error::NoItemsFound => unusable(path.display(), &"there is no private key in it"),
        err => unusable(path.display(), &err),
    }
}

fn kept_or_new(path: &Path, if_missing: IfMissing) -> Result<KeyPair, Error> {
    match fs::read_to_string(path) {
        Ok(text) => {
            warn_if_open(path);
            KeyPair::from_pem(&text).map_err(|err| unusable(path.display(), &err))
        }
        Err(err) if err.kind() == io::ErrorKind::NotFound && if_missing == IfMissing::Create => {
            let key = generate()?;
            keep(path, &key.serialize_pem()).map_err(|err| Error::file("write", path, err))?;
            Ok(key)
        }
        Err(err) => Err(Error::file("read", path, err)),
    }
}

fn generate() -> Result<KeyPair, Error> {
    KeyPair::generate().map_err(|err| unusable(SELF_SIGNED, &err))
}

fn self_signed(key: &KeyPair) -> Result<CertificateDer<'static>, Error> {
    let signed = CertificateParams::new(["localhost".to_owned()]).and_then(|params| params.self_signed(key));
    Ok(signed.map_err(|err| unusable(SELF_SIGNED, &err))?.into())
}

fn unusable(place: impl Display, problem: &impl Display) -> Error {
    Error::Tls { place: place.to_string(), problem: problem.to_string() }
}

/// Writes a file that only this user can read, whole or not at all, and sees it on the disk: clients are about to be
/// told to trust this key.
fn keep(path: &Path, text: &str) -> io::Result<()> {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(dir)?;
    let unfinished = path.with_extension("new");
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&unfinished, path)?;
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn written(dir: &Path, name: &str, text: &str) -> PathBuf {
        let path = dir.join(name);
        fs::write(&path, text).unwrap();
        path
    }

    /// A key and a certificate for it, in files.
    fn pair(dir: &Path, name: &str) -> Tls {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        Tls::Files {
            certificate: written(dir, &format!("{name}.crt"), &params.self_signed(&key).unwrap().pem()),
            key: written(dir, &format!("{name}.key"), &key.serialize_pem()),
        }
    }

    #[test]
    fn keeps_the_key_it_made_to_itself() {
        let dir = tempfile::tempdir().unwrap();
        let key = dir.path().join("data/tls.key");
        let first = Certificate::load(Tls::SelfSigned { key: Some(key.clone()) }).unwrap();
        assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
        let second = Certificate::load(Tls::SelfSigned { key: Some(key) }).unwrap();
        let fingerprint = first.fingerprint().unwrap();
        let forgotten = Certificate::load(Tls::SelfSigned { key: None }).unwrap();
        assert_ne!(forgotten.fingerprint().unwrap(), fingerprint);
        assert_eq!(second.fingerprint().unwrap(), fingerprint);
        assert_eq!(fingerprint.len(), "sha256:".len() + 64);
    }

    #[test]
    fn a_reload_never_makes_a_key() {
        let dir = tempfile::tempdir().unwrap();
        let key = dir.path().join("tls.key");
        let certificate = Certificate::load(Tls::SelfSigned { key: Some(key.clone()) }).unwrap();
        let before = certificate.fingerprint();
        certificate.reload().unwrap();
        assert_eq!(certificate.fingerprint(), before);
        fs::remove_file(&key).unwrap();
        let message = certificate.reload().unwrap_err().to_string();
        assert!(message.contains("tls.key: No such file"), "{message}");
        assert!(!key.exists());
        assert_eq!(certificate.fingerprint(), before);
        let unkept = Certificate::load(Tls::SelfSigned { key: None }).unwrap();
        let before = unkept.fingerprint();
        unkept.reload().unwrap_err();
        assert_eq!(unkept.fingerprint(), before);
    }

    #[test]
    fn knows_the_end_of_the_validity() {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(2021, 1, 2);
        let certificate = params.self_signed(&key).unwrap();
        assert_eq!(read_certificate(certificate.der()).unwrap().0.to_string(), "2021-01-02T00:00:00Z");
    }

    #[test]
    fn takes_a_new_certificate_when_told_and_keeps_the_old_when_it_is_no_use() {
        let dir = tempfile::tempdir().unwrap();
        let source = pair(dir.path(), "a");
        let certificate = Certificate::load(source).unwrap();
        let old = certificate.fingerprint();

        pair(dir.path(), "a");
        assert_eq!(certificate.fingerprint(), old);
        certificate.reload().unwrap();
        let new = certificate.fingerprint();
        assert_ne!(new, old);

        written(dir.path(), "a.key", "rubbish");
        certificate.reload().unwrap_err();
        assert_eq!(certificate.fingerprint(), new);
    }

    #[test]
    fn says_what_is_wrong_with_which_file() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (pair(dir.path(), "a"), pair(dir.path(), "b"));
        let (Tls::Files { certificate, .. }, Tls::Files { key, .. }) = (a, b) else { unreachable!() };
        let empty = written(dir.path(), "empty", "");
        let nowhere = dir.path().join("nowhere");
        for (certificate, key, said) in [
            (&certificate, &key, "b.key"),
            (&empty, &key, "empty: there is no certificate"),
            (&certificate, &empty, "empty: there is no private key"),
            (&nowhere, &key, "nowhere: No such file"),
            (&certificate, &nowhere, "nowhere: No such file"),
        ] {
            let source = Tls::Files { certificate: certificate.clone(), key: key.clone() };
            let message = Certificate::load(source).unwrap_err().to_string();
            assert!(message.contains(said), "{message}");
        }
    }
}
