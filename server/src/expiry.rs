//! The sweeper: has the store forget clusters that have expired, so that they take no room. Reads are exact without
//! it.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use crate::clock::Clock;
use crate::store::Store;

/// Longest pause: a clock that was set, or a store that failed, is noticed after a minute.
const LONGEST: Duration = Duration::from_secs(60);
/// Shortest pause. When a million pins expire at once, requests get their turn between the sweeps.
const SHORTEST: Duration = Duration::from_millis(20);

/// Sweeps as clusters become due, for ever.
pub(crate) async fn sweep(store: Arc<dyn Store>, clock: Arc<dyn Clock>) {
    loop {
        let pause = match store.sweep().await {
            Ok(Some(due)) => due.since(clock.now()).clamp(SHORTEST, LONGEST),
            Ok(None) => LONGEST,
            Err(err) => {
                log::error!("cannot forget expired clusters: {err}");
                LONGEST
            }
        };
        sleep(pause).await;
    }
}
