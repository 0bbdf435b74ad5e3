//! GET of a key by clients that ask again as soon as they are answered.

use std::time::Duration;

use super::{Run, figure, names};
use crate::error::Result;
use crate::load::closed_loop::{ClosedLoop, Until};
use crate::peers::{Build, Peer};

pub(super) fn run(run: &mut Run) -> Result<()> {
    let subjects = [
        Peer::Ours(Build::Host),
        Peer::BareHyper(Build::Host),
        Peer::Ours(Build::Musl),
        Peer::BareHyper(Build::Musl),
        Peer::Nginx,
        Peer::Redis,
        Peer::Etcd,
    ];
    run.interleave(names::GETS, &subjects, |bench, plan, peer| {
        let server = peer.start(bench)?;
        let span = Duration::from_millis(if plan.quick { 200 } else { 3000 });
        let load = ClosedLoop {
            target: &server.target,
            framing: server.get.framing,
            connections: 16,
            until: Until::Elapsed(span),
        };
        let mut measured =
            load.run(&server.process, |_, request| request.extend_from_slice(&server.get.request))?;
        server.process.stop()?;
        Ok(vec![
            figure("server CPU, µs", measured.cpu_us()),
            figure("answers/s", measured.rate()),
            figure("p50, µs", measured.percentile_us(0.5)),
            figure("p99, µs", measured.percentile_us(0.99)),
        ])
    });
    Ok(())
}
