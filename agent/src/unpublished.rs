//! The keys that `publish` was asked to store in this boot and has not stored: a master without them is not ready.
//!
//! One empty file each, on a file system that does not outlive the boot.

use std::fs;

use crate::backoff::{Backoff, Clock, Deadline};
use crate::files;
use crate::root::Root;
use crate::session::Session;
use client::Service;
use protocol::error::Error;

/// Where the files are.
const DIRECTORY: &str = "/run/cernvm-cluster/unpublished";

/// Notes that `publish` begins with this key. That it fails costs only the check of `master-ready`: it is a user's
/// program that calls `publish`, and perhaps not as root.
pub fn begin(root: &Root, key: &str) {
    if let Err(error) = files::create(root, &root.path(DIRECTORY).join(key), b"", 0o600) {
        log::debug!("{error}");
    }
}

/// Notes that the key is stored.
pub fn end(root: &Root, key: &str) {
    let _ = fs::remove_file(root.path(DIRECTORY).join(key));
}

/// Waits until every key that was begun is stored.
///
/// # Errors
/// 75 with the keys that are not, at the deadline.
pub fn await_none<S: Service, C: Clock>(
    root: &Root,
    session: &mut Session<S, C>,
    deadline: &Deadline,
) -> Result<(), Error> {
    let mut backoff = Backoff::default();
    loop {
        let keys = list(root);
        if keys.is_empty() {
            return Ok(());
        }
        let names = keys.join("', '");
        session.say_waiting(&format!("waiting until `publish` has stored '{names}'"), deadline);
        if !session.pause(&mut backoff, deadline) {
            let what =
                format!("this master is not said to be ready, since `publish` has not stored '{names}'");
            let next = "publish it, then run `systemctl restart cernvm-cluster-master-ready`";
            return Err(Error::timed_out(&what, deadline.tried(session.clock()), next));
        }
    }
}

fn list(root: &Root) -> Vec<String> {
    let entries = fs::read_dir(root.path(DIRECTORY)).into_iter().flatten().flatten();
    // Not what `files/` is about to rename.
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let mut keys: Vec<_> = names.filter(|name| !name.starts_with('.')).collect();
    keys.sort();
    keys
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::fake::{FakeSession, done};
    use protocol::error::Status;

    #[test]
    fn waits_for_what_was_begun_and_not_ended() {
        let directory = tempfile::tempdir().unwrap();
        let root = Root::from(directory.path().as_os_str().to_owned());
        let mut fake = FakeSession::new(&["pair"], 30, |_| done());
        let deadline = fake.session.deadline();
        await_none(&root, &mut fake.session, &deadline).unwrap();
        for key in ["b", "a", "c"] {
            begin(&root, key);
        }
        end(&root, "c");
        end(&root, "never-begun");
        let error = await_none(&root, &mut fake.session, &deadline).unwrap_err();
        assert_eq!(error.status(), Status::TimedOut);
        assert!(error.to_string().contains("'a', 'b' after 30 s"), "{error}");
        end(&root, "a");
        end(&root, "b");
        await_none(&root, &mut fake.session, &deadline).unwrap();
        assert!(fake.seen().is_empty(), "this asks the service nothing");
    }
}
