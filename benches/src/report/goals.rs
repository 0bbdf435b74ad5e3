//! What the figures should be. A goal is met or missed in the report; nothing fails over it.

use super::results::Results;
use crate::parts::names;

/// A figure and what it should be.
#[derive(Debug, Clone)]
pub(crate) struct Goal {
    /// Which part's.
    pub(crate) part: String,
    /// Whose.
    pub(crate) subject: &'static str,
    /// Which.
    pub(crate) figure: String,
    /// What it should be.
    pub(crate) goal: Bound,
    /// What would be better still.
    pub(crate) beyond: Option<Bound>,
}

/// A bound of a figure, or of its ratio to the figure of a peer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Bound {
    /// For a ratio: whose figure it is divided by.
    pub(crate) against: Option<&'static str>,
    /// Where it lies.
    pub(crate) limit: Limit,
}

/// On which side of a number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Limit {
    /// Not above it.
    AtMost(f64),
    /// Not below it.
    AtLeast(f64),
}

impl Bound {
    /// What was reached, and whether that is enough; `None` if one of the figures is missing.
    pub(crate) fn reached(&self, goal: &Goal, results: &Results) -> Option<(f64, bool)> {
        let value = match self.against {
            None => results.median(&goal.part, goal.subject, &goal.figure)?,
            Some(against) => results.ratio(&goal.part, &goal.figure, goal.subject, against)?,
        };
        let met = match self.limit {
            Limit::AtMost(limit) => value <= limit,
            Limit::AtLeast(limit) => value >= limit,
        };
        Some((value, met))
    }
}

fn at_most(limit: f64) -> Bound {
    Bound { against: None, limit: Limit::AtMost(limit) }
}

fn times(against: &'static str, limit: f64) -> Bound {
    Bound { against: Some(against), limit: Limit::AtMost(limit) }
}

fn at_least_times(against: &'static str, limit: f64) -> Bound {
    Bound { against: Some(against), limit: Limit::AtLeast(limit) }
}

/// All goals, in the order of the report.
pub(crate) fn goals() -> Vec<Goal> {
    let mut goals = Vec::new();
    let mut add = |part: String, subject, figure: &str, goal, beyond| {
        goals.push(Goal { part, subject, figure: figure.to_owned(), goal, beyond });
    };
    for (ours, hyper) in [("ours", "bare hyper"), ("ours, musl", "bare hyper, musl")] {
        add(names::GETS.into(), ours, "server CPU, µs", times(hyper, 1.10), Some(times(hyper, 1.05)));
    }
    add(names::INSTRUCTIONS.into(), "ours", "instructions", at_most(12_000.0), Some(at_most(10_000.0)));
    for clients in names::WRITERS {
        let part = names::writes(clients);
        let (goal, beyond) = (at_least_times("etcd", 2.0), at_least_times("redis", 1.0));
        add(part, "ours", "acknowledged/s", goal, Some(beyond));
    }
    for size in names::CROWDS {
        for ours in ["ours", "ours, musl"] {
            let figure = "memory a waiter (RSS), KB";
            add(names::waiters(size), ours, figure, at_most(15.0), Some(at_most(10.0)));
        }
    }
    let crowd = names::waiters(names::CROWDS[0]);
    let figure = "server CPU a woken waiter, µs";
    add(crowd.clone(), "ours", figure, times("redis", 1.3), Some(times("redis", 1.0)));
    add(crowd.clone(), "ours", "write answered, ms", at_most(3.0), Some(at_most(1.0)));
    add(crowd, "ours", "last woken, ms", at_most(115.0), Some(at_most(95.0)));
    for clients in names::WRITERS {
        let goal = at_least_times(names::BARE_ETCD, 0.7);
        add(names::etcd_writes(clients), names::ON_ETCD, "answers/s", goal, None);
    }
    let goal = at_least_times(names::BARE_ETCD, 20.0);
    add(names::ETCD_GETS.into(), names::ON_ETCD, "answers/s", goal, None);
    add(names::ETCD_WAKE.into(), names::ON_ETCD, "p99, ms", at_most(10.0), None);
    let (part, figure) = (names::etcd_waiters(names::CROWDS[0]), "memory a waiter (RSS), KB");
    add(part, names::ON_ETCD, figure, times("ours", 1.05), None);
    for scheme in ["http", "https"] {
        add(names::PAIRS.into(), scheme, "p99, ms", at_most(100.0), None);
        add(names::PAIRS.into(), scheme, "p50, ms", at_most(100.0), Some(at_most(5.0)));
    }
    for scheme in ["http", "https"] {
        for figure in ["wall, ms", "CPU, ms", "peak memory, MB"] {
            let shell = "shell and curl";
            add(names::agent(scheme), "agent", figure, times(shell, 0.2), Some(times(shell, 0.125)));
        }
    }
    add(names::SIZE.into(), "agent", "stripped, MB", at_most(2.0), Some(at_most(1.5)));
    add(names::SIZE.into(), "agent", "gzipped, MB", at_most(1.0), Some(at_most(0.75)));
    for figure in ["GET p99, µs", "POST p99, µs"] {
        add(names::PINS.into(), names::MANY_PINS, figure, times(names::FEW_PINS, 1.5), None);
        add(names::EXPIRY.into(), names::DURING, figure, times(names::BEFORE, 1.5), None);
        add(names::ABUSE.into(), names::BESIDE, figure, times(names::ALONE, 2.0), None);
    }
    add(names::PINS.into(), names::MANY_PINS, "start-up, s", at_most(3.0), None);
    goals
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::results::Sample;

    #[test]
    fn knows_whether_a_goal_is_met() {
        let sample = |subject: &str, value| Sample {
            part: "p".into(),
            subject: subject.into(),
            figure: "f".into(),
            repeat: 0,
            value,
        };
        let results = Results { samples: vec![sample("ours", 3.0), sample("etcd", 1.0)], gaps: Vec::new() };
        let check = |bound: Bound, reached| {
            let goal =
                Goal { part: "p".into(), subject: "ours", figure: "f".into(), goal: bound, beyond: None };
            assert_eq!(bound.reached(&goal, &results), reached, "{bound:?}");
        };
        check(at_most(3.0), Some((3.0, true)));
        check(at_most(2.9), Some((3.0, false)));
        check(times("etcd", 2.0), Some((3.0, false)));
        check(at_least_times("etcd", 2.0), Some((3.0, true)));
        check(times("redis", 2.0), None);
    }
}
