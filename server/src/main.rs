//! The command: reads its line, then does as the library does.

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};
use pairing_server::cli::{Cli, Command, Serve};
use pairing_server::console::LogReader;
use pairing_server::{Error, Server, backup, console, environment, health, listen, maintenance, system};
use protocol::error::Status;
use tokio::runtime::Runtime;

/// The allocator of what is shipped: a waiting slave takes a third less memory with it than with glibc's malloc, musl's or
/// mimalloc. It keeps its books beside what it hands out, so that a buffer is not in memory before it is used
/// (docs/performance.md). Here and not in the library: a program that embeds it chooses its own.
#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// EX_USAGE of sysexits.h.
const USAGE: u8 = 64;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(err) => return explain(&err),
    };
    let reader = if matches!(cli.command, Command::Serve(_)) { LogReader::Operator } else { LogReader::User };
    console::start(cli.log, reader, cli.log_format);
    environment::warn_of_unknown(&Cli::command());
    let code = run(&cli.command).unwrap_or_else(|err| {
        log::error!("{err}\n  next: {}", err.next_step());
        ExitCode::from(err.exit_code())
    });
    console::flush();
    code
}

fn run(command: &Command) -> Result<ExitCode, Error> {
    let text = match command {
        Command::Serve(args) => {
            Runtime::new().map_err(Error::System)?.block_on(serve(args))?;
            return Ok(ExitCode::SUCCESS);
        }
        Command::Pin(args) => args.run()?,
        Command::New(args) => args.run()?,
        Command::Show(args) => args.run()?,
        Command::Watch(args) => args.run()?,
        Command::Delete(args) => args.run()?,
        Command::Contexts(args) => args.run()?,
        Command::Backup(args) => backup::write(&args.data_dir, &args.file)?.to_string(),
        Command::Copy(args) => args.run()?,
        Command::Health(args) => health::check(&args.data_dir)?,
        Command::Stats(args) => maintenance::stats(&args.data_dir)?,
        Command::Purge(args) => maintenance::purge(&args.data_dir, args.larger_than)?,
        Command::Check(args) => {
            let (text, works) = args.run()?;
            print_line(&text);
            return Ok(if works { ExitCode::SUCCESS } else { Status::BadContext.into() });
        }
    };
    if !text.is_empty() {
        print_line(&text);
    }
    Ok(ExitCode::SUCCESS)
}

async fn serve(args: &Serve) -> Result<(), Error> {
    let mut config = args.config()?;
    config.connections = system::connections(config.connections);
    let listeners = system::listeners(&args.listen)?;
    let stop = system::asked_to_stop()?;
    let described = config.to_string();
    if args.key_is_lost() {
        log::warn!(
            "--tls-self-signed with --in-memory makes a new key at each start: a context with its fingerprint works until the service restarts"
        );
    }
    let starting = system::starting();
    let mut server = Server::new(config).await?;
    drop(starting);
    if let Some(address) = args.metrics_listen {
        let listener = listen::bind(address)?;
        print_line(&format!("metrics on http://{}/metrics", listener.local_addr().map_err(Error::System)?));
        server = server.with_metrics(listener);
    }
    system::reload_on_hangup(server.certificate().cloned(), server.create_token().cloned())?;

    let scheme = if server.certificate().is_some() { "https" } else { "http" };
    for listener in &listeners {
        print_line(&format!("listening on {scheme}://{}", listener.local_addr().map_err(Error::System)?));
    }
    if let Some(fingerprint) = server.certificate().and_then(|certificate| certificate.fingerprint()) {
        print_line(&format!("cvm_service_fingerprint={fingerprint}"));
    }
    log::info!("cernvm-pairing-server {}, {described}", protocol::VERSION);
    system::started();
    server.serve(listeners, stop).await
}

/// Prints a line. An output that is closed is no reason not to work.
fn print_line(line: &str) {
    let mut out = io::stdout();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// Prints help, the version, or what is wrong with the command line.
fn explain(err: &clap::Error) -> ExitCode {
    let _ = err.print();
    if err.use_stderr() { ExitCode::from(USAGE) } else { ExitCode::SUCCESS }
}
