//! A real etcd for the tests: one member, in memory.

use std::fs;
use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

/// An etcd that ends with the value, or with the test's process.
pub(super) struct Process {
    pub(super) url: String,
    pid: i32,
    shell: Child,
    _data: TempDir,
}

/// Whether there is an etcd. It must be where tests are not run by hand.
pub(super) fn is_installed() -> bool {
    let found = Command::new("etcd").arg("--version").stdout(Stdio::null()).status().is_ok();
    assert!(found || std::env::var_os("CI").is_none(), "etcd is not installed; apt-get install etcd-server");
    if !found {
        eprintln!("left out: etcd is not installed; as root, apt-get install etcd-server");
    }
    found
}

/// An etcd for the tests that do it no harm.
pub(super) fn shared() -> &'static str {
    static SHARED: LazyLock<Process> = LazyLock::new(|| Process::start(&[]));
    &SHARED.url
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl Process {
    pub(super) fn start(options: &[&str]) -> Self {
        let memory = Path::new("/dev/shm");
        let data = if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() }.unwrap();
        let (client, peer) = (free_port(), free_port());
        let (url, peers) = (format!("http://127.0.0.1:{client}"), format!("http://127.0.0.1:{peer}"));
        // The shell reads until this process is gone, however it ends; then etcd goes too.
        let script = "etcd \"$@\" <&- >\"$0\" 2>&1 & echo $!; read -r _; kill -9 $!";
        let mut command = Command::new("sh");
        command.args(["-c", script]).arg(data.path().join("log"));
        command.arg("--data-dir").arg(data.path().join("data")).args(["--log-level", "error"]);
        command.args(["--listen-client-urls", &url, "--advertise-client-urls", &url]);
        command.args(["--listen-peer-urls", &peers, "--initial-advertise-peer-urls", &peers]);
        command.args(["--initial-cluster", &format!("default={peers}")]).args(options);
        let mut shell = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut pid = String::new();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(shell.stdout.take().unwrap()), &mut pid)
            .unwrap();
        while TcpStream::connect(("127.0.0.1", client)).is_err() {
            std::thread::yield_now();
        }
        Self { url, pid: pid.trim().parse().unwrap(), shell, _data: data }
    }

    /// Stops it. Its threads stop one after the other, and until the last one has, a request may be answered.
    pub(super) fn pause(&self) {
        kill(Pid::from_raw(self.pid), Signal::SIGSTOP).unwrap();
        let threads = format!("/proc/{}/task", self.pid);
        let is_stopped = |thread: fs::DirEntry| {
            let stat = fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
            stat.rsplit_once(") ").is_none_or(|(_, state)| state.starts_with('T'))
        };
        while !fs::read_dir(&threads).unwrap().flatten().all(is_stopped) {
            std::thread::yield_now();
        }
    }

    /// Has it go on.
    pub(super) fn resume(&self) {
        kill(Pid::from_raw(self.pid), Signal::SIGCONT).unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.shell.stdin.take().map(|mut stdin| stdin.write_all(b"\n"));
        let _ = self.shell.wait();
    }
}
