//! Thousands that wait on one key, and the write that wakes them.

use super::{Run, figure, names};
use crate::error::{Error, Result};
use crate::load::crowd::WaitingClients;
use crate::peers::{Bench, Build, Peer, Server, ours};
use crate::tls::Certificate;

pub(super) fn run(run: &mut Run) -> Result<()> {
    let subjects = [
        Peer::Ours(Build::Host),
        Peer::BareHyper(Build::Host),
        Peer::Ours(Build::Musl),
        Peer::BareHyper(Build::Musl),
        Peer::Redis,
        Peer::Nchan,
        Peer::Etcd,
    ];
    for size in names::CROWDS {
        run.interleave(&names::waiters(size), &subjects, |bench, plan, peer| {
            wake(peer.start(bench)?, plan.crowd(size))
        });
    }
    let subjects = [Peer::Ours(Build::Host), Peer::Ours(Build::Musl)];
    run.interleave(&names::waiters_over_tls(names::CROWDS[0]), &subjects, |bench, plan, peer| {
        let Peer::Ours(build) = peer else { unreachable!("the list is three lines up") };
        wake(start_over_tls(bench, *build)?, plan.crowd(names::CROWDS[0]))
    });
    Ok(())
}

/// Has so many clients wait, and wakes them.
pub(super) fn wake(server: Server, size: usize) -> Result<Vec<(String, f64)>> {
    let how = server.wait.as_ref().ok_or_else(|| Error::unexpected("the server", "cannot wait"))?;
    let crowd = WaitingClients {
        target: &server.target,
        size,
        wait: &how.wait,
        greetings: how.greetings,
        greet: &server.get,
        trigger: &how.trigger,
    };
    let woken = crowd.run(&server.process)?;
    server.process.stop()?;
    let each = |whole: f64| whole / size as f64;
    Ok(vec![
        figure("memory a waiter (PSS), KB", each(woken.parked.pss - woken.empty.pss) / 1000.0),
        figure("memory a waiter (RSS), KB", each(woken.parked.rss - woken.empty.rss) / 1000.0),
        figure("server CPU a woken waiter, µs", each(woken.cpu.as_secs_f64()) * 1e6),
        figure("write answered, ms", woken.trigger_answered.as_secs_f64() * 1e3),
        figure("last woken, ms", woken.last_woken.as_secs_f64() * 1e3),
    ])
}

fn start_over_tls(bench: &Bench, build: Build) -> Result<Server> {
    ours::start(bench, build, Some(&Certificate::make(bench.scratch.path())?))
}
