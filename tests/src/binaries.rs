//! Where the binaries under test are: beside the running test, since both come out of one `cargo build`, or in the
//! directory that the environment variable `PROGRAMS` names, as for those of a package.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// What the service is made of.
const SERVER_SOURCES: &[&str] =
    &["server/src", "server/core/src", "client/src", "context/src", "protocol/src"];

/// The pairing service.
///
/// # Panics
/// When it has not been built, or not since its source changed.
#[must_use]
pub fn server() -> PathBuf {
    find("cernvm-pairing-server", SERVER_SOURCES)
}

/// The agent.
///
/// # Panics
/// When it has not been built, or not since its source changed.
#[must_use]
pub fn agent() -> PathBuf {
    find("cernvm-cluster-agent", &["agent/src", "client/src", "context/src", "protocol/src"])
}

/// The launcher.
///
/// # Panics
/// When it has not been built, or not since its source changed.
#[must_use]
pub fn launcher() -> PathBuf {
    find(
        "cernvm-cluster-launcher",
        &["launcher/src", "server/etcd/src", "client/src", "context/src", "protocol/src"],
    )
}

/// The agent as it is shipped, linked statically.
///
/// # Panics
/// When it has not been built, or not since its source changed.
#[must_use]
pub fn static_agent() -> PathBuf {
    find_static("cernvm-cluster-agent", &["agent/src", "client/src", "context/src", "protocol/src"])
}

/// The pairing service as it is shipped, linked statically.
///
/// # Panics
/// When it has not been built, or not since its source changed.
#[must_use]
pub fn static_server() -> PathBuf {
    find_static("cernvm-pairing-server", SERVER_SOURCES)
}

fn find_static(name: &str, sources: &[&str]) -> PathBuf {
    let target = "x86_64-unknown-linux-musl";
    let build = format!("tests/scripts/static-programs {name}");
    find_built_by(&build, &format!("../static/{target}/debug/{name}"), sources)
}

/// `cargo test` builds the binaries of its own package only, so these may be missing, or old, which is worse.
fn find(name: &str, sources: &[&str]) -> PathBuf {
    match std::env::var_os("PROGRAMS") {
        Some(dir) => Path::new(&dir).join(name),
        None => find_built_by("cargo build --workspace", name, sources),
    }
}

fn find_built_by(build: &str, name: &str, sources: &[&str]) -> PathBuf {
    let path = profile_dir().join(name);
    let built = path.metadata().and_then(|file| file.modified());
    let built = built.unwrap_or_else(|e| panic!("cannot find {} ({e}): run `{build}` first", path.display()));
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for source in sources {
        let changed = newest(&workspace.join(source));
        assert!(changed <= Some(built), "{} is older than {source}: run `{build}` first", path.display());
    }
    path
}

/// `target/<profile>`: test programs lie in its `deps`, other programs in it.
pub(crate) fn profile_dir() -> PathBuf {
    let own = std::env::current_exe().expect("a running program has a path");
    let dir = own.parent().expect("a file has a directory");
    if dir.ends_with("deps") { dir.join("..") } else { dir.to_path_buf() }
}

/// When the youngest file of a tree changed; `None` when there is no tree, as where only the programs were copied.
fn newest(dir: &Path) -> Option<SystemTime> {
    let entries = std::fs::read_dir(dir).ok()?.filter_map(Result::ok);
    entries
        .filter_map(|entry| match entry.file_type().ok()? {
            kind if kind.is_dir() => newest(&entry.path()),
            _ => entry.metadata().ok()?.modified().ok(),
        })
        .max()
}
