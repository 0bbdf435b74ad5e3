//! A program that is being measured: started on the server's core, asked for its CPU time and memory, and stopped.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::time::ClockId;
use nix::unistd::Pid;

use crate::error::{Error, Result, WithContext};
use crate::machine::Cores;

/// How long a server may take to accept, and to stop when asked, before the run gives it up.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running program. Stopped when dropped.
#[derive(Debug)]
pub(crate) struct Process {
    name: String,
    child: Child,
    said: BufReader<ChildStdout>,
    log: PathBuf,
}

/// Bytes of memory that a process has.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Memory {
    /// Resident, shared pages in full.
    pub(crate) rss: f64,
    /// Resident, shared pages by share.
    pub(crate) pss: f64,
}

impl Process {
    /// Starts `command` on the server's core, its errors into a file in `dir`.
    pub(crate) fn start(name: &str, command: &mut Command, cores: Cores, dir: &Path) -> Result<Self> {
        let log = dir.join("log");
        let errors = File::create(&log).context_on("create", &log)?;
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(errors);
        let mut child = cores.on_the_server_s(|| command.spawn())?.context(format!("start {name}"))?;
        let said = BufReader::new(child.stdout.take().expect("it is piped"));
        Ok(Self { name: name.to_owned(), child, said, log })
    }

    /// Reads what the program prints up to a line with `marker`, and gives what follows the marker.
    pub(crate) fn line_after(&mut self, marker: &str) -> Result<String> {
        let mut line = String::new();
        while self.said.read_line(&mut line).context(format!("read what {} prints", self.name))? > 0 {
            if let Some((_, rest)) = line.split_once(marker) {
                return Ok(rest.trim().to_owned());
            }
            line.clear();
        }
        Err(self.unexpected("ended before it was ready"))
    }

    /// Waits until something accepts at `address`.
    pub(crate) fn wait_for(&mut self, address: SocketAddr) -> Result<()> {
        let begin = Instant::now();
        while TcpStream::connect(address).is_err() {
            if self.child.try_wait().context("look after a child")?.is_some() {
                return Err(self.unexpected("ended before it accepted"));
            }
            if begin.elapsed() > PATIENCE {
                return Err(self.unexpected("accepted nothing"));
            }
            sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// CPU time of all its threads so far, also of those that ended; nanosecond resolution (the process's CPU clock,
    /// clock_getcpuclockid(3)).
    pub(crate) fn cpu(&self) -> Result<Duration> {
        let clock = ClockId::pid_cpu_clock_id(self.pid()).context("find a process's clock")?;
        Ok(clock.now().context("read a process's clock")?.into())
    }

    /// Its memory now.
    pub(crate) fn memory(&self) -> Result<Memory> {
        let path = PathBuf::from(format!("/proc/{}/smaps_rollup", self.pid()));
        let text = fs::read_to_string(&path).context_on("read", &path)?;
        let bytes = |name: &str| {
            let line = text.lines().find(|line| line.starts_with(name))?;
            line.split_whitespace().nth(1)?.parse::<f64>().ok().map(|kilobytes| kilobytes * 1024.0)
        };
        Ok(Memory { rss: bytes("Rss:").unwrap_or(0.0), pss: bytes("Pss:").unwrap_or(0.0) })
    }

    /// Waits until it has next to nothing more to do: three times in a row less than 5 ms of CPU time in 100 ms
    /// (an idle etcd ticks), at most 30 s.
    pub(crate) fn settle(&self) -> Result<()> {
        let begin = Instant::now();
        let mut quiet = 0;
        let mut before = self.cpu()?;
        while quiet < 3 && begin.elapsed() < PATIENCE {
            sleep(Duration::from_millis(100));
            let now = self.cpu()?;
            quiet = if now - before < Duration::from_millis(5) { quiet + 1 } else { 0 };
            before = now;
        }
        Ok(())
    }

    /// Asks it to stop and waits until it has.
    pub(crate) fn stop(mut self) -> Result<()> {
        self.end()
    }

    fn end(&mut self) -> Result<()> {
        if self.child.try_wait().context("look after a child")?.is_some() {
            return Ok(());
        }
        kill(self.pid(), Signal::SIGTERM).context(format!("stop {}", self.name))?;
        let begin = Instant::now();
        while self.child.try_wait().context("look after a child")?.is_none() {
            if begin.elapsed() > PATIENCE {
                self.child.kill().and_then(|()| self.child.wait()).context(format!("kill {}", self.name))?;
                return Err(self.unexpected("did not stop when asked"));
            }
            sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }

    /// An error with the end of the program's log.
    fn unexpected(&self, did: &str) -> Error {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let tail = lines[lines.len().saturating_sub(3)..].join(" | ");
        Error::unexpected(&self.name, format!("{did}: {tail}"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // What could be said about a failure here was said where it mattered, in `stop`.
        let _ = self.end();
    }
}

/// A free address on loopback, below the ports that the kernel gives to clients, so that a crowd
/// of those cannot take it before the server does.
pub(crate) fn free_address() -> Result<SocketAddr> {
    let free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    let port = std::iter::repeat_with(|| fastrand::u16(20_000..32_000)).take(100).find(free);
    let port =
        port.ok_or_else(|| Error::unexpected("this machine", "has no free port from 20000 to 32000"))?;
    Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
}
