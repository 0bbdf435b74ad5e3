//! The service's end of a backup: the admin's socket in the data directory, and the records that it hands out.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener as StdListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{Stream, unfold};
use tokio::net::UnixListener;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::mpsc::{self, error::SendTimeoutError};
use tokio::task::spawn_blocking;

use super::{SOCKET, lines};
use crate::Refused;
use crate::store::Store;
use crate::store::snapshot::Snapshot;

/// Size of one piece of a backup, in bytes. A few pieces are queued at a time.
const PIECE: usize = 256 << 10;
/// How long the reader may take for a piece: while it does, the store's file grows by what is written.
const PIECE_TIME: Duration = Duration::from_secs(60);

/// The socket; its name is gone with the value.
pub(crate) struct AdminSocket {
    path: PathBuf,
    listener: StdListener,
}

impl AdminSocket {
    /// Listens in a data directory, for the owner and root (0600), unless another service does: only a store in the
    /// directory keeps others out. A socket at which none listens was left behind.
    ///
    /// # Errors
    /// The system does not allow it, or something else has the name.
    pub(crate) fn open(dir: &Path) -> io::Result<Self> {
        let path = dir.join(SOCKET);
        if fs::symlink_metadata(&path).is_ok_and(|found| found.file_type().is_socket()) {
            if UnixStream::connect(&path).is_ok() {
                return Err(io::Error::other("another service listens there"));
            }
            fs::remove_file(&path)?;
        }
        let listener = StdListener::bind(&path)?;
        let socket = Self { path, listener };
        // To connect takes the permission to write, which the umask leaves to others in a few places only; and the
        // directory is the owner's alone, unless it was made by hand.
        fs::set_permissions(&socket.path, Permissions::from_mode(0o600))?;
        Ok(socket)
    }

    /// The listener.
    ///
    /// # Errors
    /// It cannot be used.
    pub(crate) fn listener(&self) -> io::Result<UnixListener> {
        let listener = self.listener.try_clone()?;
        listener.set_nonblocking(true)?;
        UnixListener::from_std(listener)
    }
}

impl Drop for AdminSocket {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Every record there is, in pieces of many lines. `permit` is held as long as it takes.
pub(crate) fn stream_backup(
    store: Arc<Store>,
    permit: OwnedSemaphorePermit,
) -> impl Stream<Item = Bytes> + Send + 'static {
    let (pieces, sent) = mpsc::channel(2);
    tokio::spawn(async move {
        let outcome = match store.snapshot().await {
            Ok((snapshot, taken)) => {
                // It ends when its pieces are not taken any more.
                let reading = spawn_blocking(move || read(&snapshot, lines::head(taken), &pieces));
                reading.await.unwrap_or_else(|err| Err(err.to_string()))
            }
            Err(err) => {
                let mut refusal = Vec::new();
                lines::failure(&mut refusal, &err.to_string());
                let _ = pieces.send(refusal).await;
                Err(err.to_string())
            }
        };
        match outcome {
            Ok(count) => log::info!(records = count; "backup sent: {count} records"),
            Err(problem) => log::warn!("backup not sent: {problem}"),
        }
        drop(permit);
    });
    unfold(sent, async |mut sent| sent.recv().await.map(|piece: Vec<u8>| (Bytes::from(piece), sent)))
}

/// Reads all of a snapshot into pieces, with the end or the reason why there are no more.
fn read(snapshot: &Snapshot, mut piece: Vec<u8>, pieces: &mpsc::Sender<Vec<u8>>) -> Result<u64, String> {
    let runtime = tokio::runtime::Handle::current();
    let send = |piece| {
        runtime.block_on(pieces.send_timeout(piece, PIECE_TIME)).map_err(|err| {
            Refused::Failed(match err {
                SendTimeoutError::Closed(_) => "its reader went away".to_owned(),
                SendTimeoutError::Timeout(_) => format!("it was not taken for {} s", PIECE_TIME.as_secs()),
            })
        })
    };
    let mut count = 0;
    let outcome = snapshot.each(|id, bytes| {
        lines::record(&mut piece, id, bytes);
        count += 1;
        if piece.len() >= PIECE { send(std::mem::take(&mut piece)) } else { Ok(()) }
    });
    match &outcome {
        Ok(()) => lines::end(&mut piece, count),
        Err(err) => lines::failure(&mut piece, &err.to_string()),
    }
    let sent = send(piece);
    outcome.and(sent).map(|()| count).map_err(|err| err.to_string())
}
