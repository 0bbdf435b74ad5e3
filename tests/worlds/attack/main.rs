//! The service under attack in 256 MB of memory: each attack for a while, then all of them at once, with a restart in
//! the midst. It stays alive, below its limit, and serves an honest client without a refusal.
//!
//! `cargo test` plays a minute of it; `make attack` ten minutes, and then also asserts how long answers take.
//! Attackers and client have addresses of their own on loopback. Needs root, for the control group.

mod attacks;
mod group;

use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::unistd::geteuid;
use tokio::runtime::Runtime;
use tokio::time::{sleep, timeout};
use worlds::figures::show;
use worlds::process::Process;

use attacks::{ATTACKS, Client, Target};
use group::Group;

/// Memory of the control group, in bytes.
const MEMORY: u64 = 256 << 20;
/// What a probe of the admin's may take, and a restart under attack: asserted in the long run only.
const PROBE: Duration = Duration::from_secs(1);
const RESTART: Duration = Duration::from_secs(10);
/// How much longer answers may take beside the attacks: asserted in the long run only.
const SLOWER: u32 = 5;
/// Between two requests of the honest client.
const PAUSE: Duration = Duration::from_millis(20);

/// A service in a control group.
struct Confined {
    process: Process,
    target: Target,
    admin: SocketAddr,
}

impl Confined {
    fn start(group: &Group, data: &std::path::Path, listen: &str) -> Self {
        // Another build, to compare with.
        let program = std::env::var_os("ATTACK_SERVER").map_or_else(worlds::binaries::server, Into::into);
        let mut command = Command::new("sh");
        command.args(["-c", "echo $$ > \"$1\" && shift && exec \"$@\"", "sh"]).arg(group.processes());
        command.arg(program).args(["--log", "warn", "serve", "--metrics-listen", "127.0.0.1:0"]);
        command.args(["--listen", listen, "--data-dir"]).arg(data).stdin(Stdio::null());
        let mut process = Process::start("service", &mut command);
        let admin = process.line_after("metrics on http://").trim_end_matches("/metrics").parse();
        let address = process.line_after("listening on http://").parse().expect("an address");
        Self { process, target: Target(address), admin: admin.expect("an address") }
    }
}

/// What the honest client measured.
#[derive(Default)]
struct Measured {
    latencies: Vec<Duration>,
    probes: Vec<Duration>,
    refused: Vec<String>,
}

impl Measured {
    fn p99(latencies: &[Duration]) -> Duration {
        let mut sorted = latencies.to_vec();
        sorted.sort_unstable();
        sorted.get(sorted.len() * 99 / 100).copied().unwrap_or_default()
    }

    fn slowest_probe(&self) -> Duration {
        self.probes.iter().max().copied().unwrap_or_default()
    }
}

/// Reads and changes a live pin, and asks as a probe does, until it is told to stop.
async fn honest(target: Target, admin: SocketAddr, pin: String, seconds: u64) -> Measured {
    let mut seen = Measured::default();
    let client = Client::new(target, 1);
    let until = Instant::now() + Duration::from_secs(seconds);
    let mut round = 0_u32;
    while Instant::now() < until {
        let path = format!("/api/v1/clusters/{pin}/keys/master_ip");
        let (method, body) = if round.is_multiple_of(10) {
            ("PATCH", format!("{{\"value\":\"10.0.0.{}\"}}", round % 250))
        } else {
            ("GET", String::new())
        };
        let begun = Instant::now();
        match timeout(Duration::from_secs(20), client.ask(method, &path, &body)).await {
            Ok(Ok(status)) if (200..300).contains(&status) => seen.latencies.push(begun.elapsed()),
            outcome => seen.refused.push(format!("{method}: {outcome:?}")),
        }
        if round.is_multiple_of(25) {
            for probe in ["/healthz", "/readyz", "/metrics"] {
                let begun = Instant::now();
                let answer =
                    timeout(Duration::from_secs(20), Client::new(Target(admin), 1).ask("GET", probe, ""));
                match answer.await {
                    Ok(Ok(200)) => seen.probes.push(begun.elapsed()),
                    // The port of an earlier release answers /metrics alone.
                    outcome => seen.refused.push(format!("{probe}: {outcome:?}")),
                }
            }
        }
        round += 1;
        sleep(PAUSE).await;
    }
    seen
}

/// A runtime for the attackers. They take only the processor time that is left, as if they were on other machines.
fn attackers() -> Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.enable_all().on_thread_start(|| {
        let thread = nix::unistd::gettid().to_string();
        let niced = Command::new("renice").args(["-n", "19", "-p", &thread]).stdout(Stdio::null()).status();
        assert!(niced.is_ok_and(|status| status.success()), "root may renice");
    });
    builder.build().expect("a runtime can be made")
}

/// Beside some attacks, for so many seconds: what the honest client saw, and the curve of the memory in MB.
fn beside(
    runtime: &Runtime,
    group: &Group,
    service: &Confined,
    pin: &str,
    chosen: &[&str],
    seconds: u64,
) -> (Measured, Vec<u64>) {
    let stop = Arc::new(AtomicBool::new(false));
    let running = Arc::new(AtomicUsize::new(0));
    let outcome = runtime.block_on(async {
        for (number, (name, attack)) in ATTACKS.iter().enumerate() {
            if chosen.contains(name) {
                let first = u8::try_from(10 + 10 * number).expect("there are few");
                attack(service.target, first, &stop, &running);
            }
        }
        // On a thread of its own: the attackers' is busy.
        let (target, admin, pin) = (service.target, service.admin, pin.to_owned());
        let client = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime can be made").block_on(honest(target, admin, pin, seconds))
        });
        let mut curve = Vec::new();
        while !client.is_finished() {
            curve.push(group.used() >> 20);
            sleep(Duration::from_millis(500)).await;
        }
        let seen = client.join().expect("the honest client does not fail");
        stop.store(true, Ordering::SeqCst);
        while running.load(Ordering::SeqCst) > 0 {
            sleep(Duration::from_millis(20)).await;
        }
        (seen, curve)
    });
    show(&format!(
        "{:32} p99 {:>8.1?}, {:>5} answers, {:>3} refused, slowest probe {:>8.1?}, memory in MB {:?}, max {}",
        chosen.join(" "),
        Measured::p99(&outcome.0.latencies),
        outcome.0.latencies.len(),
        outcome.0.refused.len(),
        outcome.0.slowest_probe(),
        thinned(&outcome.1),
        group.highest() >> 20,
    ));
    outcome
}

/// A curve in some twelve points.
fn thinned(curve: &[u64]) -> Vec<u64> {
    curve.iter().step_by(curve.len().div_ceil(12).max(1)).copied().collect()
}

#[test]
fn stays_alive_and_serves_an_honest_client() {
    if !geteuid().is_root() {
        show("not played: a control group takes root");
        return;
    }
    let seconds = std::env::var("ATTACK_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(60_u64);
    let long = seconds >= 300;
    let each = (seconds / 2 / ATTACKS.len() as u64).max(2);
    let group = Group::new(MEMORY);
    let data = tempfile::tempdir().expect("a temporary directory can be made");
    let mut service = Confined::start(&group, data.path(), "127.0.0.1:0");
    let runtime = attackers();
    let pin = runtime.block_on(async {
        let client = Client::new(service.target, 1);
        let pin = client.new_pin().await.expect("a pin");
        client.set(&pin, "master_ip", "10.0.0.1").await.expect("a key");
        pin
    });
    let alive = |service: &mut Confined| {
        assert_eq!(group.kills(), 0, "killed for want of memory");
        assert!(!service.process.has_ended(), "it has ended");
    };
    let (quiet, _) = beside(&runtime, &group, &service, &pin, &[], each);
    assert!(quiet.refused.is_empty(), "{:?}", quiet.refused);
    let bound = Measured::p99(&quiet.latencies) * SLOWER;

    // Collected, so that a long run shows all figures whatever the first attack does.
    let mut faults = Vec::new();
    let mut check = |seen: &Measured, what: &str| {
        if !seen.refused.is_empty() {
            faults.push(format!("{what}: refused {:?}", seen.refused));
        }
        if long {
            let (slowest, p99) = (seen.slowest_probe(), Measured::p99(&seen.latencies));
            if slowest > PROBE {
                faults.push(format!("{what}: a probe took {slowest:?}, at most {PROBE:?}"));
            }
            if p99 > bound {
                faults.push(format!("{what}: p99 {p99:?}, at most {bound:?}"));
            }
        }
    };
    for (name, _) in ATTACKS {
        let (seen, _) = beside(&runtime, &group, &service, &pin, &[name], each);
        alive(&mut service);
        check(&seen, name);
    }
    let all: Vec<&str> = ATTACKS.iter().map(|(name, _)| *name).collect();
    let (seen, _) = beside(&runtime, &group, &service, &pin, &all, seconds / 4);
    alive(&mut service);
    check(&seen, "all");

    // In the midst of it, while the attackers knock on.
    let stop = Arc::new(AtomicBool::new(false));
    let running = Arc::new(AtomicUsize::new(0));
    let attackers = runtime.enter();
    for (number, (_, attack)) in ATTACKS.iter().enumerate() {
        attack(service.target, u8::try_from(10 + 10 * number).expect("there are few"), &stop, &running);
    }
    drop(attackers);
    runtime.block_on(async { sleep(Duration::from_secs(2)).await });
    let listen = service.target.0.to_string();
    let begun = Instant::now();
    service.process.signal(Signal::SIGTERM);
    let ended = service.process.wait();
    let stopped = begun.elapsed();
    assert!(ended.success(), "{ended}");
    service = Confined::start(&group, data.path(), &listen);
    let restarted = begun.elapsed();
    show(&format!("restarted under attack: stopped in {stopped:.1?}, there again after {restarted:.1?}"));
    stop.store(true, Ordering::SeqCst);
    while running.load(Ordering::SeqCst) > 0 {
        std::thread::sleep(Duration::from_millis(20));
    }
    let (seen, _) = beside(&runtime, &group, &service, &pin, &all, seconds / 4);
    alive(&mut service);
    check(&seen, "all, after the restart");
    show(&format!("highest use of memory: {} of {} MB", group.highest() >> 20, MEMORY >> 20));
    if long && restarted > RESTART {
        faults.push(format!("the restart took {restarted:?}, at most {RESTART:?}"));
    }
    assert!(faults.is_empty(), "{faults:#?}");
}
