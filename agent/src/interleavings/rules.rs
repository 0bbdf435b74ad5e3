//! What must be true in every state. docs/behaviour.md says it in a user's words.

use std::fmt;

use context::settings::Role;
use protocol::key::{MASTER_IP, MASTER_READY};

use super::cluster::State;
use super::replay::{self, Program, RunPosition, RunResult, TIMEOUT, TOKEN};
use super::search::Search;

/// What can be broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rule {
    /// A slave substitutes an address only if it was ready while the slave asked, or has kept it.
    WasReady,
    /// It uses what it has kept only when the service was silent, or went on contradicting until the timeout; and it says so.
    CacheAfterSilence,
    /// All values are of one master.
    OneMaster,
    /// A kept value is neither lost nor left out because another one is missing.
    CachePerValue,
    /// A master that was replaced before its run began leaves the cluster to the other one, unless forced.
    StaysAway,
    /// The address in a master's own files is the one that it puts under the pin in that boot.
    OneDecision,
    /// A master that has pushed in this boot is not ready by the word of an earlier one.
    ReadyInThisBoot,
    /// Once the faults end, a new slave gets the values of a master that is ready.
    Joins,
}

/// A broken rule, and how it came to that.
pub(super) struct Violation {
    pub(super) rule: Rule,
    pub(super) what: String,
    pub(super) trace: Vec<String>,
}

impl Violation {
    pub(super) fn new(rule: Rule, what: impl Into<String>) -> Self {
        Self { rule, what: what.into(), trace: Vec::new() }
    }
}

impl fmt::Debug for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:?}: {}, after {} events:", self.rule, self.what, self.trace.len())?;
        self.trace.iter().try_for_each(|line| writeln!(f, "    {line}"))
    }
}

/// For `serve`, which has an answer to give as well.
impl From<(replay::Reply, Violation)> for Violation {
    fn from((_, broken): (replay::Reply, Violation)) -> Self {
        broken
    }
}

impl Search<'_> {
    /// Rules about a write that was done.
    pub(super) fn check_write(
        &self,
        state: &State,
        machine: usize,
        key: &str,
        value: &str,
        before: Option<&str>,
        force: bool,
    ) -> Result<(), Violation> {
        let (spec, now) = (self.spec(machine), &state.machines[machine]);
        if key == MASTER_IP
            && !force
            && state.began_retired.contains(&machine)
            && let Some(before) = before.filter(|before| !spec.has(before))
        {
            let what = format!("{}, which was replaced, puts {value} in the place of {before}", spec.name);
            return Err(Violation::new(Rule::StaysAway, what));
        }
        if [MASTER_IP, MASTER_READY].contains(&key)
            && spec.has(value)
            && let Some(files) = now.files.as_deref().filter(|files| *files != value)
        {
            let what = format!("{}'s own files have {files}, and {key} is {value}", spec.name);
            return Err(Violation::new(Rule::OneDecision, what));
        }
        Ok(())
    }

    /// Rules about what is under the pin.
    pub(super) fn check_state(&self, state: &State) -> Result<(), Violation> {
        for (machine, now) in state.machines.iter().enumerate() {
            let spec = self.spec(machine);
            if !now.has_pushed || now.has_written_ready || state.has_lost {
                continue;
            }
            let ready = state.stores.iter().filter_map(|store| store.ready()).find(|ready| spec.has(ready));
            if let Some(ready) = ready {
                let what = format!("master_ready says {ready}, and {} has not booted yet", spec.name);
                return Err(Violation::new(Rule::ReadyInThisBoot, what));
            }
        }
        Ok(())
    }

    /// Rules about a run that has ended.
    pub(super) fn check_end(&self, state: &State, machine: usize, end: &RunResult) -> Result<(), Violation> {
        let (run, _) = self.run_of(state, machine).unwrap();
        let Some(address) = end.values.get(MASTER_IP).filter(|_| run.program == Program::Obtain) else {
            return Ok(());
        };
        let name = self.spec(machine).name;
        let settings = replay::settings(Role::Slave, self.scenario.urls.len());
        let cache = replay::cache(&run.disk, &settings);
        let kept = cache.values();
        let is_kept = kept.get(MASTER_IP) == Some(address);
        if !state.was_ready[machine].contains(address) {
            if !is_kept {
                let what = format!("{name} substitutes {address}, which was not ready");
                return Err(Violation::new(Rule::WasReady, what));
            }
            let has_waited = end.seconds + 1 >= TIMEOUT;
            let says_so = end.how.contains("earlier boot");
            if !(run.met_silence() || has_waited) || !says_so {
                let what = format!(
                    "{name} substitutes {address} from its cache after {} s against the service's word ({})",
                    end.seconds, end.how
                );
                return Err(Violation::new(Rule::CacheAfterSilence, what));
            }
        }
        let owner = self.scenario.machines.iter().find(|spec| spec.has(address));
        if let (Some(owner), Some(token)) = (owner, end.values.get(TOKEN))
            && owner.token != token
        {
            let what = format!("{name} substitutes {address} of {} with the token {token}", owner.name);
            return Err(Violation::new(Rule::OneMaster, what));
        }
        let after = replay::cache(&self.disk(state, machine), &settings);
        for key in kept.keys().filter(|_| is_kept) {
            if !end.values.contains_key(key) || !after.values().contains_key(key) {
                let what = format!("{name} had kept {key}, and has it no longer");
                return Err(Violation::new(Rule::CachePerValue, what));
            }
        }
        let lost = |key: &&String| !after.values().contains_key(*key);
        if let Some(key) = end.values.keys().find(lost) {
            let what = format!("{name} got {key}, and does not keep it for its next boot");
            return Err(Violation::new(Rule::CachePerValue, what));
        }
        Ok(())
    }

    /// What must hold when nothing happens any more.
    pub(super) fn check_joined(&mut self, state: &State) -> Result<(), Violation> {
        let is_launched = |machine: usize| self.spec(machine).is_master && state.machines[machine].boots > 0;
        let masters: Vec<usize> = (0..state.machines.len()).filter(|machine| is_launched(*machine)).collect();
        if masters.is_empty() || state.has_lost {
            return Ok(());
        }
        let end = self.probe(state);
        let (address, token) = match &end {
            Some(end) => (end.values.get(MASTER_IP), end.values.get(TOKEN)),
            None => (None, None),
        };
        let mut ends = Vec::new();
        for machine in masters {
            let (spec, now) = (self.spec(machine), &state.machines[machine]);
            let (run, progress) = self.run_of(state, machine).unwrap();
            let RunPosition::Ended(end) = &progress.at else { unreachable!("all is quiet") };
            let own = now.files.as_deref().unwrap_or(spec.addresses[now.address]);
            let is_ready = matches!(run.program, Program::Ready { .. }) && end.status.is_none();
            if is_ready
                && address.map(String::as_str) == Some(own)
                && token.map_or("", String::as_str) == spec.token
            {
                return Ok(());
            }
            ends.push(format!("{} at {own}: {:?} {:?}", spec.name, run.program, end.status));
        }
        let what = format!("a new slave gets {address:?} with {token:?} ({})", ends.join("; "));
        Err(Violation::new(Rule::Joins, what))
    }
}
