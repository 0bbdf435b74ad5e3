//! New keys at random places, each acknowledged only once it would survive a power cut: but by bare hyper, which keeps nothing.

use std::time::Duration;

use super::{Run, figure, names};
use crate::error::{Error, Result};
use crate::load::closed_loop::{ClosedLoop, Until};
use crate::peers::{Build, Peer};

pub(super) fn run(run: &mut Run) -> Result<()> {
    let subjects = [
        Peer::Ours(Build::Host),
        Peer::Ours(Build::Musl),
        Peer::Redis,
        Peer::BareHyper(Build::Host),
        Peer::Etcd,
    ];
    for clients in names::WRITERS {
        run.interleave(&names::writes(clients), &subjects, |bench, plan, peer| {
            let server = peer.start(bench)?;
            let places = if plan.quick { 1000 } else { 20_000 };
            let writes = peer.writes(&server, places)?;
            let (framing, next) =
                writes.ok_or_else(|| Error::unexpected(peer.to_string(), "has no store"))?;
            let span = Duration::from_millis(if plan.quick { 200 } else { 3000 });
            let target = &server.target;
            let load = ClosedLoop { target, framing, connections: clients, until: Until::Elapsed(span) };
            let mut measured = load.run(&server.process, next)?;
            server.process.stop()?;
            Ok(vec![
                figure("acknowledged/s", measured.rate()),
                figure("p50, µs", measured.percentile_us(0.5)),
                figure("p99, µs", measured.percentile_us(0.99)),
                figure("server CPU, µs", measured.cpu_us()),
            ])
        });
    }
    Ok(())
}
