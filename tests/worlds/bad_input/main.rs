//! What can be wrong with a pin, a URL, a service, a value, a context or a disk: each has its sentence and its exit
//! status, and leaves the context as it was.

mod answers;
mod contexts;
mod disks;
mod pins;
mod tls;
mod urls;
mod values;

use std::path::Path;

use worlds::fixtures;
use worlds::guest::{Finished, Guest, USER_DATA};

/// A pin that a service could have made.
const PIN: &str = "enico1qq0oey";

/// A slave of the documentation that gives up soon.
fn slave(pin: &str, url: &str) -> Guest {
    Guest::new("slave", fixtures::with_settings(&fixtures::slave(pin, url), &["cvm_cluster_timeout=3"]))
}

/// Contextualizes a guest in which that must fail, with this status and these words, and nothing else.
#[track_caller]
fn fails(guest: &Guest, status: i32, words: &[&str]) -> Finished {
    let context = guest.read(USER_DATA);
    let finished = guest.run(&["contextualize"]);
    finished.expect(status);
    for word in words {
        finished.says(word);
    }
    has_one_sentence(&finished);
    assert!(guest.read(USER_DATA) == context, "the context has changed");
    assert_eq!(files(guest.root()), ["user-data"], "something was left behind");
    finished
}

/// One sentence says what failed and what to do; what led to it may stand above.
#[track_caller]
fn has_one_sentence(finished: &Finished) {
    let sentences = finished.stderr.lines().filter(|line| line.contains("error: ")).count();
    let last = finished.stderr.lines().last().unwrap_or_default();
    assert!(sentences == 1 && last.contains("error: "), "the agent said:\n{}", finished.stderr);
}

fn files(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).expect("the guest has a root");
    let mut names: Vec<_> = entries
        .map(|entry| entry.expect("it can be read").file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}
