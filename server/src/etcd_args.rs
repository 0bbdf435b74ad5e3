//! The flags that name an etcd cluster.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::duration;
use crate::error::Error;
use crate::store::Limits;
use crate::tls;

/// Which etcd cluster holds the store.
#[derive(Debug, Args)]
#[group(skip)]
#[command(next_help_heading = "Storage")]
pub struct EtcdArgs {
    /// Client URLs of the members of an etcd cluster that holds the store. Any number of servers may share it.
    #[arg(long, value_name = "URL", value_delimiter = ',', env = "CERNVM_PAIRING_ETCD", value_parser = url)]
    etcd: Vec<String>,
    /// Who signs etcd's certificates, in PEM. With https URLs.
    #[arg(long, value_name = "FILE", env = "CERNVM_PAIRING_ETCD_CA")]
    etcd_ca: Option<PathBuf>,
    /// Certificate that is shown to etcd, in PEM.
    #[arg(long, value_name = "FILE", requires = "etcd_key", env = "CERNVM_PAIRING_ETCD_CERT")]
    etcd_cert: Option<PathBuf>,
    /// Its private key, in PEM.
    #[arg(long, value_name = "FILE", requires = "etcd_cert", env = "CERNVM_PAIRING_ETCD_KEY")]
    etcd_key: Option<PathBuf>,
    /// User of etcd.
    #[arg(long, value_name = "NAME", requires = "etcd_password_file", env = "CERNVM_PAIRING_ETCD_USER")]
    etcd_user: Option<String>,
    /// File whose first line is the user's password.
    #[arg(long, value_name = "FILE", requires = "etcd_user", env = "CERNVM_PAIRING_ETCD_PASSWORD_FILE")]
    etcd_password_file: Option<PathBuf>,
    /// What the keys of the store begin with in etcd.
    #[arg(long, value_name = "PREFIX", default_value = "/cernvm-pairing/", value_parser = prefix)]
    #[arg(env = "CERNVM_PAIRING_ETCD_PREFIX")]
    etcd_prefix: String,
    /// How long to try to reach etcd, and to load the store, at the start: a number with s, m, h or d.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration::parse)]
    #[arg(env = "CERNVM_PAIRING_ETCD_TIMEOUT")]
    etcd_timeout: Duration,
}

impl EtcdArgs {
    /// The cluster, if there is one.
    ///
    /// # Errors
    /// A file cannot be read, or is not what it should be; or the URLs and the files do not go together.
    pub fn config(&self) -> Result<Option<pairing_etcd::Config>, Error> {
        let Some(first) = self.etcd.first() else { return Ok(None) };
        let refused = |url: &String, problem: &str| Error::Url {
            flag: "--etcd",
            url: url.clone(),
            problem: problem.to_owned(),
        };
        let secure = is_secure(first);
        if let Some(other) = self.etcd.iter().find(|url| is_secure(url) != secure) {
            return Err(refused(other, "is https, or http, where the first URL is the other"));
        }
        let tls = match (&self.etcd_ca, secure) {
            (Some(ca), true) => Some(pairing_etcd::Tls {
                ca: pem(ca, |pem| CertificateDer::pem_slice_iter(pem).any(|found| found.is_ok()))?,
                identity: self.identity()?,
            }),
            (None, true) => {
                return Err(refused(
                    first,
                    "takes --etcd-ca, the file with the authority of its certificate",
                ));
            }
            (None, false) if self.etcd_cert.is_none() => None,
            (_, false) => return Err(refused(first, "is http; --etcd-ca and --etcd-cert are for https")),
        };
        let user = match (&self.etcd_user, &self.etcd_password_file) {
            (Some(name), Some(file)) => Some((name.clone(), password(file)?)),
            _ => None,
        };
        Ok(Some(pairing_etcd::Config {
            urls: self.etcd.clone(),
            tls,
            user,
            prefix: self.etcd_prefix.clone(),
            timeout: self.etcd_timeout,
            lifetime: Limits::default().lifetime,
        }))
    }

    fn identity(&self) -> Result<Option<pairing_etcd::Identity>, Error> {
        let (Some(certificate), Some(key)) = (&self.etcd_cert, &self.etcd_key) else { return Ok(None) };
        let chain = pem(certificate, |pem| CertificateDer::pem_slice_iter(pem).any(|found| found.is_ok()))?;
        let private = pem(key, |pem| PrivateKeyDer::from_pem_slice(pem).is_ok())?;
        if tls::belong_together(&chain, &private) {
            Ok(Some((chain, private)))
        } else {
            let problem = format!("it is not the key of the certificate in {}", certificate.display());
            Err(Error::EtcdTls { path: key.clone(), problem })
        }
    }
}

fn is_secure(url: &str) -> bool {
    url.starts_with("https://")
}

fn pem(path: &Path, is_right: impl Fn(&[u8]) -> bool) -> Result<Vec<u8>, Error> {
    let pem = fs::read(path).map_err(|err| Error::file("read", path, err))?;
    if is_right(&pem) {
        Ok(pem)
    } else {
        Err(Error::EtcdTls {
            path: path.to_owned(),
            problem: "it is not the PEM that it should be".to_owned(),
        })
    }
}

fn password(path: &Path) -> Result<String, Error> {
    let text = fs::read_to_string(path).map_err(|err| Error::file("read", path, err))?;
    match text.lines().next().filter(|line| !line.is_empty()) {
        Some(line) => Ok(line.to_owned()),
        None => Err(Error::Password { path: path.to_owned() }),
    }
}

/// Reads the client URL of a member.
fn url(text: &str) -> Result<String, String> {
    let example = "write it like https://etcd1.example.org:2379";
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let rest = rest.ok_or_else(|| format!("it begins with neither http:// nor https://; {example}"))?;
    let host = rest.trim_end_matches('/');
    let has_port =
        host.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
    if !has_port || host.contains(['/', '?', '#', '@']) {
        return Err(format!("it is not a host and a port; {example}"));
    }
    Ok(text.trim_end_matches('/').to_owned())
}

/// Reads what keys begin with.
fn prefix(text: &str) -> Result<String, String> {
    let is_right = text.len() > 1 && text.ends_with('/') && text.bytes().all(|byte| byte.is_ascii_graphic());
    if is_right {
        Ok(text.to_owned())
    } else {
        Err("it must be visible ASCII and end with a slash".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        etcd: EtcdArgs,
    }

    fn read(flags: &[&str]) -> Result<Option<pairing_etcd::Config>, String> {
        let line = Line::try_parse_from(["x"].iter().chain(flags)).map_err(|err| err.to_string())?;
        line.etcd.config().map_err(|err| err.to_string())
    }

    #[test]
    fn names_a_cluster() {
        assert_eq!(read(&[]), Ok(None));
        let config = read(&["--etcd", "http://a:2379,http://[::1]:2379/"]).unwrap().unwrap();
        assert_eq!(config.urls, ["http://a:2379", "http://[::1]:2379"]);
        assert_eq!((config.prefix.as_str(), config.timeout.as_secs()), ("/cernvm-pairing/", 30));
    }

    #[test]
    fn refuses_what_does_not_go_together() {
        let dir = tempfile::tempdir().unwrap();
        let empty = dir.path().join("empty");
        fs::write(&empty, "").unwrap();
        let empty = empty.to_str().unwrap();
        for (flags, why) in [
            (&["--etcd", "a:2379"][..], "neither http:// nor https://"),
            (&["--etcd", "http://a"], "not a host and a port"),
            (&["--etcd", "http://a:1/v3"], "not a host and a port"),
            (
                &["--etcd", "http://a:1,https://b:1"],
                "https://b:1 is https, or http, where the first URL is the other",
            ),
            (&["--etcd", "https://a:1"], "takes --etcd-ca"),
            (&["--etcd", "http://a:1", "--etcd-ca", empty], "is http"),
            (&["--etcd", "https://a:1", "--etcd-ca", empty], "not the PEM"),
            (&["--etcd", "https://a:1", "--etcd-ca", "/nowhere"], "cannot read /nowhere"),
            (&["--etcd", "http://a:1", "--etcd-user", "u"], "--etcd-password-file"),
            (&["--etcd", "http://a:1", "--etcd-user", "u", "--etcd-password-file", empty], "not a password"),
            (&["--etcd", "http://a:1", "--etcd-prefix", "x"], "end with a slash"),
            (&["--etcd", "http://a:1", "--etcd-timeout", "soon"], "is not a number with"),
        ] {
            let refused = read(flags).unwrap_err();
            assert!(refused.contains(why), "{flags:?}: {refused}");
        }
    }
}
