//! The root file system of one machine: an overlay over a cached one, which lasts as long as the lab.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::boot::debian::Debian;
use crate::boot::lab::Lab;

/// A machine's root, whether the machine runs or not.
#[derive(Debug)]
pub struct Root<'lab> {
    lab: &'lab Lab,
    path: PathBuf,
}

impl<'lab> Root<'lab> {
    /// A fresh root.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn new(lab: &'lab Lab, debian: &Debian, name: &str) -> Self {
        let dir = lab.dir().join(name);
        lab.sh(
            "mkdir -p \"$1/top\"
            mount -t tmpfs -o mode=755 tmpfs \"$1/top\"
            mkdir \"$1/top/changes\" \"$1/top/work\" \"$1/root\"
            mount -t overlay -o \"lowerdir=$2,upperdir=$1/top/changes,workdir=$1/top/work\" overlay \"$1/root\"",
            &[dir.as_os_str(), debian.root().as_os_str()],
        );
        Self { lab, path: dir.join("root") }
    }

    /// Where it is, for a program inside the lab.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Puts a program and the files that belong to it there, as `make install` does.
    ///
    /// # Panics
    /// When the script fails.
    pub fn install(&self, part: &str, binary: &Path) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/install.sh");
        self.lab.sh(
            "DESTDIR=\"$1\" \"$2\" \"$3\" \"$4\"",
            &[self.path.as_os_str(), script.as_os_str(), part.as_ref(), binary.as_os_str()],
        );
    }

    /// Where a file of it is for this process.
    #[must_use]
    pub fn outside(&self, path: &str) -> PathBuf {
        self.lab.outside(&self.path.join(path.trim_start_matches('/')))
    }

    /// Writes a file.
    ///
    /// # Panics
    /// When that fails.
    pub fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.outside(path);
        std::fs::create_dir_all(path.parent().expect("a file has a directory"))
            .expect("a directory can be made");
        std::fs::write(&path, content).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    }

    /// Reads a file as the machine sees it, symbolic links and all; `None` when there is none.
    ///
    /// # Panics
    /// When the lab is gone.
    #[must_use]
    pub fn read(&self, path: &str) -> Option<String> {
        let read = self.command("cat").arg(path).output().expect("nsenter starts");
        read.status.success().then(|| String::from_utf8_lossy(&read.stdout).into_owned())
    }

    /// A program of this root, run in it as in a chroot.
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        let mut command = self.lab.command("chroot");
        command.arg(&self.path).arg(program);
        command
    }

    /// Runs a shell script in it and gives what it printed.
    pub fn sh(&self, script: &str) -> String {
        self.lab.sh("exec chroot \"$1\" sh -e -c \"$2\"", &[self.path.as_os_str(), script.as_ref()])
    }
}
