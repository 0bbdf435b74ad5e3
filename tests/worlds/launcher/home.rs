//! Where a launcher lives: its types, its data, and the environment that names a cloud.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;
use worlds::binaries;
use worlds::process::Process;

use crate::cloud::Cloud;

/// A password that must be shown nowhere.
pub(crate) const PASSWORD: &str = "demo-password-8cf1";
/// What tokens are signed with.
pub(crate) const JWT_SECRET: &str = "jwt-secret-51c0";

/// A folder with the launcher's types and data.
pub(crate) struct Home {
    dir: TempDir,
}

/// A command that has ended.
pub(crate) struct Done {
    pub(crate) status: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Done {
    /// Asserts how it ended, and that it said so in these words.
    #[track_caller]
    pub(crate) fn expect(&self, status: i32, words: &str) -> &Self {
        let said = format!("{}{}", self.stdout, self.stderr);
        assert_eq!(self.status, status, "the launcher said:\n{said}");
        assert!(said.contains(words), "the launcher does not say {words:?}, but:\n{said}");
        self
    }
}

impl Home {
    /// One with the example types.
    pub(crate) fn new() -> Self {
        let dir = TempDir::with_prefix("launcher-").expect("a temporary directory can be made");
        let types = repository().join("packaging/examples/cluster-types");
        std::os::unix::fs::symlink(types, dir.path().join("cluster-types-enabled"))
            .expect("a link can be made");
        Self { dir }
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// The records of launches.
    pub(crate) fn records(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.path().join("data/launches")).into_iter().flatten().flatten();
        let paths = entries.map(|entry| entry.path());
        paths.filter(|path| path.extension().is_some_and(|end| end == "json")).collect()
    }

    /// Starts a command of a user of this cloud.
    pub(crate) fn start(&self, cloud: &Cloud, args: &[&str]) -> Process {
        self.start_with(cloud, args, &[])
    }

    /// The same, with other variables.
    pub(crate) fn start_with(&self, cloud: &Cloud, args: &[&str], variables: &[(&str, &str)]) -> Process {
        let mut command = Command::new(binaries::launcher());
        command.env_clear().current_dir(self.path()).stdin(Stdio::null()).args(args);
        command.env("HOME", self.path()).env("CERNVM_LAUNCHER_TYPES", self.path());
        command.env("CERNVM_LAUNCHER_DATA_DIR", self.path().join("data"));
        command.env("OS_AUTH_URL", format!("{}/v3", cloud.url())).env("OS_USERNAME", "demo");
        command.env("OS_PASSWORD", PASSWORD).env("OS_PROJECT_NAME", "demo");
        command.env("OS_USER_DOMAIN_NAME", "Default").env("OS_PROJECT_DOMAIN_NAME", "Default");
        command.env("JWT_SECRET", JWT_SECRET).envs(variables.iter().copied());
        Process::start("launcher", &mut command)
    }

    /// Runs a command to its end.
    pub(crate) fn run(&self, cloud: &Cloud, args: &[&str]) -> Done {
        finish(self.start(cloud, args))
    }

    /// Runs a command to its end, with other variables.
    pub(crate) fn run_with(&self, cloud: &Cloud, args: &[&str], variables: &[(&str, &str)]) -> Done {
        finish(self.start_with(cloud, args, variables))
    }
}

/// Waits for the end of a command. It must have shown no secret.
pub(crate) fn finish(mut process: Process) -> Done {
    let status = process.wait().code().unwrap_or(-1);
    let done = Done { status, stdout: process.stdout(), stderr: process.stderr() };
    let said = format!("{}{}", done.stdout, done.stderr);
    for secret in [PASSWORD, JWT_SECRET, crate::cloud::TOKEN] {
        assert!(!said.contains(secret), "the launcher shows {secret}:\n{said}");
    }
    done
}

pub(crate) fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The command line of a launch of two workers.
pub(crate) fn launch<'a>(name: &'a str, pairing: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let mut args = vec!["launch", "workers", "--name", name, "--pairing-url", pairing];
    for set in [
        "image=tiny",
        "key=key",
        "master-flavour=m1.small",
        "worker-flavour=m1.small",
        "external-network=outside",
        "worker-count=2",
    ] {
        args.extend(["--set", set]);
    }
    args.extend(more);
    args
}
