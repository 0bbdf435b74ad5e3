//! A run that is killed at one of its system calls. Whatever reads or runs the files next finds each of them as it was or
//! as it is to become, once, and the next run clears up.
//!
//! Between two calls that change something all moments are alike, so these are what is tried; with `EVERY_CALL=1`, as
//! `make races` has it, every call.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use worlds::guest::Finished;

use crate::instance::{ADDRESS, IP, Instance, dump};

/// A file, its permissions, and its content with the placeholder in it.
type Target = (&'static str, u32, String);

const SCRIPTS: &str = "/var/lib/cloud/instances/iid-files/scripts";
const PER_BOOT: &str = "/var/lib/cloud/scripts/per-boot";
/// The system calls that change something.
const CHANGES: [&str; 11] = [
    "mkdirat",
    "openat",
    "flock",
    "write",
    "fchown",
    "fchmod",
    "fsetxattr",
    "fsync",
    "renameat",
    "unlinkat",
    "exit_group",
];
/// SIGKILL, as a shell says it.
const KILLED: i32 = 137;

/// What `write_files` and the scripts' handlers have laid down, in directories whose every file some program reads or
/// runs.
fn targets() -> Vec<Target> {
    let script = format!("#!/bin/sh\necho \"$0 {IP}\" >>\"$RAN\"\n");
    vec![
        ("/etc/cron.d/join", 0o644, format!("* * * * * root join {IP}\n")),
        ("/etc/sudoers.d/join", 0o440, format!("%join ALL = {IP}\n")),
        ("/etc/systemd/system/x.service.d/join.conf", 0o644, format!("[Service]\nEnvironment=IP={IP}\n")),
        ("/var/lib/cloud/instances/iid-files/scripts/part-001", 0o700, script.clone()),
        ("/var/lib/cloud/scripts/per-boot/each-boot", 0o700, script),
    ]
}

fn instance() -> Instance {
    let targets = targets();
    let entries: Vec<_> = targets
        .iter()
        .filter(|(path, ..)| path.starts_with("/etc"))
        .map(|(path, mode, content)| (*path, content.as_str(), format!("permissions: '{mode:o}'")))
        .collect();
    let entries: Vec<_> =
        entries.iter().map(|(path, content, more)| (*path, *content, more.as_str())).collect();
    let instance = Instance::new(&dump(&entries));
    instance.master_is_ready();
    instance
}

/// As at a first boot, before the agent.
fn lay_down(instance: &Instance) {
    instance.lay_down();
    let _ = std::fs::remove_file(instance.guest.path(&instance.file("cernvm-cluster.json")));
    for (path, mode, content) in targets() {
        let _ = std::fs::remove_file(instance.guest.path(path));
        instance.guest.write(path, content);
        let permissions = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(instance.guest.path(path), permissions).expect("the file is there");
    }
}

fn run_traced(instance: &Instance, options: &[&str]) -> Finished {
    let trace = instance.guest.path("/trace");
    let trace = trace.to_str().expect("temporary directories have plain names");
    let command = [&["strace", "-f", "-qq", "-o", trace], options].concat();
    instance.guest.run_under(&command, &["contextualize", "--cloud-init"])
}

/// The system calls of a whole run from the first replacement on: how often each came before, and how often in all.
fn system_calls(instance: &Instance) -> BTreeMap<String, (usize, usize)> {
    lay_down(instance);
    run_traced(instance, &[]).expect(0);
    let mut calls = BTreeMap::<String, (usize, usize)>::new();
    let mut has_begun = false;
    for line in instance.text("/trace").lines() {
        let Some(name) = line.split_whitespace().nth(1).and_then(|call| call.split_once('(')) else {
            continue;
        };
        has_begun |= line.contains(".cernvm-cluster-");
        let count = calls.entry(name.0.to_owned()).or_default();
        count.1 += 1;
        if !has_begun {
            count.0 += 1;
        }
    }
    calls
}

#[test]
fn a_run_that_is_killed_at_any_system_call_leaves_each_file_whole_and_once() {
    if Command::new("strace").arg("-V").output().is_err() {
        eprintln!("left out, since there is no strace: runs that are killed at each system call");
        return;
    }
    let instance = instance();
    let mut calls = system_calls(&instance);
    if std::env::var_os("EVERY_CALL").is_none() {
        calls.retain(|name, _| CHANGES.contains(&name.as_str()));
    }
    let (mut killed, mut left_something) = (0, 0);
    for (name, (before, in_all)) in &calls {
        for number in before + 1..=*in_all {
            lay_down(&instance);
            let inject = format!("inject={name}:signal=KILL:when={number}");
            let finished = run_traced(&instance, &["-e", &format!("trace={name}"), "-e", &inject]);
            // How often the network is asked differs from run to run.
            if finished.status != KILLED {
                finished.expect(0);
                continue;
            }
            killed += 1;
            let place = format!("killed at {name} {number}");
            each_is_whole_and_once(&instance, &place);
            scripts_run_once(&instance, &place);

            let left = leftovers(instance.guest.root());
            let finished = instance.start().finish();
            finished.expect(0);
            for left in &left {
                finished.says(&format!("{}: removed", left.display()));
            }
            left_something += usize::from(!left.is_empty());
            assert_eq!(leftovers(instance.guest.root()), Vec::<PathBuf>::new(), "{place}");
            for (path, _, content) in targets() {
                assert_eq!(instance.text(path), content.replace(IP, ADDRESS), "{path}, {place}");
            }
        }
    }
    println!("{killed} runs killed, {left_something} of them left a directory behind");
    assert!(killed > 70 && left_something > 10, "{killed} {left_something} {calls:?}");
}

#[test]
fn what_cloud_init_wrote_is_synced_before_the_wait() {
    if Command::new("strace").arg("-V").output().is_err() {
        eprintln!("left out, since there is no strace: the order of system calls");
        return;
    }
    let instance = instance();
    lay_down(&instance);
    run_traced(&instance, &["-y", "-e", "trace=fsync,connect"]).expect(0);
    let trace = instance.text("/trace");
    let before = trace.split("connect(").next().expect("a text has a first part");
    for (path, ..) in targets().iter().filter(|(path, ..)| path.starts_with("/etc")) {
        assert!(
            before.lines().any(|line| line.contains("fsync(") && line.contains(path)),
            "{path}:\n{trace}"
        );
    }
}

/// Every file of the directories is one of the targets, with its permissions and all of its content.
fn each_is_whole_and_once(instance: &Instance, place: &str) {
    for (path, mode, old) in targets() {
        let text = instance.text(path);
        assert!(text == old || text == old.replace(IP, ADDRESS), "{path}, {place}: {text:?}");
        let file = instance.guest.path(path);
        let permissions = file.metadata().expect("it was read").permissions();
        assert_eq!(permissions.mode() & 0o7777, mode, "{path}, {place}");
        let directory = file.parent().expect("a file has a directory");
        let entries =
            std::fs::read_dir(directory).expect("it is there").map(|entry| entry.expect("it can be read"));
        let files: Vec<_> =
            entries.filter(|entry| entry.path().is_file()).map(|entry| entry.path()).collect();
        assert_eq!(files, std::slice::from_ref(&file), "{place}");
    }
}

/// What cloud-init does with a directory of scripts (`subp.runparts`): every file that is executable, hidden ones too.
fn scripts_run_once(instance: &Instance, place: &str) {
    let ran = instance.guest.path("/ran");
    for directory in [SCRIPTS, PER_BOOT] {
        let _ = std::fs::remove_file(&ran);
        let entries = std::fs::read_dir(instance.guest.path(directory)).expect("it is there");
        for entry in entries.map(|entry| entry.expect("it can be read").path()) {
            let is_executable = entry.metadata().is_ok_and(|meta| meta.permissions().mode() & 0o111 != 0);
            if entry.is_file() && is_executable {
                let status = Command::new(&entry).env("RAN", &ran).status().expect("it can be run");
                assert!(status.success(), "{place}");
            }
        }
        let ran = std::fs::read_to_string(&ran).unwrap_or_default();
        assert_eq!(ran.lines().count(), 1, "{directory}, {place}: {ran}");
        let listed = Command::new("run-parts").arg("--list").arg(instance.guest.path(directory)).output();
        if let Ok(listed) = listed {
            assert_eq!(String::from_utf8_lossy(&listed.stdout).lines().count(), 1, "{directory}, {place}");
        }
    }
}

/// What the agent made and did not remove.
fn leftovers(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if entry.file_name().to_string_lossy().starts_with(".cernvm-cluster-") {
            found.push(path);
        } else if path.is_dir() && !path.is_symlink() {
            found.extend(leftovers(&path));
        }
    }
    found
}
