//! Writes what a package holds besides the programs, from the programs' own command lines.
//!
//!     packaging-assets DIR
//!
//! Makes `DIR/man/`, `DIR/completions/` and `DIR/default/`. The same sources give the same bytes.

mod agent;
mod default;
mod man;

use std::error::Error;
use std::path::Path;
use std::{env, fs};

use clap::CommandFactory as _;
use clap_complete::Shell;
use pairing_server::cli::Cli;

/// Name of the service's program, and of its settings file in `/etc/default`.
const SERVICE: &str = "cernvm-pairing-server";
/// Likewise of the launcher.
const LAUNCHER: &str = "cernvm-cluster-launcher";

fn main() -> Result<(), Box<dyn Error>> {
    let directory = env::args_os().nth(1).ok_or("usage: packaging-assets DIR")?;
    let directory = Path::new(&directory);
    let service = Cli::command();
    let launcher = cluster_launcher::cli::Cli::command();

    let pages = directory.join("man");
    fs::create_dir_all(&pages)?;
    for page in man::pages(&service, man::ADMINISTRATORS)?
        .into_iter()
        .chain(man::pages(&launcher, man::USERS)?)
        .chain([man::agent_page()])
    {
        fs::write(pages.join(page.file), page.roff)?;
    }

    let completions = directory.join("completions");
    fs::create_dir_all(&completions)?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(shell, &mut service.clone(), SERVICE, &completions)?;
        clap_complete::generate_to(shell, &mut launcher.clone(), LAUNCHER, &completions)?;
        clap_complete::generate_to(shell, &mut agent::command_line(), agent::NAME, &completions)?;
    }

    let default = directory.join("default");
    fs::create_dir_all(&default)?;
    fs::write(default.join(SERVICE), default::SERVICE.settings(&service))?;
    fs::write(default.join(LAUNCHER), default::LAUNCHER.settings(&launcher))?;
    Ok(())
}
