//! What can keep a figure from being measured. A run goes on without it and the report says so.

use std::path::Path;

/// Why something was not measured.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Trouble {
    /// A program that is compared is not here.
    #[error("{0} is not installed")]
    Missing(String),
    /// A system call, with what it was for.
    #[error("{what}: {source}")]
    System {
        /// What was being done.
        what: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// A server or a program did something else than it was asked.
    #[error("{who} {did}")]
    Unexpected {
        /// Which one.
        who: String,
        /// What it did.
        did: String,
    },
}

/// What the harness's fallible steps give.
pub(crate) type Outcome<T> = Result<T, Trouble>;

impl Trouble {
    /// For [`Trouble::Unexpected`].
    pub(crate) fn unexpected(who: impl Into<String>, did: impl Into<String>) -> Self {
        Self::Unexpected { who: who.into(), did: did.into() }
    }
}

/// Says what a system call was for.
pub(crate) trait Doing<T> {
    /// Names the step that failed.
    fn doing(self, what: impl Into<String>) -> Outcome<T>;

    /// Names the step and the file.
    fn doing_on(self, what: &str, path: &Path) -> Outcome<T>
    where
        Self: Sized,
    {
        self.doing(format!("{what} {}", path.display()))
    }
}

impl<T, E: Into<std::io::Error>> Doing<T> for Result<T, E> {
    fn doing(self, what: impl Into<String>) -> Outcome<T> {
        self.map_err(|source| Trouble::System { what: what.into(), source: source.into() })
    }
}
