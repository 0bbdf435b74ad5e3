//! A context, the user-data that a user writes: what its ucernvm section sets, which placeholders it has, and what is
//! wrong with it before a VM boots.
//!
//! Nothing here writes a file or sends a request, so the agent, the service and a laptop share it.

pub mod check;
mod commented;
pub mod document;
pub mod file_encoding;
pub mod nearest;
pub mod placeholder;
pub mod settings;
mod shell_words;
pub mod value;
pub mod write;
pub mod yaml;
