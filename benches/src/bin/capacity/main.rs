//! How far one service goes: a simulation of many VMs that boot, wait and try again.
//!
//!     capacity [--seed N] [--cores N] [--results FILE] [--only NAME] [VMS]...
//!
//! The VMs run the agent's own code (`agent.rs`), the service is a model (`service.rs`) with measured figures put in
//! (`inputs.rs`). docs/capacity.md says what comes of it.

mod agent;
mod cpu;
mod events;
mod inputs;
mod scenario;
mod service;
mod shell;
mod simulation;
mod table;
mod tally;
mod time;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use inputs::Inputs;
use scenario::Scenario;
use simulation::Simulation;

/// What is run without arguments.
const VMS: [usize; 2] = [10_000, 100_000];

struct Arguments {
    seed: u64,
    results: PathBuf,
    /// Runs only the cases whose names contain this.
    only: String,
    /// Cores that the service may use.
    cores: u32,
    vms: Vec<usize>,
}

fn main() -> ExitCode {
    match arguments().and_then(|arguments| run(&arguments)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("capacity: {problem}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), String> {
    let inputs = Inputs::read(&arguments.results)?.unwrap_or_default();
    println!("{}", table::inputs(&inputs));
    let tables = arguments
        .vms
        .iter()
        .flat_map(|&vms| [false, true].map(|tls| (table::head(vms, tls), scenario::all(vms, tls))));
    let overfull =
        [false, true].map(|tls| (table::head(scenario::OVERFULL, tls), vec![scenario::overfull(tls)]));
    for (head, scenarios) in tables.chain(overfull) {
        let wanted = |scenario: &Scenario| scenario.name.contains(&arguments.only);
        let scenarios: Vec<_> = scenarios.into_iter().filter(wanted).collect();
        if !scenarios.is_empty() {
            print!("{head}");
            scenarios.into_iter().for_each(|scenario| run_scenario(scenario, &inputs, arguments));
            println!();
        }
    }
    Ok(())
}

/// Runs a case, and prints its row.
fn run_scenario(mut scenario: Scenario, inputs: &Inputs, arguments: &Arguments) {
    scenario.setup.cores = arguments.cores;
    let begun = Instant::now();
    let ended = Simulation::run(&scenario, inputs, arguments.seed);
    let (vms, events, took) = (scenario.vms, ended.events, begun.elapsed().as_secs_f64());
    eprintln!("{vms} VMs, {}: {events} events in {took:.1} s", scenario.name);
    print!("{}", table::row(&scenario, ended, inputs));
}

fn arguments() -> Result<Arguments, String> {
    use lexopt::prelude::*;
    let results = std::env::current_exe()
        .ok()
        .and_then(|program| Some(program.parent()?.parent()?.join("bench/results.json")))
        .unwrap_or_default();
    let mut arguments = Arguments { seed: 1, results, only: String::new(), cores: 1, vms: Vec::new() };
    let mut parser = lexopt::Parser::from_env();
    let wrong = |error: lexopt::Error| error.to_string();
    while let Some(argument) = parser.next().map_err(wrong)? {
        match argument {
            Long("seed") => arguments.seed = value(&mut parser)?.parse().map_err(wrong)?,
            Long("cores") => arguments.cores = value(&mut parser)?.parse_with(at_least_one).map_err(wrong)?,
            Long("results") => arguments.results = value(&mut parser)?.into(),
            Long("only") => arguments.only = value(&mut parser)?.string().map_err(wrong)?,
            Value(vms) => arguments.vms.push(vms.parse_with(at_least_one).map_err(wrong)?),
            other => return Err(other.unexpected().to_string()),
        }
    }
    if arguments.vms.is_empty() {
        arguments.vms = VMS.to_vec();
    }
    Ok(arguments)
}

fn value(parser: &mut lexopt::Parser) -> Result<std::ffi::OsString, String> {
    parser.value().map_err(|error| error.to_string())
}

/// A number that is not 0.
fn at_least_one<T: std::str::FromStr + Default + PartialEq>(text: &str) -> Result<T, String> {
    let number: Option<T> = text.parse().ok().filter(|number| *number != T::default());
    number.ok_or_else(|| "a number from 1 on is needed".to_owned())
}
