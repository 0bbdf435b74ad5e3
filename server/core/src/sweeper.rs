//! The sweeper: removes clusters that have expired, so that they take no room and those that watch them are told.
//! Reads are exact without it.

use std::sync::Arc;
use std::time::Duration;

use tokio::select;
use tokio::time::sleep;

use crate::store::Store;

/// Longest pause: a clock that was set, or a store that failed, is noticed after a minute.
const LONGEST: Duration = Duration::from_secs(60);
/// Shortest pause. When a million pins expire at once, requests are served between the sweeps.
const SHORTEST: Duration = Duration::from_millis(20);

/// Sweeps as clusters expire, for ever. A cluster that is made meanwhile and expires before all others is swept in
/// time.
pub async fn sweep(store: Arc<Store>) {
    loop {
        let pause = match store.sweep().await {
            Ok(Some(next)) => next.since(store.now()).clamp(SHORTEST, LONGEST),
            Ok(None) => LONGEST,
            Err(err) => {
                log::error!("cannot remove expired clusters: {err}");
                LONGEST
            }
        };
        select! {
            () = sleep(pause) => {}
            () = store.sweep_earlier() => sleep(SHORTEST).await,
        }
    }
}
