//! The schema of a parameter, as definitions and components write it.

mod check;
mod read;

pub use check::{Fault, FaultKind};
pub(crate) use read::{read, read_overrides};
