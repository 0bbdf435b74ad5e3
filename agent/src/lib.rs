//! The agent. Other crates see how to run it, what its help says, and in [`sim`] what a model of many VMs needs.
#![allow(
    unreachable_pub,
    reason = "a part's `pub` says what the other parts may use; other crates see only what is named here"
)]

mod address;
mod backoff;
mod cache;
mod cli;
mod commands;
mod console;
mod doctor;
mod files;
mod follow;
mod followed;
mod get;
#[cfg(test)]
mod interleavings;
mod master;
mod nodes;
mod notify;
mod phase;
mod publish;
mod ready_when;
mod record;
mod reporter;
mod root;
mod run;
mod session;
pub mod sim;
mod slave;
mod span;
#[cfg(test)]
mod testing;
mod unpublished;

pub use cli::help;
pub use run::run;
