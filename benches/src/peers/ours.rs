//! The service itself.

use std::path::Path;
use std::sync::Arc;

use super::{Bench, Build, KEY, Server, VALUE, Wait, Writes, http};
use crate::error::{Error, Result};
use crate::load::Exchange;
use crate::load::connection::Target;
use crate::load::wire::Framing;
use crate::machine::Cores;
use crate::process::{Process, free_address};
use crate::tls::{self, Certificate, Stream};

/// Where the API begins.
const CLUSTERS: &str = "/api/v1/clusters";

/// Starts it with one cluster that has the key.
pub(crate) fn start(bench: &Bench, build: Build, tls: Option<&Certificate>) -> Result<Server> {
    let dir = bench.directory()?;
    let data = dir.path().join("data");
    // A service with TLS is prepared while it still sends plainly.
    let (mut process, mut target) = launch(bench, build, &data, None)?;
    let pin = create_pin(&mut *tls::connect(&target)?)?;
    http::ask(&target, &set(&pin, KEY))?;
    if tls.is_some() {
        process.stop()?;
        (process, target) = launch(bench, build, &data, tls)?;
    }
    let get = get(&pin, KEY);
    Ok(Server { process, target, get, wait: Some(wait(&pin)), dir })
}

/// Starts it, with one cluster that has the key, on an etcd: on the client's core, since etcd has the server's.
pub(crate) fn start_on(bench: &Bench, etcd: &Server) -> Result<Server> {
    let dir = bench.directory()?;
    let url = format!("http://{}", etcd.target.address);
    let cores = bench.cores.beside_the_client();
    let (process, target) =
        launch_on(bench, cores, Build::Host, &dir.path().join("data"), None, &["--etcd", &url])?;
    let pin = create_pin(&mut *tls::connect(&target)?)?;
    http::ask(&target, &set(&pin, KEY))?;
    let get = get(&pin, KEY);
    Ok(Server { process, target, get, wait: Some(wait(&pin)), dir })
}

/// Starts the program on a data directory and waits until it accepts.
pub(crate) fn launch(
    bench: &Bench,
    build: Build,
    data: &Path,
    tls: Option<&Certificate>,
) -> Result<(Process, Target)> {
    launch_on(bench, bench.cores, build, data, tls, &[])
}

fn launch_on(
    bench: &Bench,
    cores: Cores,
    build: Build,
    data: &Path,
    tls: Option<&Certificate>,
    options: &[&str],
) -> Result<(Process, Target)> {
    let program = bench.built("cernvm-pairing-server", build)?;
    let address = free_address()?;
    let mut command = bench.command(&program);
    command
        .args(["serve", "--listen", &address.to_string(), "--data-dir"])
        .arg(data)
        // All clients have one address here.
        .args(["--max-connections", "19900", "--max-connections-per-address", "19900"])
        .args(["--max-waiters-per-pin", "19900"])
        .args(["--max-creations-per-hour", "0"])
        .args(options);
    if let Some(certificate) = tls {
        command.arg("--tls-cert").arg(&certificate.file).arg("--tls-key").arg(&certificate.key);
    }
    let mut process = Process::start("cernvm-pairing-server", &mut command, cores, bench.scratch.path())?;
    process.line_after("listening on ")?;
    Ok((process, Target { address, tls: tls.map(|certificate| Arc::clone(&certificate.client)) }))
}

/// Makes pins in a data directory that no service has open.
pub(crate) fn prepare(bench: &Bench, build: Build, data: &Path, count: usize) -> Result<Vec<String>> {
    let (process, target) = launch(bench, build, data, None)?;
    let pins = create_pins(&target, count)?;
    process.stop()?;
    Ok(pins)
}

/// Reads a key.
pub(crate) fn get(pin: &str, key: &str) -> Exchange {
    http::get(&format!("{CLUSTERS}/{pin}/keys/{key}"))
}

/// What happens at a pin, as it happens.
pub(crate) fn events(pin: &str) -> Exchange {
    let path = format!("{CLUSTERS}/{pin}/events");
    Exchange {
        request: http::request("GET", &path, "Accept: text/event-stream\r\n", ""),
        framing: Framing::HttpChunks,
    }
}

/// The wait on a pin's `master_ready`, and what ends it.
pub(crate) fn wait(pin: &str) -> Wait {
    let path = format!("{CLUSTERS}/{pin}/keys/master_ready");
    let headers = "Accept: text/plain\r\nPrefer: wait=50\r\n";
    let wait = Exchange { request: http::request("GET", &path, headers, ""), ..http::get(&path) };
    Wait { wait, greetings: 0, trigger: set(pin, "master_ready") }
}

/// Creates a key.
pub(crate) fn set(pin: &str, key: &str) -> Exchange {
    http::post(&format!("{CLUSTERS}/{pin}/keys"), &format!(r#"{{"key":"{key}","value":"{VALUE}"}}"#))
}

/// Creations of keys under random pins, of which there are `places`.
pub(crate) fn writes(server: &Server, places: usize) -> Result<Writes> {
    Ok(writes_under(create_pins(&server.target, places)?))
}

/// Creations of keys under random ones of these pins.
pub(crate) fn writes_under(pins: Vec<String>) -> Writes {
    // Names of its own, should other writes have gone to the same pins.
    let (series, mut number) = (fastrand::u32(..), 0_u64);
    Box::new(move |_, request| {
        number += 1;
        let pin = &pins[fastrand::usize(..pins.len())];
        let body = format!(r#"{{"key":"k{series}-{number}","value":"{VALUE}"}}"#);
        let path = format!("{CLUSTERS}/{pin}/keys");
        http::write_request(request, "POST", &path, "Content-Type: application/json\r\n", &body);
    })
}

/// Creates pins, 32 at a time so that they share commits.
fn create_pins(target: &Target, count: usize) -> Result<Vec<String>> {
    const AT_A_TIME: usize = 32;
    let create = |share: usize| -> Result<Vec<String>> {
        let mut stream = tls::connect(target)?;
        (0..share).map(|_| create_pin(&mut *stream)).collect()
    };
    let shares = (0..AT_A_TIME).map(|n| count / AT_A_TIME + usize::from(n < count % AT_A_TIME));
    let pins: Result<Vec<Vec<String>>> = std::thread::scope(|scope| {
        let threads: Vec<_> = shares.map(|share| scope.spawn(move || create(share))).collect();
        threads.into_iter().map(|thread| thread.join().expect("it does not panic")).collect()
    });
    Ok(pins?.into_iter().flatten().collect())
}

/// Makes a pin.
pub(crate) fn create_pin(stream: &mut dyn Stream) -> Result<String> {
    let answer = http::ask_over(stream, &http::post(CLUSTERS, ""))?;
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    let pin = serde_json::from_str::<serde_json::Value>(body).ok();
    let pin = pin.and_then(|cluster| cluster.get("pin")?.as_str().map(str::to_owned));
    pin.ok_or_else(|| Error::unexpected("cernvm-pairing-server", "made no pin"))
}
