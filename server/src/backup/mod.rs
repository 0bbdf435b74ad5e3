//! `backup`: a copy of the store, taken while the service runs or while it does not.
//!
//! The service hands out its records (`socket`) as `lines` of JSON, in answer to `GET /backup` on the admin's socket, and
//! the command makes a store file of them: the service needs no room for a second file, and a copy is whole or it is
//! not there. Where no service runs, the command reads the file itself, which no other process can open meanwhile.

mod file;
mod lines;
pub(crate) mod socket;
#[cfg(test)]
mod tests;

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::clock::{Clock as _, SystemClock, Timestamp};
use crate::error::Error;
use crate::progress::Progress;
use crate::store::AtRest;
use crate::store::copy::{Contents, StoreCopy};
use file::BackupFile;
use lines::{BackupReader, explain};

/// The socket in the data directory at which a running service hands its records over.
pub const SOCKET: &str = "backup.sock";
/// A service that sends nothing for so long hangs: a batch of records takes it milliseconds.
const PATIENCE: Duration = Duration::from_secs(120);

/// A backup that was made.
#[derive(Debug)]
pub struct BackupReport {
    file: PathBuf,
    held: Contents,
    /// Every write that was answered before is in it.
    taken: Timestamp,
}

impl fmt::Display for BackupReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Contents { pins, keys, nodes } = self.held;
        write!(
            f,
            "wrote {}: pins {pins}, keys {keys}, nodes {nodes}, as of {}",
            self.file.display(),
            self.taken
        )
    }
}

/// Copies the store in a data directory to a file that a service opens as its own. It blocks.
///
/// # Errors
/// There is no store, it cannot be read, or the file cannot be written; what was there under its name is still there.
pub fn write(data_dir: &Path, file: &Path) -> Result<BackupReport, Error> {
    let target = BackupFile::new(file, data_dir)?;
    let (held, taken) = match connect(&data_dir.join(SOCKET))? {
        Some(service) => receive(service, &data_dir.join(SOCKET), &target)?,
        None => read(data_dir, &target)?,
    };
    target.keep()?;
    Ok(BackupReport { file: file.to_owned(), held, taken })
}

/// The service, if one runs.
pub(crate) fn connect(socket: &Path) -> Result<Option<UnixStream>, Error> {
    match UnixStream::connect(socket) {
        Ok(service) => Ok(Some(service)),
        // The last is a name that is too long for a socket, so there is none.
        Err(err)
            if matches!(
                err.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused | io::ErrorKind::InvalidInput
            ) =>
        {
            Ok(None)
        }
        Err(err) => Err(Error::file("connect to", socket, err)),
    }
}

fn receive(service: UnixStream, socket: &Path, target: &BackupFile) -> Result<(Contents, Timestamp), Error> {
    let broken = |problem: String| Error::Handed { socket: socket.to_owned(), problem };
    service.set_read_timeout(Some(PATIENCE)).map_err(Error::System)?;
    let (mut reader, taken) = ask(service, "/backup").and_then(BackupReader::begin).map_err(broken)?;
    let (mut copy, mut progress) = (copy_into(target)?, Progress::new("copying records"));
    while let Some((id, bytes)) = reader.next().map_err(broken)? {
        copy.add(id, &bytes).map_err(Error::Copy)?;
        progress.step();
    }
    Ok((copy.finish().map_err(Error::Copy)?, taken))
}

/// Sends a GET to the service, and reads the head of its answer. HTTP/1.0, so the body is what comes up to the end.
///
/// # Errors
/// The service does not answer, or refuses: in words.
pub(crate) fn ask(mut service: UnixStream, path: &str) -> Result<BufReader<UnixStream>, String> {
    // A service that is busy or of another release may have answered and closed by now; its answer says more than this.
    let asked = service.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes());
    let mut answer = BufReader::new(service);
    let mut status = String::new();
    let read = answer.read_line(&mut status);
    if status.is_empty() {
        asked.map_err(|err| explain(&err))?;
    }
    // A service of an earlier release sends what is no text.
    if read.is_err() || !status.starts_with("HTTP/1.") {
        return Err("it is of another release: use the program that the service was started from".to_owned());
    }
    let mut line = String::new();
    while answer.read_line(&mut line).map_err(|err| explain(&err))? > 0 && line != "\r\n" {
        line.clear();
    }
    if status.split(' ').nth(1) == Some("200") {
        return Ok(answer);
    }
    let mut why = String::new();
    answer.read_line(&mut why).map_err(|err| explain(&err))?;
    Err(why.trim_end().to_owned())
}

fn read(data_dir: &Path, target: &BackupFile) -> Result<(Contents, Timestamp), Error> {
    match AtRest::is_there(data_dir) {
        Ok(true) => {}
        Ok(false) => return Err(Error::NoStore { dir: data_dir.to_owned() }),
        Err(err) => return Err(Error::file("look into", data_dir, err)),
    }
    let store = AtRest::open(data_dir)?;
    let taken = SystemClock.now();
    let (mut copy, mut progress) = (copy_into(target)?, Progress::new("copying records"));
    let mut unwritten = None;
    let outcome = store.snapshot()?.each(|id, bytes| {
        progress.step();
        copy.add(id, bytes).inspect_err(|err| unwritten = Some(err.clone()))
    });
    if let Some(err) = unwritten {
        return Err(Error::Copy(err));
    }
    outcome?;
    Ok((copy.finish().map_err(Error::Copy)?, taken))
}

fn copy_into(target: &BackupFile) -> Result<StoreCopy, Error> {
    let file: File = target.file()?;
    StoreCopy::begin(file, target.name()).map_err(Error::Copy)
}
