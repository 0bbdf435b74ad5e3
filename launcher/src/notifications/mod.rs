//! OpenStack's notifications, taken from RabbitMQ: they say at once which cluster to look at.
//!
//! They are a shortcut. Clusters are looked at by the clock in any case, so a broker that is away, or messages that are lost,
//! make the view slower, and never wrong.

mod address;
mod broker;
mod event;
mod listener;
mod pause;
mod session;
mod stats;

pub use address::{Address, Member};
pub use broker::Broker;
pub use event::{Event, Message, Subject, read};
pub use listener::{Wake, listen};
pub use stats::Stats;
