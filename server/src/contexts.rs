//! `contexts`: a pin, and the contexts of a master and of its slaves around it.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use protocol::Pin;

use crate::client::{Remote, Trust};
use crate::error::Error;

/// Makes a pin and writes both contexts, readable for this user alone; nothing that is there is written over.
///
/// # Errors
/// No pin can be made, or a file cannot be read or written.
pub async fn write(remote: &Remote, master: &Path, slave: &Path) -> Result<(), Error> {
    for path in [master, slave] {
        if path.exists() {
            return Err(Error::file("write", path, io::ErrorKind::AlreadyExists.into()));
        }
    }
    let trust = trust(&remote.trust)?;
    let pin = remote.create_pin().await?;
    write_new(master, &master_context(&pin, &remote.url, &trust))?;
    write_new(slave, &slave_context(&pin, &remote.url, &trust))
}

fn master_context(pin: &Pin, url: &str, trust: &str) -> String {
    format!("[ucernvm-begin]\ncvm_cluster_master=yes\n{}[ucernvm-end]\n", common(pin, url, trust))
}

/// The address goes where the placeholder is, which is for the user to move.
fn slave_context(pin: &Pin, url: &str, trust: &str) -> String {
    let common = common(pin, url, trust);
    format!(
        "[example_section]\nmy_master_ip=###MASTER_IP_PLACEHOLDER###\n\n[ucernvm-begin]\n{common}[ucernvm-end]\n"
    )
}

/// What master and slaves have in common.
fn common(pin: &Pin, url: &str, trust: &str) -> String {
    format!("cvm_cluster_pin={}\ncvm_service_url={url}\n{trust}", pin.reveal())
}

/// The line that has the agents trust whom we have trusted.
fn trust(trust: &Trust) -> Result<String, Error> {
    match trust {
        Trust::Public => Ok(String::new()),
        Trust::Fingerprint(fingerprint) => Ok(format!("cvm_service_fingerprint={fingerprint}\n")),
        Trust::Authorities(path) => {
            let pem = fs::read(path).map_err(|err| Error::file("read", path, err))?;
            Ok(format!("cvm_service_ca={}\n", STANDARD.encode(pem)))
        }
    }
}

fn write_new(path: &Path, text: &str) -> Result<(), Error> {
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(text.as_bytes())
    };
    write().map_err(|err| Error::file("write", path, err))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_what_the_documentation_shows() {
        let pin = Pin::parse("enico1qq0oey").unwrap();
        let trust = trust(&Trust::Fingerprint("sha256:00".to_owned())).unwrap();
        assert_eq!(
            master_context(&pin, "https://pair.example.org", &trust),
            "[ucernvm-begin]\ncvm_cluster_master=yes\ncvm_cluster_pin=enico1qq0oey\n\
             cvm_service_url=https://pair.example.org\ncvm_service_fingerprint=sha256:00\n[ucernvm-end]\n"
        );
        assert_eq!(
            slave_context(&pin, "http://pair.example.org:8000", ""),
            "[example_section]\nmy_master_ip=###MASTER_IP_PLACEHOLDER###\n\n[ucernvm-begin]\n\
             cvm_cluster_pin=enico1qq0oey\ncvm_service_url=http://pair.example.org:8000\n[ucernvm-end]\n"
        );
    }

    #[test]
    fn writes_over_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("context");
        write_new(&path, "one").unwrap();
        write_new(&path, "two").unwrap_err();
        assert_eq!(fs::read_to_string(&path).unwrap(), "one");
    }
}
