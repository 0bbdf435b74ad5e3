//! TLS as those outside see it: what openssl, a scanner and hand-made greetings get out of the real service, with its
//! own key and with certificate files; what agents make of it whose clock is years off; waiting;
//! and sessions that are resumed.

mod greeting;
mod guests;
mod openssl;
mod resumption;
mod scanner;
mod waiting;

use std::path::{Path, PathBuf};

use tempfile::TempDir;
use worlds::service::Service;

/// An authority of the test's own and what it signed, as an admin makes them with openssl.
pub(crate) struct Authority(TempDir);

/// Makes an authority and, for `localhost` and 127.0.0.1, an RSA key with a certificate: without a key of that kind no
/// suite with static RSA could be chosen in any case.
const MAKE: &str = r#"
    openssl req -x509 -newkey rsa:2048 -nodes -days 90 -subj "/CN=Authority of a test" \
        -addext keyUsage=critical,keyCertSign,cRLSign -keyout ca.key -out ca.pem
    openssl req -newkey rsa:2048 -nodes -subj /CN=localhost -keyout key.pem -out request.pem
    printf '%s\n' subjectAltName=DNS:localhost,IP:127.0.0.1 extendedKeyUsage=serverAuth \
        keyUsage=critical,digitalSignature,keyEncipherment >extensions
    openssl x509 -req -in request.pem -days 90 -extfile extensions -CA ca.pem -CAkey ca.key -CAcreateserial \
        -out leaf.pem
    cat leaf.pem ca.pem >cert.pem
"#;

impl Authority {
    pub(crate) fn new() -> Self {
        let dir = TempDir::with_prefix("authority-").expect("a temporary directory can be made");
        openssl::sh(dir.path(), MAKE);
        Self(dir)
    }

    /// Its own certificate, which clients trust.
    pub(crate) fn certificate(&self) -> PathBuf {
        self.0.path().join("ca.pem")
    }

    /// The certificate that it signed.
    pub(crate) fn leaf(&self) -> PathBuf {
        self.0.path().join("leaf.pem")
    }

    /// A service with that certificate.
    pub(crate) fn service(&self) -> Service {
        let flag = |name: &str| self.0.path().join(name).to_str().expect("its name is plain").to_owned();
        Service::with(&["--tls-cert", &flag("cert.pem"), "--tls-key", &flag("key.pem")])
    }
}

/// A service with a key of its own.
pub(crate) fn self_signed() -> Service {
    Service::with(&["--tls-self-signed"])
}

/// Both kinds of service, each by a name for people.
pub(crate) fn services() -> [(&'static str, Service); 2] {
    [("its own key", self_signed()), ("certificate files", Authority::new().service())]
}

/// The directory that tests run in, for programs that write nothing.
pub(crate) fn here() -> &'static Path {
    Path::new(".")
}
