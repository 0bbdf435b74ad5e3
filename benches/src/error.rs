//! Why a figure could not be measured. The run goes on without it, and the report says so.

use std::path::Path;

/// Why something was not measured.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// A program of the comparison is not installed.
    #[error("{0} is not installed")]
    Missing(String),
    /// A system call failed.
    #[error("{what}: {source}")]
    System {
        /// The step that failed.
        what: String,
        /// The error of the system.
        source: std::io::Error,
    },
    /// A server or a program did something else than it was asked.
    #[error("{who} {did}")]
    Unexpected {
        /// The server or program.
        who: String,
        /// What it did.
        did: String,
    },
}

/// The result of a step of the harness.
pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Makes [`Error::Unexpected`].
    pub(crate) fn unexpected(who: impl Into<String>, did: impl Into<String>) -> Self {
        Self::Unexpected { who: who.into(), did: did.into() }
    }
}

/// Adds to a system call's error what the call was for.
pub(crate) trait WithContext<T> {
    /// Names the step that failed.
    fn context(self, what: impl Into<String>) -> Result<T>;

    /// Names the step and the file.
    fn context_on(self, what: &str, path: &Path) -> Result<T>
    where
        Self: Sized,
    {
        self.context(format!("{what} {}", path.display()))
    }
}

impl<T, E: Into<std::io::Error>> WithContext<T> for Result<T, E> {
    fn context(self, what: impl Into<String>) -> Result<T> {
        self.map_err(|source| Error::System { what: what.into(), source: source.into() })
    }
}
