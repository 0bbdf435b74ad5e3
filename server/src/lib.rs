//! The cluster pairing service: keys under a pin, over a small REST API, so that the master and the slaves of a
//! cluster find each other.
//!
//! This library is the whole of it; `main.rs` only reads the command line. A program that embeds it:
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use pairing_server::{Config, Server, listen};
//!
//! let server = Server::new(Config::default()).await?;
//! let listener = listen::bind("127.0.0.1:0".parse()?)?;
//! server.serve(vec![listener], std::future::pending()).await?;
//! # Ok(())
//! # }
//! ```

mod access;
mod activity_body;
mod admin;
pub mod backup;
pub mod budget;
pub mod cli;
pub mod commands;
pub mod config;
mod connection_server;
mod connections;
pub mod console;
mod duration;
pub mod environment;
pub mod error;
mod etcd;
pub mod etcd_args;
mod flag_values;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod half_close;
pub mod health;
mod held_requests;
mod http;
pub mod listen;
pub mod maintenance;
mod metrics;
mod origin;
mod page;
mod process;
mod processor_meter;
mod progress;
mod rate_limits;
pub mod return_times;
pub mod secret;
mod server;
mod service;
mod slave_contexts;
mod sources;
mod storage;
pub mod system;
#[cfg(test)]
mod testing;
pub mod tls;
pub mod token;

pub use pairing_core::{Refused, clock, store};
use pairing_core::{hub, sweeper};

pub use config::Config;
pub use error::Error;
pub use server::Server;
