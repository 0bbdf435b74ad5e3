//! The agent as a slave whose data are ready, beside the shell agent that it replaces, one curl, and the smallest
//! program that can make its requests.

use std::fmt;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::guest::{self, Guest, Role};
use super::{Plan, Run, figure, names};
use crate::error::{Error, Result, WithContext};
use crate::load::connection::Target;
use crate::peak;
use crate::peers::{Bench, Build, KEY, http, installed, ours};
use crate::tls::Certificate;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Subject {
    Agent,
    Ureq,
    Shell,
    Curl,
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Agent => "agent",
            Self::Ureq => "bare ureq",
            Self::Shell => "shell and curl",
            Self::Curl => "one curl",
        })
    }
}

/// The service that they ask.
struct AgentService {
    target: Target,
    pin: String,
    certificate: Option<Certificate>,
    /// The shell agent, laid down as a file.
    script: PathBuf,
}

pub(super) fn run(run: &mut Run) -> Result<()> {
    let dir = run.bench.directory()?;
    let script = dir.path().join("shell-agent.sh");
    fs::write(&script, include_str!("../../peers/shell-agent.sh")).context_on("write", &script)?;
    for scheme in ["http", "https"] {
        let certificate = match scheme {
            "https" => Some(Certificate::make(dir.path())?),
            _ => None,
        };
        let data = dir.path().join(scheme);
        let pins = ours::prepare(&run.bench, Build::Host, &data, 1)?;
        let (process, target) = ours::launch(&run.bench, Build::Host, &data, certificate.as_ref())?;
        let service = AgentService { target, pin: pins[0].clone(), certificate, script: script.clone() };
        for key in [KEY, "master_ready"] {
            http::ask(&service.target, &ours::set(&service.pin, key))?;
        }
        let subjects = [Subject::Agent, Subject::Ureq, Subject::Shell, Subject::Curl];
        run.interleave(&names::agent(scheme), &subjects, |bench, plan, subject| {
            turn(bench, plan, *subject, &service)
        });
        process.stop()?;
    }
    Ok(())
}

fn turn(bench: &Bench, plan: &Plan, subject: Subject, service: &AgentService) -> Result<Vec<(String, f64)>> {
    let runs = if plan.quick { 2 } else { 10 };
    let (mut wall, mut cpu) = (0.0, 0.0);
    for _ in 0..runs {
        let (guest, mut command) = prepare(bench, subject, service)?;
        let cost = peak::cost(&mut command)?;
        wall += cost.wall.as_secs_f64() * 1e3 / f64::from(runs);
        cpu += cost.cpu.as_secs_f64() * 1e3 / f64::from(runs);
        if matches!(subject, Subject::Agent | Subject::Shell) && !guest.is_substituted()? {
            return Err(Error::unexpected(
                subject.to_string(),
                format!("substituted nothing: {}", guest.log()),
            ));
        }
    }
    let (guest, command) = prepare(bench, subject, service)?;
    let peak = peak::peak_memory(&command)?;
    drop(guest);
    Ok(vec![figure("wall, ms", wall), figure("CPU, ms", cpu), figure("peak memory, MB", peak / 1e6)])
}

/// A guest that boots for the first time, and what it runs.
fn prepare(bench: &Bench, subject: Subject, service: &AgentService) -> Result<(Guest, Command)> {
    let AgentService { target, pin, certificate, script } = service;
    let guest = Guest::boot(bench, Role::Slave, pin, target, certificate.as_ref())?;
    let url = guest::url(target);
    let key = |name: &str| format!("{url}/api/v1/clusters/{pin}/keys/{name}");
    let ca = certificate.as_ref().map(|certificate| &certificate.file);
    let mut command = match subject {
        Subject::Agent => return guest.contextualize(bench).map(|command| (guest, command)),
        Subject::Ureq => {
            let mut command = Command::new(bench.small("bare_ureq")?);
            command.arg(key("master_ready")).arg(key(KEY)).args(ca);
            command
        }
        Subject::Shell => {
            // The boot loader's shell is busybox.
            let mut command = Command::new(installed("busybox")?);
            command.arg("sh").arg(script).args([&url, pin]).arg(guest.user_data()).args(ca);
            command
        }
        Subject::Curl => {
            let mut command = Command::new(installed("curl")?);
            command.args(["-s", "-H", "Accept: text/plain", "-o", "/dev/null"]);
            ca.map(|ca| command.arg("--cacert").arg(ca));
            command.arg(key(KEY));
            command
        }
    };
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    Ok((guest, command))
}
