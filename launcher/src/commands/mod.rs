//! What the commands do.

mod delete;
mod environment;
mod keygen;
mod launch;
mod list;
mod notifications;
mod serve;
mod types;

pub use delete::delete;
pub use keygen::keygen;
pub use launch::launch;
pub use list::{list, show};
pub use serve::serve;
pub use types::types;

use std::io::{self, Write as _};

/// Prints a line. An output that is closed is no reason not to work.
fn say(line: &str) {
    let mut out = io::stdout();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}
