//! `contextualize`: get the values as a master or a slave, and put them into the guest's files.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::early::EarlyMode;
use super::obtain::HttpSession;
use super::obtain::ObtainedValues;
use super::recorded::RecordedRun;
use super::substitution::{Substitution, Targets, replaced};
use super::{Guest, bootloader, cloud_init, early, obtain};
use crate::cache::Cache;
use crate::cli::SubstituteIn;
use crate::followed::Followed;
use crate::record;
use crate::root::Root;
use context::check::{Finding, Severity};
use context::settings::{FoundSection, Role};
use protocol::error::Error;
use protocol::node::NodeState;

/// Contextualizes this guest; what was done, in one sentence.
///
/// # Errors
/// What failed first. Whatever could be substituted has been, and files that were not are whole.
pub fn contextualize(root: &Root, user_data: &[PathBuf], target: SubstituteIn) -> Result<String, Error> {
    match target {
        SubstituteIn::Files { files, wait } => {
            let guest = Guest::find(root, user_data)?;
            let files = if files.is_empty() { guest.user_data.clone() } else { below(root, &files) };
            run(root, &guest, files.into(), wait)
        }
        SubstituteIn::Early { parts } => match early::mode(root, below(root, &parts))? {
            EarlyMode::Nothing(why) => Ok(why),
            EarlyMode::Parts(guest, parts) => run(root, &guest, parts.into(), true),
        },
        SubstituteIn::CloudInit { files } => match cloud_init::guest(root)? {
            Some(guest) if files.is_empty() => run(root, &guest, cloud_init::targets(root), true),
            Some(guest) => run(root, &Guest { records: false, ..guest }, below(root, &files).into(), true),
            None => Ok("cloud-init has no instance with user-data: nothing to do".to_owned()),
        },
        SubstituteIn::Bootloader => {
            let outcome = bootloader::guest(root).and_then(|guest| match guest {
                Some(guest) => run(root, &guest, guest.user_data.clone().into(), true),
                None => Ok("the boot loader found no user-data: nothing to do".to_owned()),
            });
            let marked = bootloader::mark(root);
            outcome.and_then(|done| marked.map(|()| done))
        }
    }
}

fn below(root: &Root, files: &[PathBuf]) -> Vec<PathBuf> {
    files.iter().map(|file| root.path(file)).collect()
}

fn run(root: &Root, guest: &Guest, targets: Targets, wait: bool) -> Result<String, Error> {
    let settings = match guest.settings()? {
        FoundSection::Cluster(settings) => settings,
        FoundSection::NoPin { place } => {
            return Ok(format!("no cvm_cluster_pin in the ucernvm section of {place}: nothing to do"));
        }
        FoundSection::NoSection => return without_section(guest),
    };
    let mut recorded = RecordedRun::new(root, guest, &settings, &targets);
    let mut substitution = Substitution::new(root, targets, !guest.remembers(root, &settings));
    let keys = substitution.keys(&settings);
    recorded.begin(&keys);
    let followed = Followed::new(root, &settings.follow);
    followed.keep_pristine();
    let mut cache = guest.cache(root, &settings);
    let mut session = match guest.session(root, &settings) {
        Ok(session) => session,
        Err(error) => return recorded.end(&BTreeMap::new(), Err(error)),
    };
    let taken = guest.taken(Some(&settings));
    for finding in &taken.findings {
        log::warn!("{}", as_error(finding));
    }
    // In early mode the network stage has had the values.
    let is_unread = taken.is_unread && !settings.early;
    let obtained = match lost(&taken.findings, is_unread) {
        // Waiting would bring this slave nothing.
        Some(error) if settings.role == Role::Slave && !substitution.has_placeholder() => {
            ObtainedValues::nothing(error)
        }
        _ => obtain::obtain(root, &mut session, &mut cache, &settings, &keys, wait),
    };
    let mut values = obtained.values.clone();
    values.retain(|key, _| !settings.literal.contains(key));
    substitution.substitute(&values);
    let lost =
        lost(&taken.findings, is_unread && settings.role == Role::Slave && substitution.replaced.is_empty());
    let outcome = match obtained.trouble.or(substitution.trouble.take()).or(lost) {
        Some(error) => {
            // The error does not say with which values the run went on.
            if !obtained.how.is_empty() {
                log::info!("{}", obtained.how);
            }
            Err(error)
        }
        None => match substitution.missed(is_unread).filter(|_| !settings.early) {
            Some(error) if settings.role == Role::Slave => Err(error),
            Some(error) => Ok(format!("{}; {error}", obtained.how)),
            None => Ok(format!("{}; {}", obtained.how, replaced(&substitution.replaced))),
        },
    };
    followed.note_written(&obtained.values);
    let outcome = recorded.end(&obtained.values, outcome);
    report(root, &mut session, &mut cache, &obtained.how, &outcome);
    outcome
}

/// A context without a section may be none of a cluster's, but not when it has placeholders and cloud-init drops a part,
/// in which the section may stand.
fn without_section(guest: &Guest) -> Result<String, Error> {
    let taken = guest.taken(None);
    let has_placeholder = taken.is_read_later || taken.is_unread;
    match lost(&taken.findings, false).filter(|_| has_placeholder) {
        Some(error) => Err(error),
        None if has_placeholder => {
            Ok("there is no ucernvm section: every placeholder stays as it is".to_owned())
        }
        None => Ok("there is no ucernvm section: nothing to do".to_owned()),
    }
}

/// Why a run is no success although nothing failed in it: cloud-init drops or does not see something, or nothing reads
/// the placeholders.
fn lost(findings: &[Finding], is_unread: bool) -> Option<Error> {
    let error = findings.iter().find(|finding| finding.severity == Severity::Error);
    error.or(findings.first().filter(|_| is_unread)).map(as_error)
}

fn as_error(finding: &Finding) -> Error {
    Error::context(finding.place.clone(), finding.what.clone(), finding.next.clone())
}

/// Reports how the run went. After the boot of a slave, which may be over when its master comes late, it is ready.
fn report(
    root: &Root,
    session: &mut HttpSession,
    cache: &mut Cache,
    how: &str,
    outcome: &Result<String, Error>,
) {
    if let Some(service) = session.taking_reports() {
        cache.note_node(|node| node.service = service);
    }
    let booted = cache.node().booted.as_ref() == Some(&record::this_boot(root));
    match outcome {
        Ok(_) if booted => session.report(NodeState::Ready, how),
        Ok(_) => session.report(NodeState::Joined, how),
        Err(error) => session.report(NodeState::Failed, &error.to_string()),
    }
}
