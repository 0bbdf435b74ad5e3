//! What 0.1.0 did, brought back: the search must find what it breaks, and not without it.

use super::cluster::{Budget, MachineSpec};
use super::replay::Behaviour;
use super::rules::Rule;
use super::search::Search;
use super::{FIRST, NOTHING, SECOND, SLAVE, Scenario};

/// Searches with this behaviour for a break of this rule, and shows a shortest trace to it.
#[track_caller]
fn finds(behaviour: Behaviour, rule: Rule, machines: &[MachineSpec], budget: Budget) {
    let current = Scenario::new("a control", machines, budget);
    let report = Search::run(&current, Some(rule));
    assert!(report.broken.is_none(), "{:?}", report.broken);
    let old = Scenario { behaviour, ..current };
    let broken = Search::run(&old, Some(rule)).broken.expect("the search does not find it");
    println!("{behaviour:?}: {broken:?}");
}

#[test]
fn a_master_that_forgets_does_not_get_its_cluster_back() {
    let budget = Budget { outages: 1, master_cuts: 1, ..NOTHING };
    finds(Behaviour::MasterForgets, Rule::Joins, &[FIRST], budget);
}

#[test]
fn a_master_that_forgets_takes_the_cluster_back() {
    let budget = Budget { master_cuts: 1, ..NOTHING };
    finds(Behaviour::MasterForgets, Rule::StaysAway, &[FIRST, SECOND], budget);
}

#[test]
fn a_slave_that_looks_once_takes_contradiction_for_silence() {
    let budget = Budget { slave_cuts: 1, ..NOTHING };
    finds(Behaviour::SlaveLooksOnce, Rule::CacheAfterSilence, &[FIRST, SECOND, SLAVE], budget);
}

#[test]
fn a_cache_that_is_all_or_nothing_loses_what_came() {
    let master = MachineSpec { token: "", ..FIRST };
    finds(Behaviour::CacheIsAllOrNothing, Rule::CachePerValue, &[master, SLAVE], NOTHING);
}

#[test]
fn a_master_that_does_not_know_its_boot_is_ready_too_early() {
    let budget = Budget { master_cuts: 1, ..NOTHING };
    finds(Behaviour::BootIsUnknown, Rule::ReadyInThisBoot, &[FIRST], budget);
}

#[test]
fn a_master_that_does_not_know_its_boot_decides_twice() {
    let master = MachineSpec { second: Some("10.1.0.1"), ..FIRST };
    finds(Behaviour::BootIsUnknown, Rule::OneDecision, &[master], Budget { moves: 1, ..NOTHING });
}

/// The API has no conditional writes. What that leaves open: a master is replaced between its look and its write.
#[test]
fn a_look_and_its_write_are_two_requests() {
    let budget = Budget { master_cuts: 1, ..NOTHING };
    let scenario =
        Scenario { is_prompt: false, ..Scenario::new("no conditional writes", &[FIRST, SECOND], budget) };
    let broken =
        Search::run(&scenario, None).broken.expect("the API has conditional writes: say so in the docs");
    println!("{broken:?}");
}
