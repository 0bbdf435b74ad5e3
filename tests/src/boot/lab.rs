//! A network, a mount table and a process table of a test's own.
//!
//! They are namespaces that one helper process keeps alive as long as it can read from this process. However the test
//! ends, that pipe is closed, the helper ends, and since it is the first process of its process namespace the kernel
//! kills whatever still runs there and takes down the interfaces and the mounts. A test that is killed leaves an empty
//! directory and an empty control group behind, and nothing that runs.

use std::ffi::OsStr;
use std::fs::File;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use nix::sched::{CloneFlags, setns};
use tempfile::TempDir;

use crate::boot::group::Group;
use crate::process::Process;

/// The address of the bridge, which is where a pairing service listens.
pub const BRIDGE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 77, 0, 1));
/// The bridge's name.
pub const BRIDGE_NAME: &str = "br0";

/// What the helper does: it says how the world outside calls it (its own /proc is still that of outside), makes the
/// namespaces fit to live in, and holds them.
///
/// The bridge has a fixed address: otherwise it takes the lowest one of its ports, which changes as machines join, and
/// those that were there first talk for seconds to an address that is gone. `/run` is empty since systemd-nspawn keeps
/// locks and directories there that bear the machine's name.
const HOLD: &str = "
    read -r pid rest </proc/self/stat
    mount -t proc proc /proc
    mount -t tmpfs -o mode=755 tmpfs /run
    ip link set lo up
    ip link add br0 type bridge
    ip link set br0 address 02:00:00:77:00:01
    ip address add 10.77.0.1/24 dev br0
    ip link set br0 up
    echo \"held by $pid\"
    exec cat
";

/// Runs a program in groups called `$0` below those that are named before `--`.
const IN_GROUPS: &str = r#"
    while [ "$1" != -- ]; do
        mkdir -p "$1/$0"
        echo $$ >"$1/$0/cgroup.procs"
        shift
    done
    shift
    exec "$@"
"#;

/// Enters the machine of a systemd-nspawn, `$0` the file with its process id, and runs the script `$1` there: its child
/// is the machine's init.
const INSIDE: &str = r#"
    read -r nspawn <"$0"
    init=$(cut --delimiter=" " --fields=1 "/proc/$nspawn/task/$nspawn/children")
    exec nsenter --target "$init" --all --root --wd -- sh -e -c "$1"
"#;

/// The namespaces of a test, with a bridge on which its machines meet.
#[derive(Debug)]
pub struct Lab {
    /// Dropped first: with it goes everything inside, then the directory can be removed.
    holder: Process,
    pid: String,
    group: Group,
    dir: TempDir,
}

impl Lab {
    /// Makes the namespaces.
    ///
    /// # Panics
    /// When this is not root, or a tool is missing; the helper's output says which.
    #[must_use]
    pub fn new() -> Self {
        let mut command = Command::new("unshare");
        command.args(["--net", "--mount", "--pid", "--fork", "--kill-child", "--propagation", "private"]);
        command.args(["sh", "-e", "-c", HOLD]).stdin(Stdio::piped());
        let mut holder = Process::start("lab", &mut command);
        let pid = holder.line_after("held by ");
        let dir = TempDir::with_prefix("lab-").expect("a temporary directory can be made");
        let name = dir.path().file_name().and_then(OsStr::to_str).expect("its name is plain");
        Self { holder, pid, group: Group::new(name), dir }
    }

    /// A directory of this test, the same path inside and outside.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Where a path of the inside, mounts and all, is for this process.
    #[must_use]
    pub fn outside(&self, inside: &Path) -> PathBuf {
        let relative = inside.strip_prefix("/").expect("paths of the inside are absolute");
        Path::new("/proc").join(&self.pid).join("root").join(relative)
    }

    /// The file that stands for its network, for setns(2).
    #[must_use]
    pub fn network(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/ns/net", self.pid))
    }

    /// A program that will run inside, and end with the lab.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--net", "--mount", "--pid", "--target", &self.pid, "--"]).arg(program);
        command.stdin(Stdio::null());
        command
    }

    /// A program that will run inside and can be told to stop by [`Lab::signal`]: a signal for the process that this
    /// command starts does not reach it.
    pub fn resident(&self, name: &str, program: impl AsRef<OsStr>) -> Command {
        let mut command = self.command("sh");
        command.args(["-c", "echo $$ >\"$0\" && exec \"$@\""]).arg(self.pid_file(name)).arg(program);
        command
    }

    /// The same in a control group of its own.
    pub fn grouped(&self, name: &str, program: impl AsRef<OsStr>) -> Command {
        let mut command = self.resident(name, "sh");
        command.args(["-e", "-c", IN_GROUPS, name]).args(self.group.paths()).arg("--").arg(program);
        command
    }

    /// Sends a signal, such as `TERM`, to the resident program of this name.
    ///
    /// # Panics
    /// When there is none.
    pub fn signal(&self, name: &str, signal: &str) {
        self.sh("kill -s \"$1\" \"$(cat \"$2\")\"", &[signal.as_ref(), self.pid_file(name).as_os_str()]);
    }

    /// Runs a shell script in the machine whose systemd-nspawn is the resident program of this name.
    #[must_use]
    pub fn inside(&self, name: &str, script: &str) -> Command {
        let mut command = self.command("sh");
        command.args(["-e", "-c", INSIDE]).arg(self.pid_file(name)).arg(script);
        command
    }

    fn pid_file(&self, name: &str) -> PathBuf {
        self.dir().join(format!("{name}.pid"))
    }

    /// Runs a shell script inside and gives what it printed.
    ///
    /// # Panics
    /// When it fails.
    pub fn sh(&self, script: &str, args: &[&OsStr]) -> String {
        let mut command = self.command("sh");
        command.args(["-e", "-c", script, "sh"]).args(args);
        let Output { status, stdout, stderr } = command.output().expect("nsenter starts");
        let stdout = String::from_utf8_lossy(&stdout).into_owned();
        let stderr = String::from_utf8_lossy(&stderr);
        assert!(status.success(), "{script}\n{status}\n{stdout}{stderr}");
        stdout
    }

    /// Runs something on a thread whose sockets are those of the lab's network.
    ///
    /// # Panics
    /// When that panics.
    pub fn connected<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let network = File::open(self.network()).expect("the lab is there");
        std::thread::scope(|scope| {
            let worker = scope.spawn(move || {
                setns(network, CloneFlags::CLONE_NEWNET).expect("root may enter a network");
                work()
            });
            worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }
}

impl Default for Lab {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        // The directory is removed after this, and must not be while something inside still writes to it.
        self.holder.kill();
    }
}
