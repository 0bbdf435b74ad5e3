//! A cluster as it comes up, on standard output, until it is ready: on a terminal, as lines or as JSON.

mod screen;
mod updates;
mod view;

use std::io::{self, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use protocol::Pin;
use protocol::error::{Error, Status};
use protocol::utc::Utc;

use crate::Pins;
use crate::seal::Seal;
use screen::Screen;
use updates::Known;
use view::{ClusterView, Link};

/// Between two looks at the time, and two drawings: what comes in a burst is drawn once.
const REDRAW: Duration = Duration::from_millis(250);

/// What to watch, and how long.
pub struct Watch {
    /// The cluster.
    pub pin: Pin,
    /// Opens what a sealed cluster shows.
    pub seal: Option<Seal>,
    /// Wait until so many nodes are ready, the master among them, and not for the master alone.
    pub nodes: Option<usize>,
    /// Give up after this time. `None`: wait until the pin expires.
    pub timeout: Option<Duration>,
    /// Print the whole view as one JSON object in a line, at each change.
    pub json: bool,
}

impl Watch {
    /// Shows the cluster until it is ready. Gives what to print at the end. Each service comes twice, since its events and
    /// its nodes are asked for at once; where there are several, one that is out of reach is followed by the next.
    ///
    /// # Errors
    /// 75 when the time is up; 77 when every service says that the pin is unknown, expired or deleted; else why a service
    /// cannot be used.
    pub fn run(mut self, services: Vec<[Pins; 2]>) -> Result<String, Error> {
        let started = Instant::now();
        let view = ClusterView::new(self.pin.to_string(), self.seal.take());
        let known = Known::start(services, &self.pin, view);
        let mut screen = self.screen();
        loop {
            let end = known.look(REDRAW, |view| {
                screen.show(view, Utc::now());
                if view.is_ready(self.nodes) {
                    return Some(Ok(if self.json { String::new() } else { view.summary() }));
                }
                let is_up = self.timeout.is_some_and(|timeout| started.elapsed() >= timeout);
                is_up.then(|| Err(self.not_in_time(view, started.elapsed())))
            })?;
            if let Some(end) = end {
                return end;
            }
        }
    }

    fn screen(&self) -> Screen {
        match (self.json, io::stdout().is_terminal()) {
            (true, _) => Screen::json(),
            (false, true) => Screen::terminal(),
            (false, false) => Screen::lines(),
        }
    }

    fn not_in_time(&self, view: &ClusterView, tried: Duration) -> Error {
        let what = match self.nodes {
            Some(nodes) => {
                format!("{} of {nodes} nodes are ready after {} s", view.ready_nodes(), tried.as_secs())
            }
            None => format!("the master is not ready after {} s", tried.as_secs()),
        };
        let (why, next) = match &view.link {
            Link::Lost(loss) => (format!("the service is not there ({})", loss.cause), loss.next.clone()),
            Link::Connecting => ("the service has not answered".to_owned(), MORE_TIME.to_owned()),
            Link::Live => (
                view.headline(),
                format!("look at the console of the machines that are missing, or {MORE_TIME}"),
            ),
        };
        Error::new(Status::TimedOut, format!("{what}: {why}"), next)
    }
}

const MORE_TIME: &str = "give more --timeout";

/// Prints text. An output that is closed is no reason not to work.
fn print(text: &str) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
