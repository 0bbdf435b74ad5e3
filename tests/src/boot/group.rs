//! A control group of a lab's own, in the hierarchies that systemd uses.
//!
//! systemd-nspawn makes the groups `payload` and `supervisor` below the one that it is started in, and hands the first
//! to the machine's systemd, which takes everything in it for its own. Two machines started in the same group share
//! that one, and each removes the other's groups as its own units of the same names end: a unit that is just being
//! started in one then fails with 219/CGROUP.

use std::path::{Path, PathBuf};
use std::time::Instant;
use std::{fs, io};

use crate::wait::{PATIENCE, PAUSE};

/// Where systemd looks for its hierarchy, in that of the three layouts that a machine has, and what /proc calls it.
/// The hybrid one has the first two: systemd uses the first and mirrors it into the second.
const HIERARCHIES: [(&str, &str); 3] =
    [("/sys/fs/cgroup/unified", ""), ("/sys/fs/cgroup/systemd", "name=systemd"), ("/sys/fs/cgroup", "")];

/// A group, removed with the value, when what ran in it has been killed.
#[derive(Debug)]
pub(crate) struct Group(Vec<PathBuf>);

impl Group {
    /// Makes a group below this process's own.
    pub(crate) fn new(name: &str) -> Self {
        let groups = fs::read_to_string("/proc/self/cgroup").expect("the kernel has control groups");
        let own = |controller| {
            let own = groups.lines().find_map(|line| {
                let (_, of) = line.split_once(':')?;
                of.strip_prefix(controller)?.strip_prefix(":/")
            });
            own.expect("this process is in a group of every hierarchy")
        };
        let is_there = |(place, _): &&(&str, &str)| Path::new(place).join("cgroup.procs").exists();
        let hierarchies = HIERARCHIES.iter().filter(is_there);
        let paths = hierarchies.map(|(place, controller)| Path::new(place).join(own(controller)).join(name));
        let made = Self(paths.collect());
        for path in made.paths() {
            fs::create_dir(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        }
        made
    }

    /// Where it is, in each hierarchy.
    pub(crate) fn paths(&self) -> &[PathBuf] {
        &self.0
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let began = Instant::now();
        for path in self.paths() {
            // A process that was killed a moment ago is still in it.
            while let Err(err) = remove(path) {
                if began.elapsed() > PATIENCE {
                    println!("the control group {} stays: {err}", path.display());
                    break;
                }
                std::thread::sleep(PAUSE);
            }
        }
    }
}

/// Removes a group and those in it; the files of a group are the kernel's and go with it.
fn remove(group: &Path) -> io::Result<()> {
    for entry in fs::read_dir(group)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove(&entry.path())?;
        }
    }
    fs::remove_dir(group)
}
