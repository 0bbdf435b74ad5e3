//! Waiting on a condition. A test never sleeps for a span that it hopes is long enough.

use std::time::{Duration, Instant};

/// After this long a condition will not come any more. Reached only by a test that fails, so it may be long.
pub const PATIENCE: Duration = Duration::from_secs(120);
/// Between two looks: too short to be noticed, long enough to leave the processor to those who are waited for.
pub(crate) const PAUSE: Duration = Duration::from_millis(5);

/// Looks until there is something to see.
///
/// # Panics
/// When there is nothing after [`PATIENCE`]; `what` completes "gave up waiting until".
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        crate::interrupt::check();
        if let Some(seen) = look() {
            return seen;
        }
        assert!(began.elapsed() < PATIENCE, "gave up waiting until {what}");
        std::thread::sleep(PAUSE);
    }
}
