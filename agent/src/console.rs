//! Log lines on standard error, for a boot console and for the journal alike.
//!
//! Where systemd reads the stream (`JOURNAL_STREAM` is set, systemd.exec(5)), each line begins with its priority
//! `<N>` (sd-daemon(3)); elsewhere with a word, since a console in the initramfs shows prefixes as they are.

use std::io::Write as _;

use log::{Level, LevelFilter, Log, Metadata, Record};

struct Console {
    journal: bool,
}

static CONSOLE: std::sync::OnceLock<Console> = std::sync::OnceLock::new();

/// Sends the program's log lines to standard error; `verbose` adds the debugging ones.
pub fn init(verbose: bool) {
    let console = CONSOLE.get_or_init(|| Console { journal: std::env::var_os("JOURNAL_STREAM").is_some() });
    if log::set_logger(console).is_ok() {
        log::set_max_level(if verbose { LevelFilter::Debug } else { LevelFilter::Info });
    }
}

impl Log for Console {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // The TLS and HTTP libraries describe every handshake; only our own lines are for people.
        metadata.target().starts_with("cluster_agent")
            || metadata.target().starts_with("cernvm_cluster_agent")
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let prefix = if self.journal { journal_prefix(record.level()) } else { word(record.level()) };
            // A console that cannot be written to must not stop the boot.
            let _ = writeln!(std::io::stderr().lock(), "{prefix}{}", record.args());
        }
    }

    fn flush(&self) {}
}

/// syslog(3) priorities as sd-daemon(3) wants them.
fn journal_prefix(level: Level) -> &'static str {
    match level {
        Level::Error => "<3>",
        Level::Warn => "<4>",
        Level::Info => "<6>",
        Level::Debug | Level::Trace => "<7>",
    }
}

fn word(level: Level) -> &'static str {
    match level {
        Level::Error => "cernvm-cluster-agent: error: ",
        Level::Warn => "cernvm-cluster-agent: warning: ",
        Level::Info | Level::Debug | Level::Trace => "cernvm-cluster-agent: ",
    }
}
