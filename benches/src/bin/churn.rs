//! Sends many pins through a store that holds few of them at a time, each with one key, until they expire: whether its file
//! stays bounded. Prints the size's curve as a table.
//!
//!     churn DIR [PINS [LIVE]]        10,000,000 pins, of which 100,000 live at a time
//!
//! The clock is moved, so that a day's pins take minutes. Each commit is synced: a DIR in memory is much faster.

use std::error::Error;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use pairing_server::Refused;
use pairing_server::clock::{Clock as _, ManualClock, SystemClock};
use pairing_server::store::{FILE_NAME, Limits, Store};
use tokio::task::JoinSet;

/// How many write at a time, so that they share commits.
const WRITERS: usize = 512;
/// In so many steps a pin's life passes.
const STEPS: u32 = 100;
/// Lines of the table.
const LINES: usize = 20;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let directory = arguments.next().ok_or("usage: churn DIR [PINS [LIVE]]")?;
    let pins: usize = arguments.next().map_or(Ok(10_000_000), |pins| pins.parse())?;
    let live: usize = arguments.next().map_or(Ok(100_000), |live| live.parse())?;
    let limits = Limits::default();
    let clock = Arc::new(ManualClock::at(SystemClock.now()));
    let store = Arc::new(Store::open(Path::new(&directory), limits, clock.clone(), Arc::new(()))?);
    let file = Path::new(&directory).join(FILE_NAME);
    let begun = Instant::now();
    println!(
        "| pins so far | live | file, MB | on the disk, MB | the process, MB | s |\n|---|---|---|---|---|---|"
    );
    let (mut sent, mut line) = (0, 0);
    while sent < pins {
        let step = (live / STEPS as usize).max(1).min(pins - sent);
        create(&store, step).await?;
        sent += step;
        clock.advance(limits.lifetime / STEPS);
        while store.sweep().await?.is_some_and(|next| next <= store.now()) {}
        if sent * LINES / pins > line {
            line = sent * LINES / pins;
            let found = file.metadata()?;
            println!(
                "| {sent} | {} | {:.1} | {:.1} | {:.0} | {:.0} |",
                store.stats().pins,
                megabytes(found.len()),
                megabytes(found.blocks() * 512),
                megabytes(resident()?),
                begun.elapsed().as_secs_f64()
            );
        }
    }
    let begun = Instant::now();
    drop(store);
    drop(Store::open(Path::new(&directory), limits, clock, Arc::new(()))?);
    println!(
        "\nclosed and opened in {:.2} s; the file has {:.1} MB",
        begun.elapsed().as_secs_f64(),
        megabytes(file.metadata()?.len())
    );
    Ok(())
}

/// Makes pins with one key each.
async fn create(store: &Arc<Store>, pins: usize) -> Result<(), Refused> {
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let share = pins / WRITERS + usize::from(writer < pins % WRITERS);
        let store = Arc::clone(store);
        writers.spawn(async move {
            for _ in 0..share {
                let pin = store.create_cluster().await?.pin;
                store.create_key(&pin, "master_ip", "10.20.30.40").await?;
            }
            Ok(())
        });
    }
    while let Some(done) = writers.join_next().await {
        done.expect("it does not panic")?;
    }
    Ok(())
}

/// Memory of this process in bytes (proc(5), `VmRSS` of `status`).
fn resident() -> Result<u64, Box<dyn Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes =
        line.and_then(|line| line.split_whitespace().next()).ok_or("no VmRSS in /proc/self/status")?;
    Ok(kilobytes.parse::<u64>()? << 10)
}

#[expect(clippy::cast_precision_loss, reason = "it is shown with one digit behind the point")]
fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
