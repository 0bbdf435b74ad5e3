//! What each command does, but for `contextualize`, `check` and `doctor`, which have files of their own.

use std::path::PathBuf;

use crate::backoff::SystemClock;
use crate::cli::ValueSource;
use crate::error::Error;
use crate::phase::{Guest, PIN_HAS_EXPIRED};
use crate::root::Root;
use crate::session::Session;
use crate::settings::{Found, Role, Settings};
use crate::{get, master, publish};

/// `master-ready`: tells the slaves that this master has booted.
///
/// # Errors
/// As [`master::ready`].
pub fn master_ready(root: &Root, user_data: &[PathBuf]) -> Result<String, Error> {
    let guest = Guest::find(root, user_data)?;
    let settings = match guest.settings()? {
        Found::Cluster(settings) if settings.role == Role::Master => settings,
        Found::Cluster(_) => return Ok("this VM is a slave: nothing to do".to_owned()),
        Found::NoPin { .. } | Found::NoSection => {
            return Ok("this VM belongs to no cluster: nothing to do".to_owned());
        }
    };
    match master::ready(&mut Session::new(&settings, SystemClock::default())?, &settings.address) {
        Ok(address) => Ok(format!("this master is ready, and its slaves go on with {address}")),
        Err(Error::UnknownPin(_)) if guest.remembers(&settings) => Ok(PIN_HAS_EXPIRED.to_owned()),
        Err(error) => Err(error),
    }
}

/// `publish KEY …`: puts a key under the pin.
///
/// # Errors
/// As [`publish::read_value`] and [`publish::publish`].
pub fn publish(root: &Root, user_data: &[PathBuf], key: &str, value: ValueSource) -> Result<String, Error> {
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

/// The cluster that this guest belongs to, for commands that make no sense without one.
fn cluster(root: &Root, user_data: &[PathBuf]) -> Result<Settings, Error> {
    let (place, problem) = match Guest::find(root, user_data)?.settings()? {
        Found::Cluster(settings) => return Ok(settings),
        Found::NoPin { place } => (place, "the ucernvm section has no cvm_cluster_pin"),
        Found::NoSection => ("the user-data".to_owned(), "there is no ucernvm section"),
    };
    Err(Error::Context {
        place,
        problem: problem.to_owned(),
        next: "name the file that has both with --user-data".to_owned(),
    })
}
