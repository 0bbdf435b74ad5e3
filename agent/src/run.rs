//! The steps of a run, in order.

use std::process::ExitCode;

use crate::cli::{self, Args, Command, SubstituteIn, help};
use crate::commands::nodes;
use crate::console::{self, Style};
use crate::{commands, files, follow, notify, phase};
use protocol::error::Error;

/// Runs the command line of this process. Its exit status, after everything has been said.
#[must_use]
pub fn run() -> ExitCode {
    let args = cli::parse(std::env::args_os().skip(1));
    console::init(style(&args), args.as_ref().is_ok_and(|args| args.verbose));
    let outcome = args.and_then(execute);
    match &outcome {
        Ok(RunEnd::Done(what)) => {
            log::info!("{what}");
            notify::done(what);
        }
        Ok(RunEnd::Printed(_)) => {}
        Err(error) => {
            log::error!("{error}; {}", error.next_step());
            notify::status(&format!("failed: {error}"));
        }
    }
    console::finish(outcome.is_ok());
    match outcome {
        Ok(RunEnd::Done(_)) => ExitCode::SUCCESS,
        Ok(RunEnd::Printed(status)) => status,
        Err(error) => error.status().into(),
    }
}

fn style(args: &Result<Args, Error>) -> Style {
    match args {
        Ok(Args { root, command: Command::Contextualize(SubstituteIn::Bootloader), .. }) => {
            Style::BootLoader(files::append(&root.path(phase::BOOT_LOADER_LOG)).ok())
        }
        _ => Style::Plain,
    }
}

/// How a run ends that does not fail.
enum RunEnd {
    /// This was done; it is still to be said.
    Done(String),
    /// Everything was printed.
    Printed(ExitCode),
}

fn execute(Args { root, user_data, command, .. }: Args) -> Result<RunEnd, Error> {
    let printed = match command {
        Command::Contextualize(target) => {
            return phase::contextualize(&root, &user_data, target).map(RunEnd::Done);
        }
        Command::MasterReady { force } => {
            return commands::master_ready(&root, &user_data, force).map(RunEnd::Done);
        }
        Command::Follow => return follow::follow(&root, &user_data).map(RunEnd::Done),
        Command::WithdrawReady => return commands::withdraw_ready(&root, &user_data).map(RunEnd::Done),
        Command::Publish { key, value, secret_file } => {
            let published = commands::publish(&root, &user_data, secret_file.as_deref(), &key, value);
            return published.map(RunEnd::Done);
        }
        Command::Check { files, format, strict } => {
            return commands::check(&files, format, strict).map(RunEnd::Printed);
        }
        Command::Doctor(format) => return Ok(RunEnd::Printed(commands::doctor(&root, &user_data, format))),
        Command::Get { key, wait, secret_file } => {
            commands::get(&root, &user_data, secret_file.as_deref(), &key, wait)? + "\n"
        }
        Command::Nodes { cluster, format, write } => {
            let written = nodes::nodes(&root, &user_data, &cluster, format, write.as_deref())?;
            match written {
                nodes::NodesOutput::Text(text) => text,
                nodes::NodesOutput::Written(what) => return Ok(RunEnd::Done(what)),
            }
        }
        Command::Wait { cluster, wanted } => nodes::wait(&root, &user_data, &cluster, &wanted)?,
        Command::Status { cluster, nodes: count, timeout, format } => {
            match nodes::status(&root, &user_data, &cluster, count, timeout, format)? {
                said if said.is_empty() => said,
                said => said + "\n",
            }
        }
        Command::Help(command) => help::help(command),
        Command::Version => format!("cernvm-cluster-agent {}\n", protocol::VERSION),
    };
    print!("{printed}");
    Ok(RunEnd::Printed(ExitCode::SUCCESS))
}
