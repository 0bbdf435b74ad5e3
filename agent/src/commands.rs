//! What each command does, but for `contextualize`, which has files of their own.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::backoff::SystemClock;
use crate::cli::{Format, ValueSource};
use crate::phase::{Guest, PIN_HAS_EXPIRED, warn_of_original, why_no_section};
use crate::root::Root;
use crate::session::Session;
use crate::{doctor, get, master, publish};
use context::check;
use context::check::Severity;
use context::settings::{Found, Role, Settings};
use protocol::error::{Error, Status};
use serde_json::json;

/// `master-ready`: tells the slaves that this master has booted.
///
/// # Errors
/// As [`master::ready`].
pub fn master_ready(root: &Root, user_data: &[PathBuf]) -> Result<String, Error> {
    let guest = Guest::find(root, user_data)?;
    let settings = match guest.settings()? {
        Found::Cluster(settings) if settings.role == Role::Master => settings,
        Found::Cluster(_) => return Ok("this VM is a slave: nothing to do".to_owned()),
        Found::NoPin { place } => {
            return Ok(format!("no cvm_cluster_pin in the ucernvm section of {place}: nothing to do"));
        }
        Found::NoSection => return Ok(format!("{}: nothing to do", why_no_section(root))),
    };
    warn_of_original(root);
    match master::ready(&mut Session::new(&settings, SystemClock::default())?, &settings.address) {
        Ok(address) => Ok(format!("this master is ready, and its slaves go on with {address}")),
        Err(error) if error.is_unknown_pin() && guest.remembers(&settings) => Ok(PIN_HAS_EXPIRED.to_owned()),
        Err(error) => Err(error),
    }
}

/// `publish KEY …`: puts a key under the pin.
///
/// # Errors
/// As [`publish::read_value`] and [`publish::publish`].
pub fn publish(root: &Root, user_data: &[PathBuf], key: &str, value: ValueSource) -> Result<String, Error> {
    let value = match value {
        ValueSource::File(file) => ValueSource::File(root.path(file)),
        other => other,
    };
    let value = publish::read_value(key, value)?;
    let settings = cluster(root, user_data)?;
    publish::publish(&mut Session::new(&settings, SystemClock::default())?, key, &value)?;
    Ok(format!("published '{key}'"))
}

/// `get KEY`: the value of a key.
///
/// # Errors
/// As [`get::get`].
pub fn get(root: &Root, user_data: &[PathBuf], key: &str, wait: bool) -> Result<String, Error> {
    let settings = cluster(root, user_data)?;
    get::get(&mut Session::new(&settings, SystemClock::default())?, key, wait)
}

/// `check FILE...`: prints what is wrong with contexts; bad context (65) when one of them will not work.
///
/// # Errors
/// As [`check::check`].
pub fn check(files: &[PathBuf], format: Format) -> Result<ExitCode, Error> {
    let findings = check::check(files)?;
    let errors = findings.iter().filter(|finding| finding.severity == Severity::Error).count();
    match format {
        Format::Text => {
            for finding in &findings {
                println!("{finding}");
            }
            println!("{} files, {errors} errors, {} warnings", files.len(), findings.len() - errors);
        }
        Format::Json => {
            let findings: Vec<_> = findings.iter().map(finding_as_json).collect();
            println!("{}", json!({ "files": files.len(), "errors": errors, "findings": findings }));
        }
    }
    Ok(if errors == 0 { ExitCode::SUCCESS } else { Status::BadContext.into() })
}

fn finding_as_json(finding: &check::Finding) -> serde_json::Value {
    let severity = if finding.severity == Severity::Error { "error" } else { "warning" };
    json!({ "severity": severity, "place": finding.place, "what": finding.what, "next": finding.next })
}

/// `doctor`: prints what is well and what is wrong, and gives the exit status of the worst.
#[must_use]
pub fn doctor(root: &Root, user_data: &[PathBuf], format: Format) -> ExitCode {
    let findings = doctor::examine(root, user_data);
    match format {
        Format::Text => {
            for finding in &findings {
                println!("{finding}");
            }
        }
        Format::Json => println!("{}", doctor::as_json(&findings)),
    }
    doctor::exit_code(&findings)
}

/// The cluster that this guest belongs to, for commands that make no sense without one.
fn cluster(root: &Root, user_data: &[PathBuf]) -> Result<Settings, Error> {
    let (place, problem) = match Guest::find(root, user_data)?.settings()? {
        Found::Cluster(settings) => return Ok(settings),
        Found::NoPin { place } => (place, "the ucernvm section has no cvm_cluster_pin"),
        Found::NoSection => ("the user-data".to_owned(), why_no_section(root)),
    };
    Err(Error::context(place, problem, "name the file that has both with --user-data"))
}
