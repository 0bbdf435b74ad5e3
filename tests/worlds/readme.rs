//! The documents as a newcomer reads them: the commands of the quick start, copied literally, end in a cluster without a
//! warning; links lead somewhere; messages that are explained are messages that the programs print.

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

/// The documents for users and contributors.
fn documents() -> Vec<PathBuf> {
    let below = |folder: &str| {
        let entries = fs::read_dir(repository().join(folder)).expect("the folder is there");
        entries.map(|entry| entry.expect("it can be listed").path()).collect::<Vec<_>>()
    };
    let mut documents = [below("."), below("docs"), below("cloud-init")].concat();
    documents.retain(|path| path.extension().is_some_and(|ending| ending == "md"));
    assert!(documents.len() > 10, "{documents:?}");
    documents
}

#[test]
fn every_link_leads_somewhere() {
    for path in documents() {
        let name = path.display();
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

/// Every Rust source below the folder, in one text without the line ends within strings.
fn sources(folder: &Path) -> String {
    let mut all = String::new();
    for entry in fs::read_dir(folder).expect("the folder is there") {
        let path = entry.expect("it can be listed").path();
        if path.is_dir() {
            all.push_str(&sources(&path));
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            let text = fs::read_to_string(&path).expect("a source can be read");
            let lines = text.lines().map(str::trim_start);
            lines.for_each(|line| {
                all.push_str(&line.strip_suffix('\\').map_or(format!("{line}\n"), str::to_owned))
            });
        }
    }
    all
}

/// A user searches the page for the message that a program printed.
#[test]
fn every_message_that_has_a_remedy_is_one_that_a_program_prints() {
    let code: String = ["agent", "client", "context", "protocol"]
        .map(|name| sources(&repository().join(name).join("src")))
        .concat();
    let mut messages = 0;
    for document in ["README.md", "docs/troubleshooting.md"] {
        let text = fs::read_to_string(repository().join(document)).expect("the document is there");
        let (_, remedies) = text.split_once("hen it does not work\n").expect("the section is there");
        for symptom in remedies.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").next()) {
            for message in symptom.split('"').skip(1).step_by(2) {
                messages += 1;
                for part in message.split('…').map(|part| part.trim_matches([' ', '\''])) {
                    assert!(code.contains(part), "{document} explains {message:?}, which no program says");
                }
            }
        }
    }
    assert!(messages > 20, "{messages}");
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
