//! Fills a data directory of the service with pins that have one key each and all expire in the same instant, faster
//! than the service would take them over the network. Prints the pins.
//!
//!     fill DIR COUNT EXPIRY        EXPIRY in seconds since 1970-01-01 UTC

use std::error::Error;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use pairing_server::Refused;
use pairing_server::clock::{ManualClock, Timestamp};
use pairing_server::store::{Limits, Store};
use protocol::Pin;
use tokio::task::JoinSet;

/// How many write at a time, so that they share commits.
const WRITERS: usize = 512;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, directory, count, expiry] = arguments.as_slice() else {
        return Err("usage: fill DIR COUNT EXPIRY".into());
    };
    let limits = Limits::default();
    // The clock stands still at the moment from which a pin lives until the expiry.
    let expiry = Timestamp(0).after(Duration::from_secs(expiry.parse()?));
    let clock = Arc::new(ManualClock::at(expiry.before(limits.lifetime)));
    let store = Arc::new(Store::open(Path::new(directory), limits, clock, Arc::new(()))?);
    let count: usize = count.parse()?;
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let share = count / WRITERS + usize::from(writer < count % WRITERS);
        writers.spawn(fill(Arc::clone(&store), share));
    }
    let mut out = std::io::stdout().lock();
    while let Some(pins) = writers.join_next().await {
        for pin in pins?? {
            writeln!(out, "{}", pin.reveal())?;
        }
    }
    Ok(())
}

async fn fill(store: Arc<Store>, count: usize) -> Result<Vec<Pin>, Refused> {
    let mut pins = Vec::with_capacity(count);
    for _ in 0..count {
        let pin = store.create_cluster().await?.pin;
        store.create_key(&pin, "master_ip", "10.20.30.40").await?;
        pins.push(pin);
    }
    Ok(pins)
}
