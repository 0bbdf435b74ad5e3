//! One client connection, plain or TLS: sends small requests, counts whole answers. Never blocks once it is open.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use nix::libc::linger;
use nix::sys::socket::{setsockopt, sockopt};
use rustls::{ClientConfig, ClientConnection};
use rustls_pki_types::ServerName;

use super::wire::Framing;

/// Where to connect to, and how.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    /// Address of the server.
    pub(crate) address: SocketAddr,
    /// For TLS: the certificates to trust.
    pub(crate) tls: Option<Arc<ClientConfig>>,
}

/// An open connection.
#[derive(Debug)]
pub(crate) struct Connection {
    socket: TcpStream,
    tls: Option<Box<ClientConnection>>,
    /// What came of a message that is not whole yet.
    partial: Vec<u8>,
}

/// The messages of one read.
#[derive(Debug, Default)]
pub(crate) struct Received {
    /// Whole messages.
    pub(crate) messages: usize,
    /// One of them is an error answer.
    pub(crate) refused: bool,
}

impl Connection {
    /// Connects, and shakes hands.
    pub(crate) fn open(target: &Target) -> io::Result<Self> {
        let mut socket = TcpStream::connect(target.address)?;
        socket.set_nodelay(true)?;
        // A reset instead of a FIN, so that tens of thousands of closed connections leave no TIME_WAIT behind that
        // would take the ports of the next crowd.
        setsockopt(&socket, sockopt::Linger, &linger { l_onoff: 1, l_linger: 0 })?;
        let mut tls = None;
        if let Some(config) = &target.tls {
            let name = ServerName::IpAddress(target.address.ip().into());
            let mut session = ClientConnection::new(Arc::clone(config), name).map_err(io::Error::other)?;
            while session.is_handshaking() {
                session.complete_io(&mut socket)?;
            }
            tls = Some(Box::new(session));
        }
        socket.set_nonblocking(true)?;
        Ok(Self { socket, tls, partial: Vec::new() })
    }

    /// Sends a request. It must fit in the socket's buffer, as all of these do.
    pub(crate) fn send(&mut self, request: &[u8]) -> io::Result<()> {
        let Some(session) = &mut self.tls else { return self.socket.write_all(request) };
        session.writer().write_all(request)?;
        while session.wants_write() {
            session.write_tls(&mut self.socket)?;
        }
        Ok(())
    }

    /// Reads what has come; `scratch` is room for it.
    pub(crate) fn receive(&mut self, framing: Framing, scratch: &mut [u8]) -> io::Result<Received> {
        let got = match self.read(scratch) {
            Ok(0) => {
                return Err(io::Error::new(ErrorKind::UnexpectedEof, "the server closed the connection"));
            }
            Ok(got) => got,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Received::default()),
            Err(error) => return Err(error),
        };
        let mut received = Received::default();
        if self.partial.is_empty() {
            // The usual case, a message in one piece, is not copied.
            let used = received.count(framing, &scratch[..got]);
            self.partial.extend_from_slice(&scratch[used..got]);
        } else {
            self.partial.extend_from_slice(&scratch[..got]);
            let used = received.count(framing, &self.partial);
            self.partial.drain(..used);
        }
        Ok(received)
    }

    fn read(&mut self, scratch: &mut [u8]) -> io::Result<usize> {
        let Some(session) = &mut self.tls else { return self.socket.read(scratch) };
        if session.read_tls(&mut self.socket)? == 0 {
            return Ok(0);
        }
        session.process_new_packets().map_err(io::Error::other)?;
        session.reader().read(scratch)
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Received {
    /// Counts the whole messages at the head of `bytes` and says how many bytes they have.
    fn count(&mut self, framing: Framing, bytes: &[u8]) -> usize {
        let mut used = 0;
        while let Some(message) = framing.first(&bytes[used..]) {
            used += message.length;
            self.messages += 1;
            self.refused |= message.refused;
        }
        used
    }
}
