//! The CAs of the machine's certificate store: where an administrator puts the CA of a site.

use std::env;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

/// Names a file to read in place of the usual ones, as for OpenSSL and curl.
const VARIABLE: &str = "SSL_CERT_FILE";
/// µCernVM's boot loader, Debian and Alpine, EL and Fedora, SUSE.
const FILES: [&str; 4] = [
    "/etc/cernvm/ca-bundle.crt",
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
];
/// Most bytes of a file: twenty times what Debian's has.
const MAX_BYTES: u64 = 4 << 20;

/// The CAs of the store; `None` when there are none.
pub(super) fn read() -> Option<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for path in files(env::var_os(VARIABLE).as_deref()) {
        match certificates(&path) {
            Ok(found) => {
                roots.add_parsable_certificates(found);
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => log::warn!("cannot read the CAs in {}: {error}", path.display()),
        }
    }
    (!roots.is_empty()).then_some(roots)
}

fn files(variable: Option<&OsStr>) -> Vec<PathBuf> {
    match variable.filter(|path| !path.is_empty()) {
        Some(path) => vec![path.into()],
        None => FILES.map(PathBuf::from).into(),
    }
}

/// The certificates of a PEM file, without those that cannot be read.
fn certificates(path: &Path) -> io::Result<Vec<CertificateDer<'static>>> {
    let mut pem = Vec::new();
    File::open(path)?.take(MAX_BYTES).read_to_end(&mut pem)?;
    Ok(CertificateDer::pem_slice_iter(&pem).filter_map(Result::ok).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_usual_files_unless_the_environment_names_one() {
        assert_eq!(files(None).len(), FILES.len());
        assert_eq!(files(Some(OsStr::new(""))).len(), FILES.len());
        assert_eq!(files(Some(OsStr::new("/x"))), [Path::new("/x")]);
    }

    #[test]
    fn a_damaged_certificate_does_not_hide_the_others() {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        let path = env::temp_dir().join(format!("cernvm-cluster-roots-{}", std::process::id()));
        let damaged = "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n";
        std::fs::write(&path, format!("# a comment\n{pem}{damaged}{pem}")).unwrap();
        let found = certificates(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(found.len(), 2);
    }
}
