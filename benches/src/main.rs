//! Comparisons: the service and the agent beside their peers, measured in one interleaved run.
//!
//!     bench [--quick] [--repeats N] [--out DIR] [PART]...
//!
//! What is measured, how, and what the figures have to be is in `report/goals.rs`; `benches/run.sh` builds everything
//! and gets the peers. Nothing here asserts a time: the report says where a goal was missed.

mod error;
mod load;
mod machine;
mod parts;
mod peak;
mod peers;
mod process;
mod report;
mod tls;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use error::{Error, Result, WithContext};
use machine::{Cores, Machine};
use parts::{PARTS, Part, Plan, Run};
use peers::Bench;
use report::Report;

struct Arguments {
    plan: Plan,
    out: Option<PathBuf>,
    parts: Vec<Part>,
}

fn main() -> ExitCode {
    match arguments().and_then(run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(trouble) => {
            eprintln!("bench: {trouble}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> Result<()> {
    let cores = Cores::claim()?;
    let target = target_directory()?;
    let out = arguments.out.unwrap_or_else(|| target.join("bench"));
    std::fs::create_dir_all(&out).context_on("create", &out)?;
    let bench = Bench::prepare(cores, &target, &out)?;
    let machine = Machine::examine(cores, bench.scratch.path())?;
    let mut run = Run::new(bench, arguments.plan);
    for part in arguments.parts {
        // An error in one part must not cost the figures of the others.
        if let Err(trouble) = (part.run)(&mut run) {
            run.gap(part.name, "all", &trouble.to_string());
        }
    }
    Report { machine, plan: run.plan, versions: peers::versions(), results: run.results }.write(&out)
}

fn arguments() -> Result<Arguments> {
    use lexopt::prelude::*;
    let wrong = |error: lexopt::Error| Error::unexpected("the command line", format!("is wrong: {error}"));
    let mut parser = lexopt::Parser::from_env();
    let mut arguments = Arguments { plan: Plan { quick: false, repeats: 0 }, out: None, parts: Vec::new() };
    while let Some(argument) = parser.next().map_err(wrong)? {
        match argument {
            Long("quick") => arguments.plan.quick = true,
            Long("repeats") => {
                arguments.plan.repeats = parser.value().and_then(|v| v.parse()).map_err(wrong)?
            }
            Long("out") => arguments.out = Some(parser.value().map_err(wrong)?.into()),
            Value(name) => {
                let part = PARTS.into_iter().find(|part| name == part.name);
                let names = PARTS.map(|part| part.name).join(", ");
                let wrong = || Error::unexpected("the command line", format!("names no part of {names}"));
                arguments.parts.push(part.ok_or_else(wrong)?);
            }
            other => return Err(wrong(other.unexpected())),
        }
    }
    if arguments.plan.repeats == 0 {
        arguments.plan.repeats = if arguments.plan.quick { 1 } else { 6 };
    }
    if arguments.parts.is_empty() {
        arguments.parts = PARTS.to_vec();
    }
    Ok(arguments)
}

/// cargo's: this program lies in one of its profiles' directories.
fn target_directory() -> Result<PathBuf> {
    let program = std::env::current_exe().context("find this program")?;
    let target = program.parent().and_then(Path::parent);
    target.map(Path::to_owned).ok_or_else(|| Error::unexpected("this program", "lies in no target directory"))
}
