//! The pairing service as a process, on a data directory that outlives it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::api::Api;
use crate::binaries;
use crate::process::Process;
use crate::wait::until;

/// A service on loopback; it ends with the value.
#[derive(Debug)]
pub struct Service {
    process: Option<Process>,
    options: Vec<String>,
    address: SocketAddr,
    url: String,
    data: PathBuf,
    /// How many files it may have open; `None`: as many as we.
    files: Option<u32>,
    /// Its data directory is the only thing in it, unless that is elsewhere.
    _home: TempDir,
}

impl Service {
    /// A fresh service.
    #[must_use]
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// A fresh service with further options of `serve`.
    ///
    /// # Panics
    /// When it does not come up.
    #[must_use]
    pub fn with(options: &[&str]) -> Self {
        let mut service = Self::prepared(options);
        service.resume();
        service
    }

    /// A fresh service whose data go to a directory of the test's.
    ///
    /// # Panics
    /// When it does not come up.
    #[must_use]
    pub fn on(data: &Path, options: &[&str]) -> Self {
        let mut service = Self { data: data.to_owned(), ..Self::prepared(options) };
        service.resume();
        service
    }

    /// A fresh service that does not run yet, whose data go to a directory of the test's.
    #[must_use]
    pub fn stopped_on(data: &Path) -> Self {
        Self { data: data.to_owned(), ..Self::prepared(&[]) }
    }

    /// A fresh service that may have so many files open.
    ///
    /// # Panics
    /// When it does not come up.
    #[must_use]
    pub fn limited_to(files: u32, options: &[&str]) -> Self {
        let mut service = Self { files: Some(files), ..Self::prepared(options) };
        service.resume();
        service
    }

    fn prepared(options: &[&str]) -> Self {
        let home = TempDir::with_prefix("pairing-data-").expect("a temporary directory can be made");
        Self {
            process: None,
            options: options.iter().map(ToString::to_string).collect(),
            address: any_port(),
            url: String::new(),
            data: home.path().join("data"),
            files: None,
            _home: home,
        }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its base URL, as `cvm_service_url` takes it.
    #[must_use]
    pub fn url(&self) -> String {
        self.url.clone()
    }

    /// Its API.
    #[must_use]
    pub fn api(&self) -> Api {
        Api(self.address)
    }

    /// A new pin, made by the program's own command.
    ///
    /// # Panics
    /// When it makes none.
    #[must_use]
    pub fn pin_by_command(&self) -> String {
        let mut command = Command::new(binaries::server());
        command.env_clear().args(["pin", "--url", &self.url()]).stdin(Stdio::null()).stderr(Stdio::inherit());
        let output = command.output().expect("the service's program can be started");
        assert!(output.status.success(), "`pin` ended with {}", output.status);
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Its data directory.
    #[must_use]
    pub fn data_dir(&self) -> PathBuf {
        self.data.clone()
    }

    /// What it has logged since it was last started.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.as_ref().map(Process::stderr).unwrap_or_default()
    }

    /// Waits until its log says this: a line may be on its way when the service answers already.
    ///
    /// # Panics
    /// When it does not say it in all patience.
    pub fn logs(&self, words: &str) {
        until(&format!("the log says {words:?}"), || self.log().contains(words).then_some(()));
    }

    /// Waits for a line that it prints beside its URL, and gives what comes after this beginning of it.
    ///
    /// # Panics
    /// When it does not run, or does not say it in all patience.
    #[must_use]
    pub fn line_after(&mut self, beginning: &str) -> String {
        self.process.as_mut().expect("the service runs").line_after(beginning)
    }

    /// Its process id.
    ///
    /// # Panics
    /// When it does not run.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.as_ref().expect("the service runs").id()
    }

    /// Sends it a signal.
    ///
    /// # Panics
    /// When it does not run.
    pub fn signal(&self, signal: Signal) {
        self.process.as_ref().expect("the service runs").signal(signal);
    }

    /// Waits for the end that it was asked for, and says how it ended.
    ///
    /// # Panics
    /// When it does not run, or does not stop.
    pub fn ended(&mut self) -> ExitStatus {
        self.process.take().expect("the service runs").wait()
    }

    /// Stops it as systemd would, and says how it ended.
    ///
    /// # Panics
    /// When it does not run, or does not stop.
    pub fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::SIGTERM);
        self.ended()
    }

    /// Ends it as a power cut would.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill();
        }
    }

    /// Starts it again on the same data and port.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn resume(&mut self) {
        self.process = Some(Process::start("service", &mut self.command()));
        self.know_address();
    }

    fn know_address(&mut self) {
        self.url = self.line_after("listening on ");
        let address = self.url.rsplit('/').next().map(str::parse);
        self.address = address.and_then(Result::ok).unwrap_or_else(|| panic!("it listens on {:?}", self.url));
    }

    /// Starts it again on the same data and any port, on a disk that may fail: whether it came up. If not, it has ended by
    /// itself, or `is_over` has said so first, and it may still run.
    pub fn try_resume(&mut self, mut is_over: impl FnMut() -> bool) -> bool {
        self.address = any_port();
        let process = self.process.insert(Process::start("service", &mut self.command()));
        let comes_up = until("the service comes up or does not", || {
            let ended = process.has_ended();
            match process.stdout() {
                said if said.contains("listening on ") => Some(true),
                _ => (ended || is_over()).then_some(false),
            }
        });
        if comes_up {
            self.know_address();
        }
        comes_up
    }

    /// Starts it again on the same data and any port: for a test that does so often enough to lose its port to
    /// another program in between.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn resume_elsewhere(&mut self) {
        self.address = any_port();
        self.resume();
    }

    fn command(&self) -> Command {
        let mut command = match self.files {
            None => Command::new(binaries::server()),
            Some(files) => {
                let mut command = Command::new("prlimit");
                command.arg(format!("--nofile={files}")).arg(binaries::server());
                command
            }
        };
        command.env_clear().stdin(Stdio::null()).arg("serve").arg("--data-dir").arg(&self.data);
        command.arg("--listen").arg(self.address.to_string()).args(&self.options);
        command
    }
}

fn any_port() -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0)
}
