use super::*;
use crate::scenario::{Outage, Setup};

/// So many slaves of one cluster, whose master is ready after ten minutes, and a service with room for all.
fn waiting(slaves: usize) -> Scenario {
    Scenario {
        name: "test",
        vms: slaves + 1,
        cluster: slaves + 1,
        spread: 50 * SECOND,
        boot: (600 * SECOND, 600 * SECOND),
        old: 0,
        trouble: None,
        setup: Setup { connections: 2 * slaves, ..Setup::default() },
    }
}

fn run(scenario: &Scenario) -> RunResult {
    Simulation::run(scenario, &Inputs::default(), 1)
}

#[track_caller]
fn all_got_through(scenario: &Scenario, ended: &RunResult) {
    let tally = &ended.tally;
    assert_eq!((tally.slaves_gave_up, tally.masters_gave_up), (0, 0));
    let masters = scenario.vms.div_ceil(scenario.cluster);
    assert_eq!(tally.arrived(), scenario.vms - masters);
    assert_eq!(ended.service.connections(), 0, "a connection was never closed");
}

#[track_caller]
fn is_near(value: f64, expected: f64, share: f64) {
    assert!((value - expected).abs() <= expected * share, "{value} is not near {expected}");
}

#[test]
fn waiters_come_back_every_50_seconds_over_the_same_connection() {
    let scenario = waiting(5000);
    let mut ended = run(&scenario);
    all_got_through(&scenario, &ended);
    is_near(f64::from(ended.tally.offered(100..500)), 400.0 * 5000.0 / 50.0, 0.01);
    assert_eq!(ended.tally.connections, 5001);
    assert_eq!((ended.tally.busy, ended.tally.broken, ended.tally.late), (0, 0, 0));
    // The last of 5000 is woken after 5000 times 12 µs, then reads master_ip for 10 µs each.
    let [longest] = ended.tally.delays([1.0]);
    let work = 5000 * (12 + 10);
    assert!(longest > work && longest < work + 20 * ROUND_TRIP, "{longest} µs");
}

#[test]
fn a_run_can_be_repeated() {
    let counts = |seed| {
        let mut ended = Simulation::run(&waiting(200), &Inputs::default(), seed);
        (ended.events, ended.tally.delays([0.1, 0.5, 0.9]))
    };
    assert_eq!(counts(3), counts(3));
    assert_ne!(counts(3), counts(4));
}

#[test]
fn after_a_restart_all_are_back_within_two_seconds() {
    let mut scenario = waiting(3000);
    scenario.trouble = Some(Outage { at: 300 * SECOND, lasts: SECOND, kind: Kind::Restart });
    let ended = run(&scenario);
    all_got_through(&scenario, &ended);
    assert_eq!(ended.tally.busy, 3000);
    // Each pauses for 1 to 2 s, besides those few whose wait had just ended.
    let back = f64::from(ended.tally.offered(301..303));
    is_near(back, 3000.0, 0.03);
}

#[test]
fn an_outage_is_asked_every_22_seconds_and_its_herd_is_no_larger() {
    let mut scenario = waiting(3000);
    scenario.trouble = Some(Outage { at: 200 * SECOND, lasts: 300 * SECOND, kind: Kind::Crash });
    let ended = run(&scenario);
    all_got_through(&scenario, &ended);
    // Pauses of 15 to 30 s, so each VM comes every 22.5 s; once they have drifted apart, never much more often.
    is_near(f64::from(ended.tally.offered(300..500)), 200.0 * 3000.0 / 22.5, 0.02);
    let most = (400..540).map(|second| ended.tally.offered(second..second + 1)).max().unwrap();
    assert!(f64::from(most) < 1.5 * 3000.0 / 22.5, "{most}");
}

#[test]
fn a_machine_that_is_gone_costs_a_time_limit_each_time() {
    let mut scenario = waiting(1000);
    scenario.trouble = Some(Outage { at: 200 * SECOND, lasts: 200 * SECOND, kind: Kind::Silence });
    let ended = run(&scenario);
    all_got_through(&scenario, &ended);
    assert_eq!((ended.tally.busy, ended.tally.broken), (0, 0));
    // A wait is given up after 60 s at most, of which 35 are left on average. Then each try is 10 s for a connection
    // and a pause of 1.5, 3, 6, 12 and then 22.5 s on average: seven of them in 165 s.
    is_near(ended.tally.late as f64 / 1000.0, 1.0 + 7.0, 0.05);
}

#[test]
fn handshakes_that_come_at_once_take_their_time() {
    let mut scenario = waiting(5000);
    scenario.spread = 0;
    scenario.setup.tls = true;
    let ended = run(&scenario);
    all_got_through(&scenario, &ended);
    let inputs = Inputs::default();
    let each = inputs.accept.value + inputs.handshake.value;
    let longest = ended.service.cpu.longest_queue() as f64;
    // One backlog of them; those that fall out of it come a second later.
    is_near(longest, inputs::BACKLOG as f64 * each, 0.2);
    assert!(ended.tally.dropped >= 5000 - inputs::BACKLOG as u64);
}

#[test]
fn slaves_without_a_place_are_told_and_come_back_later() {
    let mut scenario = waiting(500);
    scenario.setup.connections = 400;
    // Since those who wait leave some room free, the master finds a place all the same.
    let ended = run(&scenario);
    all_got_through(&scenario, &ended);
    assert!(ended.tally.busy > 0);
}

#[test]
fn old_agents_ask_every_half_minute_and_notice_late() {
    let scenario = Scenario { old: 100, spread: 60 * SECOND, ..waiting(3000) };
    let mut ended = run(&scenario);
    all_got_through(&scenario, &ended);
    // A pause is 25 to 34 s; a look at a random moment has half of one before it, somewhat more as long ones count more.
    let [p50] = ended.tally.delays([0.5]);
    is_near(p50 as f64, 15.0 * SECOND as f64, 0.2);
    is_near(f64::from(ended.tally.offered(100..500)), 400.0 * 3000.0 / 29.5, 0.1);
}
