//! From the master's `master-ready` to the slave's substituted file, with the real agent on both sides.

use std::io::Read;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

use super::guest::{Guest, Role};
use super::{Run, names};
use crate::error::{Error, Result, WithContext};
use crate::load::Latencies;
use crate::load::connection::Target;
use crate::peers::{Bench, Build, ours};
use crate::process::Process;
use crate::tls::{self, Certificate};

/// How long a slave may take before the run gives it up, in milliseconds.
const TIMEOUT_MS: u16 = 20_000;

/// A service with a pin for every pair.
struct PairedService {
    process: Process,
    target: Target,
    pins: Vec<String>,
    certificate: Option<Certificate>,
    latencies: Latencies,
}

pub(super) fn run(run: &mut Run) -> Result<()> {
    let pairs = if run.plan.quick { 3 } else { 200 };
    let dir = run.bench.directory()?;
    let mut services = Vec::new();
    for scheme in ["http", "https"] {
        let certificate = match scheme {
            "https" => Some(Certificate::make(dir.path())?),
            _ => None,
        };
        let data = dir.path().join(scheme);
        let pins = ours::prepare(&run.bench, Build::Host, &data, pairs)?;
        let (process, target) = ours::launch(&run.bench, Build::Host, &data, certificate.as_ref())?;
        services.push((
            scheme,
            PairedService { process, target, pins, certificate, latencies: Latencies::default() },
        ));
    }
    for pair in 0..pairs {
        for (_, service) in &mut services {
            let latency = pair_up(&run.bench, service, &service.pins[pair])?;
            service.latencies.add(latency);
        }
    }
    for (scheme, mut service) in services {
        for (figure, share) in [("p50, ms", 0.5), ("p99, ms", 0.99), ("longest, ms", 1.0)] {
            let value = service.latencies.percentile_us(share) / 1000.0;
            run.add(names::PAIRS, scheme, figure, 0, value);
        }
        service.process.stop()?;
    }
    Ok(())
}

fn pair_up(bench: &Bench, service: &PairedService, pin: &str) -> Result<Duration> {
    let boot = |role| Guest::boot(bench, role, pin, &service.target, service.certificate.as_ref());
    let (master, slave) = (boot(Role::Master)?, boot(Role::Slave)?);
    finish(&master, start(&mut master.contextualize(bench)?)?)?;

    let file = slave.user_data();
    let directory = file.parent().expect("it has one");
    let inotify = Inotify::init(InitFlags::IN_CLOEXEC).context("make an inotify")?;
    inotify.add_watch(directory, AddWatchFlags::IN_MOVED_TO).context_on("watch", directory)?;
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).context("make an epoll")?;
    epoll.add(&inotify, EpollEvent::new(EpollFlags::EPOLLIN, 0)).context("watch an inotify")?;
    let waiting = start(&mut slave.contextualize(bench)?)?;
    until_one_waits(&service.target, pin)?;

    let begin = Instant::now();
    let ready = start(&mut master.master_ready(bench)?)?;
    let mut moved = false;
    while !moved {
        if epoll.wait(&mut [EpollEvent::empty()], TIMEOUT_MS).context("wait for a file")? == 0 {
            return Err(Error::unexpected(
                "the slave",
                format!("substituted nothing for 20 s: {}", slave.log()),
            ));
        }
        let events = inotify.read_events().context("read what happened to a directory")?;
        moved = events.iter().any(|event| event.name.as_deref() == file.file_name());
    }
    let latency = begin.elapsed();

    finish(&master, ready)?;
    finish(&slave, waiting)?;
    match slave.is_substituted()? {
        true => Ok(latency),
        false => Err(Error::unexpected("the slave", format!("wrote something else: {}", slave.log()))),
    }
}

/// Listens to a pin's events until they tell of a wait.
fn until_one_waits(target: &Target, pin: &str) -> Result<()> {
    let mut stream = tls::connect(target)?;
    stream.write_all(&ours::events(pin).request).context("ask for events")?;
    let mut heard = String::new();
    let mut scratch = [0; 4096];
    loop {
        let waiting = heard.rsplit_once("\"waiting\":").map(|(_, count)| count.trim_start());
        if waiting.is_some_and(|count| count.starts_with(|digit: char| ('1'..='9').contains(&digit))) {
            return Ok(());
        }
        match stream.read(&mut scratch).context("hear of a wait within 20 s")? {
            0 => return Err(Error::unexpected("the service", format!("told of no wait: {heard}"))),
            got => heard.push_str(&String::from_utf8_lossy(&scratch[..got])),
        }
    }
}

fn start(command: &mut Command) -> Result<Child> {
    command.spawn().context("start the agent")
}

fn finish(guest: &Guest, mut agent: Child) -> Result<()> {
    let status = agent.wait().context("wait for the agent")?;
    match status.success() {
        true => Ok(()),
        false => Err(Error::unexpected("the agent", format!("ended with {status}: {}", guest.log()))),
    }
}
