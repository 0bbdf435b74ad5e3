//! Where log lines go: standard error, in the form that whoever reads it there expects.

use std::env;
use std::io::Write as _;

use log::{Level, LevelFilter};

use crate::clock::{Clock as _, SystemClock};

/// Starts logging. The journal has times of its own and takes the priority from a number in front (sd-daemon(3));
/// everybody else gets the time and the level in words.
pub fn start(level: LevelFilter) {
    let journal = env::var_os("JOURNAL_STREAM").is_some();
    env_logger::Builder::new()
        .filter_level(level)
        .format(move |out, record| {
            if journal {
                writeln!(out, "<{}>{}", priority(record.level()), record.args())
            } else {
                writeln!(out, "{} {:5} {}", SystemClock.now(), record.level(), record.args())
            }
        })
        .init();
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
