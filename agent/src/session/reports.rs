//! What this VM reports of itself to the service that is kept.

use std::net::IpAddr;

use super::Session;
use crate::backoff::Clock;
use crate::reporter::Reporter;
use client::Service;
use protocol::error::{Error, Status};
use protocol::node::NodeState;

impl<S: Service, C: Clock> Session<S, C> {
    /// Has this VM report itself.
    #[must_use]
    pub fn reporting(mut self, reporter: Option<Reporter>) -> Self {
        self.reporter = reporter;
        self
    }

    /// Reports this VM to the kept service, if that has told that it takes reports. What comes of it is of no
    /// consequence.
    pub fn report(&mut self, state: NodeState, detail: &str) {
        if let (Some(kept), Some(reporter)) = (self.kept, &mut self.reporter) {
            let service = &mut self.candidates[kept].service;
            if service.offers_nodes() {
                reporter.report(service, state, detail);
            }
        }
    }

    /// Reports this VM to the service of this URL, which has told in an earlier run that it takes reports.
    pub fn report_to(&mut self, url: &str, state: NodeState, detail: &str) {
        let mut candidates = self.candidates.iter_mut();
        let service = candidates.find(|candidate| candidate.service.url().to_string() == url);
        if let (Some(candidate), Some(reporter)) = (service, &mut self.reporter) {
            reporter.report(&mut candidate.service, state, detail);
        }
    }

    /// Tells the nodes by which address others reach this VM.
    pub fn set_address(&mut self, address: IpAddr) {
        if let Some(reporter) = &mut self.reporter {
            reporter.address = Some(address);
        }
    }

    /// Makes sure that the kept service has nodes.
    ///
    /// # Errors
    /// 77 when it has told of none.
    pub fn need_nodes(&self) -> Result<(), Error> {
        match self.taking_reports() {
            Some(None) => Err(Error::new(
                Status::Refused,
                format!(
                    "{} has no nodes: it is of an earlier release, or the original service",
                    self.service_name()
                ),
                "use a service of this release; without one, look at the consoles",
            )),
            _ => Ok(()),
        }
    }

    /// Whether the kept service takes reports of nodes, and its URL if it does; `None` where none is kept.
    pub fn taking_reports(&self) -> Option<Option<String>> {
        let service = &self.candidates[self.kept?].service;
        Some(service.offers_nodes().then(|| service.url().to_string()))
    }
}
