//! Listeners: binding them, and the loop that accepts connections.

use std::fs::File;
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::time::Duration;

use nix::errno::Errno;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::time::{sleep, timeout};

use crate::error::Error;

/// Connections that the kernel keeps for us: a thousand VMs that boot together connect within one second.
const BACKLOG: i32 = 4096;
/// Pause after a failed accept, which mostly means that there are no descriptors left.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);
/// How long the last connection may take that there are descriptors for.
const LAST_CONNECTION: Duration = Duration::from_secs(1);
/// Bytes that the kernel keeps of what a client sends and the service has not read, as the kernel reckons (twice that).
const RECEIVE_BUFFER: usize = 32 << 10;
/// Bytes that the kernel keeps of what a client does not read. What is on the way to a client that reads is not among
/// them, so a fast line stays fast.
const UNSENT: u32 = 32 << 10;

/// What connections come from.
pub(crate) trait Listener {
    /// A connection.
    type Stream;
    /// Waits for one, with the address of its other end where it has one.
    async fn accept(&self) -> io::Result<(Self::Stream, Option<SocketAddr>)>;
}

impl Listener for TcpListener {
    type Stream = TcpStream;

    async fn accept(&self) -> io::Result<(TcpStream, Option<SocketAddr>)> {
        let (stream, peer) = self.accept().await?;
        let socket = SockRef::from(&stream);
        // Answers are small and written in one go; waiting for more would only delay them.
        let _ = socket.set_tcp_nodelay(true);
        let _ = socket.set_tcp_notsent_lowat(UNSENT);
        Ok((stream, Some(peer)))
    }
}

impl Listener for UnixListener {
    type Stream = UnixStream;

    async fn accept(&self) -> io::Result<(UnixStream, Option<SocketAddr>)> {
        let (stream, _) = self.accept().await?;
        Ok((stream, None))
    }
}

/// What becomes of the connections of a listener.
pub(crate) trait OnAccept<S> {
    /// Takes a connection.
    fn on_accept(&self, stream: S, peer: Option<SocketAddr>);
    /// Tells the last connection for which there is a descriptor that there is no room.
    async fn reject_overloaded(&self, stream: S);
}

/// Listens on an address. One on all IPv6 addresses leaves those of IPv4 to another listener on the same port; without
/// another, `both` takes them too.
///
/// # Errors
/// The system does not allow it.
fn bind_one(address: SocketAddr, both: bool) -> Result<StdListener, Error> {
    let listen = || {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        // A restart need not wait until the old connections are forgotten.
        socket.set_reuse_address(true)?;
        if address.is_ipv6() && !both {
            socket.set_only_v6(true)?;
        }
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        Ok(socket.into())
    };
    listen().map_err(|source| Error::Listen { address, source })
}

/// Listens on an address.
///
/// # Errors
/// The system does not allow it.
pub fn bind(address: SocketAddr) -> Result<StdListener, Error> {
    bind_one(address, true)
}

/// Listens on several addresses, such as `0.0.0.0:8000` and `[::]:8000`.
///
/// # Errors
/// The system does not allow one of them.
pub fn bind_all(addresses: &[SocketAddr]) -> Result<Vec<StdListener>, Error> {
    let has_v4 = |port| addresses.iter().any(|other| other.is_ipv4() && other.port() == port && port != 0);
    addresses.iter().map(|&address| bind_one(address, !has_v4(address.port()))).collect()
}

/// Takes over a listener that was made elsewhere, such as by systemd.
///
/// # Errors
/// It cannot be used.
pub(crate) fn adopt(listener: StdListener) -> Result<TcpListener, Error> {
    let address = listener.local_addr().unwrap_or_else(|_| SocketAddr::from(([0, 0, 0, 0], 0)));
    let adopt = || {
        listener.set_nonblocking(true)?;
        // Connections have the size that their listener has.
        SockRef::from(&listener).set_recv_buffer_size(RECEIVE_BUFFER)?;
        TcpListener::from_std(listener)
    };
    adopt().map_err(|source| Error::Listen { address, source })
}

/// Accepts connections. Never returns.
pub(crate) async fn accept<L: Listener>(listener: &L, taker: &impl OnAccept<L::Stream>) {
    // Given back when there are no descriptors left, so that one more client can be told.
    let mut spare = File::open("/dev/null").ok();
    let mut logged = false;
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                taker.on_accept(stream, peer);
                logged = false;
            }
            // The client went away before.
            Err(err) if err.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(err) => {
                // Once, and not ten times a second until it is over.
                if !logged {
                    log::error!("cannot accept connections: {err}");
                    logged = true;
                }
                if out_of_files(&err) && spare.take().is_some() {
                    let last = async {
                        if let Ok((stream, _)) = listener.accept().await {
                            taker.reject_overloaded(stream).await;
                        }
                    };
                    let _ = timeout(LAST_CONNECTION, last).await;
                }
                sleep(ACCEPT_BACKOFF).await;
                spare = spare.or_else(|| File::open("/dev/null").ok());
            }
        }
    }
}

fn out_of_files(err: &io::Error) -> bool {
    err.raw_os_error().is_some_and(|code| matches!(Errno::from_raw(code), Errno::EMFILE | Errno::ENFILE))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpStream as StdStream;

    #[test]
    fn listens_on_all_addresses_of_both_families_at_one_port() {
        let first = bind(SocketAddr::from(([0, 0, 0, 0], 0))).unwrap();
        let port = first.local_addr().unwrap().port();
        drop(first);
        let addresses = [format!("0.0.0.0:{port}"), format!("[::]:{port}")].map(|text| text.parse().unwrap());
        let listeners = bind_all(&addresses).unwrap();
        for (address, listener) in [("127.0.0.1", &listeners[0]), ("::1", &listeners[1])] {
            let address = SocketAddr::new(address.parse().unwrap(), port);
            let stream = StdStream::connect(address).unwrap();
            assert_eq!(listener.accept().unwrap().1, stream.local_addr().unwrap());
        }
        drop(listeners);
        // Alone it takes both families, as before.
        let alone = bind_all(&addresses[1..]).unwrap();
        StdStream::connect(addresses[0]).unwrap();
        drop(alone);
    }
}
