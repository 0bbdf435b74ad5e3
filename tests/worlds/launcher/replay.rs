//! The original builder, recorded, played against ours.
//!
//! `tests/fixtures/builder/records` has what openflighthpc's cluster builder answered (4a1714d). `replay.py` sends it, with a
//! billing service and a cloud of its own on loopback. Exchanges that no new service should be held to are marked as
//! quirks and not sent; docs/launcher.md says what ours does instead.

use std::process::{Command, Stdio};

use worlds::figures;
use worlds::process::Process;

use crate::cloud::{Cloud, Manners};
use crate::home::{Home, repository};

/// A lost or newly excused record must not pass unseen: 271 exchanges, 39 of them quirks.
const OUTCOME: &str = "232 passed, 0 failed, 39 skipped";

#[test]
fn answers_every_recorded_exchange_as_the_original_did() {
    let cloud = Cloud::start(Manners::default());
    let home = Home::new();
    let instance = tempfile::TempDir::with_prefix("instance-").expect("a temporary directory can be made");
    let types = instance.path().display().to_string();
    let any = "http://127.0.0.1:*";
    let args = [
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--types",
        &types,
        "--allow-auth-url",
        any,
        "--middleware-url",
        any,
    ];
    let variables = [("JWT_SECRET", "TEST_SECRET"), ("TZ", "UTC")];
    let mut launcher = home.start_with(&cloud, &args, &variables);
    let url = launcher.line_after("listening on ");
    let builder = repository().join("tests/fixtures/builder");
    let mut command = Command::new("python3");
    command.arg("-B").arg(builder.join("replay.py")).arg(&url).args(["--instance", &types, "--dir"]);
    command.arg(builder.join("records")).stdin(Stdio::null());
    let mut replay = Process::start("replay", &mut command);
    let passed = replay.wait().success();
    let said = replay.stdout();
    let last = said.lines().last().unwrap_or_default();
    figures::show(&format!("cluster builder: {last}"));
    assert!(passed && last == OUTCOME, "{said}\n{}", replay.stderr());
    let log = launcher.stderr();
    // The password of the records is "demo", which is too short a word to look for.
    assert!(!log.contains("token-") && !log.contains("Bearer"), "a token is in the log");
    launcher.terminate();
    assert!(launcher.wait().success());
}
