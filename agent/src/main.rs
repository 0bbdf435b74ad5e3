//! The agent in the guest. Who reads on from here sees the whole of a boot step.

use std::process::ExitCode;

use cluster_agent::cli::{self, Args, Command, Target};
use cluster_agent::console::{self, Style};
use cluster_agent::{commands, files, phase};
use protocol::error::Error;

fn main() -> ExitCode {
    let args = cli::parse(std::env::args_os().skip(1));
    console::init(style(&args), args.as_ref().is_ok_and(|args| args.verbose));
    let outcome = args.and_then(run);
    if let Err(error) = &outcome {
        log::error!("{error}; {}", error.next_step());
    }
    console::finish(outcome.is_ok());
    outcome.unwrap_or_else(|error| error.status().into())
}

fn style(args: &Result<Args, Error>) -> Style {
    match args {
        Ok(Args { root, command: Command::Contextualize(Target::Bootloader), .. }) => {
            Style::BootLoader(files::append(&root.path(phase::BOOT_LOADER_LOG)).ok())
        }
        _ => Style::Plain,
    }
}

fn run(Args { root, user_data, command, .. }: Args) -> Result<ExitCode, Error> {
    match command {
        Command::Contextualize(target) => log::info!("{}", phase::contextualize(&root, &user_data, target)?),
        Command::MasterReady => log::info!("{}", commands::master_ready(&root, &user_data)?),
        Command::Publish { key, value } => {
            log::info!("{}", commands::publish(&root, &user_data, &key, value)?);
        }
        Command::Get { key, wait } => println!("{}", commands::get(&root, &user_data, &key, wait)?),
        Command::Check(files) => return commands::check(&files),
        Command::Doctor => return Ok(commands::doctor(&root, &user_data)),
        Command::Help => print!("{}{}", cli::HELP, cli::exit_statuses()),
        Command::Version => println!("cernvm-cluster-agent {}", protocol::VERSION),
    }
    Ok(ExitCode::SUCCESS)
}
