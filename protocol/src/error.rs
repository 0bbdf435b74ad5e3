//! What can go wrong, said to a person at a boot console: what failed, on what, why, and what to do next.
//!
//! Each variant has its exit status (sysexits.h where one fits) and its next step; neither has a catch-all, so a new
//! variant does not compile without both.

use std::path::PathBuf;
use std::time::Duration;

/// Why the agent could not do its work. Never holds a pin in full, nor a value other than `master_ip`.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The command line is wrong.
    #[error("{0}")]
    Usage(String),

    /// The context is wrong at a place that can be named.
    #[error("{place}: {problem}")]
    Context {
        /// File, and line or MIME part where there is one: `/user-data line 14`.
        place: String,
        /// What is wrong there.
        problem: String,
        /// What to do about it.
        next: String,
    },

    /// A value that a slave would not put into a script that root runs.
    #[error("the value of '{key}' {problem}")]
    UnsafeValue {
        /// Name of the key.
        key: String,
        /// What is wrong with it, without showing it.
        problem: String,
        /// Whether it is ours to publish (65) or came from the service (76).
        ours: bool,
    },

    /// No service of the context could be reached.
    #[error("cannot reach the pairing service {service} ({cause}), tried for {} s", tried.as_secs())]
    Unreachable {
        /// Its URL, or several.
        service: String,
        /// The last cause.
        cause: String,
        /// For how long it was tried.
        tried: Duration,
        /// What to look at for this cause.
        next: String,
    },

    /// A file on this machine.
    #[error("cannot {verb} {}: {source}", path.display())]
    File {
        /// What was to be done: `read`, `write`, …
        verb: &'static str,
        /// With which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },

    /// The deadline passed, or the key asked for is not there.
    #[error("{what} after {} s", tried.as_secs())]
    TimedOut {
        /// What did not happen: `the master is not ready`.
        what: String,
        /// For how long it was awaited.
        tried: Duration,
        /// What to do about it.
        next: String,
    },

    /// The service answered something that cannot be right.
    #[error("the pairing service {service} answered {problem}")]
    Nonsense {
        /// Its URL.
        service: String,
        /// What it answered.
        problem: String,
        /// What to do about it.
        next: String,
    },

    /// Every service that answered says that it does not know the pin.
    #[error("{0}")]
    UnknownPin(String),

    /// TLS is not to be trusted.
    #[error("{problem}")]
    Refused {
        /// What was refused, by whom.
        problem: String,
        /// What to do about it.
        next: String,
    },
}

/// EX_DATAERR of sysexits.h: a context, or a value, that cannot be right.
pub const BAD_CONTEXT: u8 = 65;

impl Error {
    /// The exit status: sysexits.h where one fits.
    #[must_use]
    pub fn exit_status(&self) -> u8 {
        match self {
            Self::Usage(_) => 64,
            Self::Context { .. } | Self::UnsafeValue { ours: true, .. } => BAD_CONTEXT,
            Self::Unreachable { .. } => 69,
            Self::File { .. } => 74,
            Self::TimedOut { .. } => 75,
            Self::Nonsense { .. } | Self::UnsafeValue { ours: false, .. } => 76,
            Self::UnknownPin(_) | Self::Refused { .. } => 77,
        }
    }

    /// What the person at the console should do.
    #[must_use]
    pub fn next_step(&self) -> &str {
        match self {
            Self::UnknownPin(_) => {
                "make a new pin, put it into the contexts of the master and its slaves, and launch them again"
            }
            Self::Usage(_) => "see `cernvm-cluster-agent --help`",
            Self::UnsafeValue { key, .. } if key == crate::key::MASTER_IP => {
                "publish the master's address or host name, nothing else"
            }
            Self::UnsafeValue { .. } => "publish it in base64",
            Self::File { verb, .. } if *verb == "read" => {
                "check that the file exists and that root may read it"
            }
            Self::File { .. } => "check that the file system is writable and has room",
            Self::Context { next, .. }
            | Self::Unreachable { next, .. }
            | Self::TimedOut { next, .. }
            | Self::Nonsense { next, .. }
            | Self::Refused { next, .. } => next,
        }
    }
}
