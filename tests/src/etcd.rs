//! Machines of a test's own: network namespaces on one bridge, with members of an etcd cluster and servers in them. Needs
//! root.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use nix::sys::signal::Signal;
use nix::unistd::geteuid;
use tempfile::TempDir;

use crate::binaries;
use crate::process::Process;
use crate::wait::until;

/// Whether worlds of several machines can be built here. Where tests are not run by hand, they must.
///
/// # Panics
/// When they cannot, though the environment says CI.
#[must_use]
pub fn can_be_built() -> bool {
    let has = |program: &str| {
        Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
    };
    let missing = [("etcd", "etcd-server"), ("etcdctl", "etcd-client"), ("ip", "iproute2")]
        .into_iter()
        .find(|(program, _)| !has(program));
    let why = match missing {
        Some((_, package)) => format!("{package} is not installed"),
        None if !geteuid().is_root() => "it takes root for network namespaces".to_owned(),
        None => return true,
    };
    assert!(std::env::var_os("CI").is_none(), "{why}");
    eprintln!("left out: {why}");
    false
}

fn ip(arguments: &[&str]) {
    let output = Command::new("ip").args(arguments).output().expect("ip is installed");
    assert!(output.status.success(), "ip {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// The library that shows a program another time.
fn faketime() -> PathBuf {
    let below = |dir: &Path| Some(std::fs::read_dir(dir).ok()?.flatten().map(|entry| entry.path()).collect());
    let dirs: Vec<PathBuf> = below(Path::new("/usr/lib")).unwrap_or_default();
    let found =
        dirs.iter().map(|dir| dir.join("faketime/libfaketime.so.1")).find(|library| library.is_file());
    found.expect("faketime is installed")
}

/// A bridge with machines.
#[derive(Debug)]
pub struct Network {
    name: String,
    subnet: u8,
    machines: Vec<String>,
}

impl Network {
    /// A network of so many machines.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn new(machines: u8) -> Self {
        /// The kernel takes a moment to remove the links of one that is dropped.
        static MADE: AtomicU32 = AtomicU32::new(0);
        let id = std::process::id() % 10_000 * 10 + MADE.fetch_add(1, Ordering::Relaxed) % 10;
        let subnet = u8::try_from(id % 200).expect("it is less than 200") + 20;
        let mut network = Self { name: format!("wb{id}"), subnet, machines: Vec::new() };
        ip(&["link", "add", &network.name, "type", "bridge"]);
        ip(&["addr", "add", &format!("10.98.{subnet}.254/24"), "dev", &network.name]);
        ip(&["link", "set", &network.name, "up"]);
        for number in 1..=machines {
            let machine = format!("wm{id}-{number}");
            let (inside, outside) = (format!("vi{id}-{number}"), format!("vo{id}-{number}"));
            ip(&["netns", "add", &machine]);
            network.machines.push(machine.clone());
            ip(&["link", "add", &outside, "type", "veth", "peer", "name", &inside, "netns", &machine]);
            ip(&["link", "set", &outside, "master", &network.name, "up"]);
            ip(&["-n", &machine, "addr", "add", &format!("10.98.{subnet}.{number}/24"), "dev", &inside]);
            ip(&["-n", &machine, "link", "set", &inside, "up"]);
            ip(&["-n", &machine, "link", "set", "lo", "up"]);
        }
        network
    }

    /// The address of a machine.
    #[must_use]
    pub fn address(&self, machine: usize) -> String {
        format!("10.98.{}.{}", self.subnet, machine + 1)
    }

    /// A program on a machine.
    #[must_use]
    pub fn command(&self, machine: usize, program: &Path) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.machines[machine]]).arg(program).stdin(Stdio::null());
        command
    }

    /// Drops everything that one machine sends another.
    pub fn cut(&self, from: usize, to: usize) {
        ip(&["-n", &self.machines[from], "route", "add", "blackhole", &self.address(to)]);
    }

    /// Undoes [`Network::cut`].
    pub fn mend(&self, from: usize, to: usize) {
        ip(&["-n", &self.machines[from], "route", "del", "blackhole", &self.address(to)]);
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for machine in &self.machines {
            let _ = Command::new("ip").args(["netns", "del", machine]).status();
        }
        let _ = Command::new("ip").args(["link", "del", &self.name]).status();
    }
}

/// How many members and servers there are. Members have machines 0 to 2, servers 3 to 5.
pub const MEMBERS: usize = 3;

/// Three members of etcd and three servers, each on a machine of its own.
#[derive(Debug)]
pub struct Cluster {
    members: Vec<Option<Process>>,
    servers: Vec<Option<Process>>,
    /// What each server's clock is ahead, as faketime takes it.
    clocks: [Option<&'static str>; MEMBERS],
    /// Options for each member.
    options: Vec<String>,
    /// The network, which goes last.
    pub network: Network,
    dir: TempDir,
}

impl Cluster {
    /// Starts all of them.
    ///
    /// # Panics
    /// When one does not come up.
    #[must_use]
    pub fn start(options: &[&str], clocks: [Option<&'static str>; MEMBERS]) -> Self {
        let mut cluster = Self { clocks, ..Self::of_members(options) };
        for server in 0..MEMBERS {
            cluster.start_server(server);
        }
        cluster
    }

    /// Starts the members alone.
    ///
    /// # Panics
    /// When one does not come up.
    #[must_use]
    pub fn of_members(options: &[&str]) -> Self {
        let network = Network::new(6);
        let dir = TempDir::with_prefix("etcd-world-").expect("a temporary directory can be made");
        let mut cluster = Self {
            members: (0..MEMBERS).map(|_| None).collect(),
            servers: (0..MEMBERS).map(|_| None).collect(),
            clocks: [None; MEMBERS],
            options: options.iter().map(ToString::to_string).collect(),
            network,
            dir,
        };
        for member in 0..MEMBERS {
            cluster.start_member(member);
        }
        cluster
    }

    /// The URLs of the members, with commas between them.
    #[must_use]
    pub fn urls(&self) -> String {
        let urls: Vec<_> = (0..MEMBERS).map(|member| self.client_url(member)).collect();
        urls.join(",")
    }

    fn client_url(&self, member: usize) -> String {
        format!("http://{}:2379", self.network.address(member))
    }

    fn peer_url(&self, member: usize) -> String {
        format!("http://{}:2380", self.network.address(member))
    }

    /// Starts a member, on the data that it has.
    pub fn start_member(&mut self, member: usize) {
        let all: Vec<_> = (0..MEMBERS).map(|member| format!("m{member}={}", self.peer_url(member))).collect();
        let mut command = self.network.command(member, Path::new("etcd"));
        command.args(["--name", &format!("m{member}"), "--log-level", "error"]).arg("--data-dir");
        command.arg(self.dir.path().join(format!("m{member}")));
        command.args(["--listen-client-urls", &self.client_url(member)]);
        command.args(["--advertise-client-urls", &self.client_url(member)]);
        command.args(["--listen-peer-urls", &self.peer_url(member)]);
        command.args(["--initial-advertise-peer-urls", &self.peer_url(member)]);
        command.args(["--initial-cluster", &all.join(",")]).args(&self.options);
        self.members[member] = Some(Process::start(&format!("etcd {member}"), &mut command));
    }

    /// Starts a server, and waits until it is ready.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn start_server(&mut self, server: usize) {
        let mut command = self.network.command(MEMBERS + server, &binaries::server());
        if let Some(offset) = self.clocks[server] {
            // Not by the program faketime, which stays between the server and its signals. Only the wall clock is another.
            command
                .env("LD_PRELOAD", faketime())
                .envs([("FAKETIME", offset), ("FAKETIME_DONT_FAKE_MONOTONIC", "1")]);
        }
        command.args(["serve", "--listen", &self.server(server).to_string()]);
        command.args(["--etcd", &self.urls(), "--max-creations-per-hour", "0"]);
        command.arg("--data-dir").arg(self.dir.path().join(format!("s{server}")));
        let mut process = Process::start(&format!("server {server}"), &mut command);
        let _ = process.line_after("listening on ");
        self.servers[server] = Some(process);
    }

    /// Where a server listens.
    ///
    /// # Panics
    /// Never: a machine has an address.
    #[must_use]
    pub fn server(&self, server: usize) -> SocketAddr {
        format!("{}:8000", self.network.address(MEMBERS + server)).parse().expect("an address and a port")
    }

    /// The member that leads, once there is one.
    #[must_use]
    pub fn leader(&self) -> usize {
        until("etcd has a leader", || (0..MEMBERS).find(|member| self.leads(*member)))
    }

    fn leads(&self, member: usize) -> bool {
        if self.members[member].is_none() {
            return false;
        }
        let status = self.etcdctl(member, &["endpoint", "status", "--write-out", "json"]);
        let Some(status) = status.and_then(|text| serde_json::from_str::<serde_json::Value>(&text).ok())
        else {
            return false;
        };
        let status = &status[0]["Status"];
        status["leader"]
            .as_u64()
            .is_some_and(|leader| leader != 0 && Some(leader) == status["header"]["member_id"].as_u64())
    }

    /// Runs etcdctl against a member; `None`: it fails.
    #[must_use]
    pub fn etcdctl(&self, member: usize, arguments: &[&str]) -> Option<String> {
        let mut command = Command::new("etcdctl");
        command.env("ETCDCTL_API", "3").args([
            "--command-timeout",
            "2s",
            "--endpoints",
            &self.client_url(member),
        ]);
        let output = command.args(arguments).stdin(Stdio::null()).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Ends a member as a power cut would.
    pub fn kill_member(&mut self, member: usize) {
        self.members[member] = None;
    }

    /// Ends a server as a power cut would.
    pub fn kill_server(&mut self, server: usize) {
        self.servers[server] = None;
    }

    /// Sends a member a signal.
    ///
    /// # Panics
    /// When it does not run.
    pub fn signal_member(&self, member: usize, signal: Signal) {
        self.members[member].as_ref().expect("it runs").signal(signal);
    }

    /// Sends a server a signal.
    ///
    /// # Panics
    /// When it does not run.
    pub fn signal_server(&self, server: usize, signal: Signal) {
        self.servers[server].as_ref().expect("it runs").signal(signal);
    }
}

/// Whether etcd is there for worlds that take no network of their own. Where tests are not run by hand, it must be.
///
/// # Panics
/// When it is not, though the environment says CI.
#[must_use]
pub fn is_installed() -> bool {
    let found = Command::new("etcd").arg("--version").stdout(Stdio::null()).status().is_ok();
    assert!(found || std::env::var_os("CI").is_none(), "etcd-server is not installed");
    if !found {
        eprintln!("left out: etcd-server is not installed");
    }
    found
}

/// A free address on loopback.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn free() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    listener.local_addr().expect("it has an address")
}

/// An etcd of one member, on loopback.
#[derive(Debug)]
pub struct Member {
    url: String,
    client: SocketAddr,
    peers: String,
    process: Process,
    dir: TempDir,
}

impl Member {
    /// With further options.
    ///
    /// # Panics
    /// When it does not come up.
    #[must_use]
    pub fn start(options: &[&str]) -> Self {
        Self::at("http", free(), None, options)
    }

    /// At this address, which was free.
    ///
    /// # Panics
    /// When it does not come up.
    #[must_use]
    pub fn listening(address: SocketAddr) -> Self {
        Self::at("http", address, None, &[])
    }

    /// With what is in a snapshot that etcdctl has saved.
    ///
    /// # Panics
    /// When that cannot be restored.
    #[must_use]
    pub fn restored(snapshot: &Path) -> Self {
        Self::at("http", free(), Some(snapshot), &[])
    }

    /// With a certificate, which the options name.
    ///
    /// # Panics
    /// When it does not come up.
    #[must_use]
    pub fn with_tls(options: &[&str]) -> Self {
        Self::at("https", free(), None, options)
    }

    fn at(scheme: &str, client: SocketAddr, snapshot: Option<&Path>, options: &[&str]) -> Self {
        let dir = TempDir::with_prefix("etcd-").expect("a temporary directory can be made");
        let (url, peers) = (format!("{scheme}://{client}"), format!("http://{}", free()));
        if let Some(snapshot) = snapshot {
            let mut restore = Command::new("etcdctl");
            restore.env("ETCDCTL_API", "3").args(["snapshot", "restore"]).arg(snapshot);
            let output = restore.args(where_it_is(&dir, &peers)).output();
            let output = output.expect("etcd-client is installed");
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
        let process = run(&dir, &url, &peers, options);
        until("etcd listens", || std::net::TcpStream::connect(client).ok());
        Self { url, client, peers, process, dir }
    }

    /// Ends it as a power cut would.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again, on the data that it has, with these options.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn start_again(&mut self, options: &[&str]) {
        self.process = run(&self.dir, &self.url, &self.peers, options);
        until("etcd listens", || std::net::TcpStream::connect(self.client).ok());
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Its URL.
    #[must_use]
    pub fn url(&self) -> String {
        self.url.clone()
    }

    /// Runs etcdctl against it; what it prints.
    ///
    /// # Panics
    /// When that fails.
    pub fn etcdctl(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("etcdctl");
        command.env("ETCDCTL_API", "3").args(["--command-timeout", "60s", "--endpoints", &self.url]);
        command.args(arguments).stdin(Stdio::null());
        let output = command.output().expect("etcd-client is installed");
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

/// Where a member of one has its data, and what its cluster is.
fn where_it_is(dir: &TempDir, peers: &str) -> [String; 6] {
    let data = dir.path().join("data").display().to_string();
    let (own, all) = (peers.to_owned(), format!("default={peers}"));
    ["--data-dir", &data, "--initial-advertise-peer-urls", &own, "--initial-cluster", &all].map(str::to_owned)
}

fn run(dir: &TempDir, url: &str, peers: &str, options: &[&str]) -> Process {
    let mut command = Command::new("etcd");
    command.args(where_it_is(dir, peers)).args(["--log-level", "error", "--listen-peer-urls", peers]);
    command.args(["--listen-client-urls", url, "--advertise-client-urls", url]);
    Process::start("etcd", command.args(options).stdin(Stdio::null()))
}
