//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// From a request for a cluster of a known type to its stack.
#[derive(Debug, Parser)]
#[command(version = protocol::VERSION, about, disable_help_subcommand = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show the cluster types, and what is wrong with those that cannot be offered.
    Types(Types),
}

/// Where the types are.
#[derive(Debug, Args)]
pub struct Types {
    /// The folder that holds cluster-types-enabled.
    #[arg(long, value_name = "DIR", default_value = ".", env = "CERNVM_LAUNCHER_TYPES")]
    pub types: PathBuf,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}
