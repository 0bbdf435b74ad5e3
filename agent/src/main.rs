//! The agent in the guest. `run.rs` has the steps of a run.

use std::process::ExitCode;

fn main() -> ExitCode {
    cluster_agent::run()
}
