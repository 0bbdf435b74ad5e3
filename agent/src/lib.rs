//! The agent's parts; `main.rs` puts them in order.
#![allow(missing_docs, reason = "the skeleton")]
pub mod cli;
pub mod console;
pub mod context;
pub mod error;
pub mod placeholder;
pub mod root;
pub mod settings;
pub mod url;
pub mod value;
