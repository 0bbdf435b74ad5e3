//! The command: reads its line, then does as the library does.

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::Parser as _;
use pairing_server::cli::{Cli, Command, Contexts, Serve};
use pairing_server::client::Remote;
use pairing_server::{Error, Server, backup, console, contexts, listen, system};
use tokio::runtime::Runtime;

/// A wake-up costs a tenth less with it than with glibc's malloc, and a waiting slave a sixth less memory than with
/// musl's (docs/performance.md). Here and not in the library: whoever embeds that chooses.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// EX_USAGE of sysexits.h.
const USAGE: u8 = 64;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(err) => return explain(&err),
    };
    console::start(cli.log);
    match run(&cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            log::error!("{err}\n  next: {}", err.next_step());
            ExitCode::from(err.exit_code())
        }
    }
}

fn run(command: &Command) -> Result<(), Error> {
    let runtime = Runtime::new().map_err(Error::System)?;
    match command {
        Command::Serve(args) => runtime.block_on(serve(args)),
        Command::Pin(args) => runtime.block_on(print_pin(&args.remote()?)),
        Command::Contexts(args) => runtime.block_on(write_contexts(args)),
        Command::Backup(args) => {
            say(&backup::write(&args.data_dir, &args.file)?.to_string());
            Ok(())
        }
    }
}

async fn serve(args: &Serve) -> Result<(), Error> {
    let mut config = args.config()?;
    config.connections = system::connections(config.connections);
    let listeners = system::listeners(&args.listen)?;
    let stop = system::asked_to_stop()?;
    let mut server = Server::new(config)?;
    if let Some(address) = args.metrics_listen {
        let listener = listen::bind(address)?;
        say(&format!("metrics on http://{}/metrics", listener.local_addr().map_err(Error::System)?));
        server = server.with_metrics(listener);
    }
    system::reload_on_hangup(server.certificate().cloned())?;

    let scheme = if server.certificate().is_some() { "https" } else { "http" };
    for listener in &listeners {
        say(&format!("listening on {scheme}://{}", listener.local_addr().map_err(Error::System)?));
    }
    if let Some(fingerprint) = server.certificate().and_then(|certificate| certificate.fingerprint()) {
        say(&format!("cvm_service_fingerprint={fingerprint}"));
    }
    system::started();
    server.serve(listeners, stop).await
}

async fn print_pin(service: &Remote) -> Result<(), Error> {
    say(service.create_pin().await?.reveal());
    Ok(())
}

async fn write_contexts(args: &Contexts) -> Result<(), Error> {
    contexts::write(&args.connect.remote()?, &args.master, &args.slave).await?;
    say(&format!("wrote {} and {}", args.master.display(), args.slave.display()));
    Ok(())
}

/// Prints a line for whoever started us. That nobody reads it is no reason not to work.
fn say(line: &str) {
    let mut out = io::stdout();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// Prints help, the version, or what is wrong with the command line.
fn explain(err: &clap::Error) -> ExitCode {
    let _ = err.print();
    if err.use_stderr() { ExitCode::from(USAGE) } else { ExitCode::SUCCESS }
}
