//! The end of a cluster: its stack, its pin and its record.

use std::thread;
use std::time::{Duration, Instant};

use super::records::Record;
use super::refused::Refused;
use super::steps::Launcher;
use crate::openstack::{Session, StackStatus};

/// Time between two looks at a stack that goes.
const PAUSE: Duration = Duration::from_secs(1);

/// What has become of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Removal {
    /// Nothing of it is left.
    Gone,
    /// Heat could not delete the stack, for this reason in its words.
    Failed(String),
    /// The stack still goes.
    Going,
}

/// Deletes the stack of a launch, waits until it is gone, and then forgets the pin and the record.
///
/// # Errors
/// The cloud or the records cannot be used; the record stays.
pub fn remove(
    launcher: &Launcher,
    session: &mut Session,
    record: &Record,
    limit: Duration,
) -> Result<Removal, Refused> {
    let name = &record.stack_name;
    let id = match &record.stack_id {
        Some(id) => Some(id.clone()),
        None => {
            let stacks = session.stacks().map_err(Refused::Cloud)?;
            stacks.into_iter().find(|stack| stack.name == *name).map(|stack| stack.id)
        }
    };
    if let Some(id) = id {
        session.delete_stack(name, &id).map_err(Refused::Cloud)?;
        let end = Instant::now() + limit;
        loop {
            let stack = session.show_stack(name, &id).map_err(Refused::Cloud)?;
            match stack.map(|stack| (stack.state(), stack.status, stack.reason)) {
                None | Some((StackStatus::Gone, ..)) => break,
                Some((StackStatus::Failed, status, reason)) if status == "DELETE_FAILED" => {
                    return Ok(Removal::Failed(reason));
                }
                Some(_) if Instant::now() >= end => return Ok(Removal::Going),
                Some(_) => thread::sleep(PAUSE),
            }
        }
    }
    if let Some(paired) = &record.paired {
        launcher.forget(paired);
    }
    launcher.records.remove(record).map_err(Refused::Records)?;
    Ok(Removal::Gone)
}
