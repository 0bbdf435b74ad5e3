//! The nodes of a cluster: what this one reports of itself, and what is read of the others.

pub mod barrier;
pub mod block;
pub mod formats;
pub mod report;
#[cfg(test)]
mod testing;
