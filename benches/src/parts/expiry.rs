//! A million pins that expire in one instant, and what the others notice of it.

use std::thread::sleep;
use std::time::Duration;

use super::pins::{fill, now, reads};
use super::{Run, names};
use crate::error::{Error, Result};
use crate::load::closed_loop::{ClosedLoop, Until};
use crate::load::wire::Framing;
use crate::peers::{Build, ours};

/// Pins that live on, and are asked for meanwhile.
const SURVIVORS: usize = 10_000;
/// Filling takes its time, more for each repeat than this only if it is done in vain.
const REPEATS: usize = 3;

pub(super) fn run(run: &mut Run) -> Result<()> {
    for repeat in 0..run.plan.repeats.min(REPEATS) {
        eprintln!("{}: {} of {}", names::EXPIRY, repeat + 1, run.plan.repeats.min(REPEATS));
        once(run, repeat)?;
    }
    Ok(())
}

fn once(run: &mut Run, repeat: usize) -> Result<()> {
    let span = Duration::from_secs(if run.plan.quick { 1 } else { 10 });
    let room = Duration::from_secs(if run.plan.quick { 20 } else { 120 });
    let dir = run.bench.directory()?;
    let data = dir.path().join("data");
    let expiry = Duration::from_secs((now()? + room).as_secs());
    fill(&run.bench, &data, run.plan.many_pins(), expiry)?;
    let survivors = fill(&run.bench, &data, SURVIVORS, expiry + Duration::from_secs(12 * 60 * 60))?;
    let (process, target) = ours::launch(&run.bench, Build::Host, &data, None)?;

    let load =
        ClosedLoop { target: &target, framing: Framing::Http, connections: 16, until: Until::Elapsed(span) };
    let (mut gets, mut posts) = (reads(&survivors), ours::writes_under(survivors));
    let mut mixed = |number: usize, request: &mut Vec<u8>| match number % 2 {
        0 => gets(number, request),
        _ => posts(number, request),
    };
    let before = load.run(&process, &mut mixed)?;
    // The load's warm-up ends when they expire.
    let begin = expiry.checked_sub(now()? + span / 5);
    sleep(
        begin.ok_or_else(|| Error::unexpected("the machine", "filled too slowly: they expired meanwhile"))?,
    );
    let during = load.run(&process, &mut mixed)?;
    process.stop()?;

    for (subject, measured) in [(names::BEFORE, before), (names::DURING, during)] {
        run.add_latencies(names::EXPIRY, subject, repeat, measured);
    }
    Ok(())
}
