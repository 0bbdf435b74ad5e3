//! Which etcd cluster to use, and how.

use std::fmt;
use std::time::Duration;

/// Which etcd cluster, and where in it.
#[derive(Clone, PartialEq, Eq)]
pub struct Config {
    /// The members' client URLs, `http://HOST:PORT` or `https://HOST:PORT`.
    pub urls: Vec<String>,
    /// How https is done; `None`: the URLs are http.
    pub tls: Option<Tls>,
    /// Name and password, where etcd asks for them.
    pub user: Option<(String, String)>,
    /// What every key begins with. Ends with a slash.
    pub prefix: String,
    /// How long to try at the start.
    pub timeout: Duration,
    /// How long a pin lives that this server makes.
    pub lifetime: Duration,
}

/// What is believed and shown in TLS. All in PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct Tls {
    /// Who signs the members' certificates.
    pub ca: Vec<u8>,
    /// The server's own certificate and key, where etcd asks for them.
    pub identity: Option<Identity>,
}

/// A certificate and its private key.
pub type Identity = (Vec<u8>, Vec<u8>);

/// Without the password and the key.
impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let user = self.user.as_ref().map(|(name, _)| name);
        write!(f, "Config({:?}, user {user:?}, prefix {:?})", self.urls, self.prefix)
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tls(with a certificate of its own: {})", self.identity.is_some())
    }
}
