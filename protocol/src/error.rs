//! The errors of the programs that act on a context: what failed, on which thing, and what to do next.
//!
//! An [`Error`] is a [`Status`], a sentence and the next step. To add an exit status, add its row to the table here, at
//! its place in the order of severity; a test compares the documents with number and meaning.

use std::borrow::Cow;
use std::fmt;
use std::io;
use std::path::Path;
use std::time::Duration;

/// Makes the enum and its tables of one row for each status, so that none can be forgotten in one of them.
macro_rules! statuses {
    ($($(#[$doc:meta])* $status:ident: $code:literal, $meaning:literal;)*) => {
        /// Why a run failed. The order is that of severity: the later a status comes, the less waiting helps. Where a
        /// program has several to report, the last one of this order becomes its exit status.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Status {
            $($(#[$doc])* $status,)*
        }

        impl Status {
            /// Every status, in the order of their numbers.
            pub const ALL: [Self; [$($code),*].len()] = by_number([$(Self::$status),*]);

            /// The exit status: that of sysexits.h where one fits.
            #[must_use]
            pub const fn code(self) -> u8 {
                match self {
                    $(Self::$status => $code,)*
                }
            }

            /// What the number means, as the help and the documents say it.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self {
                    $(Self::$status => $meaning,)*
                }
            }
        }
    };
}

statuses! {
    /// The deadline passed, or the key asked for is not there.
    TimedOut: 75, "timed out or no such key";
    /// No service of the context could be reached.
    Unreachable: 69, "service unreachable";
    /// The service answered something that cannot be right.
    Nonsense: 76, "the answer makes no sense";
    /// TLS cannot be trusted, the pin is unknown, or a value is not what a member of the cluster sealed.
    Refused: 77, "refused (TLS, pin, seal)";
    /// Something of this instance ran with a literal placeholder or an earlier address, and does not run again by itself.
    TooLate: 78, "something ran with a literal placeholder or an earlier address";
    /// A file cannot be read or written.
    File: 74, "a file cannot be read or written";
    /// The context, or a value to publish, cannot be right.
    BadContext: 65, "bad context";
    /// The command line is wrong.
    Usage: 64, "usage";
}

const fn by_number<const N: usize>(mut statuses: [Status; N]) -> [Status; N] {
    let mut sorted = 1;
    while sorted < N {
        let mut at = sorted;
        while at > 0 && statuses[at - 1].code() > statuses[at].code() {
            statuses.swap(at - 1, at);
            at -= 1;
        }
        sorted += 1;
    }
    statuses
}

impl From<Status> for std::process::ExitCode {
    fn from(status: Status) -> Self {
        Self::from(status.code())
    }
}

/// Why a program could not do its work. Never holds a pin in full, nor a value other than `master_ip`.
#[derive(Debug)]
pub struct Error {
    status: Status,
    place: Option<String>,
    what: String,
    next: Cow<'static, str>,
    detail: ErrorDetail,
}

/// What a program may want to know of an error beyond its status.
#[derive(Debug)]
enum ErrorDetail {
    None,
    UnknownPin,
    Unopened,
    Tried(Duration),
    System(io::Error),
}

impl Error {
    /// An error with this status: what failed on which thing, and what to do next.
    #[must_use]
    pub fn new(status: Status, what: impl Into<String>, next: impl Into<Cow<'static, str>>) -> Self {
        Self { status, place: None, what: what.into(), next: next.into(), detail: ErrorDetail::None }
    }

    /// The command line is wrong.
    #[must_use]
    pub fn usage(what: impl Into<String>) -> Self {
        Self::new(Status::Usage, what, "see `cernvm-cluster-agent --help`")
    }

    /// The context is wrong at a place that can be named: `/user-data line 14`.
    #[must_use]
    pub fn context(
        place: impl Into<String>,
        problem: impl Into<String>,
        next: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self { place: Some(place.into()), ..Self::new(Status::BadContext, problem, next) }
    }

    /// A value that a slave would not put into a script that root runs. `problem` does not show the value; the status is
    /// [`Status::BadContext`] for one to publish, [`Status::Nonsense`] for one that the service gave.
    #[must_use]
    pub fn unsafe_value(status: Status, key: &str, problem: &str) -> Self {
        let next = if key == crate::key::MASTER_IP {
            "publish the master's address or host name, nothing else"
        } else {
            "publish it in base64"
        };
        Self::new(status, format!("the value of '{key}' {problem}"), next)
    }

    /// A value that the service gave and that does not fit where its placeholder stands. `problem` does not show it.
    #[must_use]
    pub fn unfit_value(place: impl Into<String>, key: &str, problem: &str, next: &'static str) -> Self {
        let what = format!("the value of '{key}' {problem}");
        Self { place: Some(place.into()), ..Self::new(Status::Nonsense, what, next) }
    }

    /// No service of the context could be reached, for this last cause.
    #[must_use]
    pub fn unreachable(
        service: impl fmt::Display,
        cause: &str,
        tried: Duration,
        next: impl Into<Cow<'static, str>>,
    ) -> Self {
        let what =
            format!("cannot reach the pairing service {service} ({cause}), tried for {} s", tried.as_secs());
        Self::new(Status::Unreachable, what, next)
    }

    /// A file cannot be read.
    #[must_use]
    pub fn cannot_read(path: &Path, source: io::Error) -> Self {
        Self::file("read", path, source, "check that the file exists and may be read")
    }

    /// A file cannot be written.
    #[must_use]
    pub fn cannot_write(path: &Path, source: io::Error) -> Self {
        Self::file("write", path, source, "check that the file system is writable and has room")
    }

    fn file(verb: &str, path: &Path, source: io::Error, next: &'static str) -> Self {
        let what = format!("cannot {verb} {}: {source}", path.display());
        Self { detail: ErrorDetail::System(source), ..Self::new(Status::File, what, next) }
    }

    /// The deadline passed: `the master is not ready yet`.
    #[must_use]
    pub fn timed_out(what: &str, tried: Duration, next: impl Into<Cow<'static, str>>) -> Self {
        let what = format!("{what} after {} s", tried.as_secs());
        Self { detail: ErrorDetail::Tried(tried), ..Self::new(Status::TimedOut, what, next) }
    }

    /// The service answered something that cannot be right.
    #[must_use]
    pub fn nonsense(
        service: impl fmt::Display,
        problem: impl fmt::Display,
        next: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self::new(Status::Nonsense, format!("the pairing service {service} answered {problem}"), next)
    }

    /// Every service that answered says that it does not know the pin.
    #[must_use]
    pub fn unknown_pin(what: impl Into<String>) -> Self {
        let next =
            "make a new pin, put it into the contexts of the master and its slaves, and launch them again";
        Self { detail: ErrorDetail::UnknownPin, ..Self::new(Status::Refused, what, next) }
    }

    /// The service answered a value that is not what a member of the cluster sealed.
    #[must_use]
    pub fn unopened(
        service: impl fmt::Display,
        problem: impl fmt::Display,
        next: impl Into<Cow<'static, str>>,
    ) -> Self {
        let what = format!("the pairing service {service} answered {problem}");
        Self { detail: ErrorDetail::Unopened, ..Self::new(Status::Refused, what, next) }
    }

    /// TLS cannot be trusted.
    #[must_use]
    pub fn refused(problem: impl Into<String>, next: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Status::Refused, problem, next)
    }

    /// Why the run failed.
    #[must_use]
    pub fn status(&self) -> Status {
        self.status
    }

    /// What the reader of the message should do.
    #[must_use]
    pub fn next_step(&self) -> &str {
        &self.next
    }

    /// Where in a context the problem is.
    #[must_use]
    pub fn place(&self) -> Option<&str> {
        self.place.as_deref()
    }

    /// What failed, without the place.
    #[must_use]
    pub fn problem(&self) -> &str {
        &self.what
    }

    /// Whether every service that answered says that it does not know the pin.
    #[must_use]
    pub fn is_unknown_pin(&self) -> bool {
        matches!(self.detail, ErrorDetail::UnknownPin)
    }

    /// Whether the service answered a value that is not what a member of the cluster sealed.
    #[must_use]
    pub fn is_unopened(&self) -> bool {
        matches!(self.detail, ErrorDetail::Unopened)
    }

    /// For how long it was tried, of an error that timed out.
    #[must_use]
    pub fn tried(&self) -> Option<Duration> {
        match self.detail {
            ErrorDetail::Tried(tried) => Some(tried),
            _ => None,
        }
    }

    /// What the system said of a file.
    #[must_use]
    pub fn io(&self) -> Option<&io::Error> {
        match &self.detail {
            ErrorDetail::System(source) => Some(source),
            _ => None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Some(place) => write!(f, "{place}: {}", self.what),
            None => f.write_str(&self.what),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.io().map(|source| source as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_rise_and_the_severest_is_not_the_highest() {
        let codes = Status::ALL.map(Status::code);
        assert!(codes.is_sorted_by(|a, b| a < b), "{codes:?}");
        let mut by_severity = Status::ALL;
        by_severity.sort();
        assert_eq!(
            (by_severity.first(), by_severity.last()),
            (Some(&Status::TimedOut), Some(&Status::Usage))
        );
    }

    /// The documents, which name the number and the meaning in one line.
    #[test]
    fn the_documents_name_every_status() {
        for (name, text) in [("docs/behaviour.md", include_str!("../../docs/behaviour.md"))] {
            for status in Status::ALL {
                let row = format!("| {} | {} |", status.code(), status.meaning());
                assert!(text.lines().any(|line| line == row), "{name} has no line {row}");
            }
            let rows =
                text.lines().filter_map(|line| line.strip_prefix("| ")?.split(" |").next()?.parse().ok());
            for code in rows.filter(|code: &u8| (64..80).contains(code)) {
                assert!(Status::ALL.iter().any(|status| status.code() == code), "{name}: no status {code}");
            }
        }
    }
}
