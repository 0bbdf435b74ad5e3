//! The command `types`: what it shows, and how it ends.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;
use worlds::binaries;

use crate::home::repository;

fn types(dir: &Path, more: &[&str]) -> Output {
    let mut command = Command::new(binaries::launcher());
    command.env_clear().arg("types").arg("--types").arg(dir).args(more);
    command.output().expect("the launcher can be started")
}

/// A folder whose enabled types are a set of recorded ones.
fn recorded(set: &str) -> TempDir {
    let dir = TempDir::with_prefix("types-").expect("a temporary directory can be made");
    let types = repository().join("tests/fixtures/builder/types").join(set);
    let types = types.canonicalize().expect("the set is there");
    std::os::unix::fs::symlink(types, dir.path().join("cluster-types-enabled")).expect("a link can be made");
    dir
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn shows_the_types_in_their_order() {
    let shown = types(recorded("main").path(), &[]);
    assert_eq!(shown.status.code(), Some(0));
    let ids: Vec<String> = text(&shown.stdout)
        .lines()
        .map(|line| line.split(' ').next().expect("a line has a word").to_owned())
        .collect();
    assert_eq!(ids, ["minus", "lone", "pair", "half", "kube", "spark"]);
}

#[test]
fn names_file_and_line_of_what_is_broken() {
    let dir = recorded("broken");
    let shown = types(dir.path(), &[]);
    assert_eq!(shown.status.code(), Some(65), "{}", text(&shown.stderr));
    let said = text(&shown.stdout);
    assert!(said.starts_with("good  magnum  The good one\n"), "{said}");
    let file = dir.path().join("cluster-types-enabled/order-true/cluster-type.yaml");
    let line = format!("broken: {}:4: order is a boolean; it must be a number\n", file.display());
    assert!(said.contains(&line), "{said}");

    let shown = types(dir.path(), &["--json"]);
    assert_eq!(shown.status.code(), Some(65));
    let listing: Value = serde_json::from_slice(&shown.stdout).expect("it prints JSON");
    let of = |id: &str| -> Vec<&Value> {
        listing["broken"].as_array().into_iter().flatten().filter(|broken| broken["id"] == id).collect()
    };
    assert_eq!(listing["types"][0]["id"], "good");
    assert_eq!((of("order-true").len(), &of("order-true")[0]["line"]), (1, &Value::from(4)));
}

#[test]
fn says_where_it_looked_when_it_cannot_read() {
    let dir = TempDir::with_prefix("types-").expect("a temporary directory can be made");
    fs::write(dir.path().join("cluster-types-enabled"), "").expect("a file can be written");
    let shown = types(dir.path(), &[]);
    assert_eq!(shown.status.code(), Some(74));
    let said = text(&shown.stderr);
    assert!(said.contains(&dir.path().display().to_string()) && said.contains("next: "), "{said}");
    assert_eq!(types(dir.path(), &["--no-such-flag"]).status.code(), Some(64));
}
