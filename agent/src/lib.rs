//! The agent's parts; `main.rs` puts them in order.

pub mod address;
pub mod backoff;
pub mod cache;
pub mod check;
pub mod cli;
pub mod client;
pub mod commands;
pub mod console;
pub mod context;
pub mod doctor;
pub mod error;
pub mod files;
pub mod get;
#[cfg(test)]
mod interleavings;
pub mod master;
pub mod phase;
pub mod placeholder;
pub mod publish;
pub mod root;
pub mod session;
pub mod settings;
pub mod slave;
pub mod url;
pub mod value;
