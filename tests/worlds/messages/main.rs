//! A table of mistakes, and what both programs say of each: the exit status, the words that name the mistake, and the
//! advice. `cargo test --test messages -- --nocapture` prints it with the messages as they are.

mod agent;
mod service;
mod surroundings;

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use surroundings::Surroundings;
use tempfile::TempDir;
use worlds::binaries;

/// A mistake, and what must be said of it. In every text, `{name}` stands for one of [`Surroundings`].
struct Mistake {
    /// The arguments, separated by blanks.
    line: &'static str,
    /// The lines of the ucernvm section of `context`, a file in the working directory; without any, there is no section.
    section: &'static [&'static str],
    /// Variables of the environment.
    environment: &'static [(&'static str, &'static str)],
    /// The exit status.
    status: i32,
    /// Words that name the mistake.
    says: &'static str,
    /// Words of the advice.
    next: &'static str,
}

impl Mistake {
    const fn new(line: &'static str, status: i32, says: &'static str, next: &'static str) -> Self {
        Self { line, section: &[], environment: &[], status, says, next }
    }

    const fn with_section(self, section: &'static [&'static str]) -> Self {
        Self { section, ..self }
    }

    const fn with_environment(self, environment: &'static [(&'static str, &'static str)]) -> Self {
        Self { environment, ..self }
    }

    fn run(&self, program: &Path, surroundings: &Surroundings) -> Output {
        let dir = TempDir::new().expect("a temporary directory can be made");
        let file = |name: &str, text: &str| {
            fs::write(dir.path().join(name), text).expect("a file can be written");
        };
        let section: String = self.section.iter().map(|line| surroundings.fill(line) + "\n").collect();
        let context = "[x]\nmy_master_ip=###MASTER_IP_PLACEHOLDER###\n";
        match self.section {
            [] => file("context", context),
            _ => file("context", &format!("{context}[ucernvm-begin]\n{section}[ucernvm-end]\n")),
        }
        file("ca.pem", &surroundings.other_certificate);
        file("short", "secret\n");
        file("wrong", "not-the-token-0123456789\n");
        file("text", "no certificate\n");
        let mut command = Command::new(program);
        command.env_clear().current_dir(dir.path());
        command.envs(self.environment.iter().map(|(name, value)| (name, surroundings.fill(value))));
        command.args(self.line.split_whitespace().map(|word| surroundings.fill(word)));
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program can be started");
        // A program that does not read it has ended.
        let _ = child.stdin.take().expect("asked for above").write_all(b"unknown00000\n");
        child.wait_with_output().expect("the program ends")
    }
}

/// Runs every mistake and compares; all that differ are named at the end.
fn check(name: &str, program: &Path, mistakes: &[Mistake]) {
    let surroundings = Surroundings::new();
    let mut wrong = Vec::new();
    println!("| {name} | status | message |\n|---|---|---|");
    for mistake in mistakes {
        let output = mistake.run(program, &surroundings);
        let said = String::from_utf8_lossy(&output.stderr) + String::from_utf8_lossy(&output.stdout);
        let status = output.status.code();
        let line: Vec<_> = mistake
            .environment
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .chain([mistake.line.to_owned()])
            .chain(mistake.section.iter().map(|line| format!("`{line}`")))
            .collect();
        let shown: Vec<_> = said.lines().filter(|line| !line.trim().is_empty()).collect();
        println!("| {} | {} | {} |", line.join(" "), status.unwrap_or(-1), shown.join(" / "));
        let has = |words: &str| said.contains(&surroundings.fill(words));
        if status != Some(mistake.status) || !has(mistake.says) || !has(mistake.next) {
            wrong.push(format!(
                "{}\n  expected {}, {:?}, {:?}\n  got {status:?}: {said}",
                line.join(" "),
                mistake.status,
                mistake.says,
                mistake.next
            ));
        }
        for secret in surroundings.secrets() {
            assert!(!said.contains(secret), "{}: a secret in the message: {said}", line.join(" "));
        }
    }
    println!("{} mistakes", mistakes.len());
    assert!(wrong.is_empty(), "{} messages are wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn of_the_agent() {
    check("cernvm-cluster-agent", &binaries::agent(), agent::MISTAKES);
}

#[test]
fn of_the_service() {
    check("cernvm-pairing-server", &binaries::server(), service::MISTAKES);
}
