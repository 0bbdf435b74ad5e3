//! The parameters of a cluster type: their schemas, and whether answers fit.

mod check;
mod number;
pub(crate) mod python;
mod read;
mod schema;
#[cfg(test)]
mod tests;
mod typed;

pub(crate) use check::pointer;
pub use check::{Fault, FaultKind};
pub(crate) use number::Number;
pub(crate) use read::{read, read_overrides};
#[cfg(test)]
pub(crate) use schema::KEYS;
pub(crate) use schema::{Schema, mapping};
pub(crate) use typed::Type;
