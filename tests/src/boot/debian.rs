//! Debian root file systems with real systemd and real cloud-init, as `scripts/debian-root` makes them.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A release of Debian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Release {
    /// 11: systemd 247, cloud-init 20.4.
    Bullseye,
    /// 12: systemd 252, cloud-init 22.4, whose network stage is `cloud-init.service`.
    Bookworm,
    /// 13: systemd 257, cloud-init 25.1, one process, whose network stage is `cloud-init-network.service`.
    Trixie,
    /// The next release as it is now: the newest systemd and cloud-init.
    Sid,
}

/// The two stable ones, for tests that must hold on either.
pub const RELEASES: [Release; 2] = [Release::Bookworm, Release::Trixie];
/// From the oldest to the newest, for the units.
pub const EVERY_RELEASE: [Release; 4] = [Release::Bullseye, Release::Bookworm, Release::Trixie, Release::Sid];

impl Release {
    /// Its code name.
    #[must_use]
    pub fn suite(self) -> &'static str {
        match self {
            Self::Bullseye => "bullseye",
            Self::Bookworm => "bookworm",
            Self::Trixie => "trixie",
            Self::Sid => "sid",
        }
    }
}

/// A cached root, which does not change: a machine lays an overlay over it.
#[derive(Debug, Clone)]
pub struct Debian {
    dir: PathBuf,
}

impl Debian {
    /// The cached root of a release, made if this is the first time (about a minute, and the network).
    ///
    /// # Panics
    /// When it cannot be made; the script says why.
    #[must_use]
    pub fn root_of(release: Release) -> Self {
        Self::made_by("debian-root", &[release.suite()])
    }

    /// The same with further packages installed, as a context's `packages` would; no service of theirs is enabled.
    ///
    /// # Panics
    /// When it cannot be made; the script says why.
    #[must_use]
    pub fn root_with(release: Release, packages: &[&str]) -> Self {
        Self::made_by("debian-root-with", &[&[release.suite()], packages].concat())
    }

    fn made_by(script: &str, args: &[&str]) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts").join(script);
        let made = Command::new(&script).args(args).stderr(Stdio::inherit()).output();
        let made = made.unwrap_or_else(|e| panic!("{}: {e}", script.display()));
        assert!(made.status.success(), "{} {args:?}: {}", script.display(), made.status);
        let dir = String::from_utf8(made.stdout).expect("a path in UTF-8");
        Self { dir: PathBuf::from(dir.trim_end()) }
    }

    /// The root file system.
    #[must_use]
    pub fn root(&self) -> PathBuf {
        self.dir.join("root")
    }

    /// The units of this cloud-init as its templates render them for another distribution: `rhel`, `almalinux`.
    #[must_use]
    pub fn units_for(&self, distribution: &str) -> PathBuf {
        self.dir.join("el-units").join(distribution)
    }
}
