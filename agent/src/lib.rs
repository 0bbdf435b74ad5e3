//! The agent's parts; `main.rs` puts them in order.

pub mod address;
pub mod backoff;
pub mod cache;
pub mod cli;
pub mod commands;
pub mod console;
pub mod doctor;
pub mod files;
pub mod get;
#[cfg(test)]
mod interleavings;
pub mod master;
pub mod nodes;
pub mod notify;
pub mod phase;
pub mod publish;
pub mod ready_when;
pub mod record;
pub mod root;
pub mod session;
pub mod slave;
mod span;
pub mod unpublished;
