//! Log lines on standard error, in the form that their reader expects.

use std::env;
use std::io::Write as _;

use log::{Level, LevelFilter};

use crate::clock::{Clock as _, SystemClock};

/// Who reads the lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    /// The operator of a service: each line has its time.
    Operator,
    /// The user of a command, which ends soon.
    User,
}

/// Starts logging. The journal has times of its own and takes the priority from a number in front (sd-daemon(3)).
pub fn start(level: LevelFilter, reader: Reader) {
    let journal = env::var_os("JOURNAL_STREAM").is_some();
    env_logger::Builder::new()
        .filter_level(level)
        .format(move |out, record| {
            let (level, text) = (record.level(), record.args());
            match reader {
                _ if journal => writeln!(out, "<{}>{text}", priority(level)),
                Reader::Operator => writeln!(out, "{} {level:5} {text}", SystemClock.now()),
                Reader::User => writeln!(out, "cernvm-pairing-server: {}{text}", word(level)),
            }
        })
        .init();
}

fn word(level: Level) -> &'static str {
    match level {
        Level::Error => "error: ",
        Level::Warn => "warning: ",
        Level::Info | Level::Debug | Level::Trace => "",
    }
}

/// The priority of syslog(3).
fn priority(level: Level) -> u8 {
    match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    }
}
