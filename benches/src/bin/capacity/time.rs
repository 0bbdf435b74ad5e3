//! Time in a simulation: whole microseconds since its beginning.

use std::time::Duration;

/// A moment, or a span.
pub(crate) type Micros = u64;

/// One second.
pub(crate) const SECOND: Micros = 1_000_000;

/// A span as the simulation has it.
pub(crate) fn micros(span: Duration) -> Micros {
    u64::try_from(span.as_micros()).expect("584,000 years are enough")
}

/// A span as people and the agent have it.
pub(crate) fn duration(span: Micros) -> Duration {
    Duration::from_micros(span)
}
