//! The pairing service of a launch: makes the pin, tells of the nodes, and forgets the pin at the end.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use client::seal::Seal;
use client::{HttpService, Outcome, Pins, Request, Service as _, node_name};
use protocol::error::Error;
use protocol::node::{NodeList, NodeReport};
use protocol::url::ServiceUrl;
use protocol::{Fingerprint, Pin, Secret, Trust};
use rustls_pki_types::CertificateDer;

use super::records::Paired;

/// Longest time for one question about nodes.
const LIMIT: Duration = Duration::from_secs(10);

/// A pairing service, as the launcher knows it.
pub struct PairingService {
    /// Its address from here.
    pub url: ServiceUrl,
    /// Its address from the machines of a cluster.
    pub node_url: ServiceUrl,
    /// Which certificates are believed.
    pub trust: Trust,
    /// What it asks of those who make pins.
    pub token: Option<String>,
}

/// A node of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PairedNode {
    /// Its identifier.
    pub id: String,
    /// Seconds since its last report.
    pub age: u64,
    /// What it says of itself; `None` where its seal does not open.
    pub report: Option<NodeReport<'static>>,
}

/// What is known of the nodes of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Nodes {
    /// These have reported.
    Known(Vec<PairedNode>),
    /// The pin is not there any more.
    UnknownPin,
    /// The service cannot be asked, for this reason.
    Unavailable(String),
}

impl PairingService {
    /// The line of a context's section by which agents know the service; empty where it has a public certificate.
    pub(super) fn trust_line(&self) -> String {
        match &self.trust {
            Trust::WebPki => String::new(),
            Trust::Fingerprint(digest) => format!("cvm_service_fingerprint={}", Fingerprint(*digest)),
            Trust::Authorities(certificates) => {
                let pem = |der: &CertificateDer<'_>| {
                    let text = BASE64_STANDARD.encode(der);
                    // RFC 7468, 2: lines of 64 characters.
                    let lines: Vec<_> =
                        text.as_bytes().chunks(64).map(|line| String::from_utf8_lossy(line)).collect();
                    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
                };
                let pem: String = certificates.iter().map(pem).collect();
                format!("cvm_service_ca={}", BASE64_STANDARD.encode(pem))
            }
        }
    }

    /// Makes a pin, and a secret if one is wanted.
    ///
    /// # Errors
    /// The service makes no pin.
    pub(super) fn create(&self, sealed: bool) -> Result<(Pin, Option<Secret>), Error> {
        let mut pins = Pins::new(self.url.clone(), &self.trust, self.token.clone())?;
        let secret = sealed.then(pairing_server::secret::make).transpose();
        let secret = secret.map_err(|error| Error::refused(error.to_string(), "try again"))?;
        Ok((pins.create()?, secret))
    }

    /// Has the service forget a pin. One that it does not know is no error.
    ///
    /// # Errors
    /// The service cannot be asked.
    pub fn forget(&self, pin: &Pin) -> Result<(), Error> {
        let mut pins = Pins::new(self.url.clone(), &self.trust, self.token.clone())?;
        match pins.delete(pin, None) {
            Err(error) if error.status() == protocol::error::Status::Refused => Ok(()),
            result => result,
        }
    }

    /// The nodes that have reported under a pin.
    #[must_use]
    pub fn nodes(&self, paired: &Paired) -> Nodes {
        let Some(pin) = paired.pin() else { return Nodes::UnknownPin };
        let mut service = match HttpService::new(self.url.clone(), pin.clone(), &self.trust) {
            Ok(service) => service,
            Err(error) => return Nodes::Unavailable(error.to_string()),
        };
        let answer = match service.send(&Request::Nodes { query: "", wait: 0 }, LIMIT) {
            Ok(answer) => answer,
            Err(failure) => return Nodes::Unavailable(failure.cause),
        };
        let text = match answer.outcome {
            Outcome::Nodes(text) => text,
            _ => return Nodes::UnknownPin,
        };
        let Ok(list) = serde_json::from_str::<NodeList<'_>>(&text) else {
            return Nodes::Unavailable("the pairing service answers no list of nodes".to_owned());
        };
        let seal = paired.secret().map(|secret| Seal::new(&secret, &pin));
        let node = |listed: protocol::node::ListedNode<'_>| {
            let id = listed.id.into_owned();
            let report = match (&seal, listed.report, listed.sealed) {
                (None, Some(report), _) => Some(report.into_owned()),
                (Some(seal), _, Some(sealed)) => open(seal, &id, &sealed),
                _ => None,
            };
            PairedNode { report: report.filter(|report| report.check().is_ok()), id, age: listed.age }
        };
        Nodes::Known(list.nodes.into_iter().map(node).collect())
    }
}

/// A sealed report. A clear one beside a secret is not believed.
fn open(seal: &Seal, id: &str, sealed: &str) -> Option<NodeReport<'static>> {
    let text = seal.open(&node_name(id), sealed).ok()?;
    serde_json::from_str::<NodeReport<'_>>(&text).ok().map(NodeReport::into_owned)
}
