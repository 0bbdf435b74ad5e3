//! `watch`: a cluster as it comes up, on a terminal, as lines or as JSON, until it is ready.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use client::seal::Seal;
use protocol::Secret;

use super::connect::Connect;
use super::read_pin;
use crate::duration;
use crate::error::Error;

/// What to watch, and how long.
#[derive(Debug, Args)]
pub struct Watch {
    /// Which service to talk to.
    #[command(flatten)]
    connect: Connect,
    /// The pin, or - to read it from standard input: every user of this machine sees the command line in `ps`.
    #[arg(value_name = "PIN|-")]
    pin: String,
    /// Wait until so many nodes are ready, the master among them, and not for the master alone.
    #[arg(long, value_name = "N")]
    nodes: Option<usize>,
    /// Give up after this time: a number with s, m, h or d. Without it, wait until the pin expires.
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    timeout: Option<Duration>,
    /// File with the secret of a sealed cluster, to read its address and what its nodes report.
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// Print the whole view as one JSON object in a line, at each change.
    #[arg(long)]
    json: bool,
}

impl Watch {
    /// Shows the cluster until it is ready. Gives what to print at the end.
    ///
    /// # Errors
    /// The time is up; the pin is unknown, expired or deleted; the service cannot be trusted; the secret cannot be read.
    pub fn run(&self) -> Result<String, Error> {
        let pin = read_pin(&self.pin)?;
        let seal = self.secret()?.map(|secret| Seal::new(&secret, &pin));
        let services = [self.connect.service()?, self.connect.service()?];
        let watch =
            client::watch::Watch { pin, seal, nodes: self.nodes, timeout: self.timeout, json: self.json };
        Ok(watch.run(vec![services])?)
    }

    fn secret(&self) -> Result<Option<Secret>, Error> {
        let Some(path) = &self.secret_file else { return Ok(None) };
        let text = fs::read_to_string(path).map_err(|err| Error::file("read", path, err))?;
        Secret::parse(text.trim()).map(Some).map_err(|err| {
            protocol::error::Error::context(
                path.display().to_string(),
                format!("it holds no secret: {err}"),
                "give a file with the value of cvm_cluster_secret and nothing else",
            )
            .into()
        })
    }
}
