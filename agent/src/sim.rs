//! What a model of many VMs needs of the agent: its programs over any service and any clock. `benches` has one.

pub use crate::backoff::Clock;
pub use crate::master::{ForgottenRecord, Master, Memory, Record};
pub use crate::session::Session;
pub use crate::slave::{Gathered, gather};
