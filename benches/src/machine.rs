//! The machine: its cores, which of them serve and which of them ask, and what the report says it is.

use std::fs;
use std::path::Path;
use std::time::Instant;

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use serde::Serialize;

use crate::error::{Result, WithContext};

/// One core for what is measured, one for what measures. The same core when the machine has only one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cores {
    server: usize,
    client: usize,
}

impl Cores {
    /// Takes the first two cores that this process may use, and moves this thread to the client's.
    pub(crate) fn claim() -> Result<Self> {
        let allowed = sched_getaffinity(Pid::from_raw(0)).context("ask for this process's cores")?;
        let mut free = (0..CpuSet::count()).filter(|core| allowed.is_set(*core).unwrap_or(false));
        let server = free.next().unwrap_or(0);
        let cores = Self { server, client: free.next().unwrap_or(server) };
        pin_to(cores.client)?;
        Ok(cores)
    }

    /// Does something, such as starting a program, on the server's core: threads and children inherit it.
    pub(crate) fn on_the_server_s<T>(self, work: impl FnOnce() -> T) -> Result<T> {
        pin_to(self.server)?;
        let done = work();
        pin_to(self.client)?;
        Ok(done)
    }

    /// For a server that is to have the client's core: what it stands on has the other.
    pub(crate) fn beside_the_client(self) -> Self {
        Self { server: self.client, ..self }
    }

    /// Whether server and client have to share a core.
    pub(crate) fn shared(self) -> bool {
        self.server == self.client
    }
}

fn pin_to(core: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(core).context("name a core")?;
    sched_setaffinity(Pid::from_raw(0), &set).context(format!("move to core {core}"))
}

/// What the report says of the machine.
#[derive(Debug, Serialize)]
pub(crate) struct Machine {
    /// The processor's name.
    pub(crate) processor: String,
    /// How many cores there are.
    pub(crate) cores: usize,
    /// Whether server and client shared a core.
    pub(crate) shared_core: bool,
    /// Gigabytes of memory.
    pub(crate) memory_gb: f64,
    /// The kernel's release.
    pub(crate) kernel: String,
    /// Median microseconds for appending 4 KiB to a file in the run's directory and `fdatasync`: what one durable
    /// write costs at least.
    pub(crate) fdatasync_us: f64,
    /// The load average of the last minute when the run began: above 0.5 the run was not alone.
    pub(crate) load_at_start: f64,
}

impl Machine {
    /// Looks at the machine.
    pub(crate) fn examine(cores: Cores, scratch: &Path) -> Result<Self> {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let processors = read("/proc/cpuinfo");
        let field = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        };
        let kilobytes =
            field(&read("/proc/meminfo"), "MemTotal").and_then(|v| v.split(' ').next()?.parse().ok());
        Ok(Self {
            processor: field(&processors, "model name").unwrap_or_else(|| "unknown".into()),
            cores: processors.lines().filter(|line| line.starts_with("processor")).count(),
            shared_core: cores.shared(),
            memory_gb: kilobytes.map_or(0.0, |kb: f64| (kb / 1048.576).round() / 1000.0),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            fdatasync_us: fdatasync_us(scratch)?,
            load_at_start: read("/proc/loadavg")
                .split(' ')
                .next()
                .and_then(|v| v.parse().ok())
                .unwrap_or(0.0),
        })
    }
}

fn fdatasync_us(scratch: &Path) -> Result<f64> {
    use std::io::Write;
    let path = scratch.join("fdatasync");
    let mut file = fs::File::create(&path).context_on("create", &path)?;
    let mut spans = Vec::new();
    for _ in 0..200 {
        let begin = Instant::now();
        file.write_all(&[7; 4096]).and_then(|()| file.sync_data()).context_on("append to", &path)?;
        spans.push(begin.elapsed().as_secs_f64() * 1e6);
    }
    fs::remove_file(&path).context_on("remove", &path)?;
    spans.sort_by(f64::total_cmp);
    Ok(spans[spans.len() / 2])
}
