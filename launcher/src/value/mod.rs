//! Values as Heat sees them: numbers and texts by Python's rules, and the types that parameters have.

mod number;
pub(crate) mod python;
mod typed;

pub(crate) use number::Number;
pub(crate) use typed::{TYPES, Type};
