//! The service's end: a socket in the data directory, at which whoever may write to it is handed every record.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener as StdListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};

use super::{SOCKET, wire};
use crate::Refused;
use crate::store::Store;
use crate::store::snapshot::Snapshot;

/// Bytes that are handed over at a time; a few such pieces are on the way.
const PIECE: usize = 256 << 10;
/// How long the other side may take for a piece: while it does, the store's file grows by what is written.
const PATIENCE: Duration = Duration::from_secs(60);
/// Pause after a failed accept, which mostly means that there are no descriptors left.
const BREATHER: Duration = Duration::from_secs(1);

/// The socket; its name is gone with the value.
pub(crate) struct Outlet {
    path: PathBuf,
    listener: StdListener,
    store: Arc<Store>,
}

impl Outlet {
    /// Listens in a data directory, for the owner and root (0600). The store is open, so a socket that is there is one
    /// that a service has left behind.
    ///
    /// # Errors
    /// The system does not let us, or something else has the name.
    pub(crate) fn open(dir: &Path, store: Arc<Store>) -> io::Result<Self> {
        let path = dir.join(SOCKET);
        if fs::symlink_metadata(&path).is_ok_and(|found| found.file_type().is_socket()) {
            fs::remove_file(&path)?;
        }
        let listener = StdListener::bind(&path)?;
        let outlet = Self { path, listener, store };
        // To connect takes the permission to write, which the umask leaves to others in a few places only; and the
        // directory is ours alone, unless somebody else made it.
        fs::set_permissions(&outlet.path, Permissions::from_mode(0o600))?;
        Ok(outlet)
    }

    /// What answers whoever connects, one after the other: each of them reads all of the disk.
    ///
    /// # Errors
    /// The listener cannot be used.
    pub(crate) fn serve(&self) -> io::Result<impl Future<Output = ()> + use<>> {
        let listener = self.listener.try_clone()?;
        listener.set_nonblocking(true)?;
        let listener = UnixListener::from_std(listener)?;
        let store = self.store.clone();
        Ok(async move {
            loop {
                match listener.accept().await {
                    Ok((stream, _)) => match hand_over(stream, &store).await {
                        Ok(count) => log::info!("a backup was handed over: {count} records"),
                        Err(problem) => log::warn!("a backup could not be handed over: {problem}"),
                    },
                    Err(err) => {
                        log::error!("cannot accept whoever wants a backup: {err}");
                        sleep(BREATHER).await;
                    }
                }
            }
        })
    }
}

impl Drop for Outlet {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Sends every record there is, and says how many there were.
async fn hand_over(mut stream: UnixStream, store: &Store) -> Result<u64, String> {
    let (snapshot, taken) = match store.snapshot().await {
        Ok(snapshot) => snapshot,
        Err(err) => {
            let refusal = [wire::head(store.now()), wire::failure(&err.to_string())].concat();
            let _ = timeout(PATIENCE, stream.write_all(&refusal)).await;
            return Err(err.to_string());
        }
    };
    let (pieces, mut sent) = mpsc::channel(2);
    // It ends when nobody takes its pieces any more.
    let reading = spawn_blocking(move || read(&snapshot, wire::head(taken), &pieces));
    while let Some(piece) = sent.recv().await {
        match timeout(PATIENCE, stream.write_all(&piece)).await {
            Ok(Ok(())) => {}
            Ok(Err(err)) => return Err(err.to_string()),
            Err(_) => return Err(format!("it was not taken for {} s", PATIENCE.as_secs())),
        }
    }
    reading.await.unwrap_or_else(|err| Err(err.to_string()))
}

/// Reads all of a snapshot into pieces, with the end or the reason why there are no more.
fn read(snapshot: &Snapshot, mut piece: Vec<u8>, pieces: &mpsc::Sender<Vec<u8>>) -> Result<u64, String> {
    let send = |piece| {
        let gone = |_| Refused::Failed("nobody reads any more".to_owned());
        pieces.blocking_send(piece).map_err(gone)
    };
    let mut count = 0;
    let outcome = snapshot.each(|id, bytes| {
        wire::record(&mut piece, id, bytes);
        count += 1;
        if piece.len() >= PIECE { send(std::mem::take(&mut piece)) } else { Ok(()) }
    });
    match &outcome {
        Ok(()) => wire::end(&mut piece, count),
        Err(err) => piece.extend(wire::failure(&err.to_string())),
    }
    let sent = send(piece);
    outcome.and(sent).map(|()| count).map_err(|err| err.to_string())
}
