//! What the agent and the pairing service share: the words of API v1, and nothing that does I/O.
//!
//! The contract itself is `docs/api.md`; the records in `tests/conformance/` are the original service's.

pub mod bodies;
pub mod error;
pub mod key;
pub mod limits;
pub mod log_line;
mod network;
pub mod node;
mod pin;
mod secret;
mod trust;
pub mod url;
pub mod utc;
pub mod wait;

pub use network::Network;
pub use pin::{InvalidPin, Pin};
pub use secret::{InvalidSecret, Secret};
pub use trust::{Fingerprint, Trust};

/// What `--version` says of both programs: the version, and the commit that a release was built from.
pub const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("CERNVM_CLUSTER_COMMIT"), ")");
