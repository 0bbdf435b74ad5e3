//! `watch`: a cluster as it comes up, on a terminal, as lines or as JSON, until it is ready.

mod screen;
mod updates;
mod view;

use std::fs;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use clap::Args;
use client::seal::Seal;
use protocol::Secret;
use protocol::error::Status;

use super::connect::Connect;
use super::read_pin;
use crate::clock::{Clock as _, SystemClock};
use crate::duration;
use crate::error::Error;
use screen::Screen;
use updates::Update;
use view::ClusterView;

/// Between two looks at the time, and two drawings: what comes in a burst is drawn once.
const REDRAW: Duration = Duration::from_millis(250);

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
    /// File with the secret of a sealed cluster, to read what its nodes report.
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
        let started = Instant::now();
        let pin = read_pin(&self.pin)?;
        let seal = self.secret()?.map(|secret| Seal::new(&secret, &pin));
        let services = [self.connect.service()?, self.connect.service()?];
        let updates = updates::start(services, pin.clone(), seal);
        let mut view = ClusterView::new(pin.to_string());
        let mut screen = self.screen();
        let is_up = || self.timeout.is_some_and(|timeout| started.elapsed() >= timeout);
        loop {
            match updates.recv_timeout(REDRAW) {
                Ok(Update::Failed(error)) => return Err(error.into()),
                Ok(update) => view.take_in(update),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => unreachable!("a failure comes before the end"),
            }
            // All that has come meanwhile belongs to the same picture.
            for update in updates.try_iter() {
                match update {
                    Update::Failed(error) => return Err(error.into()),
                    update => view.take_in(update),
                }
            }
            screen.show(&view, SystemClock.now());
            if view.is_ready(self.nodes) {
                return Ok(if self.json { String::new() } else { view.summary() });
            }
            if is_up() {
                return Err(self.not_in_time(&view, started.elapsed()).into());
            }
        }
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

    fn screen(&self) -> Screen {
        match (self.json, io::stdout().is_terminal()) {
            (true, _) => Screen::json(),
            (false, true) => Screen::terminal(),
            (false, false) => Screen::lines(),
        }
    }

    fn not_in_time(&self, view: &ClusterView, tried: Duration) -> protocol::error::Error {
        let what = match self.nodes {
            Some(nodes) => {
                format!("{} of {nodes} nodes are ready after {} s", view.ready_nodes(), tried.as_secs())
            }
            None => format!("the master is not ready after {} s", tried.as_secs()),
        };
        protocol::error::Error::new(
            Status::TimedOut,
            format!("{what}: {}", view.headline()),
            "look at the console of the machines that are missing, or give more --timeout",
        )
    }
}

/// Prints text. An output that is closed is no reason not to work.
fn print(text: &str) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
