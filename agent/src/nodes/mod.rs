//! The nodes of a cluster, as this VM asks for them. What it reports of itself: `reporter.rs`.

pub mod barrier;
pub mod block;
pub mod formats;
#[cfg(test)]
mod testing;
