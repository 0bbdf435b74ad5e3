//! The search: every order of events from a scenario's beginning, breadth first, so that the first trace to a broken rule
//! is a shortest one. Two orders that lead to the same state are followed once.

use std::collections::hash_map::DefaultHasher;
use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{Hash, Hasher};
use std::rc::Rc;

use context::settings::Role;
use protocol::error::Status;
use protocol::key::{MASTER_IP, MASTER_READY};

use super::Scenario;
use super::cluster::{Event, EventText, MachineSpec, MachineState, State, Store};
use super::replay::{self, CacheBytes, OwnedRequest, Program, Progress, Reply, Run, RunPosition};
use super::rules::{Rule, Violation};

/// What a search has come to.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) states: usize,
    pub(super) runs: usize,
    /// How many runs of slaves ended with an address, and without one.
    pub(super) joined: usize,
    pub(super) gave_up: usize,
    pub(super) broken: Option<Violation>,
}

pub(super) struct Search<'a> {
    pub(super) scenario: &'a Scenario,
    /// The runs, and what each has come to.
    pub(super) runs: Vec<(Run, Rc<Progress>)>,
    numbers: HashMap<Run, u32>,
    /// Fingerprints: a state is some kilobytes.
    seen: HashSet<u64>,
    pub(super) settled: HashSet<u64>,
    joined: usize,
    gave_up: usize,
}

/// 64 bits: with a million states, the chance that two have the same is below 1 in 10 million.
pub(super) fn fingerprint(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

impl<'a> Search<'a> {
    /// Plays every order, up to the first broken rule; where `wanted` is given, up to the first break of that one.
    pub(super) fn run(scenario: &'a Scenario, wanted: Option<Rule>) -> Report {
        let mut search = Self {
            scenario,
            runs: Vec::new(),
            numbers: HashMap::new(),
            seen: HashSet::new(),
            settled: HashSet::new(),
            joined: 0,
            gave_up: 0,
        };
        let broken = search.explore(wanted);
        Report {
            states: search.seen.len(),
            runs: search.runs.len(),
            joined: search.joined,
            gave_up: search.gave_up,
            broken,
        }
    }

    fn explore(&mut self, wanted: Option<Rule>) -> Option<Violation> {
        let counts = |broken: &Violation| wanted.is_none_or(|rule| broken.rule == rule);
        let first = self.scenario.beginning();
        self.seen.insert(fingerprint(&first));
        let mut parents: Vec<(usize, Event)> = vec![(0, Event::UrlUp(0))];
        let mut queue = VecDeque::from([(0, first)]);
        while let Some((number, state)) = queue.pop_front() {
            if self.scenario.settles
                && let Err(mut broken) = self.settle(&state)
                && counts(&broken)
            {
                broken.trace = self.trace(&parents, number);
                return Some(broken);
            }
            for event in self.events(&state) {
                let (next, result) = self.after(&state, &event);
                if next.has_overtaken {
                    continue;
                }
                if let Err(mut broken) = result
                    && counts(&broken)
                {
                    parents.push((number, event));
                    broken.trace = self.trace(&parents, parents.len() - 1);
                    return Some(broken);
                }
                if self.seen.insert(fingerprint(&next)) {
                    parents.push((number, event));
                    queue.push_back((parents.len() - 1, next));
                }
            }
        }
        None
    }

    /// What happened up to a state, in words.
    fn trace(&mut self, parents: &[(usize, Event)], mut number: usize) -> Vec<String> {
        let mut events = Vec::new();
        while number != 0 {
            let (parent, event) = &parents[number];
            events.push(event.clone());
            number = *parent;
        }
        let mut state = self.scenario.beginning();
        let mut lines = Vec::new();
        for event in events.iter().rev() {
            lines.push(self.describe(&state, event));
            state = self.after(&state, event).0;
        }
        lines
    }

    fn describe(&self, state: &State, event: &Event) -> String {
        let machine = match event {
            Event::Answer(machine)
            | Event::LoseRequest(machine)
            | Event::LoseAnswer(machine)
            | Event::Cut { machine, .. }
            | Event::Restart(machine) => Some(*machine),
            _ => None,
        };
        let run = machine.and_then(|machine| state.runs[machine]).map(|run| &self.runs[run as usize]);
        let at = run.map(|(_, progress)| &progress.at);
        let program = run.map(|(run, _)| run.program);
        EventText { event, specs: &self.scenario.machines, before: state, at, program }.to_string()
    }

    pub(super) fn number(&mut self, run: Run) -> u32 {
        if let Some(number) = self.numbers.get(&run) {
            return *number;
        }
        let progress = Rc::new(run.progress(self.scenario.urls.len(), self.scenario.behaviour));
        let number = u32::try_from(self.runs.len()).unwrap();
        self.numbers.insert(run.clone(), number);
        self.runs.push((run, progress));
        number
    }

    pub(super) fn run_of(&self, state: &State, machine: usize) -> Option<(&Run, &Progress)> {
        let (run, progress) = &self.runs[state.runs[machine]? as usize];
        Some((run, progress))
    }

    pub(super) fn spec(&self, machine: usize) -> &MachineSpec {
        &self.scenario.machines[machine]
    }

    /// The state after an event, and whether a rule was broken on the way.
    fn after(&mut self, state: &State, event: &Event) -> (State, Result<(), Violation>) {
        let mut next = state.clone();
        let budget = &mut next.budget;
        let mut result = Ok(());
        let touched = match event {
            Event::Launch { machine, clock_is_wrong } => {
                budget.wrong_clocks -= u8::from(*clock_is_wrong);
                self.boot(&mut next, *machine, None, 0, *clock_is_wrong);
                Some(*machine)
            }
            Event::Answer(machine) => {
                result = self.answer(&mut next, *machine);
                Some(*machine)
            }
            Event::LoseRequest(machine) => {
                budget.losses -= 1;
                self.reply(&mut next, *machine, Reply::Broken);
                Some(*machine)
            }
            Event::LoseAnswer(machine) => {
                budget.losses -= 1;
                result = self.serve(&mut next, *machine).map(drop).map_err(Violation::from);
                self.reply(&mut next, *machine, Reply::Broken);
                Some(*machine)
            }
            Event::Cut { machine, disk, address, clock_is_wrong } => {
                budget.wrong_clocks -= u8::from(*clock_is_wrong);
                let cuts = if self.scenario.machines[*machine].is_master {
                    &mut budget.master_cuts
                } else {
                    &mut budget.slave_cuts
                };
                *cuts -= 1;
                self.boot(&mut next, *machine, disk.clone(), *address, *clock_is_wrong);
                Some(*machine)
            }
            Event::Shutdown { machine, address } => {
                budget.shutdowns -= 1;
                next.machines[*machine].next_address = *address;
                let disk = self.disk(state, *machine);
                self.start(&mut next, *machine, Program::Withdraw, disk);
                Some(*machine)
            }
            Event::Restart(machine) => {
                budget.restarts -= 1;
                self.again(&mut next, *machine);
                Some(*machine)
            }
            Event::Force(machine) => {
                budget.forces -= 1;
                next.retired.remove(machine);
                let disk = self.disk(state, *machine);
                self.start(&mut next, *machine, Program::Ready { force: true }, disk);
                Some(*machine)
            }
            Event::ChooseOther(machine) => {
                budget.moves -= 1;
                next.machines[*machine].on_second = true;
                None
            }
            Event::SetClock(machine) => {
                next.machines[*machine].clock_is_wrong = false;
                Some(*machine)
            }
            Event::UrlDown(url) => {
                budget.outages -= 1;
                next.up[*url] = false;
                None
            }
            Event::UrlUp(url) => {
                next.up[*url] = true;
                None
            }
            Event::LoseMemory(store) => {
                budget.losses_of_memory -= 1;
                next.stores[*store].keys = None;
                next.has_lost = true;
                None
            }
            Event::Backup(store) => {
                let store = &mut next.stores[*store];
                store.backup = store.keys.clone();
                None
            }
            Event::Restore(store) => {
                budget.restores -= 1;
                let store = &mut next.stores[*store];
                store.keys = store.backup.take();
                next.has_lost = true;
                None
            }
        };
        if let Some(machine) = touched {
            result = result.and(self.advance(&mut next, machine));
        }
        self.note_ready(&mut next);
        let result = result.and_then(|()| self.check_state(&next));
        (next, result)
    }

    /// A machine boots, with what a power cut has left.
    fn boot(
        &mut self,
        state: &mut State,
        machine: usize,
        disk: CacheBytes,
        address: usize,
        clock_is_wrong: bool,
    ) {
        let MachineState { boots, has_published, .. } = state.machines[machine];
        state.machines[machine] = MachineState {
            boots: boots + 1,
            address,
            next_address: address,
            clock_is_wrong,
            has_published,
            ..MachineState::off()
        };
        let program = if self.spec(machine).is_master { Program::Push } else { Program::Obtain };
        self.start(state, machine, program, disk);
    }

    fn start(&mut self, state: &mut State, machine: usize, program: Program, disk: CacheBytes) {
        let (spec, now) = (*self.spec(machine), &state.machines[machine]);
        let address = spec.addresses.get(now.address).copied().unwrap_or_default();
        let mut held: Vec<_> = [address].into_iter().chain(spec.second).collect();
        held.sort_unstable();
        let chosen = spec.second.filter(|_| now.on_second).unwrap_or(address);
        let boot = now.boots;
        let run = Run { program, boot, chosen, held, token: spec.token, disk, replies: Vec::new() };
        state.runs[machine] = Some(self.number(run));
        state.was_ready[machine].clear();
        if state.retired.contains(&machine) {
            state.began_retired.insert(machine);
        } else {
            state.began_retired.remove(&machine);
        }
    }

    /// The same program once more.
    pub(super) fn again(&mut self, state: &mut State, machine: usize) {
        let program = self.run_of(state, machine).unwrap().0.program;
        let disk = self.disk(state, machine);
        self.start(state, machine, program, disk);
    }

    pub(super) fn disk(&self, state: &State, machine: usize) -> CacheBytes {
        self.run_of(state, machine)
            .and_then(|(_, progress)| progress.disks.last().cloned())
            .unwrap_or_default()
    }

    /// Answers what a machine asks, by what state the service is in.
    pub(super) fn answer(&mut self, state: &mut State, machine: usize) -> Result<(), Violation> {
        let RunPosition::Asking(url, _) = self.run_of(state, machine).unwrap().1.at else { return Ok(()) };
        if state.machines[machine].clock_is_wrong {
            self.reply(state, machine, Reply::ClockWrong);
        } else if state.up[url] {
            let (reply, result) = match self.serve(state, machine) {
                Ok(reply) => (reply, Ok(())),
                Err((reply, broken)) => (reply, Err(broken)),
            };
            self.reply(state, machine, reply);
            return result;
        } else {
            self.reply(state, machine, Reply::Refused);
        }
        Ok(())
    }

    fn reply(&mut self, state: &mut State, machine: usize, reply: Reply) {
        let mut run = self.run_of(state, machine).unwrap().0.clone();
        run.replies.push(reply);
        state.runs[machine] = Some(self.number(run));
    }

    /// Has the service do what a machine asks.
    fn serve(&mut self, state: &mut State, machine: usize) -> Result<Reply, (Reply, Violation)> {
        let (run, progress) = self.run_of(state, machine).unwrap();
        let RunPosition::Asking(url, asked) = progress.at.clone() else { unreachable!("it asks something") };
        let force = run.program == Program::Ready { force: true };
        let store = &mut state.stores[self.scenario.urls[url]];
        let before = store.get(MASTER_IP).map(str::to_owned);
        let reply = store.serve(&asked);
        let is_done = reply == Reply::done();
        match &asked {
            OwnedRequest::Create { key, value } | OwnedRequest::Replace { key, value } if is_done => {
                let result = self.check_write(state, machine, key, value, before.as_deref(), force);
                if key == MASTER_READY {
                    state.machines[machine].has_written_ready = true;
                }
                if key == MASTER_IP {
                    self.note_replacement(state, machine);
                    state.has_overtaken |= self.scenario.is_prompt && self.is_about_to_write(state, machine);
                }
                result.map_err(|broken| (reply.clone(), broken))?;
            }
            _ => {}
        }
        Ok(reply)
    }

    /// A master's address is under the pin: others that the service had confirmed are retired.
    fn note_replacement(&self, state: &mut State, machine: usize) {
        let settings = replay::settings(Role::Master, self.scenario.urls.len());
        for other in 0..state.machines.len() {
            if other == machine || !self.spec(other).is_master || state.machines[other].boots == 0 {
                continue;
            }
            let cache = replay::cache(&self.disk(state, other), &settings);
            if crate::master::RecordStore::record(&cache).was_confirmed() {
                state.retired.insert(other);
            }
        }
        state.retired.remove(&machine);
    }

    /// Whether another master than this one has looked, and its write is under way.
    fn is_about_to_write(&self, state: &State, machine: usize) -> bool {
        let writes = |other: usize| {
            let at = self.run_of(state, other).map(|(_, progress)| &progress.at);
            matches!(
                at,
                Some(RunPosition::Asking(_, OwnedRequest::Replace { .. } | OwnedRequest::Delete { .. }))
            )
        };
        (0..state.machines.len()).any(|other| other != machine && writes(other))
    }

    /// Answers at once what no order matters for, and begins the next program of a boot where one has ended.
    pub(super) fn advance(&mut self, state: &mut State, machine: usize) -> Result<(), Violation> {
        loop {
            let (run, progress) = self.run_of(state, machine).unwrap();
            let (program, at) = (run.program, progress.at.clone());
            match at {
                RunPosition::Asking(url, OwnedRequest::Cluster) => {
                    // The pin comes and goes only with the service's memory.
                    if !state.up[url] || state.machines[machine].clock_is_wrong {
                        return Ok(());
                    }
                    self.answer(state, machine)?;
                }
                RunPosition::Asking(..) => return Ok(()),
                RunPosition::Ended(end) => {
                    self.check_end(state, machine, &end)?;
                    let disk = self.disk(state, machine);
                    match program {
                        Program::Push => {
                            let now = &mut state.machines[machine];
                            now.files = end.values.get(MASTER_IP).cloned();
                            now.has_pushed = end.status.is_none();
                            let due = self.scenario.publishes_at_every_boot || !now.has_published;
                            let publishes = due && !self.spec(machine).token.is_empty();
                            let next =
                                if publishes { Program::Publish } else { Program::Ready { force: false } };
                            self.start(state, machine, next, disk);
                        }
                        // A master without its keys is not ready.
                        Program::Publish if matches!(end.status, None | Some(Status::Nonsense)) => {
                            state.machines[machine].has_published |= end.status.is_none();
                            self.start(state, machine, Program::Ready { force: false }, disk);
                        }
                        // A person who takes the cluster back publishes the keys again.
                        Program::Ready { force: true }
                            if end.status.is_none() && !self.spec(machine).token.is_empty() =>
                        {
                            self.start(state, machine, Program::Publish, disk);
                        }
                        Program::Withdraw => {
                            let address = state.machines[machine].next_address;
                            self.boot(state, machine, disk, address, false);
                        }
                        Program::Obtain => {
                            if end.values.contains_key(MASTER_IP) {
                                self.joined += 1;
                            } else {
                                self.gave_up += 1;
                            }
                            return Ok(());
                        }
                        _ => return Ok(()),
                    }
                }
            }
        }
    }

    pub(super) fn note_ready(&self, state: &mut State) {
        let ready: Vec<String> = state.stores.iter().filter_map(Store::ready).map(str::to_owned).collect();
        for machine in 0..state.machines.len() {
            let is_asking = |(_, progress): (&Run, &Progress)| matches!(progress.at, RunPosition::Asking(..));
            if !self.spec(machine).is_master && self.run_of(state, machine).is_some_and(is_asking) {
                state.was_ready[machine].extend(ready.iter().cloned());
            }
        }
    }
}
