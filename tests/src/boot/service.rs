//! The pairing service on the host's side of a lab's bridge.

use std::net::SocketAddr;

use crate::api::Api;
use crate::binaries;
use crate::boot::lab::{BRIDGE, Lab};
use crate::process::Process;
use crate::wait::until;

/// Where it listens.
const PORT: u16 = 8000;
/// What it is called in the test's output.
const NAME: &str = "service";

/// A service that machines of the lab can reach while it runs; its data stay from start to start.
#[derive(Debug)]
pub struct LabService<'lab> {
    lab: &'lab Lab,
    process: Option<Process>,
}

impl<'lab> LabService<'lab> {
    /// A service that does not run yet: who asks for it is refused.
    #[must_use]
    pub fn down(lab: &'lab Lab) -> Self {
        Self { lab, process: None }
    }

    /// A service that runs.
    #[must_use]
    pub fn up(lab: &'lab Lab) -> Self {
        let mut service = Self::down(lab);
        service.start();
        service
    }

    /// Its base URL, as `cvm_service_url` takes it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{BRIDGE}:{PORT}")
    }

    /// Starts it.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn start(&mut self) {
        let mut command = self.lab.resident(NAME, binaries::server());
        command.args(["serve", "--listen", &SocketAddr::new(BRIDGE, PORT).to_string()]);
        command.arg("--data-dir").arg(self.lab.dir().join("service"));
        let mut process = Process::start(NAME, &mut command);
        let _ = process.line_after("listening on ");
        self.process = Some(process);
    }

    /// Stops it as systemd would.
    ///
    /// # Panics
    /// When it does not run, or does not stop.
    pub fn stop(&mut self) {
        self.end_by("TERM");
    }

    /// Ends it as a power cut would.
    ///
    /// # Panics
    /// When it does not run.
    pub fn kill(&mut self) {
        self.end_by("KILL");
    }

    fn end_by(&mut self, signal: &str) {
        let mut process = self.process.take().expect("the service runs");
        self.lab.signal(NAME, signal);
        process.wait();
    }

    /// Asks the API something, from the host's side.
    pub fn ask<T: Send>(&self, question: impl FnOnce(Api) -> T + Send) -> T {
        self.lab.connected(|| question(Api(SocketAddr::new(BRIDGE, PORT))))
    }

    /// A new pin.
    #[must_use]
    pub fn new_pin(&self) -> String {
        self.ask(|api| api.new_pin())
    }

    /// Waits until a machine has tried to connect while the service was down, and was refused.
    ///
    /// # Panics
    /// When none does in all patience.
    pub fn wait_until_refused(&self) {
        let resets = "awk '/^Tcp: [0-9]/ { print $15 }' /proc/net/snmp";
        let before: u64 = number(&self.lab.sh(resets, &[]));
        until("a machine is refused a connection", || {
            (number(&self.lab.sh(resets, &[])) > before).then_some(())
        });
    }
}

fn number(text: &str) -> u64 {
    text.trim().parse().unwrap_or_else(|e| panic!("{text:?} is no number: {e}"))
}
