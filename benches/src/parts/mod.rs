//! The parts of a run, one comparison each. A part runs its subjects one after the other, again and again, so that
//! whatever the machine does meanwhile happens to all of them.

mod abuse;
mod agent;
mod connects;
mod etcd;
mod expiry;
mod gets;
mod guest;
mod instructions;
pub(crate) mod names;
mod pairs;
mod pins;
mod size;
mod waiters;
mod writes;

use serde::Serialize;

use crate::error::Result;
use crate::load::closed_loop::Measured;
use crate::peers::Bench;
use crate::report::results::{Gap, Results, Sample};

/// How much of everything.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Plan {
    /// A short run that shows that everything works; its figures mean nothing.
    pub(crate) quick: bool,
    /// How often each subject's turn comes.
    pub(crate) repeats: usize,
}

impl Plan {
    /// How many come where so many were asked for.
    fn crowd(&self, size: usize) -> usize {
        if self.quick { size / 20 } else { size }
    }

    /// What a small service holds.
    fn few_pins(&self) -> usize {
        1000
    }

    /// What a large one holds.
    fn many_pins(&self) -> usize {
        if self.quick { 10_000 } else { 1_000_000 }
    }
}

/// A part of a run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Part {
    /// Its name on the command line.
    pub(crate) name: &'static str,
    /// Runs it.
    pub(crate) run: fn(&mut Run) -> Result<()>,
}

/// All of them, in the order in which they run.
pub(crate) const PARTS: [Part; 12] = [
    Part { name: "gets", run: gets::run },
    Part { name: "connects", run: connects::run },
    Part { name: "instructions", run: instructions::run },
    Part { name: "writes", run: writes::run },
    Part { name: "waiters", run: waiters::run },
    Part { name: "etcd", run: etcd::run },
    Part { name: "pins", run: pins::run },
    Part { name: "expiry", run: expiry::run },
    Part { name: "abuse", run: abuse::run },
    Part { name: "pairs", run: pairs::run },
    Part { name: "agent", run: agent::run },
    Part { name: "size", run: size::run },
];

/// A run: what it has to work with and what it has found so far.
#[derive(Debug)]
pub(crate) struct Run {
    /// Programs and directories.
    pub(crate) bench: Bench,
    /// How much.
    pub(crate) plan: Plan,
    /// What was found.
    pub(crate) results: Results,
}

impl Run {
    /// A run that has found nothing yet.
    pub(crate) fn new(bench: Bench, plan: Plan) -> Self {
        Self { bench, plan, results: Results::default() }
    }

    /// Gives each subject a turn in each repeat, in an order that rotates so that no subject always follows the same
    /// neighbour. A subject that fails is a gap in the report and gets no more turns.
    fn interleave<S: ToString>(
        &mut self,
        part: &str,
        subjects: &[S],
        mut turn: impl FnMut(&Bench, &Plan, &S) -> Result<Vec<(String, f64)>>,
    ) {
        let mut out = vec![false; subjects.len()];
        for repeat in 0..self.plan.repeats {
            for place in 0..subjects.len() {
                let index = (place + repeat) % subjects.len();
                if out[index] {
                    continue;
                }
                let subject = &subjects[index];
                eprintln!("{part}: {}, {} of {}", subject.to_string(), repeat + 1, self.plan.repeats);
                match turn(&self.bench, &self.plan, subject) {
                    Ok(figures) => {
                        for (figure, value) in figures {
                            self.add(part, &subject.to_string(), &figure, repeat, value);
                        }
                    }
                    Err(trouble) => {
                        self.gap(part, &subject.to_string(), &trouble.to_string());
                        out[index] = true;
                    }
                }
            }
        }
    }

    fn add(&mut self, part: &str, subject: &str, figure: &str, repeat: usize, value: f64) {
        let (part, subject, figure) = (part.to_owned(), subject.to_owned(), figure.to_owned());
        self.results.samples.push(Sample { part, subject, figure, repeat, value });
    }

    /// Adds how long two kinds of requests took that ran side by side: GET on the even connections, POST on the odd.
    fn add_latencies(&mut self, part: &str, subject: &str, repeat: usize, measured: Measured) {
        for (kind, mut latencies) in ["GET", "POST"].into_iter().zip(measured.latencies) {
            for (name, share) in [("p50", 0.5), ("p99", 0.99), ("longest", 1.0)] {
                let figure = format!("{kind} {name}, µs");
                self.add(part, subject, &figure, repeat, latencies.percentile_us(share));
            }
        }
    }

    /// Notes that something could not be measured.
    pub(crate) fn gap(&mut self, part: &str, subject: &str, why: &str) {
        eprintln!("{part}: {subject}: {why}");
        let gap = Gap { part: part.to_owned(), subject: subject.to_owned(), why: why.to_owned() };
        self.results.gaps.push(gap);
    }
}

/// A figure of a turn.
fn figure(name: &str, value: f64) -> (String, f64) {
    (name.to_owned(), value)
}
