//! The values that a boot substitutes, and what an instance keeps of them for its next boot.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use protocol::key::MASTER_IP;

use super::Guest;
use crate::address;
use crate::backoff::{Clock, SystemClock};
use crate::cache::Cache;
use crate::master::{Master, RecordStore as _};
use crate::record::{self, RunRecord, RunState};
use crate::reporter::Reporter;
use crate::root::Root;
use crate::session::{ContextService, Session};
use crate::slave::{self, GatheredValues};
use client::Service;
use context::settings::{Role, Settings};
use protocol::error::Error;

/// Seconds since the kernel began (proc_uptime(5)).
const UPTIME: &str = "/proc/uptime";

/// Said by a master that has pushed before, when its pin is gone: its own boot is all right.
pub const PIN_HAS_EXPIRED: &str = "the pin has expired, new slaves cannot join";

/// What a master or a slave has got.
pub(crate) struct ObtainedValues {
    pub(crate) values: BTreeMap<String, String>,
    /// Why that is not all, or why the service does not know of it.
    pub(crate) trouble: Option<Error>,
    /// How it was got, for a person.
    pub(crate) how: String,
}

impl ObtainedValues {
    pub(super) fn nothing(trouble: Error) -> Self {
        Self { values: BTreeMap::new(), trouble: Some(trouble), how: String::new() }
    }
}

/// The values of these keys. They are kept for the next boot as they come, whatever becomes of the files. A slave waits
/// for them where `wait` is true.
pub(super) fn obtain(
    root: &Root,
    session: &mut HttpSession,
    cache: &mut Cache,
    settings: &Settings,
    keys: &[String],
    wait: bool,
) -> ObtainedValues {
    match settings.role {
        Role::Master => match master(root, settings, cache, false) {
            Ok(mut master) => push(session, &mut master),
            Err(error) => ObtainedValues::nothing(error),
        },
        Role::Slave => gather(session, keys, cache, wait),
    }
}

/// A session over HTTP, by the machine's clock.
pub(crate) type HttpSession = Session<ContextService, SystemClock>;

/// A master's own address goes into its own files even when the service cannot be told.
pub(crate) fn push<S: Service, C: Clock>(
    session: &mut Session<S, C>,
    master: &mut Master<'_>,
) -> ObtainedValues {
    let pushed = master.push(session);
    if let Ok(address) = &pushed {
        session.set_address(*address);
    }
    let (address, trouble, how) = match pushed {
        Ok(address) => (address, None, format!("the slaves can learn this master's address, {address}")),
        Err(error) => match master.decide(session.reached()) {
            Ok(address) if error.is_unknown_pin() && master.memory.record().was_confirmed() => {
                (address, None, PIN_HAS_EXPIRED.to_owned())
            }
            Ok(address) => (address, Some(error), String::new()),
            Err(_) => return ObtainedValues::nothing(error),
        },
    };
    ObtainedValues { values: BTreeMap::from([(MASTER_IP.to_owned(), address.to_string())]), trouble, how }
}

/// This machine as a master, with what it remembers; `force` takes the cluster back from one that has replaced it.
///
/// # Errors
/// 74 when the machine's addresses cannot be read.
pub fn master<'a>(
    root: &Root,
    settings: &'a Settings,
    memory: &'a mut Cache,
    force: bool,
) -> Result<Master<'a>, Error> {
    let boot = Some(record::kernels_boot_id(root)).filter(|boot| !boot.is_empty());
    let booted = booted(root);
    Ok(Master { rule: &settings.address, machine: address::held()?, boot, booted, force, memory })
}

/// When this machine began to run; in a container perhaps when its host did.
fn booted(root: &Root) -> Option<Instant> {
    let uptime = std::fs::read_to_string(root.path(UPTIME)).ok()?;
    // Two decimals, always. As a float it would bring 22 KB of tables along.
    let (seconds, hundredths) = uptime.split_whitespace().next()?.split_once('.')?;
    let hundredths: u64 = hundredths.parse().ok().filter(|_| hundredths.len() == 2)?;
    let uptime = Duration::from_secs(seconds.parse().ok()?) + Duration::from_millis(hundredths * 10);
    Instant::now().checked_sub(uptime)
}

/// What a slave gets, with the help of what it has kept; it keeps what comes.
pub(crate) fn gather<S: Service, C: Clock>(
    session: &mut Session<S, C>,
    keys: &[String],
    cache: &mut Cache,
    wait: bool,
) -> ObtainedValues {
    let obtained = if cache.values().contains_key(MASTER_IP) {
        let (gathered, how) = slave::gather_again(session, keys, cache.values(), wait);
        ObtainedValues { values: gathered.values.clone(), trouble: gathered.into_shortfall(), how }
    } else {
        match if wait { slave::gather(session, keys) } else { slave::gather_once(session, keys) } {
            Ok(gathered) => ObtainedValues {
                how: format!("the master, {}, is ready", gathered.values[MASTER_IP]),
                values: gathered.values.clone(),
                trouble: GatheredValues::into_shortfall(gathered),
            },
            Err(error) => ObtainedValues::nothing(error),
        }
    };
    cache.learn(&obtained.values);
    obtained
}

impl Guest {
    /// A session with the services of these settings, in which this VM reports itself.
    ///
    /// # Errors
    /// As [`Session::new`].
    pub fn session(&self, root: &Root, settings: &Settings) -> Result<HttpSession, Error> {
        let instance = self.binding.as_ref().map(|binding| binding.instance.as_str());
        let session = Session::new(settings, SystemClock::default())?;
        Ok(session.reporting(Reporter::new(root, settings, instance)))
    }

    /// Whether its last run in this boot has put the values in place.
    #[must_use]
    pub fn is_contextualized(&self, root: &Root) -> bool {
        let record =
            self.binding.as_ref().and_then(|binding| RunRecord::read(&binding.record(), &binding.instance));
        record.is_some_and(|record| {
            record.state == RunState::Contextualized && record.boot == record::this_boot(root)
        })
    }

    /// What this instance has kept for this context.
    #[must_use]
    pub fn cache(&self, root: &Root, settings: &Settings) -> Cache {
        Cache::open(root, self.binding.as_ref(), settings)
    }

    /// Whether this instance has had a success with this pin before.
    #[must_use]
    pub fn remembers(&self, root: &Root, settings: &Settings) -> bool {
        let cache = self.cache(root, settings);
        cache.values().contains_key(MASTER_IP) || cache.record().was_confirmed()
    }
}
