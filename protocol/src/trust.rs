//! Which certificate of a service is believed.

use std::fmt;
use std::str::FromStr;

use rustls_pki_types::CertificateDer;

/// Which service to believe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// The CAs of the web (Mozilla's list, in the binary), and those of this machine's certificate store.
    WebPki,
    /// Only these CAs, from `cvm_service_ca`.
    Authorities(Vec<CertificateDer<'static>>),
    /// Only the holder of the private key that belongs to this public key: SHA-256 of its SubjectPublicKeyInfo (as in
    /// RFC 7469).
    Fingerprint([u8; 32]),
}

/// The fingerprint of a public key: SHA-256 of its SubjectPublicKeyInfo.
///
/// Written as `sha256:` and 64 hexadecimal digits; read in either case, also with colons between the bytes, as openssl
/// prints it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint(pub [u8; 32]);

impl FromStr for Fingerprint {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digest = text.split_once(':').filter(|(hash, _)| hash.eq_ignore_ascii_case("sha256"));
        digest.and_then(|(_, hex)| read_hex(hex)).map(Self).ok_or("is not sha256: and 64 hexadecimal digits")
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sha256:")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// 32 bytes in hexadecimal digits, colons between bytes allowed.
fn read_hex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = Vec::with_capacity(32);
    for group in text.split(':') {
        let digits: Option<Vec<u8>> = group.chars().map(|c| u8::try_from(c.to_digit(16)?).ok()).collect();
        let digits = digits.filter(|digits| !digits.is_empty() && digits.len().is_multiple_of(2))?;
        bytes.extend(digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]));
    }
    bytes.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_fingerprint_as_the_service_and_as_openssl_print_it() {
        let plain = format!("sha256:{}", "0a".repeat(32));
        let read: Fingerprint = plain.parse().unwrap();
        assert_eq!(read, Fingerprint([10; 32]));
        assert_eq!(read.to_string(), plain);
        assert_eq!(format!("SHA256:{}", ["0A"; 32].join(":")).parse(), Ok(read));
        for wrong in
            ["", "sha256:", "0a0a", "sha1:0a", &plain[..70], &format!("{plain}0"), &format!("{plain}:")]
        {
            assert!(wrong.parse::<Fingerprint>().is_err(), "{wrong}");
        }
    }
}
