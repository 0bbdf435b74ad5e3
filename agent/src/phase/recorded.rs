//! A run that leaves a record, and that knows what cloud-init ran once per instance with which values.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use context::settings::Settings;
use protocol::error::{Error, Status};
use protocol::key::MASTER_IP;

use super::substitution::Targets;
use super::{Guest, once};
use crate::files;
use crate::record::{self, ModuleRun, Placeholders, RunRecord, RunState};
use crate::root::Root;

/// A run in progress.
pub(super) struct RecordedRun<'g> {
    root: &'g Root,
    guest: &'g Guest,
    /// `None` where nothing tells this guest from a clone, or where another run of this boot leaves the record.
    path: Option<PathBuf>,
    record: RunRecord,
    previous: Option<RunRecord>,
    targets: Targets,
    /// The keys that this run is to bring; other placeholders are the user's.
    keys: BTreeSet<String>,
    before: Placeholders,
    consumers: Placeholders,
    repair: bool,
}

impl<'g> RecordedRun<'g> {
    pub(super) fn new(root: &'g Root, guest: &'g Guest, settings: &Settings, targets: &Targets) -> Self {
        let path = guest.binding.as_ref().filter(|_| guest.records).map(|binding| binding.record());
        let instance = guest.binding.as_ref().map_or("", |binding| binding.instance.as_str());
        let previous = path.as_ref().and_then(|path| RunRecord::read(path, instance));
        let boot = match (&path, &guest.instance) {
            (None, _) => String::new(),
            (Some(_), None) => record::kernels_boot_id(root),
            (Some(_), Some(_)) => record::make_boot_id(root),
        };
        let mut record = RunRecord::begin(instance, boot, settings.role);
        record.once = previous.as_ref().map(|previous| previous.once.clone()).unwrap_or_default();
        Self {
            root,
            guest,
            path,
            record,
            previous,
            targets: targets.to_read(),
            keys: [MASTER_IP].into_iter().filter(|key| settings.brings(key)).map(str::to_owned).collect(),
            before: Placeholders::new(),
            consumers: Placeholders::new(),
            repair: settings.repair,
        }
    }

    /// Begins the record. Until the run ends it says what cloud-init would find if the run never ended. A slave brings
    /// these keys, a master its address alone.
    pub(super) fn begin(&mut self, keys: &[String]) {
        if self.path.is_none() {
            return;
        }
        if !self.record.master {
            self.keys.extend(keys.iter().cloned());
        }
        self.before = self.left();
        self.consumers = self.consumers_now();
        self.will_run(None, &self.consumers.clone());
        self.write();
    }

    /// Ends the record. A success on an instance where something ran with literal placeholders is none, unless that runs
    /// again in this boot.
    pub(super) fn end(
        mut self,
        values: &BTreeMap<String, String>,
        outcome: Result<String, Error>,
    ) -> Result<String, Error> {
        if self.path.is_none() {
            return outcome;
        }
        let address = values.get(MASTER_IP).cloned();
        self.record.left = self.left();
        self.record.substituted = without(&self.before, &self.record.left);
        let literal = self.consumers_now();
        self.will_run(address.as_ref(), &literal);
        let outcome = outcome.and_then(|how| self.after_success(how, address.as_ref(), &literal));
        self.record.at = record::now();
        match &outcome {
            Ok(how) => {
                self.record.state = RunState::Contextualized;
                self.record.how.clone_from(how);
            }
            Err(error) => self.record.fail(error),
        }
        let same = self.previous.as_ref().filter(|previous| previous.master_ip == address);
        self.record.since = same.map_or(self.record.at, |previous| previous.since);
        self.record.master_ip = address;
        self.write();
        outcome
    }

    /// What ran with literal placeholders, or with another address, is repaired, or it is an error that says how to.
    fn after_success(
        &mut self,
        how: String,
        address: Option<&String>,
        literal: &Placeholders,
    ) -> Result<String, Error> {
        let wrong = self.guest.ran_with_wrong_values(&self.record, address);
        if wrong.is_empty() {
            return Ok(how);
        }
        let what = describe_wrong_runs(&wrong);
        if !self.repair {
            return Err(Error::new(Status::TooLate, format!("{how}; but {what}"), repair_step()));
        }
        let in_this_boot = wrong.iter().any(|(_, once)| once.boot == self.record.boot);
        let modules: Vec<String> = wrong.into_iter().map(|(module, _)| module.clone()).collect();
        for semaphore in modules.iter().flat_map(|module| self.guest.semaphores(module)) {
            files::remove(self.root, &semaphore)?;
        }
        if in_this_boot {
            return Err(Error::new(
                Status::TooLate,
                format!("{how}; but {what}"),
                "reboot: they run again then (cvm_cluster_repair)",
            ));
        }
        self.will_run(address, literal);
        log::warn!("{what}; they run again in this boot");
        Ok(format!("{how}; cloud-init runs {} again", modules.join(", ")))
    }

    /// Notes for each module that has not run yet what it will find.
    fn will_run(&mut self, address: Option<&String>, literal: &Placeholders) {
        for module in self.consumers.keys().filter(|module| self.guest.semaphores(module).is_empty()) {
            let once = ModuleRun {
                boot: self.record.boot.clone(),
                at: record::now(),
                literal: literal.get(module).cloned().unwrap_or_default(),
                master_ip: address.filter(|_| self.takes_address(module)).cloned(),
            };
            self.record.once.insert(module.clone(), once);
        }
    }

    fn takes_address(&self, module: &str) -> bool {
        self.consumers.get(module).is_some_and(|names| names.iter().any(|name| key_of(name) == MASTER_IP))
    }

    fn left(&self) -> Placeholders {
        self.awaited(self.targets.placeholders(self.root))
    }

    fn consumers_now(&self) -> Placeholders {
        self.awaited(self.guest.instance.as_ref().map(once::consumers).unwrap_or_default())
    }

    /// Those of the placeholders that this run is to replace.
    fn awaited(&self, all: Placeholders) -> Placeholders {
        let kept = all.into_iter().map(|(place, mut names)| {
            names.retain(|name| self.keys.contains(&key_of(name)));
            (place, names)
        });
        kept.filter(|(_, names)| !names.is_empty()).collect()
    }

    fn write(&self) {
        if let Some(path) = &self.path {
            self.record.write(self.root, path);
        }
    }
}

/// What ran with what: `runcmd, scripts_user of cloud-init ran with literal placeholders (Thu, 26 Nov 2026 …)`.
pub(crate) fn describe_wrong_runs(wrong: &[(&String, &ModuleRun)]) -> String {
    let with = |once: &ModuleRun| match (&once.master_ip, once.literal.is_empty()) {
        (Some(address), true) => format!("the address {address}"),
        _ => "literal placeholders".to_owned(),
    };
    let mut kinds: Vec<(String, Vec<&str>, u64)> = Vec::new();
    for (module, once) in wrong {
        match kinds.iter_mut().find(|(kind, ..)| *kind == with(once)) {
            Some((_, modules, _)) => modules.push(module),
            None => kinds.push((with(once), vec![module], once.at)),
        }
    }
    let sentence = |(with, modules, at): (String, Vec<&str>, u64)| {
        format!("{} of cloud-init ran with {with} ({})", modules.join(", "), record::time(at))
    };
    kinds.into_iter().map(sentence).collect::<Vec<_>>().join(", and ")
}

/// What to do about modules that ran with wrong values. A reboot alone does not run them again.
pub(crate) fn repair_step() -> &'static str {
    "a reboot does not run them again: `cloud-init clean --reboot` repeats the whole first boot; \
     cvm_cluster_repair=yes in the section repeats only these, at the next boot"
}

/// The key that a placeholder stands for, as it is written in a context.
pub(crate) fn key_of(placeholder: &str) -> String {
    let found = context::placeholder::find(placeholder.as_bytes()).next();
    found.map(|found| found.placeholder.key()).unwrap_or_default()
}

/// What is in the one and not in the other.
fn without(all: &Placeholders, left: &Placeholders) -> Placeholders {
    let gone = all.iter().map(|(file, names)| {
        let none = BTreeSet::new();
        let names: BTreeSet<String> = names.difference(left.get(file).unwrap_or(&none)).cloned().collect();
        (file.clone(), names)
    });
    gone.filter(|(_, names)| !names.is_empty()).collect()
}

impl Guest {
    /// The modules that ran with a literal placeholder, or with another address than this, and will not run again by
    /// themselves.
    pub(crate) fn ran_with_wrong_values<'r>(
        &self,
        record: &'r RunRecord,
        address: Option<&String>,
    ) -> Vec<(&'r String, &'r ModuleRun)> {
        let is_wrong = |once: &ModuleRun| {
            !once.literal.is_empty()
                || (address.is_some() && once.master_ip.is_some() && once.master_ip.as_ref() != address)
        };
        let wrong = record.once.iter().filter(|(_, once)| is_wrong(once));
        wrong.filter(|(module, _)| !self.semaphores(module).is_empty()).collect()
    }

    /// What keeps a module of cloud-init from running again.
    pub(crate) fn semaphores(&self, module: &str) -> Vec<PathBuf> {
        self.instance.as_ref().map(|instance| once::semaphores(instance, module)).unwrap_or_default()
    }

    /// The record of the last run on this instance.
    pub(crate) fn record(&self) -> Option<RunRecord> {
        let binding = self.binding.as_ref()?;
        RunRecord::read(&binding.record(), &binding.instance)
    }

    /// Where the record lies, or would lie.
    pub(crate) fn record_directory(&self) -> Option<&Path> {
        self.binding.as_ref()?.file.parent()
    }
}
