//! Notes the commit that a release is built from, for `--version`.

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // A build for development is what its author makes of it, and need not be built anew at every commit.
    let release = std::env::var("PROFILE").is_ok_and(|profile| profile == "release");
    let commit =
        if release { commit().unwrap_or_else(|| "unknown".to_owned()) } else { "development".to_owned() };
    println!("cargo::rustc-env=CERNVM_CLUSTER_COMMIT={commit}");
}

/// The commit that is checked out, and whether anything has changed since; `None` outside a checkout of ours.
fn commit() -> Option<String> {
    // Sources that are unpacked in another repository do not belong to that repository's commit.
    let ours = Path::new(env!("CARGO_MANIFEST_DIR")).parent()?.canonicalize().ok()?;
    if Path::new(&git(&["rev-parse", "--show-toplevel"])?).canonicalize().ok()? != ours {
        return None;
    }
    for file in ["HEAD", "logs/HEAD", "index"] {
        let path = git(&["rev-parse", "--path-format=absolute", "--git-path", file])?;
        // One that is not there would have cargo run this every time.
        if Path::new(&path).exists() {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    git(&["describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"])
}

/// What git says, on one line.
fn git(words: &[&str]) -> Option<String> {
    let output = Command::new("git").current_dir(env!("CARGO_MANIFEST_DIR")).args(words).output().ok()?;
    let said = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (output.status.success() && !said.is_empty()).then_some(said)
}
