//! Log lines on standard error, in the form that their reader expects.
//!
//! A service never waits for the reader of its log: lines go through a queue of bounded size, and those for which there
//! is no room are dropped and counted. A pipe that is not read thus holds up neither a request nor the shutdown.

use std::env;
use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use env_logger::Target;
use log::kv::{Error as KvError, Key, Value, VisitSource};
use log::{LevelFilter, Record};
use protocol::log_line::{journal_prefix, word};
use serde_json::Map;

use crate::clock::{Clock as _, SystemClock};

/// Bytes of lines that may wait to be written.
const QUEUE_BYTES: usize = 1 << 20;
/// How long the last lines may take at the end.
const FLUSH: Duration = Duration::from_secs(1);

static QUEUED: AtomicUsize = AtomicUsize::new(0);
static DROPPED: AtomicU64 = AtomicU64::new(0);

/// Who reads the lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogReader {
    /// The operator of a service: each line has its time.
    Operator,
    /// The user of a command, which ends soon.
    User,
}

/// The form of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Text for people.
    Text,
    /// One JSON object, with fields.
    Json,
}

/// Starts logging. The journal has times of its own and takes the priority from a number in front (sd-daemon(3)).
pub fn start(level: LevelFilter, reader: LogReader, format: LogFormat) {
    let journal = env::var_os("JOURNAL_STREAM").is_some();
    let mut builder = env_logger::Builder::new();
    builder.filter_level(level).format(move |out, record| {
        let (level, text) = (record.level(), record.args());
        match (reader, format) {
            (_, LogFormat::Json) => writeln!(out, "{}", json(record)),
            (_, LogFormat::Text) if journal => writeln!(out, "{}{text}", journal_prefix(level)),
            (LogReader::Operator, LogFormat::Text) => writeln!(out, "{} {level:5} {text}", SystemClock.now()),
            (LogReader::User, LogFormat::Text) => {
                writeln!(out, "cernvm-pairing-server: {}{text}", word(level))
            }
        }
    });
    if reader == LogReader::Operator {
        builder.target(Target::Pipe(Box::new(Queue::to(io::stderr()))));
    }
    builder.init();
}

/// Waits, for a second at most, until what was logged is written.
pub fn flush() {
    let begun = Instant::now();
    while QUEUED.load(Ordering::Acquire) > 0 && begun.elapsed() < FLUSH {
        thread::sleep(Duration::from_millis(1));
    }
}

/// How many lines were dropped since the start.
pub(crate) fn dropped() -> u64 {
    DROPPED.load(Ordering::Relaxed)
}

/// What env_logger writes to: each call is one line.
struct Queue(Sender<Vec<u8>>);

impl Queue {
    /// A queue that a thread of its own empties.
    fn to(mut out: impl Write + Send + 'static) -> Self {
        let (lines, queue) = channel::<Vec<u8>>();
        thread::spawn(move || {
            let mut told = 0;
            for line in queue {
                let _ = out.write_all(&line);
                let dropped = dropped();
                if dropped > told {
                    let _ = writeln!(
                        out,
                        "{} log lines were dropped: they were not read in time",
                        dropped - told
                    );
                    told = dropped;
                }
                QUEUED.fetch_sub(line.len(), Ordering::Release);
            }
        });
        Self(lines)
    }
}

impl Write for Queue {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        // One thread at a time comes here.
        if QUEUED.load(Ordering::Relaxed) + line.len() > QUEUE_BYTES || {
            QUEUED.fetch_add(line.len(), Ordering::Relaxed);
            self.0.send(line.to_vec()).is_err()
        } {
            DROPPED.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A line as a JSON object: `time`, `level`, `message`, and the fields.
fn json(record: &Record<'_>) -> String {
    struct JsonFields(Map<String, serde_json::Value>);
    impl<'kvs> VisitSource<'kvs> for JsonFields {
        fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), KvError> {
            let value = value.to_u64().map_or_else(|| value.to_string().into(), Into::into);
            self.0.insert(key.as_str().to_owned(), value);
            Ok(())
        }
    }
    let mut fields = JsonFields(Map::new());
    // It only fails where a visitor does.
    let _ = record.key_values().visit(&mut fields);
    fields.0.insert("time".to_owned(), SystemClock.now().to_string().into());
    fields.0.insert("level".to_owned(), record.level().as_str().to_lowercase().into());
    fields.0.insert("message".to_owned(), record.args().to_string().into());
    serde_json::Value::Object(fields.0).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use log::Level;

    #[test]
    fn a_json_line_has_the_fields() {
        let fields = [("client", Value::from("10.0.0.1")), ("status", Value::from(404_u16))];
        let record = Record::builder()
            .level(Level::Info)
            .args(format_args!("a \"quoted\"\nmessage"))
            .key_values(&fields)
            .build();
        let line = json(&record);
        assert!(!line.contains('\n'), "{line}");
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["message"], "a \"quoted\"\nmessage");
        assert_eq!((&value["client"], &value["status"]), (&"10.0.0.1".into(), &404.into()));
        assert_eq!(value["level"], "info");
    }
}
