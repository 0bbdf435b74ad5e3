//! `keygen`: a key with which launches are sealed in etcd.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::process::ExitCode;

use pairing_server::secret;
use protocol::error::Error;

use crate::cli::Keygen;

/// Writes a new key into a file, for its owner alone.
///
/// # Errors
/// The file is there, or cannot be written.
pub fn keygen(args: &Keygen) -> Result<ExitCode, Error> {
    write(&args.file).map_err(|error| Error::cannot_write(&args.file, error))?;
    Ok(ExitCode::SUCCESS)
}

fn write(path: &Path) -> io::Result<()> {
    let key = secret::make().map_err(io::Error::other)?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    writeln!(file, "{}", key.reveal())?;
    file.sync_all()?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}
