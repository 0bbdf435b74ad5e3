//! README as a newcomer reads it: the commands of its quick start, copied literally, end in a cluster without a warning,
//! and its links lead somewhere.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests have a parent").to_owned()
}

/// The lines of the code blocks between two headings.
fn commands(readme: &str, heading: &str) -> String {
    let section = readme.split_once(heading).expect("the section is there").1;
    let section = section.split("\n## ").next().unwrap_or_default();
    let blocks = section.split("\n```sh\n").skip(1);
    blocks.map(|block| block.split_once("```").expect("a block ends").0).collect()
}

#[test]
fn the_quick_start_ends_in_a_cluster_without_a_warning() {
    let readme = fs::read_to_string(repository().join("README.md")).expect("there is a README");
    let commands = commands(&readme, "\n## Quick start\n");
    assert!(commands.starts_with("make build\n") && commands.lines().count() > 15, "{commands}");
    let mut command = Command::new("bash");
    // Should a command fail, nothing is left running.
    let script = format!("trap 'kill $(jobs -p) 2>/dev/null' EXIT\n{commands}");
    command.args(["-e", "-u", "-o", "pipefail", "-c", &script]).current_dir(repository());
    // What cargo tells its tests is none of a newcomer's environment, and would have it build everything again.
    let kept =
        ["PATH", "HOME", "CARGO_HOME", "RUSTUP_HOME", "RUSTUP_TOOLCHAIN", "RUSTFLAGS", "RUSTC_BOOTSTRAP"];
    command.env_clear().envs(std::env::vars().filter(|(name, _)| kept.contains(&name.as_str())));
    let output = command.stdin(Stdio::null()).output().expect("bash can be started");
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    println!("{commands}\n--\n{stdout}\n--\n{stderr}");
    assert!(output.status.success(), "{}", output.status);
    assert!(stdout.contains("2 files, 0 errors, 0 warnings"), "check found something");
    let ours = stderr.lines().filter(|line| line.starts_with("cernvm-"));
    let bad: Vec<_> = ours.filter(|line| line.contains("warning:") || line.contains("error:")).collect();
    assert!(bad.is_empty(), "{bad:?}");
    let last = stdout.lines().last().unwrap_or_default();
    let address = last.strip_prefix("my_master_ip=").expect("the last command shows the address");
    assert!(address.parse::<std::net::IpAddr>().is_ok(), "{address}");
}

#[test]
fn every_link_leads_somewhere() {
    for name in ["README.md", "docs/operations.md", "cloud-init/README.md", "CONTRIBUTING.md"] {
        let path = repository().join(name);
        let text = fs::read_to_string(&path).expect("the document is there");
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if target.contains("://") {
                continue;
            }
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let file = if file.is_empty() { path.clone() } else { path.with_file_name("").join(file) };
            assert!(file.exists(), "{name} links to {target}");
            if !anchor.is_empty() {
                let linked = fs::read_to_string(&file).expect("an anchor is in a document");
                let headings = linked.lines().filter(|line| line.starts_with('#'));
                assert!(headings.map(slug).any(|slug| slug == anchor), "{name} links to {target}");
            }
        }
    }
}

/// The anchor of a heading, as GitHub makes it.
fn slug(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    text.chars()
        .filter_map(|c| match c {
            ' ' => Some('-'),
            c if c.is_alphanumeric() || c == '-' || c == '_' => Some(c),
            _ => None,
        })
        .collect()
}
