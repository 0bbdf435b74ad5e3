//! What the agent and the pairing service share: the words of API v1, and nothing that does I/O.
//!
//! The contract itself is `docs/api.md`; the records in `tests/conformance/` are the original service's.

pub mod bodies;
pub mod key;
pub mod limits;
mod pin;
pub mod wait;

pub use pin::{InvalidPin, Pin};
