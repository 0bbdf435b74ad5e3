//! A guest as far as the agent can see one: a directory that stands for its root file system.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::binaries;
use crate::process::Process;
use crate::wait::until;

/// Where a guest keeps its context, unless a test says otherwise.
pub const USER_DATA: &str = "/user-data";

/// Where Debian has what a test may run an agent under.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A guest with a context.
#[derive(Debug)]
pub struct Guest {
    name: String,
    root: TempDir,
    /// What every command line begins with.
    options: &'static [&'static str],
    /// The pin and the secret of its contexts.
    secrets: Vec<String>,
}

/// An agent that runs in a guest; it ends with the value.
#[derive(Debug)]
pub struct Agent {
    process: Process,
    secrets: Vec<String>,
}

/// What an agent has done.
#[derive(Debug)]
pub struct Finished {
    /// Its exit status; 128 and more when a signal ended it, as a shell says it.
    pub status: i32,
    /// What it printed on standard output.
    pub stdout: String,
    /// What it printed on standard error.
    pub stderr: String,
}

impl Guest {
    /// A guest whose user-data is this context.
    ///
    /// # Panics
    /// When there is no room for it.
    #[must_use]
    pub fn new(name: &str, context: impl AsRef<[u8]>) -> Self {
        let guest = Self::make(name, &["--user-data", USER_DATA]);
        guest.holding(&[(USER_DATA, context.as_ref())])
    }

    /// A guest on whose disk something else has laid files down: the agent has to find the context itself.
    ///
    /// # Panics
    /// When there is no room for them.
    #[must_use]
    pub fn with_files(name: &str, files: &[(&str, &[u8])]) -> Self {
        Self::make(name, &[]).holding(files)
    }

    fn make(name: &str, options: &'static [&'static str]) -> Self {
        let root = TempDir::with_prefix(format!("guest-{name}-")).expect("a temporary directory can be made");
        Self { name: name.into(), root, options, secrets: Vec::new() }
    }

    fn holding(mut self, files: &[(&str, &[u8])]) -> Self {
        for (path, content) in files {
            self.write(path, content);
            self.secrets.extend(secrets_of(&String::from_utf8_lossy(content)));
        }
        self
    }

    /// What it is called.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The guest's root directory.
    #[must_use]
    pub fn root(&self) -> &Path {
        self.root.path()
    }

    /// Where a file of the guest is on this machine.
    #[must_use]
    pub fn path(&self, inside: &str) -> PathBuf {
        self.root.path().join(inside.trim_start_matches('/'))
    }

    /// Writes a file of the guest.
    ///
    /// # Panics
    /// When that fails.
    pub fn write(&self, inside: &str, content: impl AsRef<[u8]>) {
        let path = self.path(inside);
        std::fs::create_dir_all(path.parent().expect("a file has a directory"))
            .expect("a directory can be made");
        std::fs::write(&path, content).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    }

    /// Reads a file of the guest.
    ///
    /// # Panics
    /// When that fails.
    #[must_use]
    pub fn read(&self, inside: &str) -> Vec<u8> {
        let path = self.path(inside);
        std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    }

    /// Its user-data as text.
    #[must_use]
    pub fn context(&self) -> String {
        String::from_utf8_lossy(&self.read(USER_DATA)).into_owned()
    }

    /// Runs the agent to its end.
    #[must_use]
    pub fn run(&self, args: &[&str]) -> Finished {
        self.start(args).finish()
    }

    /// Runs the agent to its end, with something on standard input.
    #[must_use]
    pub fn run_with_input(&self, args: &[&str], input: &[u8]) -> Finished {
        self.write("/stdin", input);
        let input = File::open(self.path("/stdin")).expect("written above");
        self.launch(Command::new(binaries::agent()), args, input.into()).finish()
    }

    /// Runs the agent to its end under another program, which gets its command line after its own arguments.
    #[must_use]
    pub fn run_under(&self, program: &[&str], args: &[&str]) -> Finished {
        let mut command = Command::new(program[0]);
        command.args(&program[1..]).arg(binaries::agent());
        self.launch(command, args, Stdio::null()).finish()
    }

    /// Starts the agent on the guest's user-data.
    #[must_use]
    pub fn start(&self, args: &[&str]) -> Agent {
        self.launch(Command::new(binaries::agent()), args, Stdio::null())
    }

    fn launch(&self, mut command: Command, args: &[&str], input: Stdio) -> Agent {
        // No proxy of this machine, and nothing else that is not the guest's.
        command.env_clear().env("PATH", PATH).stdin(input);
        command.arg("--root").arg(self.root()).args(self.options).args(args);
        Agent { process: Process::start(&self.name, &mut command), secrets: self.secrets.clone() }
    }
}

impl Agent {
    /// Waits until it has said something.
    ///
    /// # Panics
    /// When it does not say it in all patience, or ends without.
    pub fn wait_until_it_says(&mut self, words: &str) {
        until(&format!("the agent says {words:?}"), || {
            let ended = self.process.has_ended();
            let said = self.process.stdout() + &self.process.stderr();
            assert!(said.contains(words) || !ended, "the agent ended without saying {words:?}:\n{said}");
            said.contains(words).then_some(())
        });
    }

    /// Whether it still runs.
    #[must_use]
    pub fn is_running(&mut self) -> bool {
        !self.process.has_ended()
    }

    /// Waits for its end. Whatever it printed must not hold the pin in full, nor the secret of a sealed cluster.
    ///
    /// # Panics
    /// When it does not end, or has shown one of them.
    #[must_use]
    pub fn finish(mut self) -> Finished {
        use std::os::unix::process::ExitStatusExt;
        let status = self.process.wait();
        let status = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default());
        let (stdout, stderr) = (self.process.stdout(), self.process.stderr());
        for secret in self.secrets {
            assert!(!stdout.contains(&secret) && !stderr.contains(&secret), "the agent shows {secret}");
        }
        Finished { status, stdout, stderr }
    }
}

impl Finished {
    /// Asserts how it ended, and shows what it said when that is not so.
    ///
    /// # Panics
    /// When it ended otherwise.
    #[track_caller]
    pub fn expect(&self, status: i32) -> &Self {
        assert_eq!(self.status, status, "exit status; the agent said:\n{}{}", self.stdout, self.stderr);
        self
    }

    /// Asserts that it said something.
    ///
    /// # Panics
    /// When it did not.
    #[track_caller]
    pub fn says(&self, words: &str) -> &Self {
        assert!(self.stderr.contains(words), "the agent does not say {words:?}, but:\n{}", self.stderr);
        self
    }
}

/// The pin and the secret in a context, where they stand in plain text and are long enough to be secrets.
fn secrets_of(context: &str) -> Vec<String> {
    let settings = ["cvm_cluster_pin=", "cvm_cluster_secret="];
    let values = context.lines().filter_map(|line| {
        settings.iter().find_map(|setting| line.trim().strip_prefix(setting)).map(str::trim)
    });
    values.filter(|value| value.len() >= 8).map(str::to_owned).collect()
}
