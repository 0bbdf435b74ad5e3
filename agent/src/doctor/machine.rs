//! This VM, before any service is asked: whether it is contextualized, with which address, since when, and what repairs
//! it.

use context::settings::{Role, Settings};
use nix::sys::statvfs::statvfs;
use protocol::error::Status;

use super::unit::{self, Unit};
use super::{Finding, LOOK_AT_MASTER};
use crate::address;
use crate::phase::{self, Guest, original_seen, repair_step};
use crate::ready_when::LocalProbe;
use crate::record::{self, RunRecord, RunState};
use crate::root::Root;

/// How to run what the boot did once more, after its cause is mended.
const TRY_AGAIN: &str = "`systemctl restart cernvm-cluster-contextualization` tries again now, a reboot too";

/// What is known of this VM.
pub(super) struct VmFacts {
    /// What is to be said of it.
    pub(super) findings: Vec<Finding>,
    /// The address that it uses, when the last run of this boot put the values in place.
    pub(super) master_ip: Option<String>,
}

/// Looks at this VM.
pub(super) fn examine(root: &Root, guest: &Guest, settings: &Settings) -> VmFacts {
    let mut findings = Vec::new();
    let unit = guest.is_of_cloud_init().then(|| unit::show(root, unit::CONTEXTUALIZATION)).flatten();
    findings.extend(unit.as_ref().and_then(of_unit_file));
    let record = guest.record();
    let this_boot =
        if guest.is_of_cloud_init() { record::boot_id(root) } else { record::kernels_boot_id(root) };
    let of_this_boot = record.as_ref().filter(|record| record.boot == this_boot);
    findings.extend(match (&record, of_this_boot) {
        (_, Some(record)) => of_run(record, unit.as_ref()),
        (Some(record), None) => vec![not_in_this_boot(record, unit.as_ref())],
        (None, None) if guest.is_of_cloud_init() => vec![never(unit.as_ref())],
        (None, None) => Vec::new(),
    });
    findings.extend(record.as_ref().and_then(|record| of_once(guest, record)));
    findings.extend(of_files(root, guest, settings, of_this_boot));
    findings.extend(of_disk(guest));
    findings.extend(original_seen(root).map(|what| {
        Finding::note(
            format!("the original agent is or was on this VM: {what}"),
            "disable its units (systemctl disable --now), so that only one agent acts",
        )
    }));
    let in_place = of_this_boot.filter(|record| record.state == RunState::Contextualized);
    let master_ip = in_place.and_then(|record| record.master_ip.clone());
    VmFacts { findings, master_ip }
}

/// A unit that does not run at the next boot.
fn of_unit_file(unit: &Unit) -> Option<Finding> {
    let what = match (unit.load.as_str(), unit.enabled.as_str()) {
        ("not-found", _) => "is not installed",
        ("masked", _) | (_, "masked") => "is masked",
        (_, "disabled") => "is not enabled",
        _ => return None,
    };
    Some(Finding::note(
        format!("{} {what}: the agent does not run at boot", unit::CONTEXTUALIZATION),
        "systemctl enable cernvm-cluster-contextualization cernvm-cluster-master-ready",
    ))
}

/// The run of this boot.
fn of_run(record: &RunRecord, unit: Option<&Unit>) -> Vec<Finding> {
    let at = record::time(record.at);
    match (&record.state, &record.failure) {
        (RunState::Waiting, _) => match unit.filter(|unit| unit.active != "activating") {
            Some(unit) => vec![Finding::wrong(
                Status::TimedOut,
                format!("the run of {at} was cut off ({} {})", unit.result, unit.status),
                TRY_AGAIN,
            )],
            None => vec![Finding::wrong(
                Status::TimedOut,
                format!("this VM has been waiting for its values since {at}"),
                LOOK_AT_MASTER,
            )],
        },
        (RunState::Contextualized, _) => vec![Finding::Well(contextualized(record))],
        (RunState::Failed, failure) => {
            let mut findings = Vec::new();
            if let Some(failure) = failure {
                let status = Status::ALL.into_iter().find(|status| status.code() == failure.status);
                findings.push(Finding::wrong(
                    status.unwrap_or(Status::Usage),
                    format!("this VM is not contextualized as it should be: {} ({at})", failure.what),
                    &failure.next,
                ));
            }
            findings
        }
    }
}

fn contextualized(record: &RunRecord) -> String {
    let since = record::time(record.since);
    match &record.master_ip {
        Some(address) if record.master => {
            format!("this VM is contextualized: its own address {address} is in place since {since}")
        }
        Some(address) => {
            format!("this VM is contextualized: the master's address {address} is in place since {since}")
        }
        None => format!("this VM is contextualized since {since}"),
    }
}

fn not_in_this_boot(record: &RunRecord, unit: Option<&Unit>) -> Finding {
    let at = record::time(record.at);
    let ended = match unit {
        Some(unit) if unit.active == "failed" => {
            format!(", and its run of this boot ended with {} {}", unit.result, unit.status)
        }
        _ => String::new(),
    };
    Finding::wrong(
        Status::TooLate,
        format!("the agent has left no record in this boot; its last one is of {at}{ended}"),
        "see `journalctl -u cernvm-cluster-contextualization`",
    )
}

fn never(unit: Option<&Unit>) -> Finding {
    let what = "the agent has never run to its end on this instance, or could not write its record";
    match unit {
        Some(unit) if unit.active == "failed" => Finding::wrong(
            Status::TooLate,
            format!("{what}: its unit ended with {} {}", unit.result, unit.status),
            "see `journalctl -u cernvm-cluster-contextualization`",
        ),
        _ => Finding::note(what, "see `journalctl -u cernvm-cluster-contextualization`"),
    }
}

/// What cloud-init ran once on this instance, with what by now is wrong.
fn of_once(guest: &Guest, record: &RunRecord) -> Option<Finding> {
    let wrong = guest.ran_with_wrong_values(record, record.master_ip.as_ref());
    let now =
        record.master_ip.as_ref().map(|now| format!(", and the address is {now} now")).unwrap_or_default();
    let what = || {
        phase::describe_wrong_runs(&wrong)
            + if wrong.iter().all(|(_, once)| once.literal.is_empty()) { &now } else { "" }
    };
    (!wrong.is_empty()).then(|| Finding::wrong(Status::TooLate, what(), repair_step()))
}

/// Files that still hold what this VM's run was to replace.
fn of_files(root: &Root, guest: &Guest, settings: &Settings, record: Option<&RunRecord>) -> Vec<Finding> {
    // While it waits, they are not left yet.
    if record.is_some_and(|record| record.state == RunState::Waiting) {
        return Vec::new();
    }
    let left = guest.placeholders(root);
    let findings = left.into_iter().filter_map(|(file, names)| {
        let names: Vec<String> =
            names.into_iter().filter(|name| settings.brings(&phase::key_of(name))).collect();
        (!names.is_empty()).then(|| {
            Finding::wrong(Status::TooLate, format!("{file} still holds {}", names.join(", ")), TRY_AGAIN)
        })
    });
    findings.collect()
}

/// A file system without room: nothing can be substituted, and no record be written.
fn of_disk(guest: &Guest) -> Option<Finding> {
    let directory = guest.record_directory()?;
    let room = statvfs(directory).ok()?;
    (room.blocks_available() == 0).then(|| {
        Finding::wrong(
            Status::File,
            format!("the file system of {} has no room left", directory.display()),
            "make room on it, then reboot",
        )
    })
}

/// What `cvm_master_ready_when` names and is not there.
pub(super) fn of_ready_when(root: &Root, settings: &Settings, in_use: Option<&str>) -> Option<Finding> {
    if settings.role != Role::Master {
        return None;
    }
    let address = in_use?.parse().ok()?;
    let unmet = LocalProbe::new(root, address, &address::held().ok()?).unmet(&settings.ready_when);
    (!unmet.is_empty()).then(|| {
        Finding::wrong(
            Status::TimedOut,
            format!("{} is not there, which cvm_master_ready_when waits for", unmet.join(", ")),
            "see why it has not started; a port must take connections at the address that the slaves go to",
        )
    })
}

/// Whether the unit after the boot has reported this master as ready.
pub(super) fn of_master_ready(root: &Root, settings: &Settings) -> Option<Finding> {
    if settings.role != Role::Master {
        return None;
    }
    let unit = unit::show(root, unit::MASTER_READY)?;
    match unit.active.as_str() {
        "failed" => Some(Finding::note(
            format!("{} ended with {} {}", unit::MASTER_READY, unit.result, unit.status),
            "see `journalctl -u cernvm-cluster-master-ready`",
        )),
        _ => None,
    }
}
