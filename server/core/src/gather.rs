//! What waits for others to join it.

use tokio::task::yield_now;

/// Turns of the runtime, at most.
const TURNS: u32 = 8;

/// Waits for as long as each turn of the runtime brings more, by `count`: what has reached the sockets by now can share
/// a commit or a read index, and would wait for the next one if the first were sent at once.
pub async fn gather(count: impl Fn() -> usize) {
    for _ in 0..TURNS {
        let before = count();
        yield_now().await;
        if count() == before {
            break;
        }
    }
}
