//! The service with its store in etcd, beside bare etcd: the same etcd, and the same client crate.
//!
//! etcd has the server's core. The client's has whatever asks etcd: the bare client, or the service and its load.

use std::thread::sleep;
use std::time::{Duration, Instant};

use etcd_client::Client;

use super::waiters::wake;
use super::{Run, figure, names};
use crate::error::{Error, Result, WithContext};
use crate::load::Latencies;
use crate::load::closed_loop::{ClosedLoop, Measured, Until};
use crate::load::wire::Framing;
use crate::peers::{Build, KEY, Peer, Server, VALUE, http, ours};
use crate::tls;

const SUBJECTS: [&str; 2] = [names::ON_ETCD, names::BARE_ETCD];
/// Readers.
const READERS: usize = 16;
/// From the moment at which a wait is sent until it is surely held.
const HELD: Duration = Duration::from_millis(10);

pub(super) fn run(run: &mut Run) -> Result<()> {
    let span = Duration::from_millis(if run.plan.quick { 200 } else { 3000 });
    for clients in names::WRITERS {
        run.interleave(&names::etcd_writes(clients), &SUBJECTS, |bench, _, subject| {
            let etcd = Peer::Etcd.start(bench)?;
            if *subject == names::BARE_ETCD {
                return rates(bare(&etcd, clients, span, &async |client: &mut Client, number| {
                    let key = format!("{:012}/k{number}", fastrand::usize(..1000));
                    client.put(key, VALUE, None).await.map(drop)
                })?);
            }
            let server = ours::start_on(bench, &etcd)?;
            let next = ours::writes(&server, 1000)?;
            let load = closed_loop(&server, clients, span);
            rates(load.run(&server.process, next)?)
        });
    }
    run.interleave(names::ETCD_GETS, &SUBJECTS, |bench, _, subject| {
        let etcd = Peer::Etcd.start(bench)?;
        if *subject == names::BARE_ETCD {
            return rates(bare(&etcd, READERS, span, &async |client: &mut Client, _| {
                client.get(KEY, None).await.map(drop)
            })?);
        }
        let server = ours::start_on(bench, &etcd)?;
        let load = closed_loop(&server, READERS, span);
        rates(load.run(&server.process, |_, request| request.extend_from_slice(&server.get.request))?)
    });
    run.interleave(names::ETCD_WAKE, &[names::ON_ETCD], |bench, plan, _| {
        let etcd = Peer::Etcd.start(bench)?;
        let (one, other) = (ours::start_on(bench, &etcd)?, ours::start_on(bench, &etcd)?);
        let mut woken = woken_elsewhere(&one, &other, if plan.quick { 20 } else { 500 })?;
        let mut each = |share| woken.percentile_us(share) / 1000.0;
        Ok(vec![figure("p50, ms", each(0.5)), figure("p99, ms", each(0.99))])
    });
    let size = names::CROWDS[0];
    run.interleave(&names::etcd_waiters(size), &[names::ON_ETCD, "ours"], |bench, plan, subject| {
        let etcd = Peer::Etcd.start(bench)?;
        let server = match *subject {
            names::ON_ETCD => ours::start_on(bench, &etcd)?,
            _ => Peer::Ours(Build::Host).start(bench)?,
        };
        wake(server, plan.crowd(size))
    });
    Ok(())
}

fn closed_loop(server: &Server, connections: usize, span: Duration) -> ClosedLoop<'_> {
    ClosedLoop { target: &server.target, framing: Framing::Http, connections, until: Until::Elapsed(span) }
}

fn rates(mut measured: Measured) -> Result<Vec<(String, f64)>> {
    Ok(vec![
        figure("answers/s", measured.rate()),
        figure("p50, µs", measured.percentile_us(0.5)),
        figure("p99, µs", measured.percentile_us(0.99)),
    ])
}

/// Clients of etcd over one connection, as the service has one: each asks again as soon as it is answered. A fifth of the
/// span goes before it, to warm up.
fn bare(
    etcd: &Server,
    clients: usize,
    span: Duration,
    ask: &impl AsyncFn(&mut Client, u64) -> std::result::Result<(), etcd_client::Error>,
) -> Result<Measured> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("start a runtime")?;
    let failed = |err: etcd_client::Error| Error::unexpected("etcd", err.to_string());
    runtime.block_on(async {
        let client =
            Client::connect([format!("http://{}", etcd.target.address)], None).await.map_err(failed)?;
        let begin = Instant::now() + span / 5;
        let cpu = etcd.process.cpu()?;
        let one = async |number: usize| {
            let (mut client, mut latencies, mut asked) =
                (client.clone(), Latencies::default(), number as u64);
            while begin.elapsed() < span {
                let sent = Instant::now();
                ask(&mut client, asked).await?;
                asked += clients as u64;
                if sent >= begin {
                    latencies.add(sent.elapsed());
                }
            }
            Ok(latencies)
        };
        let all = futures_util::future::try_join_all((0..clients).map(one)).await.map_err(failed)?;
        let elapsed = begin.elapsed();
        let mut latencies: [Latencies; 2] = Default::default();
        for mut some in all {
            latencies[0].append(&mut some);
        }
        Ok(Measured { answers: latencies[0].count(), elapsed, cpu: etcd.process.cpu()? - cpu, latencies })
    })
}

/// How long it takes from a write at one server until a client has its answer that waits at another.
fn woken_elsewhere(one: &Server, other: &Server, rounds: usize) -> Result<Latencies> {
    let mut woken = Latencies::default();
    let (mut writer, mut waiter) = (tls::connect(&one.target)?, tls::connect(&other.target)?);
    for _ in 0..rounds {
        let wait = ours::wait(&ours::create_pin(&mut *writer)?);
        waiter.write_all(&wait.wait.request).context("send a wait")?;
        sleep(HELD);
        let sent = Instant::now();
        writer.write_all(&wait.trigger.request).context("send a write")?;
        http::answer_over(&mut *waiter, &wait.wait)?;
        woken.add(sent.elapsed());
        http::answer_over(&mut *writer, &wait.trigger)?;
    }
    Ok(woken)
}
