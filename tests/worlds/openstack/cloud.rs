//! A real OpenStack, as `tests/openstack/world` brings it up, seen from a lab.

use std::io::Write as _;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use worlds::boot::lab::Lab;
use worlds::process::Process;

/// Asks Nova for its servers.
const SERVERS: &str = include_str!("servers.py");

/// The cloud; its ports are on the lab's loopback while this is kept.
pub(crate) struct Cloud<'lab> {
    lab: &'lab Lab,
    _forward: Process,
}

/// A server as Nova has it.
#[derive(Debug, Deserialize)]
pub(crate) struct Server {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) status: String,
    pub(crate) address: Option<Ipv4Addr>,
    user_data: Option<String>,
}

impl Server {
    /// What Heat has handed to Nova for it.
    pub(crate) fn user_data(&self) -> Vec<u8> {
        let encoded = self.user_data.as_deref().expect("it has user-data");
        STANDARD.decode(encoded).expect("Nova keeps base64")
    }
}

/// A user of the cloud, who is called like the project and the password.
#[derive(Debug, Clone, Copy)]
pub(crate) struct User<'a> {
    pub(crate) name: &'a str,
    pub(crate) password: &'a str,
    pub(crate) project: &'a str,
}

/// The user without limits.
pub(crate) const DEMO: User<'_> = User { name: "demo", password: "demo", project: "demo" };
/// The user with room for one small server.
pub(crate) const POOR: User<'_> = User { name: "poor", password: "poor", project: "poor" };

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("openstack").join(name)
}

/// Runs `world`.
fn world(args: &[&str], input: &str) -> Output {
    let mut command = Command::new(script("world"));
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the script starts");
    let mut stdin = child.stdin.take().expect("it is piped");
    stdin.write_all(input.as_bytes()).expect("it is small");
    drop(stdin);
    child.wait_with_output().expect("the script runs")
}

impl<'lab> Cloud<'lab> {
    /// Brings the cloud to this lab's loopback; `tests/scripts/openstack` has started it.
    pub(crate) fn in_lab(lab: &'lab Lab) -> Self {
        let pid = world(&["pid"], "");
        let pid = String::from_utf8_lossy(&pid.stdout).trim().to_owned();
        assert!(!pid.is_empty(), "OpenStack is not up: run tests/scripts/openstack");
        // In the lab's network alone: it looks the world's process up in this machine's /proc.
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", lab.network().display()));
        command.args(["--", "python3"]).arg(script("forward.py")).arg(pid);
        let mut forward = Process::start("forward", &mut command);
        let _ = forward.line_after("forwarding");
        Self { lab, _forward: forward }
    }

    /// A command in the lab with the credentials of a user.
    pub(crate) fn command(&self, program: &Path, user: User<'_>) -> Command {
        let mut command = self.lab.command(program);
        command.env("OS_AUTH_URL", "http://127.0.0.1:5000/v3").env("OS_REGION_NAME", "RegionOne");
        command.env("OS_USERNAME", user.name).env("OS_PASSWORD", user.password);
        command.env("OS_PROJECT_NAME", user.project);
        command.env("OS_USER_DOMAIN_NAME", "Default").env("OS_PROJECT_DOMAIN_NAME", "Default");
        command
    }

    /// Every project's servers.
    pub(crate) fn servers(&self) -> Vec<Server> {
        let output = world(&["inside", "python3", "-"], SERVERS);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let lines = String::from_utf8_lossy(&output.stdout).into_owned();
        lines.lines().map(|line| serde_json::from_str(line).expect("a server in each line")).collect()
    }

    /// Deletes a stack as a user does, without the launcher.
    pub(crate) fn delete_stack(&self, user: User<'_>, name: &str) {
        let settings = [
            "OS_AUTH_URL=http://127.0.0.1:5000/v3".to_owned(),
            format!("OS_USERNAME={}", user.name),
            format!("OS_PASSWORD={}", user.password),
            format!("OS_PROJECT_NAME={}", user.project),
            "OS_USER_DOMAIN_NAME=Default".to_owned(),
            "OS_PROJECT_DOMAIN_NAME=Default".to_owned(),
        ];
        let mut args = vec!["inside", "env"];
        args.extend(settings.iter().map(String::as_str));
        args.extend(["openstack", "stack", "delete", "--yes", name]);
        let output = world(&args, "");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Stops a service of it until that is dropped.
    pub(crate) fn without(&self, service: &'static str) -> Broken {
        let output = world(&["break", service], "");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Broken(service)
    }
}

/// A service that does not run.
pub(crate) struct Broken(&'static str);

impl Drop for Broken {
    fn drop(&mut self) {
        let mended = world(&["mend", self.0], "");
        if !mended.status.success() {
            println!("{} does not start again: {}", self.0, String::from_utf8_lossy(&mended.stderr));
        }
    }
}
