//! Liveness: where a state leads once all faults have ended.

use super::cluster::{State, is_restarted};
use super::replay::{Program, Run, RunPosition, RunResult};
use super::rules::{Rule, Violation};
use super::search::{Search, fingerprint};

/// Most events between the end of all faults and a joined cluster.
const MOST_SETTLING_STEPS: usize = 400;
/// How often a unit runs a program again once the faults have ended; the real ones do it at least five times.
const RESTARTS: usize = 5;

impl Search<'_> {
    /// Once all faults have ended, the runs go on in turn, the units run again what failed, and then a new slave must get
    /// the address of a master that is ready.
    pub(super) fn settle(&mut self, state: &State) -> Result<(), Violation> {
        let mut state = state.clone();
        state.up.fill(true);
        for machine in &mut state.machines {
            machine.clock_is_wrong = false;
        }
        let machines = state.machines.len();
        let mut restarts = vec![RESTARTS; machines];
        let mut passed = Vec::new();
        for _ in 0..MOST_SETTLING_STEPS {
            let key = (&state.machines, &state.runs, &state.stores, &restarts);
            let key = fingerprint(&key);
            if self.settled.contains(&key) {
                self.settled.extend(passed);
                return Ok(());
            }
            passed.push(key);
            let mut is_quiet = true;
            // A slave's wait is held until the masters have done what they do.
            for masters in [true, false] {
                if !masters && !is_quiet {
                    break;
                }
                let those: Vec<_> =
                    (0..machines).filter(|machine| self.spec(*machine).is_master == masters).collect();
                for machine in those {
                    let Some((_, progress)) = self.run_of(&state, machine) else { continue };
                    match &progress.at {
                        RunPosition::Asking(..) => self.answer(&mut state, machine)?,
                        RunPosition::Ended(end)
                            if masters && is_restarted(end.status) && restarts[machine] > 0 =>
                        {
                            restarts[machine] -= 1;
                            self.again(&mut state, machine);
                        }
                        RunPosition::Ended(_) => continue,
                    }
                    is_quiet = false;
                    self.advance(&mut state, machine)?;
                    self.note_ready(&mut state);
                    self.check_state(&state)?;
                }
            }
            if is_quiet {
                self.check_joined(&state)?;
                self.settled.extend(passed);
                return Ok(());
            }
        }
        Err(Violation::new(Rule::Joins, "the machines go on asking without end"))
    }

    /// What a new slave gets when nothing else happens.
    pub(super) fn probe(&mut self, state: &State) -> Option<RunResult> {
        let mut stores = state.stores.clone();
        let mut run = Run {
            program: Program::Obtain,
            boot: 1,
            chosen: "",
            held: vec![""],
            token: "",
            disk: None,
            replies: Vec::new(),
        };
        for _ in 0..MOST_SETTLING_STEPS {
            let number = self.number(run.clone());
            match &self.runs[number as usize].1.at {
                RunPosition::Ended(end) => return Some(end.clone()),
                RunPosition::Asking(url, asked) => {
                    run.replies.push(stores[self.scenario.urls[*url]].serve(asked));
                }
            }
        }
        None
    }
}
