//! The baseline of the agent: ureq with no agent around it. Reads two keys and prints the second; no section, no files, no
//! checks. The difference to the agent is the cost of the agent itself.
//!
//!     bare_ureq READY-URL ADDRESS-URL [CA-FILE]

use std::error::Error;

use ureq::Agent;
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [ready, address, ca @ ..] = arguments.as_slice() else {
        return Err("usage: bare_ureq READY-URL ADDRESS-URL [CA-FILE]".into());
    };
    let mut config = Agent::config_builder();
    if let [file] = ca {
        let mut roots = Vec::new();
        for item in parse_pem(&std::fs::read(file)?) {
            if let PemItem::Certificate(certificate) = item? {
                roots.push(certificate);
            }
        }
        config = config.tls_config(TlsConfig::builder().root_certs(RootCerts::from(roots)).build());
    }
    let agent: Agent = config.build().into();
    let get =
        |url: &String| agent.get(url).header("accept", "text/plain").call()?.body_mut().read_to_string();
    get(ready)?;
    println!("{}", get(address)?);
    Ok(())
}
