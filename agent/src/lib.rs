//! The agent's parts; `main.rs` puts them in order.
#![allow(missing_docs, reason = "the skeleton")]
pub mod address;
pub mod backoff;
pub mod cache;
pub mod cli;
pub mod client;
pub mod console;
pub mod context;
pub mod error;
pub mod files;
pub mod placeholder;
pub mod get;
pub mod master;
pub mod publish;
pub mod root;
pub mod session;
pub mod settings;
pub mod slave;
pub mod url;
pub mod value;
