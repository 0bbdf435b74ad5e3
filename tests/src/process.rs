//! A program that runs beside the test: what it prints is kept, shown in the test's output, and searched.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::wait::until;

/// A running program, killed when it is dropped.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    stdout: Lines,
    stderr: Lines,
}

/// One of a program's outputs, as it comes; a line that is not ended yet counts.
#[derive(Debug)]
struct Lines {
    seen: Arc<Mutex<Vec<u8>>>,
    reader: Option<JoinHandle<()>>,
}

impl Process {
    /// Starts a program.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start(name: &str, command: &mut Command) -> Self {
        let spawned = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = spawned.unwrap_or_else(|e| panic!("cannot start {command:?}: {e}"));
        let stdout = Lines::of(name, child.stdout.take().expect("asked for above"));
        let stderr = Lines::of(name, child.stderr.take().expect("asked for above"));
        Self { name: name.into(), child, stdout, stderr }
    }

    /// What it has printed so far on standard output.
    #[must_use]
    pub fn stdout(&self) -> String {
        self.stdout.text().trim_end_matches('\n').to_owned()
    }

    /// What it has printed so far on standard error.
    #[must_use]
    pub fn stderr(&self) -> String {
        self.stderr.text().trim_end_matches('\n').to_owned()
    }

    /// Waits for a line of its standard output that begins so, and gives the rest of the line.
    ///
    /// # Panics
    /// When the program ends without, or does not say it in all patience.
    #[must_use]
    pub fn line_after(&mut self, beginning: &str) -> String {
        let name = self.name.clone();
        until(&format!("{name} says {beginning:?}"), || {
            let ended = self.has_ended();
            let said = self.stdout.text();
            let mut whole = said.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'));
            let found = whole.find_map(|line| Some(line.strip_prefix(beginning)?.to_owned()));
            assert!(found.is_some() || !ended, "{name} ended without saying {beginning:?}");
            found
        })
    }

    /// Whether it has ended; then all that it has printed is there.
    pub fn has_ended(&mut self) -> bool {
        let ended = self.child.try_wait().expect("the child is ours").is_some();
        if ended {
            self.stdout.finish();
            self.stderr.finish();
        }
        ended
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Asks it to stop.
    pub fn terminate(&self) {
        self.signal(Signal::SIGTERM);
    }

    /// Sends it a signal; nothing happens when it has ended and been waited for. After a `SIGSTOP` it does nothing any more:
    /// its threads stop one after the other, and until then another answers.
    ///
    /// # Panics
    /// When it does not stop in all patience.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).expect("a pid fits");
        // The child has not been waited for, or `kill` finds no process: its pid cannot be another's in between.
        let sent = kill(Pid::from_raw(pid), signal);
        if signal == Signal::SIGSTOP && sent.is_ok() {
            until(&format!("{} is stopped", self.name), || is_stopped(pid).then_some(()));
        }
    }

    /// Waits for its end and the end of its output.
    ///
    /// # Panics
    /// When it does not end in all patience.
    pub fn wait(&mut self) -> ExitStatus {
        let name = self.name.clone();
        let status = until(&format!("{name} ends"), || self.child.try_wait().expect("the child is ours"));
        self.has_ended();
        status
    }

    /// Ends it as a power cut would, and waits for its end.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        self.wait();
    }
}

/// Whether every thread of a process is stopped (proc_pid_stat(5)).
fn is_stopped(pid: i32) -> bool {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).expect("it runs");
    threads.flatten().all(|thread| {
        let stat = std::fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        stat.rsplit_once(") ").is_none_or(|(_, state)| state.starts_with('T'))
    })
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Lines {
    fn of(name: &str, stream: impl Read + Send + 'static) -> Self {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (name, sink) = (name.to_owned(), Arc::clone(&seen));
        let reader = std::thread::spawn(move || {
            let mut stream = BufReader::new(stream);
            let mut line = Vec::new();
            while let Ok(read) = stream.fill_buf().map(<[u8]>::to_vec)
                && !read.is_empty()
            {
                stream.consume(read.len());
                sink.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&read);
                line.extend_from_slice(&read);
                while let Some(end) = line.iter().position(|byte| *byte == b'\n') {
                    println!("{name}: {}", String::from_utf8_lossy(&line[..end]));
                    line.drain(..=end);
                }
            }
        });
        Self { seen, reader: Some(reader) }
    }

    fn text(&self) -> String {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&seen).into_owned()
    }

    /// Waits until everything is read, which is soon after the program has ended.
    fn finish(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.join().expect("the reader does not panic");
        }
    }
}
