//! `contextualize`: get the values as a master or a slave, and put them into the guest's files.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use protocol::key::MASTER_IP;

use super::{Guest, bootloader, cloud_init};
use crate::address;
use crate::backoff::SystemClock;
use crate::cache::{self, Cache};
use crate::cli::Target;
use crate::files;
use crate::master;
use crate::root::Root;
use crate::session::Session;
use crate::slave::{self, Gathered};
use context::document::Document;
use context::placeholder::Placeholder;
use context::settings::{Found, Keys, Role, Settings};
use protocol::error::Error;

/// How long a slave that has a cache looks for another master: a boot without the service must not be held up.
const LOOK_FOR_OTHER_MASTER: Duration = Duration::from_secs(3);

/// Contextualizes this guest; what was done, in one sentence.
///
/// # Errors
/// What failed first. Whatever could be substituted has been, and files that were not are whole.
pub fn contextualize(root: &Root, user_data: &[PathBuf], target: Target) -> Result<String, Error> {
    match target {
        Target::Files { files, wait } => {
            let guest = Guest::find(root, user_data)?;
            let files = if files.is_empty() { guest.user_data.clone() } else { below(root, &files) };
            run(&guest, &files, wait)
        }
        Target::CloudInit { files } => match cloud_init::guest(root)? {
            Some(guest) if files.is_empty() => run(&guest, &cloud_init::files(root), true),
            Some(guest) => run(&guest, &below(root, &files), true),
            None => Ok("cloud-init has no instance with user-data: nothing to do".to_owned()),
        },
        Target::Bootloader => {
            let outcome = bootloader::guest(root).and_then(|guest| match guest {
                Some(guest) => run(&guest, &guest.user_data, true),
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

fn run(guest: &Guest, files: &[PathBuf], wait: bool) -> Result<String, Error> {
    let settings = match guest.settings()? {
        Found::Cluster(settings) => settings,
        Found::NoPin { place } => {
            return Ok(format!("no cvm_cluster_pin in the ucernvm section of {place}: nothing to do"));
        }
        Found::NoSection => return Ok("there is no ucernvm section: nothing to do".to_owned()),
    };
    let mut work = Work::read(files);
    let obtained = match settings.role {
        Role::Master => push(guest, &settings),
        Role::Slave => gather(guest, &settings, &work.keys(&settings), wait),
    };
    work.substitute(&obtained.values);
    match obtained.trouble.or(work.trouble) {
        Some(error) => Err(error),
        None => {
            guest.remember(&settings, &obtained.values);
            Ok(format!("{}; {}", obtained.how, replaced(&work.replaced)))
        }
    }
}

/// What a master or a slave has got.
struct Obtained {
    values: BTreeMap<String, String>,
    /// Why that is not all, or why the service does not know of it.
    trouble: Option<Error>,
    /// How it was got, for a person.
    how: String,
}

impl Obtained {
    fn nothing(trouble: Error) -> Self {
        Self { values: BTreeMap::new(), trouble: Some(trouble), how: String::new() }
    }
}

/// A master's own address goes into its own files even when the service cannot be told.
fn push(guest: &Guest, settings: &Settings) -> Obtained {
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

fn gather(guest: &Guest, settings: &Settings, keys: &[String], wait: bool) -> Obtained {
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

/// The files to substitute in.
struct Work {
    documents: Vec<(PathBuf, Document)>,
    replaced: BTreeSet<Placeholder>,
    /// What failed first; the other files are done all the same.
    trouble: Option<Error>,
}

impl Work {
    fn read(files: &[PathBuf]) -> Self {
        let mut work = Self { documents: Vec::new(), replaced: BTreeSet::new(), trouble: None };
        for file in files {
            match Document::read(file) {
                Ok(document) => work.documents.push((file.clone(), document)),
                Err(error) => work.failed(error),
            }
        }
        work
    }

    /// The keys to wait for.
    fn keys(&self, settings: &Settings) -> Vec<String> {
        match &settings.keys {
            Keys::Only(keys) => keys.clone(),
            Keys::WithPlaceholder => {
                let placeholders = self.documents.iter().flat_map(|(_, document)| document.placeholders());
                placeholders
                    .map(|placeholder| placeholder.key())
                    .collect::<BTreeSet<_>>()
                    .into_iter()
                    .collect()
            }
        }
    }

    fn substitute(&mut self, values: &BTreeMap<String, String>) {
        for (file, document) in std::mem::take(&mut self.documents) {
            if let Err(error) = self.substitute_in(&file, &document, values) {
                self.failed(error);
            }
        }
    }

    fn substitute_in(
        &mut self,
        file: &Path,
        document: &Document,
        values: &BTreeMap<String, String>,
    ) -> Result<(), Error> {
        let substituted = document.substitute(values)?;
        if !substituted.replaced.is_empty() {
            files::replace(file, &substituted.bytes)?;
            log::info!("{}: {}", file.display(), replaced(&substituted.replaced));
            self.replaced.extend(substituted.replaced);
        }
        Ok(())
    }

    fn failed(&mut self, error: Error) {
        if self.trouble.is_some() {
            log::warn!("{error}");
        } else {
            self.trouble = Some(error);
        }
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
    fn remember(&self, settings: &Settings, values: &BTreeMap<String, String>) {
        let Some(binding) = &self.binding else { return };
        let bytes = Cache::new(&binding.instance, settings, values.clone()).to_bytes();
        if let Err(error) = files::create(&binding.file, &bytes, cache::MODE) {
            log::warn!("{error}: the next boot will need the service again");
        }
    }
}

fn replaced(placeholders: &BTreeSet<Placeholder>) -> String {
    if placeholders.is_empty() {
        return "no placeholder to replace".to_owned();
    }
    let names: Vec<_> = placeholders.iter().map(ToString::to_string).collect();
    format!("replaced {}", names.join(", "))
}
