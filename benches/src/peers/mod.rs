//! Who is compared: how each is started for a run of its own, and how it is told the same thing in its own protocol.

mod bare_hyper;
mod etcd;
pub(crate) mod http;
mod nchan;
mod nginx;
pub(crate) mod ours;
mod redis;

use std::ffi::OsString;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::error::{Error, Result, WithContext};
use crate::load::Exchange;
use crate::load::connection::Target;
use crate::load::wire::Framing;
use crate::machine::Cores;
use crate::process::Process;

/// The key that every peer is asked for, and its value: a master's address.
pub(crate) const KEY: &str = "master_ip";
/// Its value.
pub(crate) const VALUE: &str = "10.20.30.40";

/// What the peers answer where the service cannot be asked for its own answer.
const DEFAULT_ANSWER: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: text/plain; charset=utf-8\r\n\r\nmaster_ip: 10.20.30.40";

/// One of those that are compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Peer {
    /// The service, from this binary.
    Ours(Build),
    /// hyper with nothing around it.
    BareHyper(Build),
    /// nginx, a constant answer.
    Nginx,
    /// redis, every write synced.
    Redis,
    /// etcd, through its JSON gateway.
    Etcd,
    /// nginx with the nchan module, which parks long polls.
    Nchan,
}

/// How a Rust program was built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Build {
    /// For the host, glibc.
    Host,
    /// Static, musl: what is shipped.
    Musl,
}

/// Where a run keeps things and finds programs.
#[derive(Debug)]
pub(crate) struct Bench {
    /// One core each for server and client.
    pub(crate) cores: Cores,
    /// Where data of a run go: a directory on a real disk.
    pub(crate) scratch: TempDir,
    /// The host's binaries, of the profile that this one is of.
    host: PathBuf,
    /// The static binaries.
    musl: PathBuf,
    /// The agent's and its yardstick's, which are built for size.
    small: PathBuf,
    /// What servers are started under: nothing, or a profiler and its flags.
    pub(crate) wrapper: Vec<OsString>,
    /// The service's answer to GET of a key, which its peers repeat byte by byte.
    answer: String,
}

/// A peer that serves, with what to say to it.
#[derive(Debug)]
pub(crate) struct Server {
    /// The program.
    pub(crate) process: Process,
    /// Where it listens.
    pub(crate) target: Target,
    /// Reads the key.
    pub(crate) get: Exchange,
    /// Waits for a key that is not there.
    pub(crate) wait: Option<Wait>,
    /// What it keeps on disk goes here, and away with this; after the process, since fields are dropped in order.
    #[expect(dead_code, reason = "it is there to be dropped")]
    dir: TempDir,
}

/// How to wait.
#[derive(Debug, Clone)]
pub(crate) struct Wait {
    /// Waits.
    pub(crate) wait: Exchange,
    /// Messages that answer it at once.
    pub(crate) greetings: usize,
    /// Wakes all waiting clients.
    pub(crate) trigger: Exchange,
}

/// Writes one durable request after the other into a buffer.
pub(crate) type Writes = Box<dyn FnMut(usize, &mut Vec<u8>)>;

impl Peer {
    /// Starts it with an empty store but for the key.
    pub(crate) fn start(&self, bench: &Bench) -> Result<Server> {
        match self {
            Self::Ours(build) => ours::start(bench, *build, None),
            Self::BareHyper(build) => bare_hyper::start(bench, *build),
            Self::Nginx => nginx::start(bench),
            Self::Redis => redis::start(bench),
            Self::Etcd => etcd::start(bench),
            Self::Nchan => nchan::start(bench),
        }
    }

    /// Durable writes of new keys at random places of a store, and how they are acknowledged. Bare hyper keeps nothing: it
    /// has what any service on hyper takes at least. `None` where a write would be another thing altogether.
    pub(crate) fn writes(&self, server: &Server, places: usize) -> Result<Option<(Framing, Writes)>> {
        Ok(match self {
            Self::Ours(_) => Some((Framing::Http, ours::writes(server, places)?)),
            Self::Redis => Some((Framing::Resp, redis::writes(places))),
            Self::Etcd => Some((Framing::Http, etcd::writes(places))),
            Self::BareHyper(_) => Some((Framing::Http, bare_hyper::writes())),
            Self::Nginx | Self::Nchan => None,
        })
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ours(Build::Host) => "ours",
            Self::Ours(Build::Musl) => "ours, musl",
            Self::BareHyper(Build::Host) => "bare hyper",
            Self::BareHyper(Build::Musl) => "bare hyper, musl",
            Self::Nginx => "nginx",
            Self::Redis => "redis",
            Self::Etcd => "etcd",
            Self::Nchan => "nchan",
        })
    }
}

impl Bench {
    /// Finds the programs below cargo's target directory, and asks the service for the answer that its peers repeat.
    pub(crate) fn prepare(cores: Cores, target: &Path, out: &Path) -> Result<Self> {
        let program = std::env::current_exe().context("find this program")?;
        let host = program.parent().map_or_else(PathBuf::new, Path::to_owned);
        let musl = target.join("x86_64-unknown-linux-musl");
        let small = [musl.join("agent"), target.join("agent")];
        let small = small
            .into_iter()
            .find(|dir| dir.join("cernvm-cluster-agent").exists())
            .unwrap_or_else(|| host.clone());
        let musl = musl.join(host.file_name().unwrap_or_default());
        let scratch = tempfile::tempdir_in(out).context_on("make a directory in", out)?;
        let answer = String::from(DEFAULT_ANSWER);
        let mut bench = Self { cores, scratch, host, musl, small, wrapper: Vec::new(), answer };
        match ours::start(&bench, Build::Host, None) {
            Ok(server) => bench.answer = http::ask(&server.target, &server.get)?,
            Err(trouble) => eprintln!("the peers send an answer of their own: {trouble}"),
        }
        Ok(bench)
    }

    /// A binary of the workspace.
    pub(crate) fn built(&self, name: &str, build: Build) -> Result<PathBuf> {
        let path = match build {
            Build::Host => self.host.join(name),
            Build::Musl => self.musl.join(name),
        };
        path.exists().then_some(path).ok_or_else(|| Error::Missing(format!("{name} ({build:?} build)")))
    }

    /// A binary that was built for size.
    pub(crate) fn small(&self, name: &str) -> Result<PathBuf> {
        let path = self.small.join(name);
        path.exists().then_some(path).ok_or_else(|| Error::Missing(name.to_owned()))
    }

    /// A server's command line, under the wrapper if there is one.
    fn command(&self, program: &Path) -> Command {
        let Some((wrapper, flags)) = self.wrapper.split_first() else { return Command::new(program) };
        let mut command = Command::new(wrapper);
        command.args(flags).arg(program);
        command
    }

    /// A directory for one run of one peer.
    pub(crate) fn directory(&self) -> Result<TempDir> {
        tempfile::tempdir_in(self.scratch.path()).context("make a directory")
    }
}

impl Server {
    /// Puts together what every peer has; waiting comes on top where there is any.
    fn new(process: Process, address: SocketAddr, get: Exchange, dir: TempDir) -> Self {
        Self { process, target: Target { address, tls: None }, get, wait: None, dir }
    }

    fn waiting(mut self, wait: Wait) -> Self {
        self.wait = Some(wait);
        self
    }
}

/// A program of the system.
pub(crate) fn installed(program: &str) -> Result<PathBuf> {
    let directories = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];
    let mut candidates = directories.iter().map(|directory| Path::new(directory).join(program));
    candidates.find(|path| path.exists()).ok_or_else(|| Error::Missing(program.to_owned()))
}

/// Of which versions the peers are, in their own words.
pub(crate) fn versions() -> Vec<String> {
    let asked =
        [("nginx", "-v"), ("redis-server", "--version"), ("etcd", "--version"), ("curl", "--version")];
    let ask = |(program, flag): (&str, &str)| {
        let output = Command::new(installed(program).ok()?).arg(flag).output().ok()?;
        let said = [output.stdout, output.stderr].concat();
        Some(String::from_utf8_lossy(&said).lines().next()?.to_owned())
    };
    asked.into_iter().filter_map(ask).collect()
}
