//! What goes over the socket, one way: a head, then records, then an end that says how many there were, or the reason
//! why there are no more. Without such an end it is not whole. Numbers are little-endian.
//!
//! | part | bytes |
//! |---|---|
//! | head | [`GREETING`], the store's format (8), the moment in microseconds since 1970 (8) |
//! | record | `1`, its number (8), its length (4), its bytes as in the store's file |
//! | end | `2`, how many records there were (8) |
//! | failure | `3`, length (4), why, in UTF-8 |

use std::io::{self, Read};

use crate::clock::Timestamp;
use crate::store::FORMAT;

const GREETING: &[u8; 8] = b"pairing\n";
const RECORD: u8 = 1;
const END: u8 = 2;
const FAILURE: u8 = 3;
/// Longest record or reason, in bytes: many times what a pin may hold.
const LONGEST: u32 = 64 << 20;

pub(super) fn head(taken: Timestamp) -> Vec<u8> {
    [GREETING.as_slice(), &FORMAT.to_le_bytes(), &taken.0.to_le_bytes()].concat()
}

pub(super) fn record(out: &mut Vec<u8>, id: u64, bytes: &[u8]) {
    out.push(RECORD);
    out.extend(id.to_le_bytes());
    out.extend(length(bytes));
    out.extend(bytes);
}

pub(super) fn end(out: &mut Vec<u8>, count: u64) {
    out.push(END);
    out.extend(count.to_le_bytes());
}

pub(super) fn failure(why: &str) -> Vec<u8> {
    [&[FAILURE], length(why.as_bytes()).as_slice(), why.as_bytes()].concat()
}

fn length(bytes: &[u8]) -> [u8; 4] {
    u32::try_from(bytes.len()).expect("a record has at most what a pin may hold").to_le_bytes()
}

/// What comes next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Frame<'a> {
    Record(u64, &'a [u8]),
    End,
}

/// The other side.
pub(super) struct Reader<R> {
    from: R,
    count: u64,
    bytes: Vec<u8>,
}

impl<R: Read> Reader<R> {
    /// Reads the head.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub(super) fn begin(from: R) -> Result<(Self, Timestamp), String> {
        let mut reader = Self { from, count: 0, bytes: Vec::new() };
        let [greeting, format, taken] = [reader.number()?, reader.number()?, reader.number()?];
        if greeting.to_le_bytes() != *GREETING {
            return Err("what answers there is no pairing service".to_owned());
        }
        if format != FORMAT {
            return Err(format!(
                "the service has format {format}, this program writes format {FORMAT}: \
                 use the program that the service was started from"
            ));
        }
        Ok((reader, Timestamp(taken)))
    }

    /// Reads on.
    ///
    /// # Errors
    /// Why there is no more, in words.
    pub(super) fn next(&mut self) -> Result<Frame<'_>, String> {
        let [kind] = self.take()?;
        match kind {
            RECORD => {
                let id = self.number()?;
                self.count += 1;
                self.text()?;
                Ok(Frame::Record(id, &self.bytes))
            }
            END => match self.number()? {
                count if count == self.count => Ok(Frame::End),
                count => Err(format!("{} of {count} records came", self.count)),
            },
            FAILURE => {
                self.text()?;
                Err(String::from_utf8_lossy(&self.bytes).into_owned())
            }
            kind => Err(format!("it sent a part of kind {kind}, which this release does not know")),
        }
    }

    fn text(&mut self) -> Result<(), String> {
        let length = u32::from_le_bytes(self.take()?);
        if length > LONGEST {
            return Err(format!("it sent a part of {length} bytes, which is longer than any"));
        }
        self.bytes.resize(length as usize, 0);
        self.from.read_exact(&mut self.bytes).map_err(|err| explain(&err))
    }

    fn number(&mut self) -> Result<u64, String> {
        self.take().map(u64::from_le_bytes)
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let mut bytes = [0; N];
        self.from.read_exact(&mut bytes).map_err(|err| explain(&err))?;
        Ok(bytes)
    }
}

fn explain(err: &io::Error) -> String {
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

    /// Two records, and the end.
    fn whole() -> Vec<u8> {
        let mut bytes = head(TAKEN);
        record(&mut bytes, 7, b"seven");
        record(&mut bytes, 9, b"");
        end(&mut bytes, 2);
        bytes
    }

    /// Reads all of it: the records, or why there are no more.
    fn read(bytes: &[u8]) -> Result<Vec<(u64, Vec<u8>)>, String> {
        let (mut reader, taken) = Reader::begin(bytes)?;
        assert_eq!(taken, TAKEN);
        let mut records = Vec::new();
        while let Frame::Record(id, bytes) = reader.next()? {
            records.push((id, bytes.to_vec()));
        }
        Ok(records)
    }

    #[test]
    fn what_was_sent_is_read() {
        assert_eq!(read(&whole()), Ok(vec![(7, b"seven".to_vec()), (9, Vec::new())]));
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
        let with = |more: &[u8]| read(&[head(TAKEN).as_slice(), more].concat()).unwrap_err();
        let mut short = Vec::new();
        end(&mut short, 1);
        assert_eq!(with(&short), "0 of 1 records came");
        assert_eq!(with(&failure("the disk is gone")), "the disk is gone");
        assert!(with(&[9]).contains("kind 9"));
        assert!(with(&[[FAILURE].as_slice(), &u32::MAX.to_le_bytes()].concat()).contains("4294967295 bytes"));
        let other = [GREETING.as_slice(), &[9; 16]].concat();
        assert!(read(&other).unwrap_err().contains("this program writes format 1"));
        assert_eq!(read(&[b'x'; 24]).unwrap_err(), "what answers there is no pairing service");
    }
}
