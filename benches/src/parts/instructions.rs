//! User-space instructions per GET, counted by callgrind: the difference of two runs of different length, so that
//! start and end drop out. One client, so that every request is one turn of the server's loop.

use std::fs;
use std::path::Path;

use super::{Run, figure, names};
use crate::error::{Error, Result, WithContext};
use crate::load::closed_loop::{ClosedLoop, Until};
use crate::peers::{Bench, Build, Peer, installed};

pub(super) fn run(run: &mut Run) -> Result<()> {
    let repeats = run.plan.repeats;
    // Counts hardly vary from run to run.
    run.plan.repeats = repeats.min(2);
    let counts = run.bench.scratch.path().join("callgrind.out");
    run.bench.wrapper = vec![
        installed("valgrind")?.into_os_string(),
        "--tool=callgrind".into(),
        format!("--callgrind-out-file={}", counts.display()).into(),
    ];
    let subjects = [Peer::Ours(Build::Host), Peer::BareHyper(Build::Host)];
    run.interleave(names::INSTRUCTIONS, &subjects, |bench, plan, peer| {
        let few = if plan.quick { 200 } else { 1000 };
        let many = 4 * few;
        let difference = instructions(bench, peer, many, &counts)? - instructions(bench, peer, few, &counts)?;
        Ok(vec![figure("instructions", difference / (many - few) as f64)])
    });
    run.bench.wrapper.clear();
    run.plan.repeats = repeats;
    Ok(())
}

fn instructions(bench: &Bench, peer: &Peer, requests: usize, counts: &Path) -> Result<f64> {
    let server = peer.start(bench)?;
    let load = ClosedLoop {
        target: &server.target,
        framing: server.get.framing,
        connections: 1,
        until: Until::Answers(requests),
    };
    load.run(&server.process, |_, request| request.extend_from_slice(&server.get.request))?;
    server.process.stop()?;
    total(counts)
}

/// The sum in a callgrind file: `totals: N` or `summary: N` on a line of its own.
fn total(path: &Path) -> Result<f64> {
    let text = fs::read_to_string(path).context_on("read", path)?;
    let number = |line: &str| {
        line.strip_prefix("totals:").or_else(|| line.strip_prefix("summary:"))?.trim().parse().ok()
    };
    text.lines().find_map(number).ok_or_else(|| Error::unexpected("callgrind", "wrote no total"))
}
