//! Services that send notifications: oslo.messaging itself, in a process beside the test (`notifier.py`).

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

/// Debian's modules are for Debian's Python.
const PYTHON: &str = "/usr/bin/python3";
/// The token that is in every message.
pub(crate) const MESSAGE_TOKEN: &str = "gAAAA-of-a-message";

pub(crate) struct Notifier {
    child: Child,
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
    _dir: TempDir,
}

impl Notifier {
    /// Whether oslo.messaging is installed. Where tests are not run by hand, it must be.
    pub(crate) fn is_installed() -> bool {
        let mut import = Command::new(PYTHON);
        import.args(["-c", "import importlib.util as u; exit(u.find_spec('oslo_messaging') is None)"]);
        let is_there = import.status().is_ok_and(|status| status.success());
        assert!(is_there || std::env::var_os("CI").is_none(), "python3-oslo.messaging is not installed");
        if !is_there {
            eprintln!("left out: python3-oslo.messaging is not installed");
        }
        is_there
    }

    /// Services of a RabbitMQ at this URL.
    pub(crate) fn start(url: &str) -> Self {
        let dir = TempDir::with_prefix("notifier-").expect("a temporary directory can be made");
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/worlds/launcher/notifier.py");
        let mut command = Command::new(PYTHON);
        command.args([script, url]).arg(dir.path()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("Python can be started");
        let commands = child.stdin.take().expect("asked for above");
        let answers = BufReader::new(child.stdout.take().expect("asked for above"));
        Self { child, commands, answers, _dir: dir }
    }

    fn run(&mut self, command: &Value) -> String {
        writeln!(self.commands, "{command}").expect("the notifier runs");
        let mut answer = String::new();
        self.answers.read_line(&mut answer).expect("the notifier runs");
        assert!(!answer.is_empty(), "the notifier ended");
        answer.trim().to_owned()
    }

    /// Sends a notification, `times` times.
    pub(crate) fn send(
        &mut self,
        exchange: &str,
        priority: &str,
        event: &str,
        payload: &Value,
        times: usize,
    ) {
        self.run(&json!({
            "exchange": exchange, "priority": priority, "event": event, "payload": payload, "times": times,
            "token": MESSAGE_TOKEN,
        }));
    }

    /// Sends a body that is none of a service.
    pub(crate) fn send_body(&mut self, exchange: &str, body: &str) {
        self.run(&json!({ "exchange": exchange, "body": body }));
    }

    /// How many messages wait in a queue.
    pub(crate) fn waiting(&mut self, queue: &str) -> usize {
        self.run(&json!({ "waiting": queue })).parse().expect("it is a number")
    }
}

impl Drop for Notifier {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
