//! Log lines on standard error, for a boot console and for the journal alike.
//!
//! Where systemd reads the stream (`JOURNAL_STREAM` is set, systemd.exec(5)), each line begins with its priority
//! `<N>` (sd-daemon(3)); elsewhere with a word. In the µCernVM boot loader they look like its own (`log_start`,
//! `log_warn`, `log_ok` and `log_fail` of `include/runtime-init.sh`): a step begins a line, and how it ended ends the
//! last one. Its log file gets them too, without colours.

use std::fs::File;
use std::io::Write as _;

use log::{Level, LevelFilter, Log, Metadata, Record};
use protocol::log_line::{journal_prefix, word};

/// How lines look.
#[derive(Debug)]
pub enum Style {
    /// Read by systemd, or by a person, whichever it is.
    Plain,
    /// Between lines of the boot loader's own; `None` when there is no log file.
    BootLoader(Option<File>),
}

enum Console {
    Journal,
    Terminal,
    BootLoader(Option<File>),
}

static CONSOLE: std::sync::OnceLock<Console> = std::sync::OnceLock::new();

/// The step in the boot loader's words, of which a line has 54 characters.
const STEP: &str = "Contextualizing the cluster...";

/// Sends the program's log lines to standard error; `verbose` adds the debugging ones.
pub fn init(style: Style, verbose: bool) {
    let console = CONSOLE.get_or_init(|| match style {
        Style::BootLoader(log) => Console::BootLoader(log),
        Style::Plain if std::env::var_os("JOURNAL_STREAM").is_some() => Console::Journal,
        Style::Plain => Console::Terminal,
    });
    if log::set_logger(console).is_ok() {
        log::set_max_level(if verbose { LevelFilter::Debug } else { LevelFilter::Info });
    }
    if let Console::BootLoader(_) = console {
        print(&format!("{INF}{STEP}"));
    }
}

/// Says how the program's work ended, where the style has words for it.
pub fn finish(success: bool) {
    if let Some(Console::BootLoader(_)) = CONSOLE.get() {
        print(if success { CHECK } else { FAILED });
    }
}

const INF: &str = "[\x1b[1;37mINF\x1b[0m] ";
const WRN: &str = "[\x1b[33mWRN\x1b[0m] ";
const CHECK: &str = " \x1b[32mcheck\x1b[0m\n";
const FAILED: &str = " \x1b[31mfailed\x1b[0m\n";

/// A console that cannot be written to must not stop the boot.
fn print(text: &str) {
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

/// What a line for a person begins with.
const PROGRAM: &str = "cernvm-cluster-agent";

/// The crates whose messages a person sees; rustls and ureq have their own at every level.
const OUR_CRATES: [&str; 4] = ["cluster_agent", "cernvm_cluster_agent", "context", "client"];

impl Log for Console {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // The TLS and HTTP libraries describe every handshake; only our own lines are for people.
        let crate_name = metadata.target().split("::").next().unwrap_or_default();
        OUR_CRATES.contains(&crate_name)
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let (level, text) = (record.level(), record.args());
        match self {
            Self::Journal => print(&format!("{}{text}\n", journal_prefix(level))),
            Self::Terminal => print(&format!("{PROGRAM}: {}{text}\n", word(level))),
            Self::BootLoader(log) => {
                print(&format!("\n{}{text}", if level <= Level::Warn { WRN } else { INF }));
                if let Some(mut log) = log.as_ref() {
                    // A disk that is full must not stop it either.
                    let _ = writeln!(log, "{PROGRAM}: {}{text}", word(level));
                }
            }
        }
    }

    fn flush(&self) {}
}
