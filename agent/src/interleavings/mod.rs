//! Masters, slaves and services that fail: every order in which the services may see their requests, with reboots, power
//! cuts, lost answers, outages and restores in between, up to a bound.
//!
//! Every machine runs the agent's own code (`replay.rs`); machines and services are in `cluster.rs`, what can happen to
//! them in `events.rs`, the search in `search.rs`, what must be true in `rules.rs` and `settle.rs`. `controls.rs` shows that the search finds what 0.1.0 did.
//!
//! `INTERLEAVINGS=deep` takes the bounds further; CONTRIBUTING.md has the command.

use std::collections::{BTreeMap, BTreeSet};

use cluster::{Budget, MachineSpec, MachineState, State, Store};
use replay::Behaviour;
use search::{Report, Search};

mod cluster;
mod controls;
mod events;
mod replay;
mod rules;
mod search;
mod settle;

const FIRST: MachineSpec = MachineSpec {
    name: "the first master",
    is_master: true,
    addresses: &["10.0.0.1", "10.0.0.11"],
    second: None,
    token: "t1",
};
const SECOND: MachineSpec = MachineSpec {
    name: "the second master",
    is_master: true,
    addresses: &["10.0.0.2"],
    second: None,
    token: "t2",
};
const SLAVE: MachineSpec =
    MachineSpec { name: "the slave", is_master: false, addresses: &[], second: None, token: "" };
const OTHER_SLAVE: MachineSpec = MachineSpec { name: "the other slave", ..SLAVE };

/// Machines and services, and how much may happen to them.
struct Scenario {
    name: &'static str,
    machines: Vec<MachineSpec>,
    /// Which store each URL of the contexts leads to.
    urls: Vec<usize>,
    /// Whether each store knows the pin at the beginning.
    stores: Vec<bool>,
    budget: Budget,
    /// Whether the masters' own programs publish at every boot, rather than at the first.
    publishes_at_every_boot: bool,
    /// Whether each state must lead to a joined cluster once the faults end.
    settles: bool,
    /// Whether no master takes the cluster over between another one's look and the write that follows it: the API has no
    /// conditional writes.
    is_prompt: bool,
    behaviour: Behaviour,
}

impl Scenario {
    fn new(name: &'static str, machines: &[MachineSpec], budget: Budget) -> Self {
        Self {
            name,
            machines: machines.to_vec(),
            urls: vec![0],
            stores: vec![true],
            budget,
            publishes_at_every_boot: false,
            settles: true,
            is_prompt: true,
            behaviour: Behaviour::Current,
        }
    }

    fn beginning(&self) -> State {
        let store = |known: &bool| Store { keys: known.then(BTreeMap::new), backup: None };
        State {
            machines: vec![MachineState::off(); self.machines.len()],
            runs: vec![None; self.machines.len()],
            stores: self.stores.iter().map(store).collect(),
            up: vec![true; self.urls.len()],
            budget: self.budget,
            was_ready: vec![BTreeSet::new(); self.machines.len()],
            retired: BTreeSet::new(),
            began_retired: BTreeSet::new(),
            has_lost: false,
            has_overtaken: false,
        }
    }

    /// Plays every order; no rule may break.
    #[track_caller]
    fn check(&self) {
        let began = std::time::Instant::now();
        let Report { states, runs, joined, gave_up, broken } = Search::run(self, None);
        println!(
            "{}: {states} states of {runs} runs, {joined} slaves with an address and {gave_up} without, {} s",
            self.name,
            began.elapsed().as_secs()
        );
        if let Some(broken) = broken {
            panic!("{broken:?}");
        }
        assert!(states > 100, "the search went nowhere");
    }
}

/// The ordinary bound, or a further one for which a test run has no time.
fn deep<T>(ordinary: T, deep: T) -> T {
    if std::env::var_os("INTERLEAVINGS").is_some_and(|value| value == "deep") { deep } else { ordinary }
}

const NOTHING: Budget = Budget {
    losses: 0,
    master_cuts: 0,
    shutdowns: 0,
    slave_cuts: 0,
    outages: 0,
    losses_of_memory: 0,
    restores: 0,
    moves: 0,
    wrong_clocks: 0,
    restarts: 0,
    forces: 0,
};

#[test]
fn two_masters_and_slaves() {
    let machines = [FIRST, SECOND, SLAVE, OTHER_SLAVE];
    Scenario::new("two masters", &machines[..deep(3, 4)], NOTHING).check();
}

#[test]
fn requests_and_answers_are_lost() {
    let budget = Budget { losses: deep(2, 1), ..NOTHING };
    Scenario::new("lost requests", deep(&[FIRST, SLAVE][..], &[FIRST, SECOND, SLAVE]), budget).check();
}

#[test]
fn a_master_loses_power_and_its_address_and_a_slave_loses_power() {
    let budget = Budget { master_cuts: deep(1, 2), slave_cuts: 1, ..NOTHING };
    Scenario::new("power cuts", &[FIRST, SLAVE], budget).check();
}

#[test]
fn a_retired_master_boots_again_and_publishes() {
    let budget = Budget { master_cuts: 1, ..NOTHING };
    let scenario =
        Scenario::new("a retired master", deep(&[FIRST, SECOND][..], &[FIRST, SECOND, SLAVE]), budget);
    Scenario { publishes_at_every_boot: true, ..scenario }.check();
}

#[test]
fn a_slave_boots_again_while_its_master_is_replaced() {
    let budget = Budget { slave_cuts: 1, ..NOTHING };
    Scenario::new("a cache against a replacement", &[FIRST, SECOND, SLAVE], budget).check();
}

#[test]
fn a_key_never_comes() {
    let master = MachineSpec { token: "", ..FIRST };
    let budget = Budget { slave_cuts: 1, outages: deep(0, 1), master_cuts: 1, ..NOTHING };
    Scenario::new("a key that never comes", &[master, SLAVE], budget).check();
}

#[test]
fn a_master_reboots_in_order() {
    let budget = Budget { shutdowns: 1, slave_cuts: 1, losses: deep(0, 1), ..NOTHING };
    Scenario::new("orderly reboots", &[FIRST, SLAVE], budget).check();
}

#[test]
fn the_service_is_out_of_reach_while_machines_boot_again() {
    let budget =
        Budget { outages: 1, master_cuts: 1, slave_cuts: deep(0, 1), restarts: deep(0, 1), ..NOTHING };
    Scenario::new("an outage", deep(&[FIRST][..], &[FIRST, SLAVE]), budget).check();
}

#[test]
fn one_of_two_urls_is_out_of_reach() {
    let budget = Budget { outages: 1, master_cuts: deep(0, 1), slave_cuts: 1, ..NOTHING };
    let scenario = Scenario::new("two URLs of one service", &[FIRST, SLAVE], budget);
    Scenario { urls: vec![0, 0], ..scenario }.check();
}

#[test]
fn one_of_two_services_does_not_know_the_pin() {
    let budget = Budget { outages: 1, master_cuts: deep(0, 1), slave_cuts: 1, ..NOTHING };
    let scenario = Scenario::new("two services", &[FIRST, SLAVE], budget);
    Scenario { urls: vec![1, 0], stores: vec![true, false], ..scenario }.check();
}

#[test]
fn a_service_loses_its_memory_or_is_restored_from_a_backup() {
    let budget =
        Budget { losses_of_memory: 1, restores: 1, master_cuts: deep(0, 1), slave_cuts: 1, ..NOTHING };
    Scenario::new("a restore", &[FIRST, SLAVE], budget).check();
}

#[test]
fn the_rule_changes_its_choice_of_the_interface() {
    let master = MachineSpec { second: Some("10.1.0.1"), ..FIRST };
    let budget = Budget { moves: 1, master_cuts: 1, slave_cuts: deep(0, 1), ..NOTHING };
    Scenario::new("two interfaces", &[master, SLAVE], budget).check();
}

#[test]
fn machines_boot_with_a_wrong_clock() {
    let budget = Budget { wrong_clocks: 1, master_cuts: 1, slave_cuts: 1, ..NOTHING };
    Scenario::new("wrong clocks", &[FIRST, SLAVE], budget).check();
}

#[test]
fn a_person_takes_the_cluster_back() {
    let budget = Budget { forces: 1, master_cuts: deep(0, 1), ..NOTHING };
    // The other master's keys are there until this one publishes again.
    let scenario = Scenario::new("force", &[FIRST, SECOND], budget);
    Scenario { publishes_at_every_boot: true, ..scenario }.check();
}
