//! `contexts`: a pin, and the contexts of a master and of its slaves around it.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use protocol::Pin;
use protocol::url::ServiceUrl;

use super::connect::Access;
use crate::error::Error;

/// Where to write contexts.
#[derive(Debug, Args)]
pub struct Contexts {
    /// URL of the service, as the VMs reach it; without a scheme http://, or https:// with --ca or --fingerprint.
    #[arg(long, value_name = "URL", env = "CERNVM_PAIRING_URL")]
    url: String,
    /// URL that goes into the contexts, where this machine reaches the service by another one.
    #[arg(long, value_name = "URL", env = "CERNVM_PAIRING_PUBLIC_URL")]
    public_url: Option<String>,
    /// How the service is known; goes into the contexts.
    #[command(flatten)]
    access: Access,
    /// File for the master's context.
    #[arg(long, value_name = "FILE", default_value = "master-context.txt")]
    master: PathBuf,
    /// File for the slaves' context.
    #[arg(long, value_name = "FILE", default_value = "slave-context.txt")]
    slave: PathBuf,
}

impl Contexts {
    /// Makes a pin and writes both contexts, readable for this user alone; an existing file is not written over. Gives
    /// what to print.
    ///
    /// # Errors
    /// No VM could use the URL, no pin can be made, or a file cannot be read or written.
    pub fn run(&self) -> Result<String, Error> {
        for path in [&self.master, &self.slave] {
            if path.exists() {
                return Err(Error::Exists { path: path.clone() });
            }
        }
        let url = self.access.read_url("--url", &self.url)?;
        let public = match &self.public_url {
            Some(text) => self.access.read_url("--public-url", text)?,
            None => url.clone(),
        };
        if public.is_loopback() {
            return Err(Error::Loopback { url: public.to_string() });
        }
        let trust = self.trust()?;
        let pin = self.access.service(url)?.create()?;
        write_new(&self.master, &master_context(&pin, &public, &trust))?;
        write_new(&self.slave, &slave_context(&pin, &public, &trust))?;
        Ok(format!("wrote {} and {}", self.master.display(), self.slave.display()))
    }

    /// The line that has the agents trust the service in the same way.
    fn trust(&self) -> Result<String, Error> {
        match (&self.access.fingerprint, &self.access.ca) {
            (Some(fingerprint), _) => Ok(format!("cvm_service_fingerprint={fingerprint}\n")),
            (None, Some(path)) => {
                let pem = fs::read(path).map_err(|err| Error::file("read", path, err))?;
                Ok(format!("cvm_service_ca={}\n", STANDARD.encode(pem)))
            }
            (None, None) => Ok(String::new()),
        }
    }
}

fn master_context(pin: &Pin, url: &ServiceUrl, trust: &str) -> String {
    format!("[ucernvm-begin]\ncvm_cluster_master=yes\n{}[ucernvm-end]\n", common(pin, url, trust))
}

/// The address goes where the placeholder is, which is for the user to move.
fn slave_context(pin: &Pin, url: &ServiceUrl, trust: &str) -> String {
    let common = common(pin, url, trust);
    format!(
        "[example_section]\nmy_master_ip=###MASTER_IP_PLACEHOLDER###\n\n[ucernvm-begin]\n{common}[ucernvm-end]\n"
    )
}

/// What master and slaves have in common.
fn common(pin: &Pin, url: &ServiceUrl, trust: &str) -> String {
    format!("cvm_cluster_pin={}\ncvm_service_url={url}\n{trust}", pin.reveal())
}

fn write_new(path: &Path, text: &str) -> Result<(), Error> {
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(text.as_bytes())
    };
    write().map_err(|err| match err.kind() {
        io::ErrorKind::AlreadyExists => Error::Exists { path: path.to_owned() },
        _ => Error::file("write", path, err),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_what_the_documentation_shows() {
        let pin = Pin::parse("enico1qq0oey").unwrap();
        let url = |text| ServiceUrl::parse(text, false).unwrap();
        assert_eq!(
            master_context(&pin, &url("https://pair.example.org"), "cvm_service_fingerprint=sha256:00\n"),
            "[ucernvm-begin]\ncvm_cluster_master=yes\ncvm_cluster_pin=enico1qq0oey\n\
             cvm_service_url=https://pair.example.org\ncvm_service_fingerprint=sha256:00\n[ucernvm-end]\n"
        );
        assert_eq!(
            slave_context(&pin, &url("http://pair.example.org:8000"), ""),
            "[example_section]\nmy_master_ip=###MASTER_IP_PLACEHOLDER###\n\n[ucernvm-begin]\n\
             cvm_cluster_pin=enico1qq0oey\ncvm_service_url=http://pair.example.org:8000\n[ucernvm-end]\n"
        );
    }

    #[test]
    fn writes_over_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("context");
        write_new(&path, "one").unwrap();
        assert!(matches!(write_new(&path, "two"), Err(Error::Exists { .. })));
        assert_eq!(fs::read_to_string(&path).unwrap(), "one");
    }
}
