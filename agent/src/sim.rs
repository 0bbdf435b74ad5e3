//! What a model of many VMs needs of the agent: its programs over any service and any clock. `benches` has one.

pub use crate::backoff::Clock;
pub use crate::master::{Master, MasterRecord, RecordStore, UnsavedRecord};
pub use crate::session::Session;
pub use crate::slave::{GatheredValues, gather};
