//! What each command does, but for `contextualize`, which has files of their own.

pub mod nodes;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::backoff::{Deadline, SystemClock};
use crate::cache::Cache;
use crate::cli::{OutputFormat, ValueSource};
use crate::master::{Master, RecordStore as _};
use crate::phase::{self, Guest, PIN_HAS_EXPIRED, warn_of_original, why_no_section};
use crate::ready_when::LocalProbe;
use crate::record;
use crate::root::Root;
use crate::session::{ContextService, Session};
use crate::{doctor, get, publish, unpublished};
use context::check;
use context::check::Severity;
use context::settings::{FoundSection, Role, Settings};
use protocol::Secret;
use protocol::error::{Error, Status};
use protocol::node::NodeState;
use serde_json::json;

/// `master-ready`: tells the slaves that this master has booted; with `force` also where another master has replaced it.
///
/// # Errors
/// As [`Master::ready`](crate::master::Master::ready); 75 when a key that `publish` was to store on this boot, or what
/// `cvm_master_ready_when` names, is not there by the deadline.
pub fn master_ready(root: &Root, user_data: &[PathBuf], force: bool) -> Result<String, Error> {
    let guest = Guest::find(root, user_data)?;
    let settings = match cluster_settings(root, &guest)? {
        Ok(settings) => settings,
        Err(nothing_to_do) => return Ok(nothing_to_do),
    };
    let mut cache = guest.cache(root, &settings);
    if settings.role == Role::Slave {
        return slave_ready(root, &guest, &settings, &mut cache);
    }
    warn_of_original(root);
    let mut session = guest.session(root, &settings)?;
    let deadline = session.deadline();
    unpublished::await_none(root, &mut session, &deadline)?;
    let mut master = phase::master(root, &settings, &mut cache, force)?;
    let ready = await_ready_when(root, &settings, &mut master, &mut session, &deadline)
        .and_then(|()| master.ready(&mut session));
    match ready {
        Ok(address) => {
            session.set_address(address);
            session.report(NodeState::Ready, "");
            Ok(format!("this master is ready, and its slaves go on with {address}"))
        }
        Err(error) if error.is_unknown_pin() && cache.record().was_confirmed() => {
            Ok(PIN_HAS_EXPIRED.to_owned())
        }
        Err(error) => {
            session.report(NodeState::Failed, &error.to_string());
            Err(error)
        }
    }
}

/// Waits for what the section says that a master's readiness needs.
fn await_ready_when(
    root: &Root,
    settings: &Settings,
    master: &mut Master<'_>,
    session: &mut Session<ContextService, SystemClock>,
    deadline: &Deadline,
) -> Result<(), Error> {
    if settings.ready_when.is_empty() {
        return Ok(());
    }
    let address = master.address(session, deadline)?;
    LocalProbe::new(root, address, &master.machine).await_all(&settings.ready_when, session, deadline)
}

/// After a slave's boot: reports that it is ready, to the service that has taken its report before. Where it is not
/// contextualized yet, the run that brings that about will do so.
fn slave_ready(root: &Root, guest: &Guest, settings: &Settings, cache: &mut Cache) -> Result<String, Error> {
    let nothing = "this VM is a slave: nothing to do";
    let Some(service) = cache.node().service.clone() else { return Ok(nothing.to_owned()) };
    cache.note_node(|node| node.booted = Some(record::this_boot(root)));
    if guest.is_contextualized(root) {
        guest.session(root, settings)?.report_to(&service, NodeState::Ready, "");
    }
    Ok(nothing.to_owned())
}

/// `master-ready --withdraw`: tells the slaves at shutdown that this master is not ready any more, and the nodes that this
/// VM is not.
///
/// # Errors
/// As [`Master::withdraw`](crate::master::Master::withdraw).
pub fn withdraw_ready(root: &Root, user_data: &[PathBuf]) -> Result<String, Error> {
    const SHUT_DOWN: &str = "shut down, or about to boot again";
    let guest = Guest::find(root, user_data)?;
    let settings = match cluster_settings(root, &guest)? {
        Ok(settings) => settings,
        Err(nothing_to_do) => return Ok(nothing_to_do),
    };
    let mut cache = guest.cache(root, &settings);
    let mut session = guest.session(root, &settings)?;
    if settings.role == Role::Slave {
        if let Some(service) = &cache.node().service {
            session.report_to(service, NodeState::Waiting, SHUT_DOWN);
        }
        return Ok("this VM is a slave: nothing to do".to_owned());
    }
    let mut master = phase::master(root, &settings, &mut cache, false)?;
    let withdrawn = master.withdraw(&mut session);
    session.report(NodeState::Waiting, SHUT_DOWN);
    match withdrawn {
        Ok(true) => Ok("this master is not ready any more: slaves that boot now wait for it".to_owned()),
        Ok(false) => Ok("master_ready is not this master's: nothing to withdraw".to_owned()),
        Err(error) if error.is_unknown_pin() => Ok(PIN_HAS_EXPIRED.to_owned()),
        Err(error) => Err(error),
    }
}

/// The settings of a VM of a cluster, or why there is nothing to do for one.
fn cluster_settings(root: &Root, guest: &Guest) -> Result<Result<Settings, String>, Error> {
    Ok(match guest.settings()? {
        FoundSection::Cluster(settings) => Ok(settings),
        FoundSection::NoPin { place } => {
            Err(format!("no cvm_cluster_pin in the ucernvm section of {place}: nothing to do"))
        }
        FoundSection::NoSection => Err(format!("{}: nothing to do", why_no_section(root))),
    })
}

/// `publish KEY …`: puts a key under the pin.
///
/// # Errors
/// As [`publish::check_key`], [`publish::read_value`] and [`publish::publish`].
pub fn publish(
    root: &Root,
    user_data: &[PathBuf],
    secret_file: Option<&Path>,
    key: &str,
    value: ValueSource,
) -> Result<String, Error> {
    publish::check_key(key)?;
    let value = match value {
        ValueSource::File(file) => ValueSource::File(root.path(file)),
        other => other,
    };
    let settings = cluster(root, user_data, secret_file)?;
    unpublished::begin(root, key);
    let value = publish::read_value(key, value, settings.secret.is_some())?;
    let mut session = Session::new(&settings, SystemClock::default())?;
    let mut cache = Guest::find(root, user_data)?.cache(root, &settings);
    let master = match settings.role {
        Role::Master => Some(phase::master(root, &settings, &mut cache, false)?),
        Role::Slave => None,
    };
    publish::publish(&mut session, master.as_ref(), key, &value)?;
    unpublished::end(root, key);
    Ok(format!("published '{key}'"))
}

/// `get KEY`: the value of a key.
///
/// # Errors
/// As [`get::get`].
pub fn get(
    root: &Root,
    user_data: &[PathBuf],
    secret_file: Option<&Path>,
    key: &str,
    wait: bool,
) -> Result<String, Error> {
    let settings = cluster(root, user_data, secret_file)?;
    get::get(&mut Session::new(&settings, SystemClock::default())?, key, wait)
}

/// `check FILE...`: prints what is wrong with contexts; bad context (65) when one of them will not work, or, if it is
/// strict, may not be meant.
///
/// # Errors
/// As [`check::check`].
pub fn check(files: &[PathBuf], format: OutputFormat, strict: bool) -> Result<ExitCode, Error> {
    let findings = check::check(files)?;
    let count = |severity| findings.iter().filter(|finding| finding.severity == severity).count();
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    match format {
        OutputFormat::Text => {
            for finding in &findings {
                println!("{finding}");
            }
            println!("{} files, {errors} errors, {warnings} warnings", files.len());
        }
        OutputFormat::Json => {
            let findings: Vec<_> = findings.iter().map(finding_as_json).collect();
            println!("{}", json!({ "files": files.len(), "errors": errors, "findings": findings }));
        }
    }
    let failures = if strict { errors + warnings } else { errors };
    Ok(if failures == 0 { ExitCode::SUCCESS } else { Status::BadContext.into() })
}

fn finding_as_json(finding: &check::Finding) -> serde_json::Value {
    let severity = finding.severity.name();
    json!({ "severity": severity, "place": finding.place, "what": finding.what, "next": finding.next })
}

/// `doctor`: prints what is well and what is wrong, and gives the exit status of the worst.
#[must_use]
pub fn doctor(root: &Root, user_data: &[PathBuf], format: OutputFormat) -> ExitCode {
    let findings = doctor::examine(root, user_data);
    match format {
        OutputFormat::Text => {
            for finding in &findings {
                println!("{finding}");
            }
        }
        OutputFormat::Json => println!("{}", doctor::as_json(&findings)),
    }
    doctor::exit_code(&findings)
}

/// The cluster that this guest belongs to, for commands that make no sense without one. Its secret may be in a file of
/// its own.
///
/// # Errors
/// 65 where the context has no cluster or another secret than the file, or the file has none; 74 when one of them cannot
/// be read.
fn cluster(root: &Root, user_data: &[PathBuf], secret_file: Option<&Path>) -> Result<Settings, Error> {
    let (place, problem) = match Guest::find(root, user_data)?.settings()? {
        FoundSection::Cluster(settings) => {
            let Some(file) = secret_file.map(|file| root.path(file)) else { return Ok(settings) };
            let secret = read_secret(&file)?;
            if settings.secret.as_ref().is_some_and(|of_context| *of_context != secret) {
                let problem = "it is not the cvm_cluster_secret of the context";
                return Err(Error::context(file.display().to_string(), problem, "leave --secret-file out"));
            }
            return Ok(Settings { secret: Some(secret), ..settings });
        }
        FoundSection::NoPin { place } => (place, "the ucernvm section has no cvm_cluster_pin"),
        FoundSection::NoSection => ("the user-data".to_owned(), why_no_section(root)),
    };
    Err(Error::context(place, problem, "name the file that has both with --user-data"))
}

/// The secret in a file, which has nothing else in it.
fn read_secret(file: &Path) -> Result<Secret, Error> {
    let text = std::fs::read(file).map_err(|error| Error::cannot_read(file, error))?;
    Secret::parse(String::from_utf8_lossy(&text).trim_ascii()).map_err(|why| {
        let problem = format!("there is no secret in it: {why}");
        let next = "write only the 43 characters of cvm_cluster_secret into it";
        Error::context(format!("{} line 1", file.display()), problem, next)
    })
}
