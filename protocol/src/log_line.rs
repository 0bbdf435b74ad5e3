//! What a log line begins with, for the journal and for a person.

use log::Level;

/// The priority of syslog(3), as sd-daemon(3) has it at the beginning of a line.
#[must_use]
pub fn journal_prefix(level: Level) -> &'static str {
    match level {
        Level::Error => "<3>",
        Level::Warn => "<4>",
        Level::Info => "<6>",
        Level::Debug | Level::Trace => "<7>",
    }
}

/// The word before a message; none where it is neither an error nor a warning.
#[must_use]
pub fn word(level: Level) -> &'static str {
    match level {
        Level::Error => "error: ",
        Level::Warn => "warning: ",
        Level::Info | Level::Debug | Level::Trace => "",
    }
}
