//! What a million live pins cost: the same requests at a service with a thousand of them and at one with a million.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::{Plan, Run, figure, names};
use crate::error::{Error, Result, WithContext};
use crate::load::closed_loop::{ClosedLoop, Until};
use crate::load::wire::Framing;
use crate::peers::{Bench, Build, KEY, Writes, ours};

/// A service's data, filled beforehand.
struct Data {
    name: &'static str,
    directory: PathBuf,
    pins: Vec<String>,
}

pub(super) fn run(run: &mut Run) -> Result<()> {
    let dir = run.bench.directory()?;
    let expiry = now()? + Duration::from_secs(24 * 60 * 60);
    let mut filled = Vec::new();
    for (name, count) in [(names::FEW_PINS, run.plan.few_pins()), (names::MANY_PINS, run.plan.many_pins())] {
        let directory = dir.path().join(name);
        let pins = fill(&run.bench, &directory, count, expiry)?;
        filled.push(Data { name, directory, pins });
    }
    let subjects = [names::FEW_PINS, names::MANY_PINS];
    run.interleave(names::PINS, &subjects, |bench, plan, subject| {
        let data = filled.iter().find(|data| data.name == *subject).expect("both are filled");
        turn(bench, plan, data)
    });
    // The service's own memory and file, and what a thousand pins have, drop out of the difference.
    let pins = (run.plan.many_pins() - run.plan.few_pins()) as f64;
    for (whole, each) in [("memory, MB", "memory a pin, bytes"), ("disk, MB", "disk a pin, bytes")] {
        let median = |subject| run.results.median(names::PINS, subject, whole);
        if let (Some(few), Some(many)) = (median(names::FEW_PINS), median(names::MANY_PINS)) {
            run.add(names::PINS, names::MANY_PINS, each, 0, (many - few) * 1e6 / pins);
        }
    }
    Ok(())
}

fn turn(bench: &Bench, plan: &Plan, data: &Data) -> Result<Vec<(String, f64)>> {
    let begin = Instant::now();
    let (process, target) = ours::launch(bench, Build::Host, &data.directory, None)?;
    let start_up = begin.elapsed();
    process.settle()?;
    let memory = process.memory()?;
    let disk = bytes_on_disk(&data.directory)?;
    let load = |until| ClosedLoop { target: &target, framing: Framing::Http, connections: 16, until };
    let span = Duration::from_millis(if plan.quick { 200 } else { 2000 });
    let mut gets = load(Until::Elapsed(span)).run(&process, reads(&data.pins))?;
    // So many that a thousand pins have room for those of all repeats.
    let count = if plan.quick { 1000 } else { 20_000 };
    let mut posts = load(Until::Answers(count)).run(&process, ours::writes_under(data.pins.clone()))?;
    process.stop()?;
    Ok(vec![
        figure("GET p50, µs", gets.percentile_us(0.5)),
        figure("GET p99, µs", gets.percentile_us(0.99)),
        figure("POST p50, µs", posts.percentile_us(0.5)),
        figure("POST p99, µs", posts.percentile_us(0.99)),
        figure("start-up, s", start_up.as_secs_f64()),
        figure("memory, MB", memory.rss / 1e6),
        figure("disk, MB", disk / 1e6),
    ])
}

/// Reads the key of random ones of these pins.
pub(super) fn reads(pins: &[String]) -> Writes {
    let requests: Vec<Vec<u8>> = pins.iter().map(|pin| ours::get(pin, KEY).request).collect();
    Box::new(move |_, request| request.extend_from_slice(&requests[fastrand::usize(..requests.len())]))
}

/// Fills a data directory with pins that live until `expiry`, since 1970, and gives them.
pub(super) fn fill(bench: &Bench, directory: &Path, count: usize, expiry: Duration) -> Result<Vec<String>> {
    eprintln!("filling {} with {count} pins", directory.display());
    let mut command = std::process::Command::new(bench.built("fill", Build::Host)?);
    command.arg(directory).arg(count.to_string()).arg(expiry.as_secs().to_string());
    let output = command.output().context("run fill")?;
    if !output.status.success() {
        return Err(Error::unexpected("fill", String::from_utf8_lossy(&output.stderr)));
    }
    Ok(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect())
}

/// Since 1970-01-01 UTC.
pub(super) fn now() -> Result<Duration> {
    SystemTime::now().duration_since(UNIX_EPOCH).map_err(std::io::Error::other).context("read the clock")
}

fn bytes_on_disk(directory: &Path) -> Result<f64> {
    let mut blocks = 0;
    for entry in fs::read_dir(directory).context_on("read", directory)? {
        blocks += entry.and_then(|entry| entry.metadata()).context_on("look into", directory)?.blocks();
    }
    Ok(blocks as f64 * 512.0)
}
