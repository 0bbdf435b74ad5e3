//! The agent in the guest. Who reads on from here sees the whole of a boot step.

use std::process::ExitCode;

use cluster_agent::cli::{self, Args, Command};
use cluster_agent::error::Error;
use cluster_agent::{commands, console, phase};

fn main() -> ExitCode {
    let args = cli::parse(std::env::args_os().skip(1));
    console::init(args.as_ref().is_ok_and(|args| args.verbose));
    match args.and_then(run) {
        Ok(status) => status,
        Err(error) => {
            log::error!("{error}; {}", error.next_step());
            ExitCode::from(error.exit_status())
        }
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
        Command::Doctor => unreachable!(),
        Command::Help => print!("{}", cli::HELP),
        Command::Version => println!("cernvm-cluster-agent {}", env!("CARGO_PKG_VERSION")),
    }
    Ok(ExitCode::SUCCESS)
}
