//! A new connection for each GET, as when thousands of VMs begin at once: what it costs the service to take a client in,
//! what a full TLS handshake costs, and what one costs that resumes a session, as those do that come back.

use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::client::Resumption;

use super::{Run, figure, names};
use crate::error::Result;
use crate::load::connection::Target;
use crate::peers::{Build, http, ours};
use crate::tls::Certificate;

pub(super) fn run(run: &mut Run) -> Result<()> {
    run.interleave(names::CONNECTS, &["http", "https", "https, resumed"], |bench, plan, scheme| {
        let certificate = match *scheme {
            "https" | "https, resumed" => Some(Certificate::make(bench.scratch.path())?),
            _ => None,
        };
        let server = ours::start(bench, Build::Host, certificate.as_ref())?;
        let tls = match *scheme {
            "https, resumed" => server.target.tls,
            _ => server.target.tls.as_deref().map(without_sessions),
        };
        let target = Target { tls, ..server.target };
        let count = if plan.quick { 200 } else { 10_000 };
        server.process.settle()?;
        let before = server.process.cpu()?;
        for _ in 0..count {
            http::ask(&target, &server.get)?;
        }
        // The service sees the last of them go.
        server.process.settle()?;
        let cpu: Duration = server.process.cpu()? - before;
        server.process.stop()?;
        Ok(vec![figure("server CPU, µs", cpu.as_secs_f64() * 1e6 / f64::from(count))])
    });
    Ok(())
}

/// A client that remembers no session, as a VM that has just booted.
fn without_sessions(client: &ClientConfig) -> Arc<ClientConfig> {
    let mut client = client.clone();
    client.resumption = Resumption::disabled();
    Arc::new(client)
}
