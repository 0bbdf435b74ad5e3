//! Which service a command talks to, and how it knows it: the flags that the commands have in common.

use std::path::PathBuf;

use clap::Args;
use client::Pins;
use protocol::url::ServiceUrl;
use protocol::{Fingerprint, Trust};

use crate::error::Error;
use crate::tls;
use crate::token::CreateToken;

/// Which service to talk to.
#[derive(Debug, Args)]
pub struct Connect {
    /// URL of the service; without a scheme http://, or https:// with --ca or --fingerprint.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8000", env = "CERNVM_PAIRING_URL")]
    url: String,
    /// How the service is known.
    #[command(flatten)]
    access: Access,
}

/// How a service is known, and what it asks for.
#[derive(Debug, Args)]
pub struct Access {
    /// Trust the certificates that the authorities in this PEM file signed, and no others.
    #[arg(long, value_name = "FILE", conflicts_with = "fingerprint")]
    pub(super) ca: Option<PathBuf>,
    /// Trust the key with this fingerprint alone: sha256: and 64 hexadecimal digits, as `serve` prints it.
    #[arg(long, value_name = "SHA256")]
    pub(super) fingerprint: Option<Fingerprint>,
    /// File with the token that the service asks of those who make pins.
    #[arg(long, value_name = "FILE", env = "CERNVM_PAIRING_CREATE_TOKEN_FILE")]
    create_token_file: Option<PathBuf>,
}

impl Connect {
    /// The service's URL.
    ///
    /// # Errors
    /// The text is not one.
    pub(super) fn url(&self) -> Result<ServiceUrl, Error> {
        self.access.read_url("--url", &self.url)
    }

    /// The service.
    ///
    /// # Errors
    /// The URL, the CA or the token cannot be used.
    pub(super) fn service(&self) -> Result<Pins, Error> {
        self.access.service(self.url()?)
    }
}

impl Access {
    /// A URL that a flag gives.
    pub(super) fn read_url(&self, flag: &'static str, text: &str) -> Result<ServiceUrl, Error> {
        let secured = self.ca.is_some() || self.fingerprint.is_some();
        ServiceUrl::parse(text, secured).map_err(|problem| Error::Url {
            flag,
            url: text.to_owned(),
            // The parser says it in the words of a context.
            problem: problem
                .replace("but the context has a CA or fingerprint", "but there is a CA or fingerprint")
                .replace("cvm_service_ca and cvm_service_fingerprint", "--ca and --fingerprint"),
        })
    }

    /// The flags that say the same to another command, each with a blank before it.
    pub(super) fn flags(&self) -> String {
        let ca = self.ca.as_ref().map(|path| format!(" --ca {}", path.display()));
        let fingerprint =
            self.fingerprint.as_ref().map(|fingerprint| format!(" --fingerprint {fingerprint}"));
        ca.or(fingerprint).unwrap_or_default()
    }

    /// The service at a URL.
    pub(super) fn service(&self, url: ServiceUrl) -> Result<Pins, Error> {
        let trust = match (&self.ca, self.fingerprint) {
            (Some(path), _) => Trust::Authorities(tls::read_chain(path)?),
            (None, Some(Fingerprint(digest))) => Trust::Fingerprint(digest),
            (None, None) => Trust::WebPki,
        };
        let token = self.create_token_file.as_deref().map(CreateToken::read).transpose()?;
        Ok(Pins::new(url, &trust, token.map(CreateToken::reveal))?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct TestCli {
        #[command(flatten)]
        connect: Connect,
    }

    #[track_caller]
    fn check(flags: &[&str], expected: Result<&str, &str>) {
        let line = TestCli::try_parse_from([&["x"], flags].concat()).unwrap();
        match (line.connect.url(), expected) {
            (Ok(url), Ok(expected)) => assert_eq!(url.to_string(), expected),
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
            (got, _) => panic!("{got:?}"),
        }
    }

    #[test]
    fn takes_urls_as_a_context_does() {
        let pinned = format!("--fingerprint=sha256:{}", ["0A"; 32].join(":"));
        check(&[], Ok("http://127.0.0.1:8000"));
        check(&["--url", "pair.example.org:8000"], Ok("http://pair.example.org:8000"));
        check(&["--url", "https://pair.example.org/"], Ok("https://pair.example.org"));
        check(&["--url", "pair.example.org", &pinned], Ok("https://pair.example.org"));
        check(&["--url", "http://pair", &pinned], Err("take --ca and --fingerprint out"));
        check(&["--url", "ftp://pair"], Err("--url ftp://pair is neither"));
        assert!(TestCli::try_parse_from(["x", "--fingerprint", "sha256:00"]).is_err());
    }
}
