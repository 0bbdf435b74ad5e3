//! The command: reads its line, then does as the library does.

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;
use cluster_launcher::cli::{Cli, Command};
use cluster_launcher::commands;
use log::LevelFilter;
use protocol::error::Status;
use protocol::log_line::{journal_prefix, word};

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(err) => return explain(&err),
    };
    start_log(cli.log);
    let done = match &cli.command {
        Command::Types(args) => commands::types(args),
        Command::Launch(args) => commands::launch(args),
        Command::List(args) => commands::list(args),
        Command::Show(args) => commands::show(args),
        Command::Delete(args) => commands::delete(args),
        Command::Serve(args) => commands::serve(args),
        Command::Keygen(args) => commands::keygen(args),
    };
    done.unwrap_or_else(|error| {
        eprintln!("{error}\n  next: {}", error.next_step());
        error.status().into()
    })
}

/// Log lines on standard error; the journal takes the priority from a number in front (sd-daemon(3)).
fn start_log(level: LevelFilter) {
    let journal = std::env::var_os("JOURNAL_STREAM").is_some();
    let mut builder = env_logger::Builder::new();
    builder.filter_level(level).format(move |out, record| match journal {
        true => writeln!(out, "{}{}", journal_prefix(record.level()), record.args()),
        false => writeln!(out, "cernvm-cluster-launcher: {}{}", word(record.level()), record.args()),
    });
    builder.init();
}

/// Prints help, the version, or what is wrong with the command line.
fn explain(err: &clap::Error) -> ExitCode {
    let _ = err.print();
    if err.use_stderr() { Status::Usage.into() } else { ExitCode::SUCCESS }
}
