//! What can happen in a state.

use std::collections::BTreeSet;

use super::cluster::{Event, State, is_restarted};
use super::replay::{CacheBytes, OwnedRequest, RunPosition};
use super::search::Search;

impl Search<'_> {
    /// What can happen now.
    pub(super) fn events(&self, state: &State) -> Vec<Event> {
        let (mut events, budget) = (Vec::new(), &state.budget);
        let clocks = |budget: u8| if budget > 0 { &[false, true][..] } else { &[false] };
        for machine in 0..state.machines.len() {
            let Some((run, progress)) = self.run_of(state, machine) else {
                let launch = |wrong: &bool| Event::Launch { machine, clock_is_wrong: *wrong };
                events.extend(clocks(budget.wrong_clocks).iter().map(launch));
                continue;
            };
            let (spec, now) = (self.spec(machine), &state.machines[machine]);
            let later = |address: &usize| *address < spec.addresses.len().max(1);
            let addresses: Vec<usize> = [now.address, now.address + 1].into_iter().filter(later).collect();
            if now.clock_is_wrong {
                events.push(Event::SetClock(machine));
            }
            match &progress.at {
                // The clock is set before a run gives up on it.
                RunPosition::Asking(..) if now.clock_is_wrong && run.has_met_wrong_clock() => {}
                RunPosition::Asking(url, asked) => {
                    events.push(Event::Answer(machine));
                    if budget.losses > 0 && state.up[*url] && !now.clock_is_wrong {
                        events.push(Event::LoseRequest(machine));
                        if !matches!(asked, OwnedRequest::Get { .. } | OwnedRequest::Cluster) {
                            events.push(Event::LoseAnswer(machine));
                        }
                    }
                }
                RunPosition::Ended(end) => {
                    if budget.restarts > 0 && is_restarted(end.status) {
                        events.push(Event::Restart(machine));
                    }
                    if spec.is_master && budget.forces > 0 && end.status.is_some() {
                        events.push(Event::Force(machine));
                    }
                    if spec.is_master && budget.shutdowns > 0 {
                        events.extend(
                            addresses.iter().map(|address| Event::Shutdown { machine, address: *address }),
                        );
                    }
                }
            }
            if spec.second.is_some() && budget.moves > 0 && !now.on_second {
                events.push(Event::ChooseOther(machine));
            }
            let cuts = if spec.is_master { budget.master_cuts } else { budget.slave_cuts };
            if cuts > 0 {
                let disks: BTreeSet<&CacheBytes> = progress.disks.iter().collect();
                for disk in disks {
                    for address in &addresses {
                        for wrong in clocks(budget.wrong_clocks) {
                            let (disk, address) = (disk.clone(), *address);
                            events.push(Event::Cut { machine, disk, address, clock_is_wrong: *wrong });
                        }
                    }
                }
            }
        }
        for (url, up) in state.up.iter().enumerate() {
            match up {
                true if budget.outages > 0 => events.push(Event::UrlDown(url)),
                true => {}
                false => events.push(Event::UrlUp(url)),
            }
        }
        for (number, store) in state.stores.iter().enumerate() {
            if budget.losses_of_memory > 0 && store.keys.is_some() {
                events.push(Event::LoseMemory(number));
            }
            match store.backup {
                None if budget.restores > 0 => events.push(Event::Backup(number)),
                Some(_) if budget.restores > 0 => events.push(Event::Restore(number)),
                _ => {}
            }
        }
        events
    }
}
