//! `doctor`: inside a guest, what is wrong with its cluster, and what repairs it.
//!
//! First this VM: is it contextualized, with which address, since when, is that still true. Then each service of the
//! context, on the way of a booting agent, step by step, as far as it leads. It writes nothing and does not wait.

mod machine;
mod service;
mod unit;

use std::fmt;
use std::path::PathBuf;
use std::process::ExitCode;

use context::settings::{FoundSection, Role, Settings};
use protocol::error::{Error, Status};

use crate::phase::{Guest, why_no_section};
use crate::root::Root;

/// The next step where the master is late.
const LOOK_AT_MASTER: &str =
    "look at the master's console: it must have the same pin, reach the service and finish its boot";

/// One line of the diagnosis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// This is as it should be.
    Well(String),
    /// This may be of use, and this VM works.
    Note {
        /// What there is.
        what: String,
        /// What to do about it.
        next: String,
    },
    /// This is wrong.
    Wrong {
        /// What is wrong.
        what: String,
        /// What to do about it.
        next: String,
        /// Why a run fails for this reason.
        status: Status,
        /// Whether it is wrong even on a VM that has its values.
        stays: bool,
    },
}

impl Finding {
    fn note(what: impl Into<String>, next: &str) -> Self {
        Self::Note { what: what.into(), next: next.to_owned() }
    }

    fn wrong(status: Status, what: impl Into<String>, next: &str) -> Self {
        Self::Wrong { what: what.into(), next: next.to_owned(), status, stays: false }
    }

    /// What this VM has is no longer true.
    fn stale(what: impl Into<String>, next: &str) -> Self {
        Self::Wrong { what: what.into(), next: next.to_owned(), status: Status::TooLate, stays: true }
    }

    /// The same for a VM, or beside a service, that does not need this one.
    fn demoted(self) -> Self {
        match self {
            Self::Wrong { what, next, stays: false, .. } => Self::Note { what, next },
            other => other,
        }
    }

    fn status(&self) -> Option<Status> {
        match self {
            Self::Well(_) | Self::Note { .. } => None,
            Self::Wrong { status, .. } => Some(*status),
        }
    }

    fn as_json(&self) -> serde_json::Value {
        match self {
            Self::Well(what) => serde_json::json!({ "severity": "ok", "what": what }),
            Self::Note { what, next } => {
                serde_json::json!({ "severity": "note", "what": what, "next": next })
            }
            Self::Wrong { what, next, status, .. } => {
                serde_json::json!({ "severity": "wrong", "what": what, "next": next, "status": status.code() })
            }
        }
    }
}

impl From<Error> for Finding {
    fn from(error: Error) -> Self {
        Self::wrong(error.status(), error.to_string(), error.next_step())
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Well(what) => write!(f, "ok    {what}"),
            Self::Note { what, next } => write!(f, "note  {what}\n      next: {next}"),
            Self::Wrong { what, next, .. } => write!(f, "!!    {what}\n      next: {next}"),
        }
    }
}

/// The exit status of a diagnosis: that of the severest finding.
#[must_use]
pub fn exit_code(findings: &[Finding]) -> ExitCode {
    findings.iter().filter_map(Finding::status).max().map_or(ExitCode::SUCCESS, ExitCode::from)
}

/// The findings for a program.
#[must_use]
pub fn as_json(findings: &[Finding]) -> serde_json::Value {
    let status = findings.iter().filter_map(Finding::status).max().map_or(0, Status::code);
    let findings: Vec<_> = findings.iter().map(Finding::as_json).collect();
    serde_json::json!({ "status": status, "findings": findings })
}

/// Looks at this VM, then at the services of its context, in the environment of its unit.
#[must_use]
pub fn examine(root: &Root, user_data: &[PathBuf]) -> Vec<Finding> {
    unit::enter_its_environment(root);
    let (guest, settings) = match guest_of_a_cluster(root, user_data) {
        Ok(found) => found,
        Err(finding) => return vec![finding],
    };
    let role = match settings.role {
        Role::Master => "the master",
        Role::Slave => "a slave",
    };
    let mut findings =
        vec![Finding::Well(format!("this is {role} of the cluster with pin {}", settings.pin))];
    let machine = machine::examine(root, &guest, &settings);
    findings.extend(machine.findings);
    findings.extend(machine::of_ready_when(root, &settings, machine.master_ip.as_deref()));
    findings.extend(machine::of_master_ready(root, &settings));
    findings.extend(of_services(&settings, machine.master_ip.as_deref()));
    findings
}

fn guest_of_a_cluster(root: &Root, user_data: &[PathBuf]) -> Result<(Guest, Settings), Finding> {
    let guest = Guest::find(root, user_data)?;
    match guest.settings()? {
        FoundSection::Cluster(settings) => Ok((guest, settings)),
        FoundSection::NoPin { place } => Err(Finding::wrong(
            Status::BadContext,
            format!("{place}: the ucernvm section has no cvm_cluster_pin"),
            "add cvm_cluster_pin= and the pin of the cluster to the context, and launch this VM again",
        )),
        FoundSection::NoSection => Err(Finding::wrong(
            Status::BadContext,
            why_no_section(root),
            "launch this VM with a context that has one, or name the file that has it with --user-data",
        )),
    }
}

/// What the services say. One that is well is enough, and a slave that has its values needs none until it is launched
/// again: what is wrong then is to be known, and no failure of this VM.
fn of_services(settings: &Settings, in_use: Option<&str>) -> Vec<Finding> {
    let mut by_service = Vec::new();
    for url in &settings.services {
        let mut findings = Vec::new();
        service::examine(url, settings, in_use, &mut findings);
        by_service.push(findings);
    }
    let is_well = |findings: &Vec<Finding>| findings.iter().all(|finding| finding.status().is_none());
    let one_is_well = by_service.iter().any(is_well);
    let has_its_values = in_use.is_some() && settings.role == Role::Slave;
    let findings = by_service.into_iter().flatten();
    findings.map(|finding| if one_is_well || has_its_values { finding.demoted() } else { finding }).collect()
}
