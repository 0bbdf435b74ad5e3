//! An honest client alone, and beside thousands of abusive ones.

use std::time::Duration;

use super::pins::{fill, now, reads};
use super::{Run, names};
use crate::error::Result;
use crate::load::abuse::Abuse;
use crate::load::closed_loop::{ClosedLoop, Until};
use crate::load::wire::Framing;
use crate::peers::{Build, ours};

/// Clients that send a byte now and then.
const SLOW: usize = 5000;

pub(super) fn run(run: &mut Run) -> Result<()> {
    let span = Duration::from_secs(if run.plan.quick { 1 } else { 5 });
    for repeat in 0..run.plan.repeats {
        eprintln!("{}: {} of {}", names::ABUSE, repeat + 1, run.plan.repeats);
        let dir = run.bench.directory()?;
        let data = dir.path().join("data");
        let pins = fill(&run.bench, &data, run.plan.few_pins(), now()? + Duration::from_secs(12 * 60 * 60))?;
        let (process, target) = ours::launch(&run.bench, Build::Host, &data, None)?;
        let until = Until::Elapsed(span);
        let load = ClosedLoop { target: &target, framing: Framing::Http, connections: 16, until };
        let (mut gets, mut posts) = (reads(&pins), ours::writes_under(pins));
        let mut mixed = |number: usize, request: &mut Vec<u8>| match number % 2 {
            0 => gets(number, request),
            _ => posts(number, request),
        };
        let alone = load.run(&process, &mut mixed)?;
        let abuse = Abuse::of(target.address, run.plan.crowd(SLOW))?;
        let beside = load.run(&process, &mut mixed)?;
        abuse.stop()?;
        process.stop()?;
        for (subject, measured) in [(names::ALONE, alone), (names::BESIDE, beside)] {
            run.add_latencies(names::ABUSE, subject, repeat, measured);
        }
    }
    Ok(())
}
