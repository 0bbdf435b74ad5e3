//! What a backup is on its way: JSON, one object a line. A head, then records, then the count of those, or the reason
//! why there are no more. Without such an end it is not whole.
//!
//! | line | members |
//! |---|---|
//! | head | `format` of the store, `taken` in microseconds since 1970 |
//! | record | `id`, `record` as in the store's file, in base64 |
//! | end | `records`, how many there were |
//! | failure | `error`, why |

use std::io::{self, BufRead, Read as _};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::store::FORMAT;

/// Longest line, in bytes: many times what a pin may hold.
const LONGEST: u64 = 64 << 20;

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum BackupLine {
    Head { format: u64, taken: u64 },
    Record { id: u64, record: String },
    End { records: u64 },
    Failure { error: String },
}

fn push(out: &mut Vec<u8>, line: &BackupLine) {
    serde_json::to_writer(&mut *out, line).expect("a vector takes everything");
    out.push(b'\n');
}

pub(super) fn head(taken: Timestamp) -> Vec<u8> {
    let mut out = Vec::new();
    push(&mut out, &BackupLine::Head { format: FORMAT, taken: taken.0 });
    out
}

pub(super) fn record(out: &mut Vec<u8>, id: u64, bytes: &[u8]) {
    push(out, &BackupLine::Record { id, record: BASE64.encode(bytes) });
}

pub(super) fn end(out: &mut Vec<u8>, records: u64) {
    push(out, &BackupLine::End { records });
}

pub(super) fn failure(out: &mut Vec<u8>, error: &str) {
    push(out, &BackupLine::Failure { error: error.to_owned() });
}

/// Reads the lines.
pub(super) struct BackupReader<R> {
    from: R,
    count: u64,
    line: Vec<u8>,
}

impl<R: BufRead> BackupReader<R> {
    /// Reads the head.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub(super) fn begin(from: R) -> Result<(Self, Timestamp), String> {
        let mut reader = Self { from, count: 0, line: Vec::new() };
        match reader.line()? {
            BackupLine::Head { format: FORMAT, taken } => Ok((reader, Timestamp(taken))),
            BackupLine::Head { format, .. } => Err(format!(
                "the service has format {format}, this program writes format {FORMAT}: \
                 use the program that the service was started from"
            )),
            BackupLine::Failure { error } => Err(error),
            _ => Err("it does not begin as a backup does".to_owned()),
        }
    }

    /// Reads on: a record with its number, or `None` after the last one.
    ///
    /// # Errors
    /// Why there is no more, in words.
    pub(super) fn next(&mut self) -> Result<Option<(u64, Vec<u8>)>, String> {
        match self.line()? {
            BackupLine::Record { id, record } => {
                self.count += 1;
                let bytes =
                    BASE64.decode(record).map_err(|err| format!("record {id} is no base64: {err}"))?;
                Ok(Some((id, bytes)))
            }
            BackupLine::End { records } if records == self.count => Ok(None),
            BackupLine::End { records } => Err(format!("{} of {records} records came", self.count)),
            BackupLine::Failure { error } => Err(error),
            BackupLine::Head { .. } => Err("it begins twice".to_owned()),
        }
    }

    fn line(&mut self) -> Result<BackupLine, String> {
        self.line.clear();
        let read = self.from.by_ref().take(LONGEST).read_until(b'\n', &mut self.line);
        read.map_err(|err| explain(&err))?;
        if self.line.last() != Some(&b'\n') {
            return Err("it ended in the middle".to_owned());
        }
        serde_json::from_slice(&self.line).map_err(|_| {
            "what answers there is no pairing service of this release: use the program that the service was started from"
                .to_owned()
        })
    }
}

pub(super) fn explain(err: &io::Error) -> String {
    match err.kind() {
        io::ErrorKind::UnexpectedEof => "it ended in the middle".to_owned(),
        io::ErrorKind::WouldBlock => "it has sent nothing for a long time".to_owned(),
        _ => err.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAKEN: Timestamp = Timestamp(1_478_001_296_123_456);

    /// Two records, and their end.
    fn whole() -> Vec<u8> {
        let mut sent = head(TAKEN);
        record(&mut sent, 7, b"seven");
        record(&mut sent, 9, b"");
        end(&mut sent, 2);
        sent
    }

    fn read(bytes: &[u8]) -> Result<Vec<(u64, Vec<u8>)>, String> {
        let (mut reader, taken) = BackupReader::begin(bytes)?;
        assert_eq!(taken, TAKEN);
        std::iter::from_fn(|| reader.next().transpose()).collect()
    }

    #[test]
    fn what_was_sent_is_read() {
        assert_eq!(read(&whole()), Ok(vec![(7, b"seven".to_vec()), (9, Vec::new())]));
        let text = String::from_utf8(whole()).unwrap();
        assert_eq!(text.lines().nth(1), Some(r#"{"id":7,"record":"c2V2ZW4="}"#));
    }

    #[test]
    fn what_ends_early_is_not_whole() {
        let whole = whole();
        for length in 0..whole.len() {
            assert_eq!(read(&whole[..length]), Err("it ended in the middle".to_owned()), "{length}");
        }
    }

    #[test]
    fn says_what_is_wrong() {
        let with = |more: &str| read(&[head(TAKEN).as_slice(), more.as_bytes()].concat()).unwrap_err();
        assert_eq!(with("{\"records\":1}\n"), "0 of 1 records came");
        assert_eq!(with("{\"error\":\"the disk is gone\"}\n"), "the disk is gone");
        assert!(with("{\"id\":1,\"record\":\"!\"}\n").contains("record 1 is no base64"));
        assert!(with("pairing\n").contains("no pairing service of this release"));
        assert!(read(b"{\"format\":9,\"taken\":1}\n").unwrap_err().contains("this program writes format"));
    }
}
