//! The values that a boot substitutes, and what an instance keeps of them for its next boot.

use std::collections::BTreeMap;
use std::time::Duration;

use protocol::key::MASTER_IP;

use super::Guest;
use crate::address;
use crate::backoff::SystemClock;
use crate::cache::{self, Cache};
use crate::files;
use crate::master;
use crate::root::Root;
use crate::session::Session;
use crate::slave::{self, Gathered};
use context::settings::Settings;
use protocol::error::Error;

/// How long a slave that has a cache looks for another master: a boot without the service must not be held up.
const LOOK_FOR_OTHER_MASTER: Duration = Duration::from_secs(3);

/// What a master or a slave has got.
pub(super) struct Obtained {
    pub(super) values: BTreeMap<String, String>,
    /// Why that is not all, or why the service does not know of it.
    pub(super) trouble: Option<Error>,
    /// How it was got, for a person.
    pub(super) how: String,
}

impl Obtained {
    fn nothing(trouble: Error) -> Self {
        Self { values: BTreeMap::new(), trouble: Some(trouble), how: String::new() }
    }
}

/// A master's own address goes into its own files even when the service cannot be told.
pub(super) fn push(guest: &Guest, settings: &Settings) -> Obtained {
    let mut session = match Session::new(settings, SystemClock::default()) {
        Ok(session) => session,
        Err(error) => return Obtained::nothing(error),
    };
    let (address, trouble, how) = match master::push(&mut session, &settings.address) {
        Ok(address) => (address, None, format!("the slaves can learn this master's address, {address}")),
        Err(error) => match address::choose(&settings.address, session.reached()) {
            Ok(chosen) if error.is_unknown_pin() && guest.remembers(settings) => {
                (chosen.address, None, PIN_HAS_EXPIRED.to_owned())
            }
            Ok(chosen) => (chosen.address, Some(error), String::new()),
            Err(_) => return Obtained::nothing(error),
        },
    };
    Obtained { values: BTreeMap::from([(MASTER_IP.to_owned(), address.to_string())]), trouble, how }
}

/// Said by a master that has pushed before, when its pin is gone: its own boot is all right.
pub const PIN_HAS_EXPIRED: &str = "the pin has expired, new slaves cannot join";

/// The values of a slave: from its master, or from an earlier boot.
pub(super) fn gather(guest: &Guest, settings: &Settings, keys: &[String], wait: bool) -> Obtained {
    let cached = guest.recall(settings, keys);
    let mut session = match Session::new(settings, SystemClock::default()) {
        Ok(session) => session,
        Err(error) => return Obtained::nothing(error),
    };
    if let Some(mut values) = cached {
        let how = match slave::look_for_master(&mut session, LOOK_FOR_OTHER_MASTER) {
            Ok(address) if values.get(MASTER_IP) != Some(&address) => {
                let how =
                    format!("the master is now {address}, the other values are those of an earlier boot");
                values.insert(MASTER_IP.to_owned(), address);
                how
            }
            Ok(address) => format!("the master is still {address}"),
            Err(error) => format!("the values are those of an earlier boot ({error})"),
        };
        return Obtained { values, trouble: None, how };
    }
    let gathered = if wait { slave::gather(&mut session, keys) } else { slave::look(&mut session, keys) };
    match gathered {
        Ok(gathered) => Obtained {
            how: format!("the master, {}, is ready", gathered.values[MASTER_IP]),
            values: gathered.values.clone(),
            trouble: Gathered::into_shortfall(gathered),
        },
        Err(error) => Obtained::nothing(error),
    }
}

impl Guest {
    /// The values of an earlier boot, when they are this instance's and are all that is needed.
    fn recall(&self, settings: &Settings, keys: &[String]) -> Option<BTreeMap<String, String>> {
        let binding = self.binding.as_ref()?;
        Some(Cache::read(&binding.file, &binding.instance, settings, keys)?.values().clone())
    }

    /// Whether this instance has had a success with this pin before.
    pub fn remembers(&self, settings: &Settings) -> bool {
        self.recall(settings, &[]).is_some()
    }

    /// Keeps the values for the next boot. That this fails spoils nothing now.
    pub(super) fn remember(&self, root: &Root, settings: &Settings, values: &BTreeMap<String, String>) {
        let Some(binding) = &self.binding else { return };
        let bytes = Cache::new(&binding.instance, settings, values.clone()).to_bytes();
        if let Err(error) = files::create(root, &binding.file, &bytes, cache::MODE) {
            log::warn!("{error}: the next boot will need the service again");
        }
    }
}
