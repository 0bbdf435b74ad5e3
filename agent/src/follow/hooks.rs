//! The hooks in `/etc/cernvm-cluster/changed.d`: programs that the administrator of the VM has put there. Nothing from a
//! context or a service decides which run.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::root::Root;

const DIRECTORY: &str = "/etc/cernvm-cluster/changed.d";
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Longest time for one hook.
const LIMIT: Duration = Duration::from_secs(300);
/// Between two looks whether a hook has ended.
const LOOK: Duration = Duration::from_millis(100);

/// Runs every hook, in the order of their names. What fails is said, and the others run all the same.
pub(super) fn run(root: &Root, address: &str, before: &str) {
    let directory = root.path(DIRECTORY);
    for hook in hooks(&directory) {
        let name = hook.display();
        match run_one(&hook, address, before) {
            Ok(None) => log::info!("{name} has run"),
            Ok(Some(how)) => log::warn!("{name} {how}"),
            Err(error) => log::warn!("{name} cannot be run: {error}"),
        }
    }
}

/// The hooks that may run.
fn hooks(directory: &Path) -> Vec<PathBuf> {
    match std::fs::symlink_metadata(directory) {
        Ok(metadata) if metadata.is_dir() && is_safe(&metadata) => {}
        Ok(_) => {
            log::warn!("{}: no hook runs, since others than root may change it", directory.display());
            return Vec::new();
        }
        Err(_) => return Vec::new(),
    }
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    let mut hooks: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    hooks.sort();
    hooks.retain(|hook| {
        // The rule of run-parts(8): what a package manager leaves behind has a dot in its name.
        let name = hook.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
        {
            return false;
        }
        match std::fs::symlink_metadata(hook) {
            Ok(metadata) if metadata.is_file() && is_safe(&metadata) => metadata.mode() & 0o100 != 0,
            _ => {
                log::warn!("{} does not run: it is no file that root alone may change", hook.display());
                false
            }
        }
    });
    hooks
}

/// Whether only root, or the user who runs the agent, may change it.
fn is_safe(metadata: &Metadata) -> bool {
    let own = rustix::process::geteuid().as_raw();
    (metadata.uid() == 0 || metadata.uid() == own) && metadata.mode() & 0o022 == 0
}

/// Runs one; how it failed, if it did.
fn run_one(hook: &Path, address: &str, before: &str) -> std::io::Result<Option<String>> {
    let mut command = Command::new(hook);
    command.env_clear().env("PATH", PATH).stdin(Stdio::null());
    command.env("CVM_MASTER_IP", address).env("CVM_MASTER_IP_BEFORE", before);
    let mut child = command.spawn()?;
    let end = Instant::now() + LIMIT;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok((!status.success()).then(|| format!("has failed: {status}")));
        }
        if Instant::now() >= end {
            child.kill()?;
            child.wait()?;
            return Ok(Some(format!("was ended after {} s", LIMIT.as_secs())));
        }
        std::thread::sleep(LOOK);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn runs_what_root_alone_may_change_in_the_order_of_names() {
        let dir = tempfile::tempdir().unwrap();
        let hooks = dir.path().join("etc/cernvm-cluster/changed.d");
        std::fs::create_dir_all(&hooks).unwrap();
        let out = dir.path().join("out");
        let put = |name: &str, mode: u32| {
            let text =
                format!("#!/bin/sh\necho {name} $CVM_MASTER_IP_BEFORE $CVM_MASTER_IP >>{}\n", out.display());
            std::fs::write(hooks.join(name), text).unwrap();
            std::fs::set_permissions(hooks.join(name), std::fs::Permissions::from_mode(mode)).unwrap();
        };
        for (name, mode) in [
            ("20-b", 0o755),
            ("10-a", 0o700),
            ("30-c", 0o775),
            ("40-d", 0o757),
            ("50-e", 0o644),
            ("60.dpkg-old", 0o755),
        ] {
            put(name, mode);
        }
        std::fs::write(hooks.join("05-fails"), "#!/bin/sh\nexit 3\n").unwrap();
        std::fs::set_permissions(hooks.join("05-fails"), std::fs::Permissions::from_mode(0o755)).unwrap();
        std::os::unix::fs::symlink(hooks.join("10-a"), hooks.join("70-link")).unwrap();
        let root = Root::from(dir.path());
        run(&root, "10.0.0.2", "10.0.0.1");
        let expected = "10-a 10.0.0.1 10.0.0.2\n20-b 10.0.0.1 10.0.0.2\n";
        assert_eq!(std::fs::read_to_string(&out).unwrap(), expected);
        std::fs::set_permissions(&hooks, std::fs::Permissions::from_mode(0o777)).unwrap();
        run(&root, "10.0.0.3", "10.0.0.2");
        assert_eq!(std::fs::read_to_string(&out).unwrap(), expected);
    }
}
