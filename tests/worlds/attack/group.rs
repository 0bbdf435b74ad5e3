//! A control group with a limit of memory, of version 1 or 2, below the one that the test runs in.

use std::fs;
use std::path::{Path, PathBuf};
use std::process;

/// It goes with the value.
pub(crate) struct Group {
    dir: PathBuf,
    files: Files,
}

/// The names of a group's files.
struct Files {
    limit: &'static str,
    used: &'static str,
    highest: &'static str,
    events: &'static str,
}

const V1: Files = Files {
    limit: "memory.limit_in_bytes",
    used: "memory.usage_in_bytes",
    highest: "memory.max_usage_in_bytes",
    events: "memory.oom_control",
};
const V2: Files =
    Files { limit: "memory.max", used: "memory.current", highest: "memory.peak", events: "memory.events" };

impl Group {
    pub(crate) fn new(bytes: u64) -> Self {
        let groups = fs::read_to_string("/proc/self/cgroup").expect("/proc is there");
        let v1 = groups.lines().find_map(|line| line.split_once(":memory:").map(|(_, path)| path.to_owned()));
        let name = format!("pairing-attack-{}", process::id());
        let (root, files) = match &v1 {
            Some(path) => {
                let own = Path::new("/sys/fs/cgroup/memory").join(path.trim_start_matches('/'));
                (if own.exists() { own } else { "/sys/fs/cgroup/memory".into() }, V1)
            }
            None => {
                // A group with processes has no groups with controllers below it, so it is made at the top.
                let _ = fs::write("/sys/fs/cgroup/cgroup.subtree_control", "+memory");
                (PathBuf::from("/sys/fs/cgroup"), V2)
            }
        };
        let dir = root.join(name);
        fs::create_dir(&dir).unwrap_or_else(|err| panic!("{}: {err}", dir.display()));
        let group = Self { dir, files };
        fs::write(group.dir.join(group.files.limit), bytes.to_string()).expect("a limit can be set");
        group
    }

    /// The file that takes the number of a process.
    pub(crate) fn processes(&self) -> PathBuf {
        self.dir.join("cgroup.procs")
    }

    /// Bytes in use, the file cache among them.
    pub(crate) fn used(&self) -> u64 {
        self.number(self.files.used)
    }

    /// The most that was in use, in bytes; the file cache takes what is free.
    pub(crate) fn highest(&self) -> u64 {
        self.number(self.files.highest)
    }

    /// Processes that were killed for want of memory.
    pub(crate) fn kills(&self) -> u64 {
        let events = fs::read_to_string(self.dir.join(self.files.events)).unwrap_or_default();
        let line = events.lines().find_map(|line| line.strip_prefix("oom_kill "));
        line.and_then(|count| count.trim().parse().ok()).expect("the kernel counts them")
    }

    fn number(&self, file: &str) -> u64 {
        let text = fs::read_to_string(self.dir.join(file)).unwrap_or_default();
        text.trim().parse().unwrap_or_default()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Its processes have ended, or end now; the kernel takes a moment.
        for _ in 0..100 {
            if fs::remove_dir(&self.dir).is_ok() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }
}
