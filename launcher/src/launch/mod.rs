//! From a request to a stack: what is checked, what is made, and what is taken back when something fails.

mod billing;
mod limits;
mod not_there;
mod pairing;
mod records;
mod refused;
mod remove;
mod request;
mod steps;

pub use billing::{Billing, Order};
pub use limits::ProjectLimits;
pub use not_there::NotThere;
pub use pairing::{Nodes, PairedNode, PairingService};
pub use records::{Claim, LogLine, Paired, Record, Records, RecordsError, Written};
pub use refused::{Complaint, Refused};
pub use remove::{Removal, remove};
pub use request::{Request, base_name};
pub use steps::{BillingAccess, Launcher, NotLaunched};

pub(crate) use records::now;
pub(crate) use refused::of_records;
