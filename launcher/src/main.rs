//! The command: reads its line, then does as the library does.

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::Parser as _;
use cluster_launcher::catalogue::{self, Catalogue};
use cluster_launcher::cli::{Cli, Command, Types};
use protocol::error::Status;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(err) => return explain(&err),
    };
    match cli.command {
        Command::Types(args) => types(&args),
    }
}

/// Shows the catalogue. A definition that is broken makes the exit status that of a bad context.
fn types(args: &Types) -> ExitCode {
    let listing = match Catalogue::new(args.types.clone()).read() {
        Ok(listing) => listing,
        Err(error) => {
            eprintln!(
                "cannot read the cluster types below {}: {error}\n  next: give the folder that holds \
                 cluster-types-enabled with --types",
                args.types.display()
            );
            return Status::File.into();
        }
    };
    say(&if args.json { catalogue::to_json(&listing).to_string() } else { catalogue::text(&listing) });
    if listing.broken.is_empty() { ExitCode::SUCCESS } else { Status::BadContext.into() }
}

/// Prints a line. An output that is closed is no reason not to work.
fn say(line: &str) {
    let mut out = io::stdout();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// Prints help, the version, or what is wrong with the command line.
fn explain(err: &clap::Error) -> ExitCode {
    let _ = err.print();
    if err.use_stderr() { Status::Usage.into() } else { ExitCode::SUCCESS }
}
