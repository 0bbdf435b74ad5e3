//! `make demo`: one cluster from its pin to its slaves' contexts, with the real programs, on loopback and in a temporary
//! directory. Ends with 0 only if every placeholder was replaced and nothing else changed.

mod show;
mod story;

use std::process::ExitCode;

use worlds::interrupt::{self, Interrupted};

/// What a shell says of a program that SIGINT has ended.
const STATUS_OF_INTERRUPT: u8 = 130;

fn main() -> ExitCode {
    if let Err(e) = interrupt::watch() {
        eprintln!("cluster-demo: cannot watch for Ctrl-C: {e}");
        return ExitCode::FAILURE;
    }
    std::panic::set_hook(Box::new(|panic| {
        eprintln!("\ncluster-demo: {}", panic.payload_as_str().unwrap_or("something went wrong"));
    }));
    // Whatever was started is stopped while the stack unwinds.
    match std::panic::catch_unwind(story::tell) {
        Ok(()) => ExitCode::SUCCESS,
        Err(cause) if cause.is::<Interrupted>() => {
            eprintln!("\ncluster-demo: interrupted, everything is stopped");
            ExitCode::from(STATUS_OF_INTERRUPT)
        }
        Err(_) => ExitCode::FAILURE,
    }
}
